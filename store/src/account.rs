//! Our accounts with certificate authorities, one for each directory.

use model::seal::Sealed;
use serde_json::json;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::Actor;
use crate::error::{Result, StoreError};
use crate::row::Columns as _;
use crate::write::Event;

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// URL of the authority's directory.
    pub directory: String,
    /// URL of the account; none: its key is made, but it is not registered (any more).
    pub account_url: Option<String>,
    /// The account's private key, sealed.
    pub key: Sealed,
    /// The key that is to take its place, sealed; the authority may know either of them.
    pub next_key: Option<Sealed>,
}

impl AccountRecord {
    /// What the private keys of our account with an authority are sealed as.
    #[must_use]
    pub fn key_context(directory: &str) -> String {
        format!("acme-account-key/{directory}")
    }
}

impl Store {
    /// The account with an authority, if there is one.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn acme_account(&self, directory: &str) -> Result<Option<AccountRecord>> {
        let row = sqlx::query("SELECT * FROM acme_accounts WHERE directory = $1")
            .bind(directory)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Keeps a new account with an authority unless there is one; gives the one that is there then. Of two processes
    /// that begin at the same time both go on with the same key, which is one account to the authority
    /// (RFC 8555 §7.3.1).
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_acme_account(&self, account: AccountRecord) -> Result<AccountRecord> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let begun = sqlx::query(
            "INSERT INTO acme_accounts (directory, account_url, key_sealed, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (directory) DO NOTHING",
        )
        .bind(&account.directory)
        .bind(&account.account_url)
        .bind(account.key.to_string())
        .bind(write.now_millis())
        .execute(write.connection())
        .await?;
        if begun.rows_affected() == 0 {
            let row = sqlx::query("SELECT * FROM acme_accounts WHERE directory = $1")
                .bind(&account.directory)
                .fetch_one(write.connection())
                .await?;
            return read(&row);
        }
        write.audit(event(&account)).await?;
        write.commit().await?;
        Ok(account)
    }

    /// Keeps the address of an account, or that it is not registered (any more), if its key still is `key`.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn set_account_url(&self, directory: &str, key: &Sealed, url: Option<&str>) -> Result<()> {
        let mut write = self.write(&Actor::system("certd")).await?;
        sqlx::query("UPDATE acme_accounts SET account_url = $3 WHERE directory = $1 AND key_sealed = $2")
            .bind(directory)
            .bind(key.to_string())
            .bind(url)
            .execute(write.connection())
            .await?;
        let (target, details) = (directory.to_owned(), json!({ "account_url": url }));
        write.audit(Event { tenant: None, action: "acme.account", target, details }).await?;
        write.commit().await
    }

    /// Asks for a new key for the account with an authority.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if there is no account with it.
    pub async fn request_key_change(&self, actor: &Actor, directory: &str) -> Result<()> {
        let mut write = self.write(actor).await?;
        let done = sqlx::query(
            "UPDATE acme_accounts SET change_wanted = 1 WHERE directory = $1 AND account_url IS NOT NULL",
        )
        .bind(directory)
        .execute(write.connection())
        .await?;
        if done.rows_affected() == 0 {
            let reason =
                format!("we have no account with `{directory}`: `stoa ca list` names those that we have");
            return Err(StoreError::invalid("directory", reason));
        }
        let (target, details) = (directory.to_owned(), json!({}));
        write.audit(Event { tenant: None, action: "acme.key_change", target, details }).await?;
        write.commit().await
    }

    /// Directories of the authorities that are to be told a new key.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn key_changes(&self) -> Result<Vec<String>> {
        let rows = sqlx::query("SELECT directory FROM acme_accounts WHERE change_wanted = 1")
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| row.text("directory")).collect()
    }

    /// Keeps `next` as the key that is to take the place of an account's, unless there is one already: of several
    /// processes that begin a change, all go on with the first one's. Gives the account; none: no change is wanted.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_key_change(&self, directory: &str, next: &Sealed) -> Result<Option<AccountRecord>> {
        let mut turn = self.quiet_write().await?;
        sqlx::query(
            "UPDATE acme_accounts SET next_key_sealed = COALESCE(next_key_sealed, $2)
             WHERE directory = $1 AND change_wanted = 1 AND account_url IS NOT NULL",
        )
        .bind(directory)
        .bind(next.to_string())
        .execute(turn.connection())
        .await?;
        turn.commit().await?;
        Ok(self.acme_account(directory).await?.filter(|account| account.next_key.is_some()))
    }

    /// Gives a change of keys up: the account keeps its key.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn abandon_key_change(&self, directory: &str, next: &Sealed) -> Result<()> {
        let end = "UPDATE acme_accounts SET next_key_sealed = NULL, change_wanted = 0
                   WHERE directory = $1 AND next_key_sealed = $2";
        self.end_key_change(directory, next, (end, "acme.key_kept")).await
    }

    /// Puts `next` in the place of an account's key: the authority knows it now.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn finish_key_change(&self, directory: &str, next: &Sealed) -> Result<()> {
        let end =
            "UPDATE acme_accounts SET key_sealed = next_key_sealed, next_key_sealed = NULL, change_wanted = 0
                   WHERE directory = $1 AND next_key_sealed = $2";
        self.end_key_change(directory, next, (end, "acme.key_changed")).await
    }

    /// Ends the change to `next`; one that another process has ended is no event.
    async fn end_key_change(
        &self,
        directory: &str,
        next: &Sealed,
        (end, action): (&'static str, &'static str),
    ) -> Result<()> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let done =
            sqlx::query(end).bind(directory).bind(next.to_string()).execute(write.connection()).await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        let (target, details) = (directory.to_owned(), json!({}));
        write.audit(Event { tenant: None, action, target, details }).await?;
        write.commit().await
    }
}

fn event(account: &AccountRecord) -> Event {
    let details = json!({ "account_url": account.account_url });
    Event { tenant: None, action: "acme.account", target: account.directory.clone(), details }
}

fn read(row: &AnyRow) -> Result<AccountRecord> {
    Ok(AccountRecord {
        directory: row.text("directory")?,
        account_url: row.text_or_none("account_url")?,
        key: row.parsed("key_sealed")?,
        next_key: row.parsed_or_none("next_key_sealed")?,
    })
}
