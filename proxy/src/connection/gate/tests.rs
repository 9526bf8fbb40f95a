use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::connection::Gauge;
use crate::way::tests::{connection, edge_with};

const HEAD: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// One for all: an edge is dear to make.
static EDGE: LazyLock<Arc<Shared>> = LazyLock::new(|| Arc::new(edge_with(|_| ())));

/// A visitor whose bytes come in pieces, and who takes whatever is written.
#[derive(Default)]
struct Visitor {
    pieces: VecDeque<Vec<u8>>,
    is_ended: bool,
    got: Vec<u8>,
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.pieces.pop_front() {
            Some(mut piece) => {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.pieces.push_front(rest);
                }
                Poll::Ready(Ok(()))
            }
            None if self.is_ended => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.got.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A gate with a visitor before it, read as pingora reads.
struct Door {
    gate: Gate,
    visitor: Visitor,
}

impl AsyncRead for Door {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { gate, visitor } = self.get_mut();
        gate.poll_read(visitor, cx, buf)
    }
}

impl Door {
    fn of(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let carrier = connection("192.0.2.1", Some("a.test"));
        let visitor = Visitor { pieces: pieces.into_iter().collect(), ..Visitor::default() };
        Self { gate: Gate::new(Arc::clone(&EDGE), Arc::new(carrier)), visitor }
    }

    fn gauge(&self) -> &Gauge {
        &self.gate.carrier.gauge
    }

    /// Everything that is handed on until nothing comes for a while; the error if it came to one, and whether it
    /// came to an end.
    async fn handed(&mut self) -> (Vec<u8>, Option<io::ErrorKind>, bool) {
        let mut got = Vec::new();
        loop {
            let mut piece = [0; 100];
            match tokio::time::timeout(Duration::from_millis(1), self.read(&mut piece)).await {
                Err(_) => return (got, None, false),
                Ok(Err(error)) => return (got, Some(error.kind()), false),
                Ok(Ok(0)) => return (got, None, true),
                Ok(Ok(count)) => got.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn answer(&self) -> String {
        String::from_utf8_lossy(&self.visitor.got).into_owned()
    }
}

/// Bytes cut at `places`.
fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).filter(|piece| !piece.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_are_handed_on_one_by_one() {
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n";
    let all = [HEAD, post, chunked, HEAD].concat();
    for pieces in [vec![all.clone().into_bytes()], all.bytes().map(|byte| vec![byte]).collect()] {
        let mut door = Door::of(pieces);
        for message in [HEAD, post, chunked, HEAD] {
            let (handed, error, is_ended) = door.handed().await;
            assert_eq!(
                (String::from_utf8(handed).unwrap().as_str(), error, is_ended),
                (message, None, false)
            );
            door.gauge().await_header();
        }
        assert_eq!(door.answer(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn the_visitors_end_is_seen_while_an_app_works() {
    let mut door = Door::of([HEAD.as_bytes().to_vec()]);
    assert_eq!(door.handed().await, (HEAD.as_bytes().to_vec(), None, false));
    door.visitor.is_ended = true;
    assert_eq!(door.handed().await, (Vec::new(), None, true));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_ahead_is_held_to_a_bound() {
    let flood = (0..100).map(|_| vec![b'a'; 1 << 10]);
    let mut door = Door::of([HEAD.as_bytes().to_vec()].into_iter().chain(flood));
    assert_eq!(door.handed().await.0, HEAD.as_bytes());
    assert!(door.gate.held.len() < MOST_HELD_BYTES + READ_BYTES, "{}", door.gate.held.len());
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_gets_a_page_and_nothing_of_it_is_handed_on() {
    let mut door =
        Door::of([b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n".to_vec(), HEAD.into()]);
    assert_eq!(door.handed().await, (Vec::new(), None, true));
    let answer = door.answer();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close\r\n") && answer.contains("bad_request"));
    assert!(door.gate.owes_farewell());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_broken_from_the_start_never_reaches_an_app() {
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut door = Door::of([format!("{head}5\r\nhelloX").into_bytes()]);
    assert_eq!(door.handed().await, (Vec::new(), None, true));
    assert!(door.answer().starts_with("HTTP/1.1 400 "));
    let mut door = Door::of([head.into(), b"5\r\nhello".to_vec(), b"X".to_vec()]);
    let (handed, error, _) = door.handed().await;
    assert_eq!((handed, error), (format!("{head}5\r\nhello").into_bytes(), Some(io::ErrorKind::InvalidData)));
    assert_eq!(door.gauge().fault(), Some(&Refusal::BadRequest("a chunk is longer than its size")));
    assert_eq!(door.answer(), "");
}

#[tokio::test(start_paused = true)]
async fn after_a_switch_everything_passes_what_came_before_first() {
    let mut door = Door::of([format!("{HEAD}early").into_bytes()]);
    assert_eq!(door.handed().await.0, HEAD.as_bytes());
    let mut piece = [0; 64];
    let held = tokio::time::timeout(Duration::from_secs(5), door.read(&mut piece)).await;
    assert!(held.is_err());
    door.gauge().pass_all();
    assert_eq!(door.handed().await.0, b"early");
    door.visitor.pieces.push_back(b"later\n".to_vec());
    assert_eq!(door.handed().await.0, b"later\n");
    let silent = Instant::now();
    assert_eq!(door.read(&mut piece).await.unwrap(), 0);
    assert!(silent.elapsed() >= Duration::from_secs(3590));
    assert_eq!(door.gauge().cut(), Some(Cut::Stream));
}

/// How long it takes until the gate gives up on a visitor that sent `pieces` and is silent then.
async fn patience(pieces: &[&str], is_another: bool) -> (u64, Option<Cut>, String) {
    let mut door = Door::of(is_another.then(|| HEAD.as_bytes().to_vec()));
    if is_another {
        door.handed().await;
        door.gauge().await_header();
    }
    door.visitor.pieces.extend(pieces.iter().map(|piece| piece.as_bytes().to_vec()));
    let started = Instant::now();
    let mut piece = [0; 1000];
    while door.read(&mut piece).await.is_ok_and(|count| count > 0) {}
    (started.elapsed().as_secs(), door.gauge().cut(), door.answer())
}

#[tokio::test(start_paused = true)]
async fn silence_has_a_limit_for_each_thing_that_is_awaited() {
    assert_eq!(patience(&[], false).await, (10, Some(Cut::Header), String::new()));
    assert_eq!(patience(&[], true).await, (60, None, String::new()));
    for is_another in [false, true] {
        let (seconds, cut, answer) = patience(&["GET / HT"], is_another).await;
        assert_eq!((seconds, cut), (10, Some(Cut::Header)));
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    }
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5000\r\n";
    let (seconds, cut, answer) = patience(&[post, "\r\n"], false).await;
    assert_eq!((seconds, cut, answer.as_str()), (10, Some(Cut::Body), ""));
    let (seconds, ..) = patience(&[post, "\r\n", &"x".repeat(2_400)], false).await;
    assert_eq!(seconds, 20);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_go_ahead_is_not_slow() {
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut door = Door::of([head.as_bytes().to_vec()]);
    assert_eq!(door.handed().await.0, head.as_bytes());
    let mut piece = [0; 8];
    assert!(tokio::time::timeout(Duration::from_secs(600), door.read(&mut piece)).await.is_err());
    door.gate.note_write();
    let told = Instant::now();
    assert_eq!(door.read(&mut piece).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(told.elapsed().as_secs(), 10);
}

/// Pieces of requests, some of them broken.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.0\r\n",
        "Host: a.test\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\0",
        ":",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "hello",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        "3;a=\"b\"\r\nabc\r\n",
        "0\r\nx: y\r\n\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
    ]);
    prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

fn run(bytes: &[u8], places: &[usize]) -> (Vec<Vec<u8>>, Option<io::ErrorKind>, String) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (mut door, mut messages) = (Door::of(cut(bytes, places)), Vec::new());
        loop {
            let (handed, error, is_ended) = door.handed().await;
            let is_done = handed.is_empty() || error.is_some() || is_ended;
            messages.push(handed);
            if is_done {
                let status = door.answer().lines().next().unwrap_or_default().to_owned();
                return (messages, error, status);
            }
            door.gauge().await_header();
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_bytes_are_cut_the_same_is_handed_on_and_in_order(
        pieces in prop::collection::vec(pieces(), 0..14),
        places in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let bytes = pieces.concat();
        let (whole, _, status) = run(&bytes, &[]);
        let (parts, _, parts_status) = run(&bytes, &places);
        // A body that is seen to be broken with its head is refused at once, else in the middle.
        let settled = |messages: &[Vec<u8>]| messages.iter().filter(|one| is_message(one)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(settled(&whole), settled(&parts));
        if !status.is_empty() && !parts_status.is_empty() {
            prop_assert_eq!(status, parts_status);
        }
        let handed = whole.concat();
        let is_in_order = handed.iter().try_fold(&bytes[..], |rest, byte| {
            rest.iter().position(|other| other == byte).map(|place| &rest[place + 1..])
        });
        prop_assert!(is_in_order.is_some());
    }
}

/// Whether `bytes` are one whole message and nothing more, by the pure functions.
fn is_message(bytes: &[u8]) -> bool {
    let Ok(Some(section)) = Scan::default().find(bytes) else { return false };
    let Ok(checked) = head::check(&bytes[section.clone()], None) else { return false };
    let body = &bytes[section.end..];
    match checked.framing {
        framing::Framing::Length(length) => usize::try_from(length) == Ok(body.len()),
        framing::Framing::Chunked => chunked::Chunks::new().follow(body) == Ok(Some(body.len())),
    }
}
