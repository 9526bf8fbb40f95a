//! The local certificate authority of the installation. The first one that is kept stays: two nodes that
//! start at once must end with the same.

use model::seal::Sealed;
use serde_json::json;

use crate::Store;
use crate::caller::Actor;
use crate::error::Result;
use crate::row::Columns as _;
use crate::write::Event;

/// The local authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCa {
    /// Its certificate, PEM.
    pub cert_pem: String,
    /// Its private key, sealed.
    pub key: Sealed,
}

impl LocalCa {
    /// What its private key is sealed as.
    pub const KEY_CONTEXT: &'static str = "local-ca-key";
}

impl Store {
    /// The local authority, if there is one.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn local_ca(&self) -> Result<Option<LocalCa>> {
        let row = sqlx::query("SELECT cert_pem, key_sealed FROM local_ca WHERE id = 1")
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(LocalCa { cert_pem: row.text("cert_pem")?, key: row.parsed("key_sealed")? }))
    }

    /// Keeps `authority` unless there is one; gives the one that counts from now on.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_local_ca(&self, authority: &LocalCa) -> Result<LocalCa> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let now = write.now_millis();
        let kept = sqlx::query(
            "INSERT INTO local_ca (id, cert_pem, key_sealed, created_at) VALUES (1, $1, $2, $3)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&authority.cert_pem)
        .bind(authority.key.to_string())
        .bind(now)
        .execute(write.connection())
        .await?;
        if kept.rows_affected() == 0 {
            drop(write);
            return Ok(self.local_ca().await?.unwrap_or_else(|| authority.clone()));
        }
        let (action, target) = ("local_ca.create", "local_ca".to_owned());
        write.audit(Event { tenant: None, action, target, details: json!({}) }).await?;
        write.commit().await?;
        Ok(authority.clone())
    }
}
