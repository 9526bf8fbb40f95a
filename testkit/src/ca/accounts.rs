//! Accounts: made, found again, changed, given up, and with another key (RFC 8555 §7.3).

use std::collections::HashMap;

use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::answer::Answer;
use super::jws::{Envelope, Jwk, Signer};
use super::problem::Problem;
use super::state::State;

#[derive(Debug)]
pub(super) struct Account {
    pub(super) key: Jwk,
    contact: Vec<String>,
    pub(super) is_active: bool,
}

/// Accounts by number, counted from 1.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_id: HashMap<u64, Account>,
    by_key: HashMap<String, u64>,
}

impl Accounts {
    pub(super) fn get(&self, id: u64) -> Option<&Account> {
        self.by_id.get(&id)
    }

    fn of_key(&self, key: &Jwk) -> Option<u64> {
        self.by_key.get(&key.thumbprint).copied()
    }

    fn add(&mut self, account: Account) -> u64 {
        let id = u64::try_from(self.by_id.len()).map_or(u64::MAX, |count| count + 1);
        self.by_key.insert(account.key.thumbprint.clone(), id);
        self.by_id.insert(id, account);
        id
    }
}

impl State {
    pub(super) fn account_url(&self, id: u64) -> String {
        self.url(format_args!("account/{id}"))
    }

    pub(super) fn new_account(&mut self, key: Jwk, payload: &Value) -> Result<Answer, Problem> {
        if let Some(id) = self.accounts.of_key(&key) {
            return self.account_answer(StatusCode::OK, id);
        }
        if payload["onlyReturnExisting"] == true {
            return Err(Problem::new("accountDoesNotExist", "no account exists with the provided key"));
        }
        if payload["termsOfServiceAgreed"] != true {
            return Err(Problem::malformed("must agree to terms of service"));
        }
        let contact = contacts(payload)?.unwrap_or_default();
        self.check_binding(&key, &payload["externalAccountBinding"])?;
        let id = self.accounts.add(Account { key, contact, is_active: true });
        self.account_answer(StatusCode::CREATED, id)
    }

    /// RFC 8555 §7.3.4.
    fn check_binding(&self, key: &Jwk, binding: &Value) -> Result<(), Problem> {
        if self.options.external_accounts.is_empty() {
            return Ok(());
        }
        if binding.is_null() {
            let detail = "this authority makes accounts only for external accounts";
            return Err(Problem::new("externalAccountRequired", detail));
        }
        let envelope = Envelope::of(binding)?;
        let Signer::Id(kid) = &envelope.signer else {
            return Err(Problem::malformed("the external account binding has no `kid`"));
        };
        let secret = self.options.external_accounts.get(kid);
        let secret = secret
            .ok_or_else(|| Problem::unauthorized(format!("the external account `{kid}` is not known")))?;
        envelope.verify_shared(secret)?;
        if envelope.url != self.url("new-account") {
            return Err(Problem::malformed("the external account binding is for another address"));
        }
        if Jwk::parse(&envelope.json()?)? != *key {
            return Err(Problem::malformed("the external account binding is for another key"));
        }
        Ok(())
    }

    /// Reads or changes an account.
    pub(super) fn account(&mut self, id: u64, payload: &Value) -> Result<Answer, Problem> {
        let contact = contacts(payload)?;
        if let Some(account) = self.accounts.by_id.get_mut(&id) {
            account.contact = contact.unwrap_or_else(|| std::mem::take(&mut account.contact));
            match payload["status"].as_str() {
                None | Some("valid") => {}
                Some("deactivated") => account.is_active = false,
                Some(other) => {
                    return Err(Problem::malformed(format!("status `{other}` cannot be asked for")));
                }
            }
        }
        let account = self.accounts.get(id).ok_or_else(|| Problem::not_found("account"))?;
        Ok(Answer::json(StatusCode::OK, shown(account)))
    }

    fn account_answer(&self, status: StatusCode, id: u64) -> Result<Answer, Problem> {
        let account = self.accounts.get(id).ok_or_else(|| Problem::not_found("account"))?;
        if !account.is_active {
            return Err(Problem::unauthorized("account is deactivated"));
        }
        Ok(Answer::json(status, shown(account)).with(LOCATION, self.account_url(id)))
    }

    /// RFC 8555 §7.3.5: the payload is signed by the new key, the request by the old one.
    pub(super) fn key_change(&mut self, id: u64, payload: &Value) -> Result<Answer, Problem> {
        let inner = Envelope::of(payload)?;
        let Signer::Key(new) = &inner.signer else {
            return Err(Problem::malformed("the inner JWS has no `jwk`"));
        };
        inner.verify(new)?;
        if inner.nonce.is_some() || inner.url != self.url("key-change") {
            return Err(Problem::malformed("the inner JWS must have the outer one's url and no nonce"));
        }
        let said = &inner.json()?;
        let old = self.accounts.get(id).map(|account| account.key.clone());
        let old = old.ok_or_else(|| Problem::not_found("account"))?;
        if said["account"] != self.account_url(id) || Jwk::parse(&said["oldKey"])? != old {
            return Err(Problem::malformed("the inner JWS names another account or another old key"));
        }
        if let Some(other) = self.accounts.of_key(new) {
            let taken = Problem::malformed("the new key is the key of an account");
            let location = Some(self.account_url(other));
            return Err(Problem { status: StatusCode::CONFLICT, location, ..taken });
        }
        self.accounts.by_key.remove(&old.thumbprint);
        self.accounts.by_key.insert(new.thumbprint.clone(), id);
        if let Some(account) = self.accounts.by_id.get_mut(&id) {
            account.key = new.clone();
        }
        self.account_answer(StatusCode::OK, id)
    }
}

/// The contacts that are asked for; none: they stay.
fn contacts(payload: &Value) -> Result<Option<Vec<String>>, Problem> {
    let Some(contacts) = payload["contact"].as_array() else { return Ok(None) };
    let text = |contact: &Value| match contact.as_str() {
        Some(text) if text.starts_with("mailto:") && text.contains('@') => Ok(text.to_owned()),
        Some(text) if text.starts_with("mailto:") => {
            Err(Problem::new("invalidContact", format!("`{text}` is no address")))
        }
        _ => Err(Problem::new("unsupportedContact", "only mailto: is supported")),
    };
    contacts.iter().map(text).collect::<Result<_, _>>().map(Some)
}

fn shown(account: &Account) -> Value {
    let status = if account.is_active { "valid" } else { "deactivated" };
    json!({ "status": status, "contact": account.contact, "termsOfServiceAgreed": true })
}
