//! What every server must take: h2spec's group "generic".

use super::*;

pub(super) fn cases() -> Vec<Case> {
    [starts(), ends_of_streams(), frames(), requests()].into_iter().flatten().collect()
}

fn starts() -> Vec<Case> {
    let greeting = [http2::PREFACE, &http2::settings(&[])].concat();
    vec![
        steps("3.4", "a client's preface", vec![Step::Send(greeting)], Expected::Acknowledged),
        steps(
            "3.4",
            "another preface than this",
            vec![Step::Send(b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec())],
            Expected::Closed,
        ),
        steps(
            "3.4",
            "something else than SETTINGS after it",
            vec![Step::Send([http2::PREFACE, &http2::ping(PING)].concat())],
            Expected::Closed,
        ),
    ]
}

fn ends_of_streams() -> Vec<Case> {
    let priority = |stream| http2::frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 255]);
    vec![
        harmless("5.1", "PRIORITY on an idle stream", [priority(1)]),
        harmless(
            "5.1",
            "WINDOW_UPDATE on a half-closed (remote) stream",
            [slow(1), http2::window_update(1, 1)],
        ),
        harmless("5.1", "PRIORITY on a half-closed (remote) stream", [slow(1), priority(1)]),
        harmless("5.1", "RST_STREAM on a half-closed (remote) stream", [slow(1), http2::reset(1, 8)]),
        steps(
            "5.1",
            "PRIORITY on a closed stream",
            vec![
                Step::Greet,
                Step::Send(get(1)),
                Step::Answered(1),
                Step::Send([priority(1), http2::ping(PING)].concat()),
            ],
            Expected::Pong,
        ),
        steps(
            "5.1",
            "WINDOW_UPDATE and RST_STREAM on a closed stream",
            vec![
                Step::Greet,
                Step::Send(get(1)),
                Step::Answered(1),
                Step::Send([http2::window_update(1, 1), http2::reset(1, 8), http2::ping(PING)].concat()),
            ],
            Expected::Pong,
        ),
    ]
}

fn frames() -> Vec<Case> {
    let answered = Expected::Answer(1, 200);
    let priority = |payload: &[u8]| http2::frame(kind::PRIORITY, 0, 1, payload);
    let padded = [&[6][..], &fields(), &[0; 6]].concat();
    let preferred = [&[0, 0, 0, 0, 15][..], &fields()].concat();
    let (first, rest) = (fields()[..20].to_vec(), fields()[20..].to_vec());
    let more = |flags, bytes: &[u8]| http2::frame(kind::CONTINUATION, flags, 1, bytes);
    vec![
        case("6.1", "one DATA frame", [post(1), data(1, b"test")], answered),
        case(
            "6.1",
            "many DATA frames",
            [post(1), http2::data(1, b"test", false), http2::data(1, b"", false), data(1, b"test")],
            answered,
        ),
        case(
            "6.1",
            "DATA with padding",
            [post(1), http2::frame(kind::DATA, flag::PADDED | 1, 1, b"\x06test\0\0\0\0\0\0")],
            answered,
        ),
        case("6.2", "HEADERS", [get(1)], answered),
        case("6.2", "HEADERS with padding", [headers(flag::WHOLE | flag::PADDED, 1, &padded)], answered),
        case(
            "6.2",
            "HEADERS with a priority",
            [headers(flag::WHOLE | flag::PRIORITY, 1, &preferred)],
            answered,
        ),
        harmless("6.3", "PRIORITY of weight 1", [priority(&[0, 0, 0, 0, 0])]),
        harmless("6.3", "PRIORITY of weight 256", [priority(&[0, 0, 0, 0, 255])]),
        harmless("6.3", "PRIORITY on another stream", [priority(&[0, 0, 0, 3, 255])]),
        harmless("6.3", "PRIORITY that excludes", [priority(&[0x80, 0, 0, 0, 255])]),
        case(
            "6.3",
            "PRIORITY on an idle stream, then HEADERS on a lower one",
            [http2::frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 255]), get(1)],
            answered,
        ),
        harmless("6.4", "RST_STREAM", [slow(1), http2::reset(1, 8)]),
        case("6.5", "SETTINGS", [http2::settings(&[(3, 10)])], Expected::Acknowledged),
        case("6.7", "PING", [http2::ping(PING)], Expected::Pong),
        case(
            "6.8",
            "GOAWAY, after which what is asked for is still answered",
            [get(1), http2::frame(kind::GOAWAY, 0, 0, &[0; 8])],
            answered,
        ),
        harmless("6.9", "WINDOW_UPDATE of the connection", [http2::window_update(0, 1)]),
        harmless("6.9", "WINDOW_UPDATE of a stream", [slow(1), http2::window_update(1, 1)]),
        case("6.10", "CONTINUATION", [headers(1, 1, &first), more(flag::END_HEADERS, &rest)], answered),
        case(
            "6.10",
            "CONTINUATION twice",
            [headers(1, 1, &first), more(0, &rest[..9]), more(flag::END_HEADERS, &rest[9..])],
            answered,
        ),
    ]
}

fn requests() -> Vec<Case> {
    let answered = Expected::Answer(1, 200);
    let whole = |method, path| headers(flag::WHOLE, 1, &http2::request(method, HOST, path, &[]));
    let trailers = http2::block(&[("x-test", "ok")]);
    vec![
        case("8.1", "GET", [whole("GET", "/")], answered),
        case("8.1", "HEAD", [whole("HEAD", "/")], answered),
        case("8.1", "POST", [post(1), data(1, b"test")], answered),
        case(
            "8.1",
            "POST with trailers",
            [post(1), http2::data(1, b"test", false), headers(flag::WHOLE, 1, &trailers)],
            answered,
        ),
    ]
}
