//! Two backends that answer when the test says so, before an app that asks for hedging: who answers first wins.

use std::fmt::Debug;

use model::change::Object;
use testkit::authority::Authority;
use testkit::curl::{Answer, Curl};
use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::h2_origin::H2Origin;
use crate::http2_backends::{in_front_of, trusting};
use crate::market::{HOST, Market, site};
use crate::raw_origin::head;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request that is at a backend.
struct Arrival {
    at: usize,
    /// The PROXY header, if there is one, and the head.
    bytes: String,
    tcp: TcpStream,
    next: mpsc::UnboundedSender<Arrival>,
}

impl Arrival {
    async fn say(&mut self, bytes: &str) {
        self.tcp.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Answers and waits for the next request on the same connection.
    async fn answer(mut self, bytes: &str) {
        self.say(bytes).await;
        let Self { at, tcp, next, .. } = self;
        tokio::spawn(receive(at, tcp, false, next));
    }

    /// Waits until the edge has closed the connection.
    async fn until_closed(mut self) {
        let end = timeout(wait::LONG, self.tcp.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "more was said");
    }
}

async fn receive(at: usize, mut tcp: TcpStream, announced: bool, next: mpsc::UnboundedSender<Arrival>) {
    let mut bytes = String::new();
    if announced {
        let mut start = [0; 16];
        if tcp.read_exact(&mut start).await.is_err() || start[12] == 0x20 {
            return; // A health check.
        }
        let mut rest = vec![0; usize::from(u16::from_be_bytes([start[14], start[15]]))];
        tcp.read_exact(&mut rest).await.unwrap();
        bytes = format!("{start:?}{rest:?}");
    }
    let Some(head) = head(&mut tcp).await else { return };
    bytes.push_str(&head);
    // An error means that the test is over.
    let _over = next.clone().send(Arrival { at, bytes, tcp, next });
}

/// The backends of a test, and what arrives at any of them.
struct Backends {
    urls: Vec<String>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

impl Backends {
    async fn start(count: usize, announced: bool) -> Self {
        let (next, arrivals) = mpsc::unbounded_channel();
        let mut urls = Vec::new();
        for at in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let next = next.clone();
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    tokio::spawn(receive(at, tcp, announced, next.clone()));
                }
            });
        }
        Self { urls, arrivals }
    }

    async fn next(&mut self) -> Arrival {
        timeout(wait::LONG, self.arrivals.recv()).await.unwrap().unwrap()
    }

    /// The two requests of one that is hedged.
    async fn pair(&mut self) -> (Arrival, Arrival) {
        let (first, second) = (self.next().await, self.next().await);
        assert_ne!(first.at, second.at, "the same backend twice");
        (first, second)
    }
}

/// A market before two backends, which has its requests sent twice after 10 ms.
async fn market() -> (Market, Backends) {
    let backends = Backends::start(2, false).await;
    let market = Market::open(&backends.urls);
    market.set_site(|site| site.settings.hedge_after_ms = 10);
    (market, backends)
}

fn send(curl: Curl) -> JoinHandle<Answer> {
    tokio::spawn(async move { curl.send().await.unwrap() })
}

async fn count(market: &Market, series: &str) -> u64 {
    let (_, metrics) = market.probe("/metrics").await;
    let name = format!("{series} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

async fn hedges(market: &Market, result: &str) -> u64 {
    count(market, &format!("stoa_hedges_total{{result=\"{result}\"}}")).await
}

async fn until_hedges(market: &Market, result: &str, wanted: u64) {
    until(result, wanted, async || hedges(market, result).await).await;
}

/// Waits until the unfit backend was tried: as the second, or as the first, which led to a retry beyond `retries`.
async fn until_attempted(market: &Market, what: &str, retries: u64) {
    wait::until(what, wait::LONG, async || {
        let is_second = hedges(market, "failed").await > 0;
        anyhow::ensure!(is_second || count(market, "stoa_retries_total").await > retries);
        Ok(())
    })
    .await
    .unwrap();
}

async fn until<T: PartialEq + Debug>(what: &str, wanted: T, mut probe: impl AsyncFnMut() -> T) {
    wait::until(what, wait::LONG, async || {
        let found = probe().await;
        anyhow::ensure!(found == wanted, "{found:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// How the access log says the hedge of the answered request ended, and who answered.
async fn logged(market: &Market, answer: &Answer) -> (Option<String>, String) {
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = market.logged(|line| line["request_id"] == id.as_str()).await;
    (line["hedged"].as_str().map(str::to_owned), line["backend"].as_str().unwrap().to_owned())
}

fn text(word: &str) -> Option<String> {
    Some(word.to_owned())
}

#[tokio::test]
async fn the_second_answer_wins_the_first_connection_ends_and_one_request_is_counted() {
    let (market, mut backends) = market().await;
    market.set_site(|site| {
        site.settings.hedge_after_ms = 10;
        // A place that is not given back would stop the next request.
        site.settings.max_in_flight = 1;
        site.settings.max_concurrency = 2;
    });
    let get = |path| market.visitors.get(HOST, path).header("X-Own: kept").header("Cookie: a=b");
    let asked = [
        get("/a?b").http1(),
        get("/a?b").http2(),
        get("/a?b").http1().header("Content-Length: 0"),
        get("/a?b").http2(),
    ];
    for (index, curl) in asked.into_iter().enumerate() {
        let answer = send(curl);
        let (first, second) = backends.pair().await;
        assert_eq!(first.bytes, second.bytes, "the same head");
        assert!(second.bytes.contains("X-Own: kept") || second.bytes.contains("x-own: kept"));
        assert!(second.bytes.to_lowercase().contains("\r\nx-forwarded-for: 127.0.0.1\r\n"));
        let url = backends.urls[second.at].clone();
        second.answer(OK).await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        assert_ne!(answer.header("connection"), Some("close"));
        first.until_closed().await;
        assert_eq!(logged(&market, &answer).await, (text("won"), url));
        assert_eq!(hedges(&market, "won").await, index as u64 + 1);
    }
    until("the usage", 4, async || market.rows.all().iter().map(|row| row.counters.requests).sum::<u64>())
        .await;
    assert_eq!(count(&market, "stoa_retries_total").await, 0, "it is no retry");
    assert_eq!(count(&market, "stoa_backend_breaker_turns_total{to=\"open\"}").await, 0, "nobody is blamed");
}

#[tokio::test]
async fn backends_are_told_the_visitor_by_both_connections_alike() {
    let mut backends = Backends::start(2, true).await;
    let market = Market::open(&backends.urls);
    market.set_site(|site| {
        site.settings.hedge_after_ms = 10;
        site.settings.send_proxy_protocol = true;
    });
    let answer = send(market.visitors.get(HOST, "/"));
    let (first, second) = backends.pair().await;
    assert_eq!(first.bytes, second.bytes);
    assert!(first.bytes.starts_with("[13, 10, 13, 10, 0"), "{}", first.bytes);
    second.answer(OK).await;
    assert_eq!(answer.await.unwrap().body, "ok");
    first.until_closed().await;
}

#[tokio::test]
async fn the_first_answer_wins_if_it_comes_first_and_the_second_connection_ends() {
    let (market, mut backends) = market().await;
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let answer = send(curl);
        let (first, second) = backends.pair().await;
        let url = backends.urls[first.at].clone();
        // Even if it is one that would not let a second win.
        first.answer("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy").await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "busy"));
        second.until_closed().await;
        assert_eq!(logged(&market, &answer).await, (text("lost"), url));
    }
    assert_eq!((hedges(&market, "lost").await, hedges(&market, "won").await), (2, 0));
}

#[tokio::test]
async fn a_quick_answer_is_alone_and_an_early_hint_is_the_beginning_of_one() {
    let (market, mut backends) = market().await;
    market.set_site(|site| site.settings.hedge_after_ms = 60_000);
    let answer = send(market.visitors.get(HOST, "/"));
    backends.next().await.answer(OK).await;
    assert_eq!(logged(&market, &answer.await.unwrap()).await.0, None);
    market.set_site(|site| site.settings.hedge_after_ms = 10);
    let answer = send(market.visitors.get(HOST, "/"));
    let (mut first, second) = backends.pair().await;
    first.say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await;
    second.until_closed().await;
    first.answer(OK).await;
    assert_eq!(logged(&market, &answer.await.unwrap()).await.0, text("lost"));
}

#[tokio::test]
async fn a_second_that_answers_5xx_or_nothing_or_nonsense_leaves_it_to_the_first() {
    let (market, mut backends) = market().await;
    let answers = [
        "HTTP/1.1 500 Broken\r\nContent-Length: 3\r\n\r\nbad",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 503 Busy\n\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "",
    ];
    for (index, bytes) in answers.into_iter().enumerate() {
        let answer = send(market.visitors.get(HOST, "/"));
        let (first, mut second) = backends.pair().await;
        second.say(bytes).await;
        second.tcp.shutdown().await.unwrap();
        second.until_closed().await;
        until_hedges(&market, "failed", index as u64 + 1).await;
        first.answer(OK).await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{bytes}");
        assert_eq!(logged(&market, &answer).await.0, text("failed"));
    }
    assert_eq!(count(&market, "stoa_retries_total").await, 0);
}

#[tokio::test]
async fn a_second_without_a_connection_leaves_it_to_the_first() {
    let mut backends = Backends::start(1, false).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let market = Market::open(&[backends.urls[0].clone(), format!("http://{closed}")]);
    market.set_site(|site| site.settings.hedge_after_ms = 10);
    while hedges(&market, "failed").await == 0 {
        let retries = count(&market, "stoa_retries_total").await;
        let answer = send(market.visitors.get(HOST, "/"));
        let arrival = backends.next().await;
        until_attempted(&market, "an attempt at the closed one", retries).await;
        arrival.answer(OK).await;
        assert_eq!(answer.await.unwrap().body, "ok");
    }
}

#[tokio::test]
async fn a_first_that_fails_meanwhile_is_tried_again() {
    let (market, mut backends) = market().await;
    let answer = send(market.visitors.get(HOST, "/"));
    let (first, second) = backends.pair().await;
    drop(first);
    second.until_closed().await;
    let third = backends.next().await;
    third.answer(OK).await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, logged(&market, &answer).await.0), (200, text("lost")));
    assert_eq!(count(&market, "stoa_retries_total").await, 1);
}

#[tokio::test]
async fn a_visitor_who_leaves_ends_both() {
    let (market, mut backends) = market().await;
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let asked = tokio::spawn(curl.args(["--max-time", "0.5"]).send());
        let (first, second) = backends.pair().await;
        asked.await.unwrap().unwrap_err();
        first.until_closed().await;
        second.until_closed().await;
        market.logged(|line| line["status"] == 499 && line["hedged"] == "lost").await;
    }
    until_hedges(&market, "lost", 2).await;
}

#[tokio::test]
async fn https_backends_get_seconds_in_http1_and_are_verified() {
    let [own, other] = [(), ()].map(|()| Authority::new().unwrap());
    let mut backends = Backends::start(2, false).await;
    let mut urls = Vec::new();
    for url in &backends.urls {
        let inner = url.strip_prefix("http://").unwrap().parse().unwrap();
        urls.push(in_front_of(inner, &own, &["http/1.1"]).await);
    }
    let market = trusting(&own, &urls);
    market.set_site(|site| site.settings.hedge_after_ms = 10);
    let answer = send(market.visitors.get(HOST, "/"));
    let (first, second) = backends.pair().await;
    assert_eq!(first.bytes, second.bytes);
    second.answer(OK).await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, logged(&market, &answer).await.0), (200, text("won")));
    first.until_closed().await;
    // One whose certificate nobody trusts gets nothing: whichever is asked, only the other sees a request.
    let inner = backends.urls[1].strip_prefix("http://").unwrap().parse().unwrap();
    let impostor = in_front_of(inner, &other, &["http/1.1"]).await;
    market.set_site(|site| {
        site.settings.hedge_after_ms = 10;
        site.backends[1].url = impostor.parse().unwrap();
    });
    while hedges(&market, "failed").await == 0 {
        let retries = count(&market, "stoa_retries_total").await;
        let answer = send(market.visitors.get(HOST, "/"));
        let only = backends.next().await;
        assert_eq!(only.at, 0);
        until_attempted(&market, "an attempt at the impostor", retries).await;
        only.answer(OK).await;
        assert_eq!(answer.await.unwrap().body, "ok");
    }
}

#[tokio::test]
async fn a_second_in_http1_wins_from_a_first_in_http2() {
    let own = Authority::new().unwrap();
    let mut backends = Backends::start(1, false).await;
    let inner = backends.urls[0].strip_prefix("http://").unwrap().parse().unwrap();
    let quick = in_front_of(inner, &own, &["http/1.1"]).await;
    for silent in [H2Origin::tls(&own).await.https(), H2Origin::clear().await.h2c()] {
        let market = trusting(&own, &[silent, quick.clone()]);
        market.set_site(|site| {
            site.settings.hedge_after_ms = 10;
            site.backends[0].weight = 1_000;
        });
        while hedges(&market, "won").await == 0 {
            for curl in
                [market.visitors.get(HOST, "/silent").http1(), market.visitors.get(HOST, "/silent").http2()]
            {
                let answer = send(curl.header("Cookie: a=b; c=d"));
                let arrival = backends.next().await;
                let head = arrival.bytes.to_lowercase();
                assert!(head.starts_with("get /silent http/1.1\r\n"), "{head}");
                assert!(
                    head.contains("\r\nhost: hello.apps.localhost")
                        && head.contains("\r\ncookie: a=b; c=d\r\n"),
                    "{head}"
                );
                arrival.answer(OK).await;
                let answer = answer.await.unwrap();
                assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
                assert_eq!(logged(&market, &answer).await.1, quick);
            }
        }
    }
}

/// Waits until a GET that is sent now is sent twice, by which time whatever was sent before it would have been too.
async fn pass_time(market: &Market, host: &str, backends: &mut Backends) {
    let answer = send(market.visitors.get(host, "/mark"));
    let (first, second) = backends.pair().await;
    assert!(first.bytes.starts_with("GET /mark") && second.bytes.starts_with("GET /mark"));
    first.answer(OK).await;
    answer.await.unwrap();
    second.until_closed().await;
}

#[tokio::test]
async fn what_may_change_something_or_asks_for_a_stream_is_sent_once() {
    let (market, mut backends) = market().await;
    let get = || market.visitors.get(HOST, "/once");
    for curl in [
        get().method("POST").http1(),
        get().method("POST").body("a").http2(),
        get().method("DELETE"),
        get().method("GET").body("a").http1(),
        get().header("Accept: text/event-stream"),
    ] {
        let answer = send(curl);
        let only = backends.next().await;
        assert!(only.bytes.contains(" /once "));
        pass_time(&market, HOST, &mut backends).await;
        let mut only = only;
        only.say(OK).await;
        assert_eq!(logged(&market, &answer.await.unwrap()).await.0, None);
    }
    assert_eq!(hedges(&market, "lost").await, 5, "those that marked the time");
}

#[tokio::test]
async fn a_request_for_one_backend_alone_is_sent_once_whatever_the_others_are() {
    let (mut one, mut two) = (Backends::start(1, false).await, Backends::start(2, false).await);
    let market = Market::open(&one.urls);
    let other = "other.apps.localhost";
    let mut marked = site(market.tenant.id, other, &two.urls);
    marked.settings.hedge_after_ms = 10;
    market.put(Object::Site(Box::new(marked)));
    let drained = (two.urls[0].clone(), 0);
    let cleartext2 = (two.urls[1].replace("http:", "h2c:"), 1);
    for beside in [None, Some(drained), Some(cleartext2)] {
        market.set_site(|site| {
            site.settings.hedge_after_ms = 10;
            site.backends[0].weight = 1_000;
            if let Some((url, weight)) = beside {
                site.backends.push(model::backend::Backend { url: url.parse().unwrap(), weight });
            }
        });
        let answer = send(market.visitors.get(HOST, "/"));
        let only = one.next().await;
        pass_time(&market, other, &mut two).await;
        only.answer(OK).await;
        assert_eq!(logged(&market, &answer.await.unwrap()).await.0, None);
    }
    assert_eq!(hedges(&market, "refused").await, 0);
}

#[tokio::test]
async fn without_budget_or_a_place_at_the_app_there_is_no_second() {
    const CROWD: usize = 60;
    let (market, mut backends) = market().await;
    let visitor = market.visitors.visitor(HOST).unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let visitor = visitor.clone();
        crowd.spawn(async move { visitor.get("/").await.unwrap() });
    }
    let mut arrived = Vec::new();
    wait::until("a word on each request", wait::LONG, async || {
        arrived.extend(std::iter::from_fn(|| backends.arrivals.try_recv().ok()));
        let refused = usize::try_from(hedges(&market, "refused").await)?;
        anyhow::ensure!(arrived.len() + refused == 2 * CROWD, "{} and {refused}", arrived.len());
        Ok(())
    })
    .await
    .unwrap();
    // Three a second for ten seconds, and a fifth of the requests.
    let seconds = arrived.len() - CROWD;
    assert!((30..=30 + CROWD / 5).contains(&seconds), "{seconds}");
    for mut arrival in arrived {
        // An error means that the other one of the two has been taken.
        let _cut = arrival.tcp.write_all(OK.as_bytes()).await;
        tokio::spawn(receive(arrival.at, arrival.tcp, false, arrival.next));
    }
    assert_eq!(crowd.join_all().await, ["ok"; CROWD]);

    let (market, mut backends) = self::market().await;
    market.set_site(|site| {
        site.settings.hedge_after_ms = 10;
        site.settings.max_concurrency = 1;
    });
    let answer = send(market.visitors.get(HOST, "/"));
    let first = backends.next().await;
    until_hedges(&market, "refused", 1).await;
    first.answer(OK).await;
    assert_eq!(logged(&market, &answer.await.unwrap()).await.0, None);
}

#[tokio::test]
async fn the_second_answer_streams_whole_and_the_visitor_keeps_the_connection() {
    let (market, mut backends) = market().await;
    let tls = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut visitor = tls.connect(market.visitors.https, HOST).await.unwrap();
    let long = "0123456789abcdef".repeat(1 << 16);
    let counted =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n", long.len());
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (method, pieces, end) in [
        ("GET", vec![counted.clone(), long.clone()], "cdef"),
        (
            "GET",
            vec![
                hint.to_owned(),
                chunked.to_owned(),
                "2\r\nab\r\n".to_owned(),
                "2\r\ncd\r\n0\r\n\r\n".to_owned(),
            ],
            "\r\n0\r\n\r\n",
        ),
        ("HEAD", vec![counted.clone()], "\r\n\r\n"),
        ("GET", vec!["HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_owned()], "\r\n\r\n"),
        ("GET", vec!["HTTP/1.1 404 No\r\nContent-".to_owned(), "Length: 4\r\n\r\nnone".to_owned()], "none"),
    ] {
        visitor.write_all(format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        visitor.flush().await.unwrap();
        let (first, mut second) = backends.pair().await;
        for piece in &pieces {
            second.say(piece).await;
        }
        let mut got = Vec::new();
        let is_whole = |got: &[u8]| {
            let is_long =
                pieces.len() < 2 || !got.starts_with(b"HTTP/1.1 200") || got.len() > pieces[1].len();
            is_long && got.ends_with(end.as_bytes())
        };
        while !is_whole(&got) {
            let read = timeout(wait::LONG, visitor.read_buf(&mut got)).await.unwrap().unwrap();
            assert!(read > 0, "it ended: {}", got.escape_ascii());
        }
        let got = String::from_utf8(got).unwrap();
        assert!(!got.contains("103") && !got.to_lowercase().contains("connection: close"), "{got:.300}");
        match (method, &pieces[..]) {
            ("GET", [_, body]) if body.len() > 100 => assert!(got.ends_with(&format!("\r\n\r\n{body}"))),
            ("GET", [_, _, ..]) if got.contains("200") => assert!(got.contains("ab") && got.contains("cd")),
            _ => {}
        }
        first.until_closed().await;
        second.until_closed().await;
    }
    assert_eq!(hedges(&market, "won").await, 5);
}
