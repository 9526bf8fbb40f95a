use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::frames::PREFACE;
use super::*;

const LIMITS: Limits =
    Limits { header: Duration::from_secs(10), idle: Duration::from_secs(60), stall: Duration::from_secs(30) };
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The library's end of a guarded connection, as it would see it.
struct Library {
    guard: Guard,
    transport: DuplexStream,
}

impl Library {
    /// It and the visitor's end, which has said its first words.
    async fn new() -> (Self, DuplexStream) {
        let (mut visitor, transport) = duplex(1 << 20);
        visitor.write_all(PREFACE).await.unwrap();
        visitor.write_all(&SETTINGS).await.unwrap();
        let mut library = Self { guard: Guard::new(LIMITS, Arc::new(Gauge::default())), transport };
        assert_eq!(library.read().await.unwrap().len(), PREFACE.len() + SETTINGS.len());
        (library, visitor)
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = [0; 1 << 16];
        let mut buf = ReadBuf::new(&mut bytes);
        let Self { guard, transport } = self;
        std::future::poll_fn(|cx| guard.poll_read(transport, cx, &mut buf)).await?;
        Ok(buf.filled().to_vec())
    }

    /// What goes on before the library's next turn.
    async fn read_at_once(&mut self) -> Vec<u8> {
        let mut bytes = [0; 1 << 16];
        let mut buf = ReadBuf::new(&mut bytes);
        let Self { guard, transport } = self;
        let read = std::future::poll_fn(|cx| Poll::Ready(guard.poll_read(transport, cx, &mut buf))).await;
        assert!(!matches!(read, Poll::Ready(Err(_))));
        buf.filled().to_vec()
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Self { guard, transport } = self;
        let sent = std::future::poll_fn(|cx| guard.poll_write(transport, cx, bytes)).await.unwrap();
        assert_eq!(sent, bytes.len());
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

fn headers(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, b"block")
}

fn reset(stream: u32, code: u8) -> Vec<u8> {
    frame(3, 0, stream, &[0, 0, 0, code])
}

async fn farewell(mut visitor: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    visitor.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_hundred_requests_may_be_left() {
    let (mut library, mut visitor) = Library::new().await;
    for stream in 0..100 {
        visitor.write_all(&headers(2 * stream + 1)).await.unwrap();
    }
    let mut count = 0;
    while count < 100 * headers(1).len() {
        count += library.read().await.unwrap().len();
    }
    tokio::time::advance(Duration::from_millis(300)).await;
    for stream in 0..100 {
        visitor.write_all(&reset(2 * stream + 1, 8)).await.unwrap();
    }
    assert_eq!(library.read().await.unwrap().len(), 100 * reset(1, 8).len());
}

#[tokio::test(start_paused = true)]
async fn a_download_with_much_credit_and_many_pings_is_no_flood() {
    let (mut library, mut visitor) = Library::new().await;
    visitor.write_all(&headers(1)).await.unwrap();
    library.read().await.unwrap();
    library.write(&frame(1, 4, 1, b"ok")).await;
    for _ in 0..5_000 {
        library.write(&frame(0, 0, 1, b"a message")).await;
        let credit = [frame(8, 0, 0, &[0, 0, 0, 9]), frame(8, 0, 1, &[0, 0, 0, 9]), frame(6, 0, 0, &[0; 8])];
        visitor.write_all(&credit.concat()).await.unwrap();
        assert_eq!(library.read().await.unwrap().len(), credit.concat().len());
        let mut sink = [0; 64];
        let _read = visitor.read(&mut sink).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_farewell_names_the_last_request_that_went_on() {
    let (mut library, mut visitor) = Library::new().await;
    visitor.write_all(&headers(1)).await.unwrap();
    library.read().await.unwrap();
    let flood: Vec<u8> = (1..20).flat_map(|n| [headers(2 * n + 1), reset(2 * n + 1, 8)].concat()).collect();
    visitor.write_all(&flood).await.unwrap();
    while library.read().await.is_ok() {}
    let told = farewell(visitor).await;
    let last = u32::from_be_bytes(*told[9..].first_chunk().unwrap());
    assert!(last <= 9, "{last}");
    assert_eq!(&told[17..], b"rapid_reset");
    assert_eq!(library.guard.gauge.flood(), Some(Flood::RapidReset));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_never_breaks_a_frame_of_ours() {
    let (mut library, mut visitor) = Library::new().await;
    let begun = frame(0, 0, 1, b"half of a frame");
    library.write(&begun[..12]).await;
    visitor.write_all(&frame(4, 0, 0, &[]).repeat(40)).await.unwrap();
    assert!(library.read().await.is_err());
    assert_eq!(farewell(visitor).await, begun[..12]);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_until_the_library_had_its_turn() {
    let (mut library, mut visitor) = Library::new().await;
    let many: Vec<u8> = (0..12).flat_map(|n| headers(2 * n + 1)).collect();
    visitor.write_all(&many).await.unwrap();
    let first = library.read_at_once().await;
    assert_eq!(first, many[..5 * headers(1).len() + 8]);
    // It finds fault with three of them: fewer may follow.
    assert_eq!(library.read_at_once().await, b"");
    for stream in [1, 3, 5] {
        library.write(&reset(stream, 1)).await;
    }
    let second = library.read_at_once().await;
    assert_eq!(second, many[first.len()..7 * headers(1).len() + 8]);
    // Everything comes in the end, in order.
    let mut all = [first, second].concat();
    while all.len() < many.len() {
        all.extend(library.read().await.unwrap());
    }
    assert_eq!(all, many);
}

#[tokio::test(start_paused = true)]
async fn the_fifth_stream_that_we_are_made_to_reset_is_the_last() {
    let (mut library, mut visitor) = Library::new().await;
    for stream in [1, 3, 5, 7, 9] {
        visitor.write_all(&headers(stream)).await.unwrap();
        library.read().await.unwrap();
        library.write(&reset(stream, 3)).await;
    }
    assert!(library.read().await.is_err());
    assert!(farewell(visitor).await.ends_with(b"provoked_reset"));
}

#[tokio::test(start_paused = true)]
async fn what_an_app_does_is_not_held_against_the_visitor() {
    let (mut library, mut visitor) = Library::new().await;
    for number in 0..50 {
        visitor.write_all(&headers(2 * number + 1)).await.unwrap();
        library.read().await.unwrap();
        // INTERNAL_ERROR and CANCEL.
        library.write(&reset(2 * number + 1, if number % 2 == 0 { 2 } else { 8 })).await;
        assert_eq!(library.read_at_once().await, b"");
    }
    visitor.write_all(&headers(201)).await.unwrap();
    assert_eq!(library.read().await.unwrap(), headers(201));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_gets_no_further_request_through_and_is_ended() {
    let (mut visitor, transport) = duplex(64);
    visitor.write_all(PREFACE).await.unwrap();
    visitor.write_all(&SETTINGS).await.unwrap();
    let mut library = Library { guard: Guard::new(LIMITS, Arc::new(Gauge::default())), transport };
    library.read().await.unwrap();
    library.write(&frame(0, 0, 1, &[0; 55])).await;
    let Library { guard, transport } = &mut library;
    let blocked = std::future::poll_fn(|cx| Poll::Ready(guard.poll_write(transport, cx, b"more"))).await;
    assert!(blocked.is_pending());
    visitor.write_all(&headers(1)).await.unwrap();
    assert_eq!(library.read_at_once().await, headers(1)[..8]);
    let started = Instant::now();
    assert!(library.read().await.is_err());
    assert_eq!(started.elapsed().as_secs(), LIMITS.stall.as_secs());
    assert!(library.guard.gauge.cut().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_header_block_has_one_deadline_however_it_drips() {
    let (mut library, mut visitor) = Library::new().await;
    visitor.write_all(&frame(1, 1, 1, b"block")).await.unwrap();
    library.read().await.unwrap();
    let dripping = tokio::spawn(async move {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let _sent = visitor.write_all(&frame(9, 0, 1, b"more")).await;
        }
        farewell(visitor).await
    });
    let started = Instant::now();
    while library.read().await.is_ok() {}
    assert_eq!(started.elapsed().as_secs(), LIMITS.header.as_secs());
    assert!(library.guard.gauge.cut().is_some());
    drop(library);
    assert!(dripping.await.unwrap().ends_with(b"header_overdue"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_gets_a_farewell_and_one_with_a_stream_does_not() {
    let (mut library, mut visitor) = Library::new().await;
    visitor.write_all(&headers(1)).await.unwrap();
    library.read().await.unwrap();
    let wait = tokio::time::timeout(LIMITS.idle * 3, library.read()).await;
    assert!(wait.is_err());
    library.write(&frame(1, 5, 1, b"ok")).await;
    let started = Instant::now();
    assert!(library.read().await.is_err());
    assert_eq!(started.elapsed().as_secs(), LIMITS.idle.as_secs());
    assert!(farewell(visitor).await.ends_with(b"idle"));
    assert_eq!(library.guard.gauge.cut(), None);
}

/// Frames that make sense to the rules, and bytes that do not.
fn stream_of_bytes() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    let some = (0_u8..11, any::<u8>(), 0_u32..40, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    (prop::collection::vec(some, 0..60), prop::collection::vec(any::<u8>(), 0..30), any::<bool>()).prop_map(
        |(frames, rest, is_greeted)| {
            let start = if is_greeted { PREFACE.to_vec() } else { Vec::new() };
            [start, frames.concat(), rest].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_come(bytes in stream_of_bytes(), size in 1_usize..50) {
        let whole = judge(&bytes, bytes.len());
        prop_assert_eq!(judge(&bytes, size), whole);
        prop_assert_eq!(judge(&bytes, 1), whole);
    }

    #[test]
    fn our_own_frames_are_followed_however_they_go_out(
        bytes in stream_of_bytes(),
        cuts in prop::collection::vec(1_usize..50, 1..20),
    ) {
        let now = Instant::now();
        let (mut whole, mut pieces) = (Watch::new(now), Watch::new(now));
        whole.send(&bytes, now);
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at(rest.len().min(*cut));
            pieces.send(piece, now);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole.verdict(), pieces.verdict());
        prop_assert_eq!(whole.errors(), pieces.errors());
        prop_assert_eq!(whole.is_between_frames(), pieces.is_between_frames());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzzing::http2_frames(&bytes);
        crate::fuzzing::http2_frames(&[&[7][..], PREFACE, &bytes].concat());
    }
}
