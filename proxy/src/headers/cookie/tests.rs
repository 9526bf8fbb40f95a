use proptest::prelude::*;

use super::*;

fn zones() -> [Host; 2] {
    ["apps.example.com", "apps.localhost"].map(|zone| Host::parse(zone).unwrap())
}

fn confined(cookie: &str) -> Option<String> {
    confine(cookie.as_bytes(), &zones()).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_cookie_for_a_zone_becomes_one_of_its_host() {
    for wide in [
        "a=1; Domain=apps.example.com",
        "a=1;domain=.apps.example.com",
        "a=1; DOMAIN = Apps.Example.COM ",
        "a=1; Domain=\"apps.example.com\"",
        "a=1; Domain=\".apps.example.com\"",
        "a=1; Domain=apps.example.com.",
        "a=1; Domain=example.com",
        "a=1; Domain=com",
        "a=1; Domain=apps.localhost",
        "a=1; Domain=localhost",
    ] {
        assert_eq!(confined(wide).as_deref(), Some("a=1"), "{wide}");
    }
}

#[test]
fn a_cookie_for_another_name_stays_as_it_is() {
    for narrow in [
        "a=1",
        "a=1; Path=/",
        "a=1; Domain=hello.apps.example.com",
        "a=1; Domain=notapps.example.com",
        "a=1; Domain=ample.com",
        "a=1; Domain=shop.test",
        "a=1; Domain=",
        "a=1; Domain",
        "Domain=apps.example.com",
        "",
    ] {
        assert_eq!(confined(narrow), None, "{narrow}");
    }
}

#[test]
fn all_other_bytes_stay() {
    let cookie =
        "id=\"x y\" ;Path=/ ;  dOmAiN=apps.localhost;Secure;;Expires=Wed, 21 Oct 2026 07:28:00 GMT; odd";
    let expected = "id=\"x y\" ;Path=/ ;Secure;;Expires=Wed, 21 Oct 2026 07:28:00 GMT; odd";
    assert_eq!(confined(cookie).as_deref(), Some(expected));
}

#[test]
fn every_domain_of_a_cookie_counts() {
    let cookie = "a=1; Domain=apps.localhost; Domain=hello.apps.localhost; Domain=localhost";
    assert_eq!(confined(cookie).as_deref(), Some("a=1; Domain=hello.apps.localhost"));
}

#[test]
fn quotes_hide_no_domain_because_browsers_do_not_read_them() {
    assert_eq!(confined("a=\"x; Domain=apps.localhost; y\"").as_deref(), Some("a=\"x; y\""));
}

#[test]
fn bytes_that_are_no_text_are_left_alone() {
    assert_eq!(confine(b"a=\xff; Domain=\xff\xfe; Path=/", &zones()), None);
    let mixed = confine(b"a=\xff; Domain=apps.localhost; Path=/\xfe", &zones());
    assert_eq!(mixed.as_deref(), Some(&b"a=\xff; Path=/\xfe"[..]));
}

fn harmless() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -:<-~]{0,12}",
        Just(" Path=/x".to_owned()),
        Just(" Domain=hello.apps.example.com".to_owned()),
        Just(" SameSite=Lax".to_owned()),
    ]
}

fn wide() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("apps.example.com"), Just("example.com"), Just("apps.localhost")];
    (name, any::<u32>(), "[ ]{0,2}", "[.]{0,1}", any::<bool>()).prop_map(
        |(name, case, space, dot, quoted)| {
            let mixed: String = format!("domain={dot}{name}")
                .chars()
                .enumerate()
                .map(|(at, c)| if case >> (at % 32) & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            match mixed.split_once('=') {
                Some((key, value)) if quoted => format!("{space}{key}{space}=\"{value}\"{space}"),
                _ => format!("{space}{mixed}{space}"),
            }
        },
    )
}

proptest! {
    #[test]
    fn exactly_the_wide_domains_go(
        first in "[!-:<-~]{0,12}",
        parts in prop::collection::vec(prop_oneof![harmless().prop_map(|p| (p, false)), wide().prop_map(|p| (p, true))], 0..8),
    ) {
        prop_assume!(parts.iter().all(|(part, is_wide)| *is_wide || !is_wide_domain(part.as_bytes(), &zones())));
        let joined = |keep: &dyn Fn(bool) -> bool| parts.iter().filter(|(_, wide)| keep(*wide)).fold(
            first.clone(), |cookie, (part, _)| format!("{cookie};{part}"));
        let whole = joined(&|_| true);
        let expected = joined(&|wide| !wide);
        prop_assert_eq!(confined(&whole).unwrap_or(whole), expected);
    }

    #[test]
    fn any_bytes_are_survived_and_a_second_pass_changes_nothing(cookie in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some(once) = confine(&cookie, &zones()) {
            prop_assert_eq!(confine(&once, &zones()), None);
        }
    }
}
