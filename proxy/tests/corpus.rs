//! The corpus of what breaks HTTP/1, and of what does not, against both listeners.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::market::{HOST, Market};
use testkit::origin::Origin;
use testkit::witness::{Make, Witness};

struct Vector {
    number: usize,
    verdict: Vec<String>,
    name: String,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let lines =
        include_str!("corpus/http1.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.enumerate().map(|(number, line)| Vector::read(number, line)).collect()
}

impl Vector {
    fn read(number: usize, line: &str) -> Self {
        let mut parts = line.splitn(3, " |");
        let mut part = || parts.next().unwrap();
        let (verdict, name) = (part().trim().to_owned(), part().trim().to_owned());
        let text = part();
        let text = text.strip_prefix(' ').unwrap_or(text);
        let mark = format!("v{number}");
        let host = format!("Host: {HOST}\\r\\n");
        let text = text
            .replace("{G}", &format!("GET /{mark} HTTP/1.1\\r\\n{host}"))
            .replace("{P}", &format!("POST /{mark} HTTP/1.1\\r\\n{host}"))
            .replace("{C}", "Transfer-Encoding: chunked\\r\\n")
            .replace("{h}", &host)
            .replace("{host}", HOST)
            .replace("{v}", &mark)
            .replace("{length}", &format!("{}", 21 + mark.len()));
        let verdict = verdict.replace("{v}", &mark).split(';').map(|one| one.trim().to_owned()).collect();
        Self { number, verdict, name, bytes: unescape(&text) }
    }

    fn statuses(&self) -> Vec<String> {
        let one = |item: &String| {
            if item.starts_with(|c: char| c.is_ascii_digit()) { item.clone() } else { "200".to_owned() }
        };
        self.verdict.iter().filter(|item| *item != "closed").map(one).collect()
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        if let Some((repeat, after)) =
            rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).filter(|(r, _)| r.contains('*'))
        {
            let (what, count) = repeat.split_once('*').unwrap();
            let what = if what == "f" { "a: b\r\n" } else { what };
            bytes.extend(what.repeat(count.parse().unwrap()).bytes());
            rest = after;
            continue;
        }
        if first == '\\' {
            let code = rest.as_bytes()[1];
            let (byte, length) = match code {
                b'r' => (b'\r', 2),
                b'n' => (b'\n', 2),
                b't' => (b'\t', 2),
                b'0' => (0, 2),
                b'\\' => (b'\\', 2),
                _ => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
            };
            bytes.push(byte);
            rest = &rest[length..];
            continue;
        }
        bytes.extend(first.to_string().bytes());
        rest = &rest[first.len_utf8()..];
    }
    bytes
}

/// The statuses of all answers until the end.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8], count: usize) -> Vec<String> {
    let _sent = stream.write_all(bytes).await;
    let _flushed = stream.flush().await;
    let mut text = Vec::new();
    let mut is_ended = count == 0;
    if is_ended {
        let _ended = stream.shutdown().await;
    }
    loop {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(
            Duration::from_millis(if is_ended { 3_000 } else { 1_500 }),
            stream.read(&mut piece),
        )
        .await;
        match read {
            Ok(Ok(read)) if read > 0 => text.extend_from_slice(&piece[..read]),
            Err(_) if !is_ended => {}
            _ => break,
        }
        if !is_ended && statuses(&text).len() >= count {
            is_ended = true;
            let _ended = stream.shutdown().await;
        }
    }
    statuses(&text)
}

fn statuses(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let found = text.match_indices("HTTP/1.1 ").filter_map(|(place, _)| text.get(place + 9..place + 12));
    found
        .filter(|status| status.bytes().all(|b| b.is_ascii_digit()) && !status.starts_with('1'))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vector_gets_its_verdict() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let tls = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut wrong = Vec::new();
    for vector in vectors() {
        let wanted = vector.statuses();
        let stream = tls.connect(market.visitors.https, HOST).await.unwrap();
        let got: Vec<String> = ask(stream, &vector.bytes, wanted.len())
            .await
            .into_iter()
            .map(|s| if s == "404" { "200".to_owned() } else { s })
            .collect();
        if got != wanted {
            wrong.push(format!("tls {} {}: wanted {wanted:?}, got {got:?}", vector.number, vector.name));
        }
        let stream = TcpStream::connect(market.visitors.http).await.unwrap();
        let got = ask(stream, &vector.bytes, wanted.len().min(1)).await;
        let is_right = match (wanted.first().map(String::as_str), got.first().map(String::as_str)) {
            (Some("200"), Some("308" | "403")) | (None, None) => true,
            (wanted, got) => wanted == got,
        };
        if !is_right {
            wrong.push(format!("plain {} {}: wanted {wanted:?}, got {got:?}", vector.number, vector.name));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The statuses with which the edge itself answers to all of them, in order.
fn refusals(vectors: &[Vector]) -> Vec<u64> {
    let numbers = vectors.iter().flat_map(|vector| &vector.verdict);
    numbers.filter_map(|item| item.parse().ok()).collect()
}

/// The code of a refusal for form, which tells the status apart from all others.
fn code(status: u64) -> &'static str {
    match status {
        400 => "bad_request",
        405 => "method_not_allowed",
        414 => "uri_too_long",
        417 => "expectation_failed",
        431 => "header_too_large",
        501 => "coding_not_supported",
        505 => "version_not_supported",
        // Never a code: a verdict of another status fails the test until its code stands here.
        _ => "",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_is_in_the_access_log_and_the_metrics_under_its_code() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let tls = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let vectors = vectors();
    for vector in &vectors {
        let stream = tls.connect(market.visitors.https, HOST).await.unwrap();
        ask(stream, &vector.bytes, vector.statuses().len()).await;
    }
    let wanted: Vec<(u64, &str)> =
        refusals(&vectors).into_iter().map(|status| (status, code(status))).collect();
    testkit::wait::until("every line of the log", testkit::wait::LONG, async || {
        let mut lines: Vec<_> = market.log()?.into_iter().filter(|line| !line["refusal"].is_null()).collect();
        // One vector is one connection, and they came one after the other.
        lines.sort_by_key(|line| line["connection"].as_u64());
        let told = |line: &Value| (line["status"].as_u64(), line["refusal"].as_str().map(str::to_owned));
        let told: Vec<_> = lines.iter().map(told).collect();
        let wanted: Vec<_> =
            wanted.iter().map(|(status, code)| (Some(*status), Some((*code).to_owned()))).collect();
        anyhow::ensure!(told == wanted, "{told:?} is not {wanted:?}");
        Ok(())
    })
    .await
    .unwrap();
    let (_, metrics) = market.probe("/metrics").await;
    for (_, code) in &wanted {
        let count = wanted.iter().filter(|(_, other)| other == code).count();
        let line = format!("stoa_refusals_total{{code=\"{code}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

/// Each request that an app should see: method, target and body with a space between, or nothing behind it.
fn expected(vectors: &[Vector]) -> Vec<String> {
    let all = vectors.iter().flat_map(|vector| &vector.verdict);
    let mut all: Vec<_> = all.filter(|item| item.contains(" /")).cloned().collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_of_other_makes_see_the_same_requests_and_never_one_as_two() {
    for make in [Make::Nginx, Make::Python] {
        let witness = Witness::start(make).await.unwrap();
        let market = Market::open(&[witness.url()]);
        let tls = market.visitors.tls().unwrap().offering(&["http/1.1"]);
        let vectors = vectors();
        for vector in &vectors {
            let wanted = vector.statuses();
            let stream = tls.connect(market.visitors.https, HOST).await.unwrap();
            let got = ask(stream, &vector.bytes, wanted.len()).await;
            assert_eq!(got, wanted, "{make:?} {} {}", vector.number, vector.name);
        }
        let expected = expected(&vectors);
        testkit::wait::until("the log of the backend", testkit::wait::LONG, async || {
            let seen = witness.seen()?.into_iter().filter(|one| one.line.contains(" /v"));
            let mut seen: Vec<_> =
                seen.map(|one| format!("{} {}", one.line, one.body).trim_end().to_owned()).collect();
            seen.sort();
            anyhow::ensure!(seen == expected, "{make:?}: {seen:?} is not {expected:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}
