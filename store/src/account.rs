//! Our accounts with certificate authorities, one for each directory.

use model::seal::Sealed;
use serde_json::json;

use crate::Store;
use crate::caller::Actor;
use crate::error::Result;
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
        let Some(row) = row else { return Ok(None) };
        Ok(Some(AccountRecord {
            directory: row.text("directory")?,
            account_url: row.text_or_none("account_url")?,
            key: row.parsed("key_sealed")?,
        }))
    }

    /// Keeps an account in place of the one that was there.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_acme_account(&self, account: &AccountRecord) -> Result<()> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let now = write.now_millis();
        sqlx::query(
            "INSERT INTO acme_accounts (directory, account_url, key_sealed, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (directory) DO UPDATE
             SET account_url = excluded.account_url, key_sealed = excluded.key_sealed",
        )
        .bind(&account.directory)
        .bind(&account.account_url)
        .bind(account.key.to_string())
        .bind(now)
        .execute(write.connection())
        .await?;
        let details = json!({ "account_url": account.account_url });
        let event =
            Event { tenant: None, action: "acme.account", target: account.directory.clone(), details };
        write.audit(event).await?;
        write.commit().await
    }
}
