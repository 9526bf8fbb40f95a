//! The types of frames: h2spec's http2/6.1 to http2/6.10.

use super::*;

/// 2^31 - 1, the largest window.
const MOST: u32 = 0x7fff_ffff;

pub(super) fn cases() -> Vec<Case> {
    [
        data_and_headers(),
        priority_and_reset(),
        settings(),
        pings(),
        windows(),
        window_sizes(),
        continuations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn data_and_headers() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let padded = |kind, flags| http2::frame(kind, flags | flag::PADDED, 1, b"\x2atest");
    vec![
        case("6.1", "DATA on stream 0", [data(0, b"test")], error),
        case(
            "6.1",
            "DATA on no open stream",
            [slow(1), data(1, b"test")],
            Expected::Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        case("6.1", "DATA with more padding than payload", [post(1), padded(kind::DATA, 1)], error),
        case(
            "6.2",
            "HEADERS without an end, then those of another stream",
            [headers(1, 1, &fields()), get(3)],
            error,
        ),
        case("6.2", "HEADERS without an end, then DATA", [headers(0, 1, &fields()), data(1, b"test")], error),
        case("6.2", "HEADERS on stream 0", [get(0)], error),
        case("6.2", "HEADERS with more padding than payload", [padded(kind::HEADERS, flag::WHOLE)], error),
    ]
}

fn priority_and_reset() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let size = Expected::Stream(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
    vec![
        case("6.3", "PRIORITY on stream 0", [http2::frame(kind::PRIORITY, 0, 0, &[0, 0, 0, 0, 255])], error),
        case("6.3", "PRIORITY of 4 bytes", [slow(1), http2::frame(kind::PRIORITY, 0, 1, &[0; 4])], size),
        case("6.4", "RST_STREAM on stream 0", [http2::reset(0, 8)], error),
        case("6.4", "RST_STREAM on an idle stream", [http2::reset(1, 8)], error),
        case(
            "6.4",
            "RST_STREAM of 3 bytes",
            [slow(1), http2::frame(kind::RST_STREAM, 0, 1, &[0; 3])],
            Expected::Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
    ]
}

fn settings() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let size = Expected::Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
    let one = |id, value| [http2::settings(&[(id, value)])];
    vec![
        case("6.5", "an ACK with a payload", [http2::frame(kind::SETTINGS, flag::ACK, 0, &[0; 6])], size),
        case(
            "6.5",
            "SETTINGS on a stream",
            [http2::frame(kind::SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 10])],
            error,
        ),
        case("6.5", "SETTINGS of 3 bytes", [http2::frame(kind::SETTINGS, 0, 0, &[0; 3])], size),
        case("6.5.2", "ENABLE_PUSH of 2", one(ENABLE_PUSH, 2), error),
        case(
            "6.5.2",
            "a window beyond the largest",
            one(INITIAL_WINDOW_SIZE, MOST + 1),
            Expected::Connection(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        case("6.5.2", "frames below the smallest", one(MAX_FRAME_SIZE, (16 << 10) - 1), error),
        case("6.5.2", "frames beyond the largest", one(MAX_FRAME_SIZE, 1 << 24), error),
        harmless("6.5.2", "an unknown setting", one(0xff, 1)),
        steps(
            "6.5.3",
            "of two values the last one holds",
            vec![
                Step::Greet,
                Step::Send(http2::settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)])),
                Step::Send(get(1)),
            ],
            Expected::Data(1),
        ),
        case("6.5.3", "SETTINGS are acknowledged", one(MAX_FRAME_SIZE, 16 << 10), Expected::Acknowledged),
    ]
}

fn pings() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let not_ours = http2::frame(kind::PING, flag::ACK, 0, b"invalid\0");
    vec![
        case("6.7", "PING is answered with its own text", [http2::ping(PING)], Expected::Pong),
        harmless("6.7", "an answer to no PING", [not_ours]),
        case("6.7", "PING on a stream", [http2::frame(kind::PING, 0, 1, &PING)], error),
        case(
            "6.7",
            "PING of 6 bytes",
            [http2::frame(kind::PING, 0, 0, &[0; 6])],
            Expected::Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]),
        ),
        case("6.8", "GOAWAY on a stream", [http2::frame(kind::GOAWAY, 0, 1, &[0; 8])], error),
        case(
            "6.6",
            "PUSH_PROMISE from a client",
            [slow(1), http2::frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2])],
            error,
        ),
    ]
}

fn windows() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let update = |stream, increment| http2::window_update(stream, increment);
    let size = Expected::Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR]);
    vec![
        case("6.9", "credit of 0 for the connection", [update(0, 0)], error),
        case("6.9", "credit of 0 for a stream", [slow(1), update(1, 0)], Expected::Stream(&[PROTOCOL_ERROR])),
        case("6.9", "WINDOW_UPDATE of 3 bytes", [http2::frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3])], size),
        case(
            "6.9.1",
            "credit beyond the end for the connection",
            [update(0, MOST), update(0, MOST)],
            Expected::Connection(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.9.1",
            "credit beyond the end for a stream",
            [slow(1), update(1, MOST), update(1, MOST)],
            Expected::Stream(&[FLOW_CONTROL_ERROR]),
        ),
    ]
}

fn window_sizes() -> Vec<Case> {
    let window = |size| http2::settings(&[(INITIAL_WINDOW_SIZE, size)]);
    let start = |size| vec![Step::Greet, Step::Send(window(size)), Step::Send(get(1))];
    let with = |mut steps: Vec<Step>, more: [Step; 2]| {
        steps.extend(more);
        steps
    };
    vec![
        steps("6.9.1", "a window of 1 gets 1 byte", start(1), Expected::Data(1)),
        steps(
            "6.9.2",
            "a window that grows by SETTINGS is used",
            with(start(0), [Step::Send(window(1)), Step::Received(1)])
                .into_iter()
                .chain([Step::Send(http2::ping(PING))])
                .collect(),
            Expected::Pong,
        ),
        steps(
            "6.9.2",
            "a window below zero is filled first",
            // "one": one byte goes out; then the window falls to -1, and 3 of credit make 2 more.
            with(start(1), [Step::Received(1), Step::Send([window(0), http2::window_update(1, 3)].concat())]),
            Expected::Data(2),
        ),
        case(
            "6.9.2",
            "a window beyond the largest by SETTINGS",
            [slow(1), http2::window_update(1, 1 << 20), window(MOST)],
            Expected::Connection(&[FLOW_CONTROL_ERROR]),
        ),
        steps(
            "5.2.2",
            "more DATA than there is credit for",
            vec![Step::Greet, Step::Send([http2::post(1, HOST, "/slow/3000"), flood_of_data()].concat())],
            Expected::Stream(&[FLOW_CONTROL_ERROR]),
        ),
    ]
}

/// 1 MiB at once, which no window takes.
fn flood_of_data() -> Vec<u8> {
    http2::data(1, &[b'x'; 16 << 10], false).repeat(64)
}

fn continuations() -> Vec<Case> {
    let error = Expected::Connection(&[PROTOCOL_ERROR]);
    let (first, rest) = (fields()[..20].to_vec(), fields()[20..].to_vec());
    let more = |flags, stream| http2::frame(kind::CONTINUATION, flags, stream, &rest);
    let last = flag::END_HEADERS;
    vec![
        case(
            "6.10",
            "CONTINUATION of trailers in pieces",
            [
                post(1),
                http2::data(1, b"test", false),
                headers(1, 1, &http2::block(&[("x-one", "1")])),
                http2::frame(kind::CONTINUATION, last, 1, &http2::block(&[("x-two", "2")])),
            ],
            Expected::Answer(1, 200),
        ),
        case(
            "6.10",
            "CONTINUATION, then another frame",
            [headers(1, 1, &first), more(0, 1), data(1, b"test")],
            error,
        ),
        case("6.10", "CONTINUATION on stream 0", [headers(1, 1, &first), more(last, 0)], error),
        case("6.10", "CONTINUATION on another stream", [headers(1, 1, &first), more(last, 3)], error),
        case("6.10", "CONTINUATION after whole HEADERS", [slow(1), more(last, 1)], error),
        case(
            "6.10",
            "CONTINUATION after whole CONTINUATION",
            [headers(1, 1, &first), more(last, 1), more(last, 1)],
            error,
        ),
        case(
            "6.10",
            "CONTINUATION after DATA",
            [post(1), http2::data(1, b"test", false), more(last, 1)],
            error,
        ),
        case("6.10", "CONTINUATION first of all", [more(last, 1)], error),
        case(
            "7",
            "GOAWAY with an unknown code",
            [http2::frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), http2::ping(PING)],
            Expected::Closed,
        ),
        harmless("7", "RST_STREAM with an unknown code", [slow(1), http2::reset(1, 0xff)]),
    ]
}
