//! Links with which creators let their providers set records (Domain Connect): whoever comes back from one only has
//! the domain looked at. A link is good once, for a quarter of an hour, for one domain, and as long as the key that asked
//! for it is there.

use std::time::Duration;

use model::Timestamp;
use model::id::{DomainId, KeyId};
use serde_json::json;

use crate::Store;
use crate::caller::{Access, Actor};
use crate::error::{Result, StoreError};
use crate::random;
use crate::row::Columns as _;
use crate::write::{Event, Write, sha256_hex};

/// How long a link is good: time to log in at a provider.
pub const CONSENT_LIFE: Duration = Duration::from_secs(15 * 60);
/// Most links of one domain that are good at a time.
const MAX_OPEN: i64 = 8;

/// What came back from a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// It does not say no. What it did is seen in the records, not here.
    Done,
    /// The creator did not want it, or the provider did not.
    Refused,
}

impl Store {
    /// Keeps a new state for a link of a domain; gives its text, which only the link has, and its end.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] for the domain.
    pub async fn begin_consent(
        &self,
        actor: &Actor,
        access: Access,
        id: DomainId,
    ) -> Result<(String, Timestamp)> {
        let mut write = self.write(actor).await?;
        let domain = self.load_domain(write.connection(), access, id).await?;
        let (state, until) =
            (format!("{}{}", random::text(), random::text()), write.now().plus(CONSENT_LIFE));
        sqlx::query("DELETE FROM consents WHERE expires_at <= $1")
            .bind(write.now_millis())
            .execute(write.connection())
            .await?;
        sqlx::query(
            "DELETE FROM consents WHERE domain_id = $1 AND state_hash NOT IN
             (SELECT state_hash FROM consents WHERE domain_id = $1 ORDER BY expires_at DESC LIMIT $2)",
        )
        .bind(id.to_string())
        .bind(MAX_OPEN - 1)
        .execute(write.connection())
        .await?;
        sqlx::query(
            "INSERT INTO consents (state_hash, domain_id, key_id, expires_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(sha256_hex(state.as_bytes()))
        .bind(id.to_string())
        .bind(actor.key.map(|key| key.to_string()))
        .bind(until.unix_millis())
        .execute(write.connection())
        .await?;
        let details = json!({ "hostname": domain.host });
        let (tenant, target) = (Some(domain.tenant), id.to_string());
        write.audit(Event { tenant, action: "domain.link", target, details }).await?;
        write.commit().await?;
        Ok((state, until))
    }

    /// Takes a state back for which there is no link.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn drop_consent(&self, state: &str) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("DELETE FROM consents WHERE state_hash = $1")
            .bind(sha256_hex(state.as_bytes()))
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }

    /// Somebody came back from a link: its domain is put first in line to be looked at. Gives the domain; none: there
    /// is no such state (any more), or the key that asked for it is gone.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn end_consent(&self, state: &str, how: Return) -> Result<Option<DomainId>> {
        let hash = sha256_hex(state.as_bytes());
        let known = sqlx::query("SELECT state_hash FROM consents WHERE state_hash = $1")
            .bind(&hash)
            .fetch_optional(self.pool())
            .await?;
        if known.is_none() {
            // Strangers take no turn of the writers.
            return Ok(None);
        }
        let mut write = self.write(&Actor::system("domain connect")).await?;
        let row =
            sqlx::query("DELETE FROM consents WHERE state_hash = $1 RETURNING domain_id, key_id, expires_at")
                .bind(&hash)
                .fetch_optional(write.connection())
                .await?;
        let Some(row) = row else { return Ok(None) };
        let (id, key) = (row.parsed::<DomainId>("domain_id")?, row.parsed_or_none::<KeyId>("key_id")?);
        let is_good = row.moment("expires_at")? > write.now() && has_key(&mut write, key).await?;
        let domain = match self.load_domain(write.connection(), Access::Platform, id).await {
            Ok(domain) => Some(domain).filter(|_| is_good),
            // The name may have moved to another account meanwhile.
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(domain) = &domain {
            sqlx::query("UPDATE domains SET next_check_at = $2 WHERE id = $1")
                .bind(id.to_string())
                .bind(write.now_millis())
                .execute(write.connection())
                .await?;
            let details = json!({ "hostname": domain.host, "key": key, "refused": how == Return::Refused });
            let (tenant, target) = (Some(domain.tenant), id.to_string());
            write.audit(Event { tenant, action: "domain.link_return", target, details }).await?;
            write.advance();
        }
        write.commit().await?;
        Ok(domain.map(|domain| domain.id))
    }
}

/// Whether the key is still there; a part of the program has none.
async fn has_key(write: &mut Write, key: Option<KeyId>) -> Result<bool> {
    let Some(key) = key else { return Ok(true) };
    let row = sqlx::query("SELECT id FROM keys WHERE id = $1")
        .bind(key.to_string())
        .fetch_optional(write.connection())
        .await?;
    Ok(row.is_some())
}

/// Forgets the links of a domain that is taken away.
pub(crate) async fn remove(write: &mut Write, id: DomainId) -> Result<()> {
    sqlx::query("DELETE FROM consents WHERE domain_id = $1")
        .bind(id.to_string())
        .execute(write.connection())
        .await?;
    Ok(())
}
