//! The HTTP connection of the client commands.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::secret::Secret;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use super::request::Request;
use crate::command::Target;

/// Where the API listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8090";
/// Where `stoa up` leaves the first key.
const DEFAULT_KEY_FILE: &str = "stoa-data/platform-key";
/// No call of the API takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest stream of events; the API ends them sooner.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// An API and a key for it.
#[derive(Debug)]
pub(super) struct Connection {
    base: String,
    key: Secret,
    http: Client,
}

impl Connection {
    /// Finds address and key: the flag, then the environment, then the default.
    pub(super) fn open(target: &Target) -> anyhow::Result<Self> {
        let given = target.url.clone().or_else(config::environment::url);
        let base = given.unwrap_or_else(|| DEFAULT_URL.to_owned());
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("`{base}` is no address of an API: write it as {DEFAULT_URL}");
        }
        let http = Client::builder().timeout(TIMEOUT).build().context("cannot set up an HTTP client")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), key: key(target)?, http })
    }

    /// Sends the request; of a list, every page.
    pub(super) async fn send(&self, request: &Request) -> anyhow::Result<Value> {
        let mut answer = self.send_page(request, None).await?;
        while let Some(cursor) = next_cursor(&answer).filter(|_| request.is_list()) {
            let mut page = self.send_page(request, Some(cursor)).await?;
            let rows = page.get_mut("data").and_then(Value::as_array_mut).map(std::mem::take);
            if let (Some(all), Some(rows)) = (answer.get_mut("data").and_then(Value::as_array_mut), rows) {
                all.extend(rows);
            }
            let pagination = page.get("pagination").cloned().unwrap_or(Value::Null);
            if let Some(fields) = answer.as_object_mut() {
                fields.insert("pagination".to_owned(), pagination);
            }
        }
        Ok(answer)
    }

    /// Opens a stream of events, from the one after `last` on.
    pub(super) async fn stream(&self, path: &str, last: Option<&str>) -> anyhow::Result<Response> {
        let mut call = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.key.reveal());
        if let Some(last) = last {
            call = call.header("last-event-id", last);
        }
        let response = call
            .timeout(LONGEST)
            .send()
            .await
            .with_context(|| format!("no answer from {}; is `stoa up` running there?", self.base))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.context("the answer broke off")?;
        read_answer(status, &text).and_then(|_| bail!("the API answered {status}"))
    }

    async fn send_page(&self, request: &Request, cursor: Option<String>) -> anyhow::Result<Value> {
        let mut call = self
            .http
            .request(request.method.clone(), format!("{}{}", self.base, request.path))
            .bearer_auth(self.key.reveal());
        let pairs = request.query.iter().map(|(name, value)| (*name, value.clone()));
        for (name, value) in pairs.chain(cursor.map(|cursor| ("cursor", cursor))) {
            call = call.query(&[(name, value)]);
        }
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        let response = call
            .send()
            .await
            .with_context(|| format!("no answer from {}; is `stoa up` running there?", self.base))?;
        let status = response.status();
        let text = response.text().await.context("the answer broke off")?;
        read_answer(status, &text)
    }
}

fn read_answer(status: StatusCode, text: &str) -> anyhow::Result<Value> {
    if status.is_success() {
        if text.is_empty() {
            return Ok(json!({"status": "done"}));
        }
        return serde_json::from_str(text).context("the answer is not JSON: is STOA_URL the admin API?");
    }
    let problem: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let field = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("detail").is_empty() {
        bail!("the API answered {status}: is STOA_URL the admin API?");
    }
    let faults = problem.get("errors").and_then(Value::as_array).into_iter().flatten();
    let lines: String = faults
        .filter_map(|fault| Some((fault.get("pointer")?.as_str()?, fault.get("message")?.as_str()?)))
        .map(|(pointer, message)| format!("\n  {pointer}: {message}"))
        .collect();
    bail!("{} ({}, {}){lines}", field("detail"), field("code"), field("request_id"))
}

fn next_cursor(answer: &Value) -> Option<String> {
    let pagination = answer.get("pagination")?;
    let more = pagination.get("has_more")?.as_bool()?;
    pagination.get("cursor")?.as_str().filter(|_| more).map(str::to_owned)
}

fn key(target: &Target) -> anyhow::Result<Secret> {
    if let Some(path) = &target.key_file {
        return read_key(path);
    }
    if let Some(key) = config::environment::key() {
        anyhow::ensure!(!key.reveal().is_empty(), "STOA_KEY is set but empty: set a key, or unset it");
        return Ok(key);
    }
    read_key(Path::new(DEFAULT_KEY_FILE)).context("no key: set STOA_KEY or give --key-file")
}

fn read_key(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the key in `{}`", path.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_its_own_words_with_its_code() {
        let problem = r#"{"detail":"this name is taken","code":"name_taken","request_id":"req_1","errors":[{"pointer":"/name","message":"taken"}]}"#;
        let error = read_answer(StatusCode::CONFLICT, problem).map_err(|error| error.to_string());
        assert_eq!(error, Err("this name is taken (name_taken, req_1)\n  /name: taken".to_owned()));
    }

    #[test]
    fn an_answer_of_something_else_is_named_as_such() {
        let error = read_answer(StatusCode::BAD_GATEWAY, "<html>").map_err(|error| error.to_string());
        assert_eq!(error, Err("the API answered 502 Bad Gateway: is STOA_URL the admin API?".to_owned()));
    }
}
