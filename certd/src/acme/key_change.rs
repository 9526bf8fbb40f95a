//! Another key for our account (RFC 8555 §7.3.5), such that a crash at any point leaves an account that can be used:
//! the new key is stored before the authority hears of it, and after a crash the authority is asked which one it knows.

use model::seal::Sealed;
use serde_json::json;
use store::AccountRecord;

use super::AcmeError;
use super::account::{self, Authority, Line, Session};
use super::directory::Directory;
use super::jws::Signer;

impl Authority {
    /// Gives our account another key.
    ///
    /// # Errors
    /// [`AcmeError`]; it may be asked for again, and goes on where it was. One that the authority refuses is given up.
    pub(crate) async fn change_key(&self) -> Result<(), AcmeError> {
        let _alone = self.making.lock().await;
        let begun = self.store.begin_key_change(self.name(), &self.sealed_key()?).await?;
        let Some((record, next)) = begun.and_then(|record| Some((record.clone(), record.next_key?))) else {
            return Ok(());
        };
        match self.hand_over(&record, &next).await {
            Ok(()) => {
                self.store.finish_key_change(self.name(), &next).await?;
                tracing::info!(directory = self.name(), "our account has another key");
                Ok(())
            }
            Err(error @ AcmeError::Refused(_)) => {
                self.store.abandon_key_change(self.name(), &next).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the authority the new key, unless it knows it already.
    async fn hand_over(&self, record: &AccountRecord, next: &Sealed) -> Result<(), AcmeError> {
        let (offers, line) = (self.directory().await?, self.line());
        let next = self.signer(next)?;
        if is_known(&line, &offers, &next).await? {
            return Ok(());
        }
        let (Some(url), Some(account)) = (&offers.key_change, &record.account_url) else {
            return Err(AcmeError::Refused("it does not let accounts change their keys".to_owned()));
        };
        let old = self.signer(&record.key)?;
        let sign = |nonce: &str| old.hand_over(&next, (url, nonce), account);
        account::send_signed(&line, &offers, url, sign).await?;
        Ok(())
    }

    /// The account with the key that the authority knows, while a change is under way: a change that does not come to
    /// its end stops no order.
    pub(super) async fn with_the_known_key(&self, record: AccountRecord) -> Result<AccountRecord, AcmeError> {
        let Some(next) = record.next_key.clone() else { return Ok(record) };
        let (offers, line) = (self.directory().await?, self.line());
        if !is_known(&line, &offers, &self.signer(&next)?).await? {
            return Ok(record);
        }
        self.store.finish_key_change(self.name(), &next).await?;
        Ok(AccountRecord { key: next, next_key: None, ..record })
    }

    /// Whether the account has, or is about to have, another key than the session was begun with.
    pub(super) async fn has_other_key(&self, session: &Session) -> Result<bool, AcmeError> {
        let record = self.store.acme_account(self.name()).await?;
        Ok(record.is_some_and(|record| record.next_key.is_some() || record.key != session.key))
    }

    fn signer(&self, key: &Sealed) -> Result<Signer, AcmeError> {
        Signer::new(&self.sealing.open(&self.key_context(), key)?)
    }
}

/// Whether the authority has an account with that key.
async fn is_known(line: &Line, offers: &Directory, signer: &Signer) -> Result<bool, AcmeError> {
    let payload = json!({ "onlyReturnExisting": true });
    let sign = |nonce: &str| signer.sign(&offers.new_account, nonce, &payload);
    match account::send_signed(line, offers, &offers.new_account, sign).await {
        Ok(_) => Ok(true),
        Err(AcmeError::UnknownAccount(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
