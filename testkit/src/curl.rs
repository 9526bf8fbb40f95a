//! The command `curl`, the client that operators and creators have. Every name is pinned to 127.0.0.1,
//! because the C library may not resolve `*.localhost`.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

/// Seconds that a request may take in all.
const MAX_SECONDS: &str = "30";

/// A request under construction.
#[derive(Debug)]
pub struct Curl {
    arguments: Vec<String>,
    url: String,
}

/// What came back, after interim answers (1xx).
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `1.1` or `2`.
    pub http_version: String,
    /// Names in lower case, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// The body, with what is no UTF-8 replaced.
    pub body: String,
}

impl Answer {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none; the error shows the body.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {}", self.body))
    }

    fn parse(output: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(output);
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {text}"))?;
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default();
        let mut words = line.trim_start_matches("HTTP/").split(' ');
        let http_version = words.next().unwrap_or_default().to_owned();
        let status = words
            .next()
            .and_then(|code| code.parse().ok())
            .with_context(|| format!("status line `{line}`"))?;
        if (100..200).contains(&status) {
            return Self::parse(body.as_bytes());
        }
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Self { status, http_version, headers, body: body.to_owned() })
    }
}

impl Curl {
    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        let fixed =
            ["-q", "-sS", "-i", "--noproxy", "*", "--max-time", MAX_SECONDS, "--connect-to", "::127.0.0.1:"];
        Self { arguments: fixed.map(str::to_owned).into(), url: url.into() }
    }

    /// Adds arguments as one would type them.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Trusts the roots of this PEM file and nobody else.
    #[must_use]
    pub fn cacert(self, file: &Path) -> Self {
        let file = file.display().to_string();
        self.args(["--cacert", &file])
    }

    /// Another method than GET.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.args(["-X", method])
    }

    /// HEAD.
    #[must_use]
    pub fn head(self) -> Self {
        self.args(["--head"])
    }

    /// One more header, `Name: value`.
    #[must_use]
    pub fn header(self, header: &str) -> Self {
        self.args(["-H", header])
    }

    /// A body, sent with POST.
    #[must_use]
    pub fn body(self, body: &str) -> Self {
        self.args(["--data-binary", body])
    }

    /// HTTP/1.1 only.
    #[must_use]
    pub fn http1(self) -> Self {
        self.args(["--http1.1"])
    }

    /// HTTP/2.
    #[must_use]
    pub fn http2(self) -> Self {
        self.args(["--http2"])
    }

    /// Sends it.
    ///
    /// # Errors
    /// If curl fails, with what it says; a refusal by status is no failure.
    pub async fn send(self) -> Result<Answer> {
        let mut command = Command::new("curl");
        command.args(&self.arguments).arg(&self.url).kill_on_drop(true);
        let output = command.output().await.context("cannot run curl: install Debian's package `curl`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", self.url, said.trim());
        Answer::parse(&output.stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[tokio::test]
    async fn names_are_pinned_to_loopback() {
        let origin = Origin::start("one").await.unwrap();
        let url = format!("http://no.such.name.localhost:{}/echo", origin.address().port());
        let answer = Curl::get(url).header("X-Test: 1").body("hi").send().await.unwrap();
        assert_eq!((answer.status, answer.http_version.as_str()), (200, "1.1"));
        let seen = answer.json().unwrap();
        assert_eq!(
            (&seen["method"], &seen["body"], &seen["headers"]["x-test"]),
            (&"POST".into(), &"hi".into(), &"1".into())
        );
    }
}
