//! Framing and the states of streams: h2spec's http2/3.5 to http2/5.5.

use super::*;

const LARGE: usize = (16 << 10) + 1;

pub(super) fn cases() -> Vec<Case> {
    [framing(), idle(), half_closed(), closed(), ids(), priorities(), errors()]
        .into_iter()
        .flatten()
        .collect()
}

fn framing() -> Vec<Case> {
    let broken = http2::frame(kind::HEADERS, flag::WHOLE, 1, &[0x40]);
    let first = fields()[..20].to_vec();
    let grease = |kind, flags| http2::frame(kind, flags, 0, &[0; 8]);
    vec![
        harmless("4.1", "a frame of an unknown type", [grease(0x16, 0)]),
        harmless("4.1", "a frame with unknown flags", [http2::frame(kind::PING, 0x16, 0, &PING)]),
        harmless("4.1", "a frame with the reserved bit set", [http2::frame(kind::PING, 0, 1 << 31, &PING)]),
        harmless(
            "5.5",
            "a frame of an unknown type on a stream",
            [slow(1), http2::frame(0xbe, 7, 1, &[0; 9])],
        ),
        case("4.2", "DATA of 2^14 bytes", [post(1), data(1, &[b'x'; LARGE - 1])], Expected::Answer(1, 200)),
        case(
            "4.2",
            "a large frame that changes the connection (SETTINGS)",
            [http2::frame(kind::SETTINGS, 0, 0, &[0; 16_386])],
            Expected::Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2",
            "DATA beyond the largest frame",
            [post(1), data(1, &[b'x'; LARGE])],
            Expected::Stream(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2",
            "HEADERS beyond the largest frame",
            [headers(flag::WHOLE, 1, &http2::field("x", &"y".repeat(LARGE)))],
            Expected::Connection(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.3",
            "a header block that cannot be read",
            [broken],
            Expected::Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
        ),
        case(
            "4.3",
            "PRIORITY within a header block",
            [headers(1, 1, &first), http2::frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 255])],
            Expected::Connection(&[PROTOCOL_ERROR]),
        ),
        case(
            "4.3",
            "HEADERS of another stream within a header block",
            [headers(1, 1, &first), get(3)],
            Expected::Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn idle() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    vec![
        case("5.1", "DATA on an idle stream", [data(1, b"test")], error),
        case("5.1", "RST_STREAM on an idle stream", [http2::reset(1, 8)], error),
        case("5.1", "WINDOW_UPDATE on an idle stream", [http2::window_update(1, 100)], error),
        case(
            "5.1",
            "CONTINUATION on an idle stream",
            [http2::frame(kind::CONTINUATION, flag::END_HEADERS, 1, &fields())],
            error,
        ),
    ]
}

fn half_closed() -> Vec<Case> {
    let closed = Expected::Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]);
    let more = http2::frame(kind::CONTINUATION, flag::END_HEADERS, 1, &fields());
    vec![
        case("5.1", "DATA on a half-closed (remote) stream", [slow(1), data(1, b"test")], closed),
        case("5.1", "HEADERS on a half-closed (remote) stream", [slow(1), get(1)], closed),
        case("5.1", "CONTINUATION on a half-closed (remote) stream", [slow(1), more], closed),
    ]
}

fn closed() -> Vec<Case> {
    let closed = Expected::Stream(&[STREAM_CLOSED]);
    let refused = Expected::Connection(&[STREAM_CLOSED, PROTOCOL_ERROR]);
    let more = http2::frame(kind::CONTINUATION, flag::END_HEADERS, 1, &fields());
    let after = |what, bytes: Vec<u8>, expected| {
        steps(
            "5.1",
            what,
            vec![Step::Greet, Step::Send(get(1)), Step::Answered(1), Step::Send(bytes)],
            expected,
        )
    };
    vec![
        case("5.1", "DATA after RST_STREAM", [slow(1), http2::reset(1, 8), data(1, b"test")], closed),
        case("5.1", "HEADERS after RST_STREAM", [slow(1), http2::reset(1, 8), get(1)], refused),
        case("5.1", "CONTINUATION after RST_STREAM", [slow(1), http2::reset(1, 8), more.clone()], refused),
        after("DATA on a closed stream", data(1, b"test"), closed),
        after("HEADERS on a closed stream", get(1), refused),
        after("CONTINUATION on a closed stream", more, refused),
    ]
}

fn ids() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let many: Vec<u8> = (0..102).flat_map(|number| slow(2 * number + 1)).collect();
    let refused = Expected::Stream(&[PROTOCOL_ERROR, 7]);
    vec![
        case("5.1.1", "an even stream", [get(2)], error),
        case("5.1.1", "a stream below the last one", [slow(5), get(3)], error),
        case("5.1.2", "more streams at a time than are offered", [many], refused),
    ]
}

fn priorities() -> Vec<Case> {
    let on_itself = [&[0, 0, 0, 1, 255][..], &fields()].concat();
    vec![
        case(
            "5.3.1",
            "HEADERS that depend on themselves",
            [headers(flag::WHOLE | flag::PRIORITY, 1, &on_itself)],
            Expected::Stream(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.3.1",
            "PRIORITY that depends on itself",
            [http2::frame(kind::PRIORITY, 0, 2, &[0, 0, 0, 2, 255])],
            Expected::Stream(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn errors() -> Vec<Case> {
    let bad_ping = http2::frame(kind::PING, 0, 3, &PING);
    vec![
        case(
            "5.4.1",
            "an error of the connection is told",
            [bad_ping.clone()],
            Expected::Connection(&[PROTOCOL_ERROR]),
        ),
        steps("5.4.1", "and closes it", vec![Step::Greet, Step::Send(bad_ping)], Expected::Closed),
        case(
            "5.5",
            "an unknown frame within a header block",
            [headers(1, 1, &fields()[..20]), http2::frame(0xbe, 0, 0, &[0; 8])],
            Expected::Connection(&[PROTOCOL_ERROR]),
        ),
    ]
}
