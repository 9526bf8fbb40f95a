//! API keys: who may do what. Kept is a hash of the secret only; a secret of 256 random bits needs no slow one.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::Timestamp;
use model::id::{KeyId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::caller::{Access, Actor};
use crate::error::{Result, StoreError};
use crate::page::{Page, Paged};
use crate::row::{Columns as _, to_word};
use crate::tenant::check_text;
use crate::write::{Event, Write};
use crate::{Store, edge};

/// How often the use of a key is written down at most.
const TOUCH: Duration = Duration::from_secs(60);
/// Most keys of one tenant.
const MAX_PER_TENANT: usize = 100;
/// Longest lookup text, in bytes.
const MAX_LOOKUP: usize = 64;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// An operator: everything.
    Platform,
    /// One tenant.
    Tenant,
    /// An edge: the log of changes and usage, nothing else.
    Edge,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The tenant, with [`Scope::Tenant`] and only then.
    pub tenant: Option<TenantId>,
    /// What it is for.
    pub scope: Scope,
    /// What people call it, 1 to 200 characters.
    pub name: Option<String>,
    /// The part of its text that finds it, unique; no secret.
    pub lookup: String,
    /// SHA-256 of its whole text.
    pub hash: [u8; 32],
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The tenant, if it is a tenant's.
    pub tenant: Option<TenantId>,
    /// What it is for.
    pub scope: Scope,
    /// What people call it.
    pub name: Option<String>,
    /// The part of its text that finds it.
    pub lookup: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Store {
    /// Makes a key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if `access` may not make keys for the tenant, [`StoreError::Invalid`] if
    /// scope and tenant do not fit, [`StoreError::Conflict`] `key_taken` for the lookup text,
    /// [`StoreError::TooMany`].
    pub async fn create_key(&self, actor: &Actor, access: Access, new: NewKey) -> Result<Key> {
        check(&new)?;
        let mut write = self.write(actor).await?;
        match new.tenant {
            Some(tenant) => check_room(&mut write, access, tenant).await?,
            None if access != Access::Platform => {
                return Err(StoreError::not_found("scope", to_word(&new.scope)?));
            }
            None => {}
        }
        let taken = sqlx::query("SELECT id FROM keys WHERE lookup = $1")
            .bind(&new.lookup)
            .fetch_optional(write.connection())
            .await?;
        if taken.is_some() {
            return Err(StoreError::Conflict { field: "lookup", value: new.lookup, code: "key_taken" });
        }
        let now = write.now();
        let (hash, id) = (hex(&new.hash), KeyId::generate(now));
        let key = Key {
            id,
            tenant: new.tenant,
            scope: new.scope,
            name: new.name,
            lookup: new.lookup,
            created_at: now,
            last_used_at: None,
        };
        insert(write.connection(), &key, &hash).await?;
        let details = json!({ "scope": key.scope, "name": key.name, "lookup": key.lookup });
        let event = Event { tenant: key.tenant, action: "key.create", target: id.to_string(), details };
        write.audit(event).await?;
        write.commit().await?;
        Ok(key)
    }

    /// Keys, the oldest first; to a tenant only its own.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a bad page.
    pub async fn keys(&self, access: Access, page: &Page) -> Result<Paged<Key>> {
        let (after, limit) = (page.after_text::<KeyId>()?, page.rows()?);
        let query = match access {
            Access::Platform => {
                sqlx::query("SELECT * FROM keys WHERE id > $1 ORDER BY id LIMIT $2").bind(after).bind(limit)
            }
            Access::Tenant(tenant) => {
                sqlx::query("SELECT * FROM keys WHERE id > $1 AND tenant_id = $3 ORDER BY id LIMIT $2")
                    .bind(after)
                    .bind(limit)
                    .bind(tenant.to_string())
            }
        };
        let rows = query.fetch_all(self.pool()).await?;
        let keys = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Paged::cut(keys, page, |key| key.id))
    }

    /// Deletes a key: it opens nothing from now on, and the ids of edges that used it are free for another key.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_key(&self, actor: &Actor, access: Access, id: KeyId) -> Result<()> {
        let mut write = self.write(actor).await?;
        edge::unbind(write.connection(), id).await?;
        let row = sqlx::query("DELETE FROM keys WHERE id = $1 RETURNING *")
            .bind(id.to_string())
            .fetch_optional(write.connection())
            .await?;
        let key = match row.map(|row| read(&row)).transpose()? {
            Some(key) if access.allows(key.tenant) => key,
            _ => return Err(StoreError::not_found("key", id)),
        };
        sqlx::query("DELETE FROM idempotency WHERE key_id = $1")
            .bind(id.to_string())
            .execute(write.connection())
            .await?;
        let details = json!({ "scope": key.scope, "name": key.name, "lookup": key.lookup });
        let event = Event { tenant: key.tenant, action: "key.delete", target: id.to_string(), details };
        write.audit(event).await?;
        write.commit().await
    }

    /// The key whose text has this lookup part and this hash; compared in constant time. Its use is written
    /// down at most once a minute; if that fails, the key is good all the same.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn authenticate(&self, lookup: &str, hash: &[u8; 32]) -> Result<Option<Key>> {
        let row = sqlx::query("SELECT * FROM keys WHERE lookup = $1")
            .bind(lookup)
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        if verify_slices_are_equal(row.text("secret_hash")?.as_bytes(), hex(hash).as_bytes()).is_err() {
            return Ok(None);
        }
        let mut key = read(&row)?;
        let now = self.now();
        if key.last_used_at.is_none_or(|used| now.since(used) >= TOUCH) {
            match self.touch(key.id, now).await {
                Ok(()) => key.last_used_at = Some(now),
                Err(error) => tracing::warn!(key = %key.id, %error, "the use of a key was not written down"),
            }
        }
        Ok(Some(key))
    }

    async fn touch(&self, id: KeyId, now: Timestamp) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("UPDATE keys SET last_used_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(now.unix_millis())
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }
}

fn check(new: &NewKey) -> Result<()> {
    if (new.scope == Scope::Tenant) != new.tenant.is_some() {
        let reason = "a key has a tenant if its scope is `tenant`, and only then";
        return Err(StoreError::invalid("scope", reason));
    }
    if let Some(name) = &new.name {
        check_text("name", name)?;
    }
    let sound =
        (1..=MAX_LOOKUP).contains(&new.lookup.len()) && new.lookup.bytes().all(|b| b.is_ascii_alphanumeric());
    if sound {
        return Ok(());
    }
    Err(StoreError::invalid("lookup", format!("lookup must be 1 to {MAX_LOOKUP} letters and digits")))
}

/// The tenant is there, may be seen, and may have one key more.
async fn check_room(write: &mut Write, access: Access, tenant: TenantId) -> Result<()> {
    crate::tenant::load(write.connection(), access, tenant).await?;
    let row = sqlx::query("SELECT COUNT(*) AS keys FROM keys WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .fetch_one(write.connection())
        .await?;
    if usize::try_from(row.integer("keys")?).is_ok_and(|keys| keys >= MAX_PER_TENANT) {
        return Err(StoreError::TooMany { what: "keys of this tenant", limit: MAX_PER_TENANT });
    }
    Ok(())
}

fn hex(hash: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn insert(connection: &mut AnyConnection, key: &Key, hash: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO keys (id, lookup, tenant_id, scope, name, secret_hash, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key.id.to_string())
    .bind(&key.lookup)
    .bind(key.tenant.map(|tenant| tenant.to_string()))
    .bind(to_word(&key.scope)?)
    .bind(key.name.as_deref())
    .bind(hash)
    .bind(key.created_at.unix_millis())
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Key> {
    Ok(Key {
        id: row.parsed("id")?,
        tenant: row.parsed_or_none("tenant_id")?,
        scope: row.word("scope")?,
        name: row.text_or_none("name")?,
        lookup: row.text("lookup")?,
        created_at: row.moment("created_at")?,
        last_used_at: row.moment_or_none("last_used_at")?,
    })
}
