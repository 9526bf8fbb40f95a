use model::Timestamp;
use model::id::RequestId;
use proptest::prelude::*;

use super::*;
use crate::headers::rebuild_request;

fn facts() -> ForwardFacts<'static> {
    ForwardFacts {
        client: "2001:db8::1".parse().unwrap(),
        https: true,
        host: "hello.apps.localhost",
        port: Some(8443),
        request: RequestId::generate(Timestamp::from_unix_millis(1_795_371_000_123)),
        client_certificate: None,
    }
}

fn request(fields: &[(&str, &str)], version: Version) -> RequestHeader {
    let mut req = match version {
        Version::HTTP_2 => RequestHeader::build_no_case("GET", b"/a?b=%20c", None).unwrap(),
        _ => RequestHeader::build("GET", b"/a?b=%20c", None).unwrap(),
    };
    req.set_version(version);
    for (name, value) in fields {
        req.append_header((*name).to_owned(), *value).unwrap();
    }
    req
}

fn written(req: &RequestHeader) -> String {
    written_with(req, &facts())
}

fn written_with(req: &RequestHeader, facts: &ForwardFacts<'_>) -> String {
    let mut out = Vec::new();
    write_request(req, facts, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Names in small letters with their values, in order of names.
fn sorted(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.sort();
    fields
}

#[test]
fn names_stay_as_they_are_written() {
    let wire = written(&request(&[("Host", "x"), ("x-oDD", "1"), ("Accept", "*/*")], Version::HTTP_11));
    assert!(wire.starts_with("GET /a?b=%20c HTTP/1.1\r\nHost: hello.apps.localhost:8443\r\n"), "{wire}");
    assert!(wire.ends_with("\r\nx-oDD: 1\r\nAccept: */*\r\n\r\n"), "{wire}");
}

#[test]
fn cookies_that_http2_split_are_one_field() {
    let fields = [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "c=3")];
    let wire = written(&request(&fields, Version::HTTP_2));
    assert_eq!(wire.matches("ookie: ").count(), 1, "{wire}");
    assert!(wire.contains("\r\nCookie: a=1; b=2; c=3\r\n"), "{wire}");
}

#[test]
fn a_request_is_written_into_the_memory_that_is_there() {
    let (req, facts) = (request(&[("Accept", "*/*"), ("User-Agent", "x")], Version::HTTP_11), facts());
    let mut out = Vec::with_capacity(1 << 10);
    let counted = allocation_counter::measure(|| write_request(&req, &facts, &mut out).unwrap());
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

const NAMES: [&str; 22] = [
    "Accept",
    "X-Forwarded-For",
    "x-real-ip",
    "Forwarded",
    "X_Forwarded_Proto",
    "Connection",
    "Keep-Alive",
    "TE",
    "Expect",
    "Proxy",
    "X-Stoa-Anything",
    "x-client-cert-subject",
    "Client-Cert",
    "Content_Length",
    "Upgrade-Insecure-Requests",
    "Proxy-Authorization",
    "HTTP2-Settings",
    "X-Request-ID",
    "Host",
    "User-Agent",
    "x-my",
    "X-MY",
];

proptest! {
    #[test]
    fn both_ways_tell_an_app_the_same(
        fields in prop::collection::vec((prop::sample::select(NAMES.to_vec()), "[ -~]{0,12}"), 0..12),
    ) {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, if *name == "Connection" { "keep-alive" } else { value.trim() }))
            .collect();
        let req = request(&fields, Version::HTTP_11);
        let (mut rebuilt, facts) = (req.clone(), facts());
        rebuild_request(&mut rebuilt, &facts).unwrap();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let expected = rebuilt.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let wire = written_with(&req, &facts);
        let lines = wire.strip_suffix("\r\n\r\n").unwrap().split("\r\n").skip(1);
        let parts = lines.map(|line| line.split_once(": ").unwrap());
        let found = parts.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        prop_assert_eq!(sorted(found), sorted(expected));
    }
}
