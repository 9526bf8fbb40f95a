//! `stoa domain connect`: asks, waits until the provider was asked, and tells people what became of it.
//!
//! The key comes from a file or from standard input, never from the command line, where others would see it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::secret::Secret;
use reqwest::Method;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::inspection::fates;
use super::request::Request;
use crate::command::Connect;

/// Longest wait for a provider, which is asked several times when it does not answer.
const WAIT: Duration = Duration::from_secs(180);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// Carries it out.
///
/// # Errors
/// What is wrong with the arguments, why the API is out of reach, what it answered, or that it was not done.
pub(super) async fn run(wanted: Connect) -> anyhow::Result<()> {
    let path = format!("/v1/domains/{}/connect", wanted.domain);
    let request = request(&wanted, &path)?;
    let api = Connection::open(&wanted.target)?;
    let mut answer = api.send(&request).await?;
    let end = Instant::now() + WAIT;
    while answer.get("status").is_some_and(|status| status == "working") && Instant::now() < end {
        sleep(LOOK).await;
        answer = api.send(&Request::get(&path)).await?;
    }
    if wanted.target.json {
        println!("{answer:#}");
    } else {
        print!("{}", text(&answer));
    }
    let done = answer.get("details").and_then(Value::as_array).is_none_or(Vec::is_empty);
    ensure!(done || request.method == Method::GET, "it was not done: see above");
    Ok(())
}

fn request(wanted: &Connect, path: &str) -> anyhow::Result<Request> {
    if wanted.forget {
        return Ok(Request::new(Method::DELETE, path));
    }
    let step = match (wanted.apply, wanted.undo, wanted.preview || wanted.provider.is_some()) {
        (true, ..) => "apply",
        (_, true, _) => "undo",
        (_, _, true) => "preview",
        _ => return Ok(Request::get(path)),
    };
    let mut body = Map::new();
    body.insert("action".to_owned(), step.into());
    let texts = [
        ("provider", &wanted.provider),
        ("zone", &wanted.zone),
        ("url", &wanted.api_url),
        ("server", &wanted.server),
        ("key_name", &wanted.key_name),
        ("algorithm", &wanted.algorithm),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body.insert(name.to_owned(), text.as_str().into());
        }
    }
    if let Some(file) = &wanted.token_file {
        body.insert("token".to_owned(), token(file)?.reveal().into());
    }
    if wanted.forget_key {
        body.insert("keep_key".to_owned(), false.into());
    }
    Ok(Request::new(Method::POST, path).body(Value::Object(body)))
}

fn token(file: &Path) -> anyhow::Result<Secret> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the key from standard input")?;
        text
    } else {
        std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the key in `{}`", file.display()))?
    };
    ensure!(!text.trim().is_empty(), "the key in `{}` is empty", file.display());
    Ok(Secret::new(text.trim().to_owned()))
}

/// What a person wants to know, in the order in which it matters.
fn text(answer: &Value) -> String {
    let word = |name: &str| answer.get(name).and_then(Value::as_str);
    let Some(host) = word("hostname") else { return "Forgotten.\n".to_owned() };
    let mut text = format!("{host}\n");
    match word("text") {
        Some(told) => {
            let _ = writeln!(text, "{told}");
        }
        None => text.push_str(&providers(answer)),
    }
    text.push_str(&fates(answer));
    if let Some(mail) = word("email") {
        let _ = writeln!(text, "\n{mail}");
    }
    for detail in answer.get("details").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(text, "  {}", detail.as_str().unwrap_or_default());
    }
    if let Some(until) = word("key_kept_until") {
        let _ = writeln!(text, "\nYour key is kept, sealed, until {until}; --forget forgets it now.");
    }
    text
}

fn providers(answer: &Value) -> String {
    let names: Vec<&str> = answer
        .get("providers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() {
        return "The records of this domain must be set by hand.\n".to_owned();
    }
    format!("The records of this domain can be set for you: --provider {}.\n", names.join(" or "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::{Line, Verb};
    use clap::Parser as _;

    fn wanted(words: &str) -> Connect {
        let line = Line::try_parse_from(format!("stoa domain connect {words}").split(' ')).unwrap();
        match line.verb {
            Verb::Domain(crate::command::DomainVerb::Connect(wanted)) => *wanted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_comes_from_a_file_and_is_asked_for_with_its_provider() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "a-token\n").unwrap();
        let words = format!(
            "dom_1 --provider cloudflare --token-file {} --apply --forget-key",
            file.path().display()
        );
        let asked = request(&wanted(&words), "/x").unwrap();
        let body =
            json!({"action": "apply", "provider": "cloudflare", "token": "a-token", "keep_key": false});
        assert_eq!((asked.method, asked.body), (Method::POST, Some(body)));
        let refused =
            |words: &str| Line::try_parse_from(format!("stoa domain connect {words}").split(' ')).is_err();
        for words in [
            "dom_1 --provider cloudflare",
            "dom_1 --token-file x",
            "dom_1 --apply --undo",
            "dom_1 --token a-token",
        ] {
            assert!(refused(words), "{words}");
        }
        std::fs::write(&file, " \n").unwrap();
        assert!(token(file.path()).unwrap_err().to_string().ends_with("is empty"));
    }

    #[test]
    fn nothing_said_asks_how_far_it_is() {
        assert_eq!(request(&wanted("dom_1"), "/x").unwrap().method, Method::GET);
        assert_eq!(request(&wanted("dom_1 --forget"), "/x").unwrap().method, Method::DELETE);
        let undo = request(&wanted("dom_1 --undo"), "/x").unwrap();
        assert_eq!(undo.body, Some(json!({"action": "undo"})));
    }

    #[test]
    fn what_would_be_changed_is_told_in_the_order_in_which_it_matters() {
        let record = |change: &str, kind: &str, value: &str| json!({"change": change, "type": kind, "name": "a.test", "value": value});
        let answer = json!({
            "hostname": "a.test", "text": "Check the changes below.", "providers": ["cloudflare"],
            "changes": [record("add", "CNAME", "b.test"), record("remove", "A", "192.0.2.1"), record("keep", "MX", "10 m.test")],
            "email": "Your e-mail stays as it is.", "details": [], "key_kept_until": "2026-11-29T18:30:00Z",
        });
        assert_eq!(
            text(&answer),
            "a.test\nCheck the changes below.\n\nTo remove\n  A      a.test  192.0.2.1\n\nTo add\n  CNAME  a.test  \
             b.test\n\nStays as it is\n  MX     a.test  10 m.test\n\nYour e-mail stays as it is.\n\nYour key is kept, \
             sealed, until 2026-11-29T18:30:00Z; --forget forgets it now.\n"
        );
        let nothing =
            json!({"hostname": "a.test", "text": null, "providers": [], "changes": [], "details": []});
        assert_eq!(text(&nothing), "a.test\nThe records of this domain must be set by hand.\n");
    }
}
