use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<String, HostError> {
    Host::parse(text).map(String::from)
}

#[test]
fn case_trailing_dot_and_unicode_have_one_form() {
    assert_eq!(parsed("Shop.Example.COM."), Ok("shop.example.com".to_owned()));
    assert_eq!(parsed("bücher.example"), Ok("xn--bcher-kva.example".to_owned()));
    assert_eq!(parsed("xn--bcher-kva.example"), Ok("xn--bcher-kva.example".to_owned()));
    assert_eq!(parsed("BÜCHER.example"), Ok("xn--bcher-kva.example".to_owned()));
}

#[test]
fn a_canonical_name_is_borrowed() {
    assert!(matches!(normalise("hello.apps.localhost"), Ok(Cow::Borrowed("hello.apps.localhost"))));
}

#[test]
fn each_fault_has_its_name() {
    let long_label = format!("{}.test", "a".repeat(64));
    let long = ["abcdefghi"; 26].join(".");
    assert_eq!(parsed(""), Err(HostError::Empty));
    assert_eq!(parsed("."), Err(HostError::EmptyLabel(".".to_owned())));
    assert_eq!(parsed("a..b"), Err(HostError::EmptyLabel("a..b".to_owned())));
    assert_eq!(parsed(".a"), Err(HostError::EmptyLabel(".a".to_owned())));
    assert_eq!(parsed("a.b.."), Err(HostError::EmptyLabel("a.b..".to_owned())));
    assert_eq!(parsed(&long_label), Err(HostError::LongLabel(long_label.clone())));
    assert_eq!(parsed(&long), Err(HostError::TooLong(long.clone())));
    assert_eq!(parsed("-a.test"), Err(HostError::Hyphen("-a.test".to_owned())));
    assert_eq!(parsed("a-.test"), Err(HostError::Hyphen("a-.test".to_owned())));
    for bad in
        ["a_b.test", "a b.test", "user@a.test", "a.test/x", "a\u{0}.test", "xn--zzzzzzz999.test", "*.a.test"]
    {
        assert_eq!(parsed(bad), Err(HostError::Character(bad.to_owned())));
    }
    for ip in ["127.0.0.1", "1.2.3", "0x7f.1", "0x7f000001", "127.0.0.0x1", "a.0x"] {
        assert_eq!(parsed(ip), Err(HostError::IpAddress(ip.to_owned())));
    }
}

#[test]
fn an_authority_has_at_most_one_port() {
    let parse = |text| Host::parse_authority(text).map(|(host, port)| (String::from(host), port));
    assert_eq!(parse("a.test:8443"), Ok(("a.test".to_owned(), Some(8443))));
    assert_eq!(parse("a.test."), Ok(("a.test".to_owned(), None)));
    for bad in ["a.test:80:90", "a.test:", "a.test:+1", "a.test:0", "a.test:65536", "a.test:000080"] {
        assert_eq!(parse(bad), Err(HostError::Port(bad.to_owned())));
    }
    assert_eq!(parse("[::1]:443"), Err(HostError::IpAddress("[::1]:443".to_owned())));
    assert_eq!(parse("::1"), Err(HostError::IpAddress("::1".to_owned())));
}

#[test]
fn a_zone_contains_itself_and_what_lies_below_it() -> Result<(), HostError> {
    let zone = Host::parse("apps.localhost")?;
    assert!(Host::parse("a.apps.localhost")?.is_within(&zone) && zone.is_within(&zone));
    assert!(!Host::parse("notapps.localhost")?.is_within(&zone));
    Ok(())
}

proptest! {
    #[test]
    fn parsing_never_panics_and_is_idempotent(text in ".{0,300}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(host.as_str()), Ok(host.clone()));
            prop_assert!(host.as_str().len() <= MAX_BYTES && host.as_str().is_ascii());
        }
        let _ = Host::parse_authority(&text);
    }

    #[test]
    fn case_and_the_trailing_dot_change_nothing(name in "[a-z][a-z0-9]{0,20}(\\.[a-z][a-z0-9]{0,20}){0,4}") {
        let host = Host::parse(&name);
        prop_assert_eq!(Host::parse(&format!("{}.", name.to_uppercase())), host.clone());
        prop_assert_eq!(Host::parse_authority(&format!("{name}:443")).map(|(host, _)| host), host);
    }
}
