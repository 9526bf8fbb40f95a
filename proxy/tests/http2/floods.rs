//! Floods: each is ended, told and counted, and next to nothing of it reaches an app; others go on.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use testkit::http2::{self, Client, Frame, flag, kind};
use testkit::origin::Origin;

use crate::market::{HOST, Market};

/// ENHANCE_YOUR_CALM and PROTOCOL_ERROR (RFC 9113 §7).
const CALM: u32 = 11;
const PROTOCOL_ERROR: u32 = 1;
/// Requests of a flood that may reach an app.
const MOST: u64 = 5;
/// Pieces of a flood: more than any limit.
const MANY: u32 = 20_000;

/// An app under attack, and its honest visitors.
struct Arena {
    origin: Origin,
    market: Market,
    floods: AtomicU32,
}

impl Arena {
    async fn open() -> Self {
        let origin = Origin::start("one").await.unwrap();
        let market = Market::open(&[origin.url()]);
        Self { origin, market, floods: AtomicU32::new(0) }
    }

    /// Sends `start` and then `piece` after `piece` until the guard ends it for the flood that is `expected`.
    async fn flood(
        &self,
        expected: &str,
        start: impl Fn(&str) -> Vec<u8>,
        piece: impl Fn(&str, u32) -> Vec<u8>,
    ) {
        let farewell = self.send(start, piece).await;
        assert_eq!((farewell.code(), farewell.debug().as_str()), (Some(CALM), expected));
        let line = format!("stoa_http2_floods_total{{kind=\"{expected}\"}}");
        testkit::wait::until(&line, testkit::wait::LONG, async || {
            anyhow::ensure!(self.market.probe("/metrics").await.1.contains(&line));
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Sends `start` and then `piece` after `piece` until the connection is ended; the farewell. Both get the path
    /// that this flood asks for, `piece` also a number. Checks what floods have in common.
    async fn send(&self, start: impl Fn(&str) -> Vec<u8>, piece: impl Fn(&str, u32) -> Vec<u8>) -> Frame {
        let good = self.market.visitors.visitor(HOST).unwrap();
        assert_eq!(good.get("/").await.unwrap(), "one");
        let load = good.load(1);
        let path = format!("/slow/{}", 200 + self.floods.fetch_add(1, Relaxed));
        let mut client = Client::open(&self.market.visitors, HOST, &[]).await.unwrap();
        let mut is_open = client.send(&start(&path)).await.is_ok();
        let mut number = 0;
        while is_open && number < MANY {
            // Many at once, as a flood comes.
            let bytes: Vec<u8> = (number..number + 50).flat_map(|number| piece(&path, number)).collect();
            number += 50;
            is_open = client.send(&bytes).await.is_ok();
        }
        let farewell = client.farewell().await.unwrap().unwrap();
        load.more(3).await.unwrap();
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        let wasted = self.origin.requests_for(&path);
        assert!(wasted <= MOST, "{wasted} requests reached the app; {farewell:?}");
        farewell
    }
}

/// Streams of clients are odd.
fn id(number: u32) -> u32 {
    2 * number + 1
}

fn nothing(_: &str) -> Vec<u8> {
    Vec::new()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    http2::get(stream, HOST, path)
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once() {
    let arena = Arena::open().await;
    let pair = |path: &str, number| [get(id(number), path), http2::reset(id(number), 8)].concat();
    arena.flood("rapid_reset", nothing, pair).await;
    let ten = |path: &str, number| match number % 20 {
        0..10 => get(id(number / 20 * 10 + number % 10), path),
        _ => http2::reset(id(number / 20 * 10 + number % 10), 8),
    };
    arena.flood("rapid_reset", nothing, ten).await;
}

/// Each way to have a stream reset by us while its request goes on at the app (CVE-2025-8671).
#[tokio::test]
async fn requests_that_the_edge_is_made_to_take_back() {
    let ways: [fn(&str, u32) -> Vec<u8>; 5] = [
        |path, id| [get(id, path), http2::window_update(id, 0x7fff_ffff)].concat(),
        |path, id| {
            let on_itself = [&id.to_be_bytes()[..], &[0]].concat();
            [get(id, path), http2::frame(kind::PRIORITY, 0, id, &on_itself)].concat()
        },
        |path, id| [announcing("1", path, id), http2::data(id, b"xxx", true)].concat(),
        |path, id| [announcing("9", path, id), http2::data(id, b"xxx", true)].concat(),
        |path, id| {
            // Trailers that are not the end.
            let trailers = http2::block(&[("x", "y")]);
            let trailers = http2::frame(kind::HEADERS, flag::END_HEADERS, id, &trailers);
            [http2::post(id, HOST, path), trailers].concat()
        },
    ];
    let arena = Arena::open().await;
    for way in ways {
        arena.flood("provoked_reset", nothing, |path, number| way(path, id(number))).await;
    }
}

fn announcing(length: &str, path: &str, id: u32) -> Vec<u8> {
    let block = http2::request("POST", HOST, path, &[("content-length", length)]);
    http2::frame(kind::HEADERS, flag::END_HEADERS, id, &block)
}

/// The other ways: the library takes them for errors of the connection.
#[tokio::test]
async fn errors_that_end_the_connection_at_once() {
    let ways: [fn(&str, u32) -> Vec<u8>; 4] = [
        |path, id| [get(id, path), http2::window_update(id, 0)].concat(),
        |path, id| [get(id, path), http2::data(id, b"x", false)].concat(),
        |path, id| [get(id, path), get(id, path)].concat(),
        |path, id| [get(id, path), http2::frame(kind::PRIORITY, 0, id, &[0])].concat(),
    ];
    let arena = Arena::open().await;
    for way in ways {
        let farewell = arena.send(nothing, |path, number| way(path, id(number))).await;
        assert_eq!(farewell.code(), Some(PROTOCOL_ERROR), "{farewell:?}");
    }
}

#[tokio::test]
async fn a_header_block_without_an_end() {
    let arena = Arena::open().await;
    let start = |path: &str| {
        http2::frame(kind::HEADERS, flag::END_STREAM, 1, &http2::request("GET", HOST, path, &[]))
    };
    let more = |bytes: Vec<u8>| move |_: &str, _| http2::frame(kind::CONTINUATION, 0, 1, &bytes);
    arena.flood("continuation", start, more(http2::field("x", "y"))).await;
    arena.flood("continuation", start, more(Vec::new())).await;
    arena.flood("header_block", start, more(http2::field("x", &"y".repeat(16_000)))).await;
}

#[tokio::test]
async fn frames_of_the_connection() {
    let arena = Arena::open().await;
    arena.flood("ping", nothing, |_, _| http2::ping(*b"12345678")).await;
    arena.flood("settings", nothing, |_, number| http2::settings(&[(4, 65_535 + number)])).await;
    arena.flood("window_update", nothing, |_, _| http2::window_update(0, 1)).await;
    let priority = |_: &str, number| http2::frame(kind::PRIORITY, 0, id(number), &[0, 0, 0, 0, 1]);
    arena.flood("priority", nothing, priority).await;
    arena.flood("unknown", nothing, |_, _| http2::frame(0xbe, 0, 0, b"grease")).await;
}

#[tokio::test]
async fn frames_of_a_stream() {
    let arena = Arena::open().await;
    let post = |path: &str| http2::post(1, HOST, path);
    let padding = |_: &str, _| http2::frame(kind::DATA, flag::PADDED, 1, &[3, 0, 0, 0]);
    arena.flood("empty_data", post, |_, _| http2::data(1, &[], false)).await;
    arena.flood("empty_data", post, padding).await;
    arena.flood("window_update", post, |_, _| http2::window_update(1, 1)).await;
}
