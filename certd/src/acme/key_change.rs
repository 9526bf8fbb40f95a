//! Another key for our account (RFC 8555 §7.3.5), such that a crash at any point leaves an account that can be used:
//! the new key is stored before the authority hears of it, and after a crash the authority is asked which one it knows.

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
    /// [`AcmeError`]; it may be asked for again, and goes on where it was.
    pub(crate) async fn change_key(&self) -> Result<(), AcmeError> {
        let _alone = self.making.lock().await;
        let Some(record) = self.store.acme_account(self.name()).await? else { return Ok(()) };
        let record = match record.next_key {
            Some(_) => record,
            None => {
                let next_key = Some(self.sealed_key()?);
                let record = AccountRecord { next_key, ..record };
                self.store.put_acme_account(&record).await?;
                record
            }
        };
        self.settle(&record).await
    }

    /// Ends a change of keys that was begun: in whatever way it was broken off.
    pub(super) async fn settle(&self, record: &AccountRecord) -> Result<(), AcmeError> {
        let (Some(next), Some(account)) = (&record.next_key, &record.account_url) else { return Ok(()) };
        let (offers, line) = (self.directory().await?, self.line());
        let context = self.key_context();
        let next = Signer::new(&self.sealing.open(&context, next)?)?;
        if !is_known(&line, &offers, &next).await? {
            let Some(url) = &offers.key_change else {
                return Err(AcmeError::Refused("it does not let accounts change their keys".to_owned()));
            };
            let old = Signer::new(&self.sealing.open(&context, &record.key)?)?;
            let sign = |nonce: &str| old.hand_over(&next, (url, nonce), account);
            account::send_signed(&line, &offers, url, sign).await?;
        }
        self.store.finish_key_change(self.name()).await?;
        tracing::info!(directory = self.name(), "our account has another key");
        Ok(())
    }

    /// Whether the account has another key than the session was begun with.
    pub(super) async fn has_other_key(&self, session: &Session) -> Result<bool, AcmeError> {
        let record = self.store.acme_account(self.name()).await?;
        Ok(record.is_some_and(|record| record.key != session.key))
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
