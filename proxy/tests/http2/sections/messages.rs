//! Messages: h2spec's http2/8.1 to http2/8.2.

use super::*;

const MALFORMED: Expected = Expected::Stream(&[PROTOCOL_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    [pseudo(), fields_(), lengths(), trailers()].into_iter().flatten().collect()
}

/// A request of these fields and nothing else.
fn of(section: &'static str, what: &'static str, fields: &[(&str, &str)], expected: Expected) -> Case {
    case(section, what, [headers(flag::WHOLE, 1, &http2::block(fields))], expected)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", HOST);
const PATH: (&str, &str) = (":path", "/");

fn pseudo() -> Vec<Case> {
    vec![
        of("8.3", "an unknown pseudo-header", &[METHOD, SCHEME, AUTHORITY, PATH, (":test", "ok")], MALFORMED),
        of(
            "8.3",
            "a pseudo-header of responses",
            &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")],
            MALFORMED,
        ),
        of(
            "8.3",
            "a pseudo-header after a field",
            &[METHOD, SCHEME, AUTHORITY, ("x-test", "ok"), PATH],
            MALFORMED,
        ),
        of("8.3.1", "an empty :path", &[METHOD, SCHEME, AUTHORITY, (":path", "")], MALFORMED),
        of("8.3.1", "no :method", &[SCHEME, AUTHORITY, PATH], MALFORMED),
        of("8.3.1", "no :scheme", &[METHOD, AUTHORITY, PATH], MALFORMED),
        of("8.3.1", "no :path", &[METHOD, SCHEME, AUTHORITY], MALFORMED),
        of("8.3.1", ":method twice", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH], MALFORMED),
        of("8.3.1", ":scheme twice", &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH], MALFORMED),
        of("8.3.1", ":path twice", &[METHOD, SCHEME, AUTHORITY, PATH, PATH], MALFORMED),
        of("8.3.1", ":authority twice", &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH], MALFORMED),
    ]
}

fn fields_() -> Vec<Case> {
    let with = |field: (&'static str, &'static str)| [METHOD, SCHEME, AUTHORITY, PATH, field];
    vec![
        of("8.2.1", "a name in capitals", &with(("X-TEST", "ok")), MALFORMED),
        of("8.2.1", "a name with a space", &with(("x test", "ok")), MALFORMED),
        of("8.2.1", "a name with a colon", &with(("x:test", "ok")), MALFORMED),
        of("8.2.1", "an empty name", &with(("", "ok")), MALFORMED),
        of("8.2.1", "a value with a line feed", &with(("x-test", "a\nb")), MALFORMED),
        of("8.2.1", "a value with a carriage return", &with(("x-test", "a\rb")), MALFORMED),
        of("8.2.1", "a value with NUL", &with(("x-test", "a\0b")), MALFORMED),
        of("8.2.2", "Connection", &with(("connection", "keep-alive")), MALFORMED),
        of("8.2.2", "Keep-Alive", &with(("keep-alive", "timeout=5")), MALFORMED),
        of("8.2.2", "Proxy-Connection", &with(("proxy-connection", "keep-alive")), MALFORMED),
        of("8.2.2", "Transfer-Encoding", &with(("transfer-encoding", "chunked")), MALFORMED),
        of("8.2.2", "Upgrade", &with(("upgrade", "websocket")), MALFORMED),
        of("8.2.2", "TE of something else than trailers", &with(("te", "trailers, deflate")), MALFORMED),
        of("8.2.2", "TE of trailers", &with(("te", "trailers")), Expected::Answer(1, 200)),
        of(
            "8.2.3",
            "Cookie in pieces",
            &[METHOD, SCHEME, AUTHORITY, PATH, ("cookie", "a=b"), ("cookie", "c=d")],
            Expected::Answer(1, 200),
        ),
    ]
}

fn announcing(length: &str) -> Vec<u8> {
    headers(flag::END_HEADERS, 1, &http2::request("POST", HOST, "/echo", &[("content-length", length)]))
}

fn lengths() -> Vec<Case> {
    vec![
        case("8.1.1", "less DATA than was announced", [announcing("5"), data(1, b"test")], MALFORMED),
        case(
            "8.1.1",
            "more DATA than was announced",
            [announcing("5"), http2::data(1, b"test", false), data(1, b"test")],
            MALFORMED,
        ),
        case(
            "8.1.1",
            "as much DATA as was announced",
            [announcing("4"), data(1, b"test")],
            Expected::Answer(1, 200),
        ),
        case("8.1.1", "a length that is no number", [announcing("+4"), data(1, b"test")], MALFORMED),
        case(
            "8.1.1",
            "no DATA where some was announced",
            [headers(flag::WHOLE, 1, &http2::request("POST", HOST, "/echo", &[("content-length", "5")]))],
            MALFORMED,
        ),
    ]
}

fn trailers() -> Vec<Case> {
    let after = |what, flags, fields: &[(&str, &str)]| {
        let trailers = headers(flags, 1, &http2::block(fields));
        case("8.1", what, [post(1), http2::data(1, b"test", false), trailers], MALFORMED)
    };
    vec![
        after("trailers that are not the end", flag::END_HEADERS, &[("x-test", "ok")]),
        after("trailers with a pseudo-header", flag::END_HEADERS, &[(":method", "POST")]),
        after(
            "trailers with a pseudo-header after a field",
            flag::WHOLE,
            &[("x-test", "ok"), (":method", "GET")],
        ),
        after("trailers with a name in capitals", flag::WHOLE, &[("X-TEST", "ok")]),
    ]
}
