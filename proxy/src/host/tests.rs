use proptest::prelude::*;

use super::*;
use crate::visitor::Visitor;
use crate::way::tests::connection;

fn http1(target: &str, hosts: &[&[u8]]) -> RequestHeader {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    for host in hosts {
        head.append_header("Host", *host).unwrap();
    }
    head
}

fn http2(uri: &str) -> RequestHeader {
    let mut head = RequestHeader::build_no_case("GET", b"/", None).unwrap();
    head.set_version(Version::HTTP_2);
    head.set_uri(uri.parse().unwrap());
    head
}

fn read_from(head: &RequestHeader, sni: Option<&str>) -> Result<(String, Option<u16>), Refusal> {
    let connection = connection("192.0.2.1", sni);
    let visitor = Visitor { address: connection.ip(), is_https: sni.is_some() };
    let (host, port) = read(&Arrival { head, connection: &connection, visitor })?;
    Ok((host.as_str().to_owned(), port))
}

#[test]
fn case_dot_port_and_unicode_are_one_host() {
    for (text, port) in
        [("b\u{fc}cher.test", None), ("XN--BCHER-KVA.TEST.", None), ("xn--bcher-kva.test:8443", Some(8443))]
    {
        let head = http1("/", &[text.as_bytes()]);
        let read = read_from(&head, None);
        if text.is_ascii() {
            assert_eq!(read, Ok(("xn--bcher-kva.test".to_owned(), port)));
        } else {
            assert_eq!(read, Err(Refusal::BadRequest("the host is not ASCII")));
        }
    }
}

#[test]
fn a_missing_or_double_host_is_refused() {
    assert_eq!(read_from(&http1("/", &[]), None), Err(Refusal::BadRequest("the Host field is missing")));
    assert_eq!(
        read_from(&http1("/", &[b"a.test", b"a.test"]), None),
        Err(Refusal::BadRequest("there is more than one Host field"))
    );
}

#[test]
fn the_authority_of_http_2_must_be_the_host() {
    let read = |uri: &str| {
        let mut head = http2(uri);
        head.append_header("Host", "a.test").unwrap();
        read_from(&head, None)
    };
    assert_eq!(read("https://a.test/"), Ok(("a.test".to_owned(), None)));
    let differ = Err(Refusal::BadRequest("the Host field and the target differ"));
    assert_eq!(read("https://b.test/"), differ);
    assert_eq!(read("https://u@a.test/"), Err(Refusal::BadRequest("the target has a user name")));
}

#[test]
fn a_value_is_checked_as_it_will_be_read() {
    for text in ["a.test", "A.test.:80", "127.0.0.1", "[::1]:443"] {
        assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
    }
    for text in ["", "a.test:80:90", "u@a.test", "a test", "[::1", "[a b]", "\u{e9}.test"] {
        assert!(matches!(check(text.as_bytes()), Err(Refusal::BadRequest(_))), "{text}");
    }
}

#[test]
fn http_2_needs_no_host_field() {
    assert_eq!(read_from(&http2("https://a.test:8443/x"), None), Ok(("a.test".to_owned(), Some(8443))));
}

#[test]
fn an_address_is_an_unknown_host_and_nonsense_a_bad_one() {
    for text in ["127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:443", "1"] {
        assert_eq!(read_from(&http1("/", &[text.as_bytes()]), None), Err(Refusal::UnknownHost), "{text}");
    }
    for text in ["", "a..test", "a_b.test", "u@a.test", "a.test:0", "a.test:80:90", "a.test/x", "a test"] {
        let read = read_from(&http1("/", &[text.as_bytes()]), None);
        assert!(matches!(read, Err(Refusal::BadRequest(_))), "{text} {read:?}");
    }
}

#[test]
fn over_tls_the_host_is_the_one_of_the_connection() {
    let bound =
        |host: &str, sni: Option<&str>| bind(&Host::parse(host).unwrap(), &connection("192.0.2.1", sni));
    assert_eq!(bound("a.test", Some("a.test")), Ok(()));
    assert_eq!(bound("b.test", Some("a.test")), Err(Refusal::Misdirected));
    assert_eq!(bound("x.a.test", Some("a.test")), Err(Refusal::Misdirected));
    assert_eq!(bound("b.test", None), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_host_field_says_the_answer_is_canonical_or_a_refusal(text in "[ -~]{0,40}") {
        if let Ok((host, _)) = read_from(&http1("/", &[text.as_bytes()]), None) {
            let again = Host::parse(&host).unwrap();
            prop_assert_eq!(again.as_str(), &host);
            prop_assert!(text.to_ascii_lowercase().starts_with(&host));
        }
    }

    #[test]
    fn the_short_way_for_the_connections_own_name_reads_the_same(text in "(a\\.test|A\\.test|a\\.test\\.|b\\.test)(:[0-9]{1,6})?") {
        let head = http1("/", &[text.as_bytes()]);
        prop_assert_eq!(read_from(&head, Some("a.test")), read_from(&head, None));
    }

    #[test]
    fn any_target_is_read_without_a_panic(target in "[ -~]{1,60}") {
        if let Ok(head) = RequestHeader::build("GET", target.as_bytes(), None) {
            let _ = crate::head::check(&head);
            let _ = target_authority(&head);
        }
    }
}
