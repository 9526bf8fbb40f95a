use model::Timestamp;
use proptest::prelude::*;

use super::*;

fn facts(client: &str) -> ForwardFacts<'static> {
    ForwardFacts {
        client: client.parse().unwrap(),
        https: true,
        host: "hello.apps.localhost",
        port: None,
        request: RequestId::generate(Timestamp::from_unix_millis(1_795_371_000_123)),
        client_certificate: None,
    }
}

fn request(fields: &[(&str, &str)]) -> RequestHeader {
    let mut req = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in fields {
        req.append_header((*name).to_owned(), *value).unwrap();
    }
    req
}

fn field<'a>(req: &'a RequestHeader, name: &str) -> Option<&'a str> {
    let mut values = req.headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    assert!(values.next().is_none(), "{name} has several values");
    value
}

fn rebuilt(fields: &[(&str, &str)], facts: &ForwardFacts<'_>) -> RequestHeader {
    let mut req = request(fields);
    rebuild_request(&mut req, facts).unwrap();
    req
}

#[test]
fn the_app_learns_who_asked_for_what_and_how() {
    let facts = facts("192.0.2.7");
    let req = rebuilt(&[("Host", "HELLO.apps.localhost."), ("Accept", "*/*")], &facts);
    assert_eq!(field(&req, "host"), Some("hello.apps.localhost"));
    assert_eq!(field(&req, "forwarded"), Some("for=192.0.2.7;host=hello.apps.localhost;proto=https"));
    assert_eq!(field(&req, "x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(field(&req, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&req, "x-forwarded-host"), Some("hello.apps.localhost"));
    assert_eq!(field(&req, "x-forwarded-port"), Some("443"));
    assert_eq!(field(&req, "x-request-id"), Some(facts.request.to_string().as_str()));
    assert_eq!(field(&req, "accept"), Some("*/*"));
}

#[test]
fn an_ipv6_address_and_a_port_are_quoted() {
    let req = rebuilt(&[], &ForwardFacts { port: Some(8443), ..facts("2001:db8::1") });
    let element = "for=\"[2001:db8::1]\";host=\"hello.apps.localhost:8443\";proto=https";
    assert_eq!(field(&req, "forwarded"), Some(element));
    assert_eq!(field(&req, "host"), Some("hello.apps.localhost:8443"));
    assert_eq!(field(&req, "x-forwarded-port"), Some("8443"));
}

#[test]
fn a_mapped_address_is_told_as_ipv4() {
    let req = rebuilt(&[], &facts("::ffff:192.0.2.7"));
    assert_eq!(field(&req, "x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn cleartext_is_not_told_as_https() {
    let req =
        rebuilt(&[("X-Forwarded-Proto", "https")], &ForwardFacts { https: false, ..facts("192.0.2.7") });
    assert_eq!(field(&req, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&req, "x-forwarded-port"), Some("80"));
}

#[test]
fn what_a_visitor_claims_about_himself_is_not_believed() {
    let claims = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Forwarded-Prefix", "10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("X_Forwarded_For", "10.0.0.1"),
        ("X_Real-IP", "10.0.0.1"),
        ("X-Stoa-Tenant", "10.0.0.1"),
        ("x_stoa_tenant", "10.0.0.1"),
        ("X-Request-Id", "10.0.0.1"),
        ("True-Client-IP", "10.0.0.1"),
        ("X-Original-URL", "10.0.0.1"),
        ("Proxy", "10.0.0.1"),
        ("Content_Length", "10.0.0.1"),
    ];
    let req = rebuilt(&claims, &facts("192.0.2.7"));
    assert!(req.headers.values().all(|value| !value.to_str().unwrap().contains("10.0.0.")), "{req:?}");
    assert_eq!(field(&req, "x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn fields_of_the_connection_end_here() {
    let req = rebuilt(
        &[
            ("Connection", "close, X-Private , te"),
            ("X-Private", "1"),
            ("TE", "trailers"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("Transfer-Encoding", "chunked"),
        ],
        &facts("192.0.2.7"),
    );
    for name in
        ["connection", "x-private", "te", "keep-alive", "proxy-authorization", "upgrade", "http2-settings"]
    {
        assert_eq!(field(&req, name), None);
    }
    assert_eq!(field(&req, "transfer-encoding"), Some("chunked"), "framing is pingora's");
}

#[test]
fn nobody_nominates_the_host_or_the_framing_away() {
    let req =
        rebuilt(&[("Connection", "host, content-length"), ("Content-Length", "3")], &facts("192.0.2.7"));
    assert_eq!(field(&req, "content-length"), Some("3"));
    assert_eq!(field(&req, "host"), Some("hello.apps.localhost"));
}

#[test]
fn a_websocket_handshake_stays_one() {
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let req = rebuilt(&handshake, &facts("192.0.2.7"));
    for (name, value) in handshake {
        assert_eq!(field(&req, name), Some(value));
    }
}

proptest! {
    #[test]
    fn no_spelling_of_a_reserved_name_gets_through(
        name in "[xX][-_]([fF]orwarded|[sS]toa)[-_][a-z_-]{1,12}",
        value in "[a-z0-9]{20}",
    ) {
        let mut req = request(&[(&name, &value)]);
        rebuild_request(&mut req, &facts("192.0.2.7")).unwrap();
        prop_assert!(req.headers.values().all(|held| held.as_bytes() != value.as_bytes()));
    }
}

#[test]
fn only_the_handshake_of_a_web_socket_is_an_upgrade() {
    let of = |method: &str, fields: &[(&'static str, &'static str)]| {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        is_websocket(&request)
    };
    let key = ("Sec-WebSocket-Key", "c3RvYSB0ZXN0IGNsaWVudA==");
    let (connection, upgrade) = (("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket"));
    assert!(of("GET", &[key, connection, upgrade]));
    assert!(!of("POST", &[key, connection, upgrade]));
    assert!(!of("GET", &[connection, upgrade]));
    assert!(!of("GET", &[key, upgrade]));
    assert!(!of("GET", &[key, connection]));
    assert!(!of("GET", &[key, connection, ("Upgrade", "h2c")]));
}
