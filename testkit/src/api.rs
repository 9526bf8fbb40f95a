//! A small client of the admin API: JSON in, JSON out, refusals as values.

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, Method};
use serde_json::Value;

/// An API and a key for it.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body; null if it is empty or no JSON.
    pub body: Value,
    asked: String,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// If it is none; the error shows what was asked and answered.
    pub fn ok(self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "{}: {} {}", self.asked, self.status, self.body);
        Ok(self.body)
    }

    /// The problem's stable code; empty if there is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// Checks that it is a problem with this status, and returns its text in full.
    ///
    /// # Errors
    /// If it has another status.
    pub fn refused(self, status: u16) -> Result<String> {
        ensure!(self.status == status, "{}: {} {} instead of {status}", self.asked, self.status, self.body);
        Ok(self.body.to_string())
    }
}

/// A text field of a JSON object.
///
/// # Errors
/// If there is none of that name; the error shows the object.
pub fn text(value: &Value, name: &str) -> Result<String> {
    let found = value.get(name).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no text `{name}` in {value}"))?.to_owned())
}

impl Api {
    /// The API at `base`, e.g. `http://127.0.0.1:8090`.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(base: &str, key: &str) -> Result<Self> {
        Ok(Self { http: crate::client::plain()?, base: base.to_owned(), key: key.to_owned() })
    }

    /// The same API with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// The secret text of the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// GET of a path below `/v1`.
    ///
    /// # Errors
    /// If the API is out of reach.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// POST with a JSON body and a fresh idempotency key.
    ///
    /// # Errors
    /// If the API is out of reach.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// PUT with a JSON body.
    ///
    /// # Errors
    /// If the API is out of reach.
    pub async fn put(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// PATCH with a JSON body.
    ///
    /// # Errors
    /// If the API is out of reach.
    pub async fn patch(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// If the API is out of reach.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, None).await
    }

    /// Any method.
    ///
    /// # Errors
    /// If the API is out of reach or its answer breaks off.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let asked = format!("{method} {path}");
        let mut call =
            self.http.request(method.clone(), format!("{}/v1{path}", self.base)).bearer_auth(&self.key);
        if method == Method::POST {
            call = call.header("idempotency-key", format!("test-{:032x}", rand::random::<u128>()));
        }
        if let Some(body) = body {
            call = call.json(&body);
        }
        let answer = call.send().await.with_context(|| asked.clone())?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.with_context(|| asked.clone())?;
        Ok(Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default(), asked })
    }
}
