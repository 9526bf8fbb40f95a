//! A domain followed until it is live: one line for each change.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::time::sleep;

use super::connection::Connection;
use super::request::Request;
use crate::command::Target;

/// Wait before a stream that broke off is opened again, and how often in a row that may go wrong.
const PAUSE: Duration = Duration::from_secs(2);
const TRIES: u32 = 30;
/// Most bytes of one event; a domain has some 4 KiB.
const MAX_EVENT: usize = 1 << 20;

/// Follows a domain, given by its id or its name.
///
/// # Errors
/// Why there is nothing to follow, or why the API does not answer any more.
pub(super) async fn run(domain: &str, target: &Target) -> anyhow::Result<()> {
    let connection = Connection::open(target)?;
    let id = if domain.starts_with("dom_") { domain.to_owned() } else { find(&connection, domain).await? };
    let path = format!("/v1/domains/{id}/events");
    let (mut last, mut failures) = (None, 0);
    let mut told = String::new();
    loop {
        let outcome = follow(&connection, &path, (&mut last, &mut told), target.json).await;
        match outcome {
            Ok(Seen::Live) => return Ok(()),
            Ok(Seen::Some) => failures = 0,
            Ok(Seen::Nothing) => failures += 1,
            // The first answer tells whether there is such a domain and whether the key is right.
            Err(error) if last.is_none() => return Err(error),
            Err(error) if failures >= TRIES => return Err(error),
            Err(_) => failures += 1,
        }
        if failures > TRIES {
            bail!("the stream of {id} ends again and again: is the domain still there?");
        }
        sleep(PAUSE).await;
    }
}

async fn find(connection: &Connection, name: &str) -> anyhow::Result<String> {
    let request = Request::get("/v1/domains").query("hostname", Some(name.to_owned()));
    let answer = connection.send(&request).await?;
    let found = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let id = |domain: &Value| domain.get("id").and_then(Value::as_str).map(str::to_owned);
    match found {
        [] => bail!("there is no domain `{name}` that this key may see: add it with `stoa domain add`"),
        [one] => id(one).context("the answer has no id: is STOA_URL the admin API?"),
        many => {
            let ids: Vec<String> = many.iter().filter_map(id).collect();
            bail!("several accounts want `{name}`: name one of {}", ids.join(", "))
        }
    }
}

/// How far one stream came.
enum Seen {
    Nothing,
    Some,
    Live,
}

async fn follow(
    connection: &Connection,
    path: &str,
    (last, told): (&mut Option<String>, &mut String),
    json: bool,
) -> anyhow::Result<Seen> {
    let mut response = connection.stream(path, last.as_deref()).await?;
    let (mut text, mut seen) = (Vec::new(), Seen::Nothing);
    while let Some(bytes) = response.chunk().await.context("the stream broke off")? {
        text.extend_from_slice(&bytes);
        anyhow::ensure!(text.len() <= MAX_EVENT, "an event has no end: is STOA_URL the admin API?");
        while let Some(event) = take(&mut text) {
            let Some((id, domain)) = event else { continue };
            *last = id.or(last.take());
            seen = Seen::Some;
            if json {
                println!("{domain}");
            } else {
                tell(&domain, told);
            }
            if domain.get("status").is_some_and(|status| status == "live") {
                return Ok(Seen::Live);
            }
        }
    }
    Ok(seen)
}

/// Takes the first whole event out of what was read; inner none: it is a comment or none of ours.
fn take(text: &mut Vec<u8>) -> Option<Option<(Option<String>, Value)>> {
    let end = text.windows(2).position(|pair| pair == b"\n\n")?;
    let block: Vec<u8> = text.drain(..end + 2).collect();
    let block = String::from_utf8_lossy(&block);
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let domain = field("data:").and_then(|data| serde_json::from_str(data).ok());
    Some(domain.map(|domain| (field("id:").map(str::to_owned), domain)))
}

/// Prints the status and the next step, unless they are as before.
fn tell(domain: &Value, told: &mut String) {
    let lines = lines(domain);
    if *told != lines {
        print!("{lines}");
        *told = lines;
    }
}

fn lines(domain: &Value) -> String {
    let word = |pointer: &str| domain.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut lines = format!("{}: {}\n", word("/status"), word("/next_action/text"));
    if domain.pointer("/next_action/record").is_some() {
        let record = ["type", "name", "value"].map(|part| word(&format!("/next_action/record/{part}")));
        lines.push_str(&format!("  {}\n", record.join("  ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_taken_one_by_one_and_comments_are_none() {
        let mut text = b":\n\nevent: domain\nid: 7\ndata: {\"status\":\"live\"}\n\nevent: dom".to_vec();
        assert_eq!(take(&mut text), Some(None));
        assert_eq!(take(&mut text), Some(Some((Some("7".to_owned()), json!({"status": "live"})))));
        assert_eq!((take(&mut text), text.as_slice()), (None, b"event: dom".as_slice()));
    }

    #[test]
    fn a_change_is_the_status_the_step_and_its_record() {
        let record = json!({"type": "CNAME", "name": "shop.example.com", "value": "d1.cname.apps.test"});
        let domain = json!({"status": "needs_dns", "next_action": {"text": "Add it.", "record": record}});
        assert_eq!(lines(&domain), "needs_dns: Add it.\n  CNAME  shop.example.com  d1.cname.apps.test\n");
        assert_eq!(lines(&json!({"status": "live", "next_action": {"text": "Done."}})), "live: Done.\n");
    }
}
