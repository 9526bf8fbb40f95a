//! What the standard leaves to a server or to an edge: whom a request is for, and what it is for.

use super::*;

#[expect(clippy::too_many_lines, reason = "one table")]
pub(super) fn cases() -> Vec<Case> {
    vec![
        to(
            "Host and :authority that differ",
            "GET",
            &[(":authority", HOST), (":path", "/"), ("host", "b.test")],
            REFUSED,
        ),
        to(
            "Host and :authority alike",
            "GET",
            &[(":authority", HOST), (":path", "/"), ("host", HOST)],
            Expected::Answer(1, 200),
        ),
        to("Host and no :authority", "GET", &[(":path", "/"), ("host", HOST)], Expected::Answer(1, 200)),
        to("neither Host nor :authority", "GET", &[(":path", "/")], REFUSED),
        to("Host twice", "GET", &[(":path", "/"), ("host", HOST), ("host", HOST)], REFUSED),
        to("an empty :authority", "GET", &[(":authority", ""), (":path", "/")], MALFORMED),
        to(
            ":authority with a user",
            "GET",
            &[(":authority", "a@hello.apps.localhost"), (":path", "/")],
            REFUSED,
        ),
        to(
            ":authority of another site",
            "GET",
            &[(":authority", "b.apps.localhost"), (":path", "/")],
            Expected::Answer(1, 421),
        ),
        to(
            ":authority with a port",
            "GET",
            &[(":authority", "hello.apps.localhost:443"), (":path", "/")],
            Expected::Answer(1, 200),
        ),
        to(
            ":authority with two ports",
            "GET",
            &[(":authority", "hello.apps.localhost:443:80"), (":path", "/")],
            MALFORMED,
        ),
        to(":path of an address", "GET", &[(":authority", HOST), (":path", "http://b.test/")], MALFORMED),
        to(":path that is no path", "GET", &[(":authority", HOST), (":path", "x")], MALFORMED),
        to(":path * for GET", "GET", &[(":authority", HOST), (":path", "*")], REFUSED),
        to(
            ":path * for OPTIONS",
            "OPTIONS",
            &[(":authority", HOST), (":path", "*")],
            Expected::Answer(1, 404),
        ),
        to(":path with a space", "GET", &[(":authority", HOST), (":path", "/a b")], MALFORMED),
        to(
            ":path with a fragment",
            "GET",
            &[(":authority", HOST), (":path", "/a#b")],
            Expected::Answer(1, 404),
        ),
        to("TRACE", "TRACE", &[(":authority", HOST), (":path", "/")], Expected::Answer(1, 405)),
        large("a header list that is too large for us", &[&"x".repeat(20 << 10), &"y".repeat(14 << 10)]),
        large("more fields than we take", &["x"; 129]),
        large("a header list that is too large for the library", &["x".repeat(14 << 10).as_str(); 5]),
        case(
            "8.1",
            "trailers of a pseudo-header alone, which the library takes and drops: no app sees it",
            [
                post(1),
                http2::data(1, b"test", false),
                headers(flag::WHOLE, 1, &http2::block(&[(":method", "GET")])),
            ],
            Expected::Answer(1, 200),
        ),
        case(
            "8.5",
            "CONNECT",
            [headers(flag::WHOLE, 1, &http2::block(&[(":method", "CONNECT"), (":authority", HOST)]))],
            Expected::Answer(1, 405),
        ),
        to("CONNECT with :path", "CONNECT", &[(":authority", HOST), (":path", "/")], MALFORMED),
        to(
            "extended CONNECT (RFC 8441), which is not offered",
            "CONNECT",
            &[(":authority", HOST), (":path", "/ws"), (":protocol", "websocket")],
            MALFORMED,
        ),
    ]
}

/// A request with a field for each of these values.
fn large(what: &'static str, values: &[&str]) -> Case {
    let names: Vec<String> = (0..values.len()).map(|number| format!("x-{number}")).collect();
    let more: Vec<_> = names.iter().map(String::as_str).zip(values.iter().copied()).collect();
    let block = http2::request("GET", HOST, "/", &more);
    let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
    let frames = pieces.iter().enumerate().flat_map(|(number, piece)| {
        let end = if number + 1 == pieces.len() { flag::END_HEADERS } else { 0 };
        match number {
            0 => headers(flag::END_STREAM | end, 1, piece),
            _ => http2::frame(kind::CONTINUATION, end, 1, piece),
        }
    });
    case("10.5.1", what, [frames.collect()], Expected::Answer(1, 431))
}

const MALFORMED: Expected = Expected::Stream(&[PROTOCOL_ERROR]);
const REFUSED: Expected = Expected::Answer(1, 400);

fn to(what: &'static str, method: &str, more: &[(&str, &str)], expected: Expected) -> Case {
    let fields = [&[(":method", method), (":scheme", "https")], more].concat();
    case("8.3.1", what, [headers(flag::WHOLE, 1, &http2::block(&fields))], expected)
}
