//! Answers to challenges, as long as an authority may ask for them.

use model::acme::{Challenge, Token};
use model::change::ObjectId;
use serde_json::json;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::Actor;
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_word};
use crate::write::{Event, Shape, Write};

impl Store {
    /// Gives the edges an answer. Answers that are past their time are taken away on the same occasion.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_challenge(&self, challenge: &Challenge) -> Result<()> {
        let mut write = self.write(&Actor::system("certd")).await?;
        sqlx::query(
            "INSERT INTO challenges (token, host, key_authorization, expires_at, kind) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (token) DO UPDATE SET kind = excluded.kind, host = excluded.host,
             key_authorization = excluded.key_authorization, expires_at = excluded.expires_at",
        )
        .bind(challenge.token.as_str())
        .bind(challenge.host.as_str())
        .bind(&challenge.key_authorization)
        .bind(challenge.expires_at.unix_millis())
        .bind(to_word(&challenge.kind)?)
        .execute(write.connection())
        .await?;
        write.point(&ObjectId::Challenge(challenge.token.clone()), Shape::Present).await?;
        drop_old(&mut write).await?;
        write.audit(event("challenge.put", challenge.host.to_string())).await?;
        write.commit().await
    }

    /// Takes an answer away; one that is gone already is done.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn drop_challenge(&self, token: &Token) -> Result<()> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let row = sqlx::query("DELETE FROM challenges WHERE token = $1 RETURNING host")
            .bind(token.as_str())
            .fetch_optional(write.connection())
            .await?;
        let Some(row) = row else { return Ok(()) };
        write.point(&ObjectId::Challenge(token.clone()), Shape::Gone).await?;
        write.audit(event("challenge.drop", row.text("host")?)).await?;
        write.commit().await
    }
}

async fn drop_old(write: &mut Write) -> Result<()> {
    let now = write.now_millis();
    let rows = sqlx::query("DELETE FROM challenges WHERE expires_at <= $1 RETURNING token")
        .bind(now)
        .fetch_all(write.connection())
        .await?;
    for row in &rows {
        write.point(&ObjectId::Challenge(token(row)?), Shape::Gone).await?;
    }
    Ok(())
}

fn event(action: &'static str, target: String) -> Event {
    Event { tenant: None, action, target, details: json!({}) }
}

fn token(row: &AnyRow) -> Result<Token> {
    Token::parse(&row.text("token")?).map_err(|error| StoreError::corrupt(error.to_string()))
}

pub(crate) fn read(row: &AnyRow) -> Result<Challenge> {
    Ok(Challenge {
        kind: row.word("kind")?,
        token: token(row)?,
        host: row.parsed("host")?,
        key_authorization: row.text("key_authorization")?,
        expires_at: row.moment("expires_at")?,
    })
}
