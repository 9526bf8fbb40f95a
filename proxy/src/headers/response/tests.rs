use model::Timestamp;
use model::csp::Csp;
use model::site::ReferrerPolicy;

use super::*;

fn id() -> RequestId {
    RequestId::generate(Timestamp::from_unix_millis(1_795_371_000_123))
}

fn response(fields: &[(&str, &str)]) -> ResponseHeader {
    let mut resp = ResponseHeader::build(200, None).unwrap();
    for (name, value) in fields {
        resp.append_header((*name).to_owned(), *value).unwrap();
    }
    resp
}

fn values<'a>(resp: &'a ResponseHeader, name: &str) -> Vec<&'a str> {
    resp.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn secured(fields: &[(&str, &str)], policy: &HeaderPolicy, hsts: Hsts) -> ResponseHeader {
    let mut resp = response(fields);
    let zones = [Host::parse("apps.localhost").unwrap()];
    secure_response(&mut resp, &PreparedPolicy::new(policy), &zones, hsts, id()).unwrap();
    resp
}

#[test]
fn an_app_that_says_nothing_gets_the_strict_defaults() {
    let resp = secured(&[], &HeaderPolicy::default(), Hsts::Zone);
    let csp = "default-src 'self'; img-src 'self' data:; script-src 'self'; frame-ancestors 'none'";
    assert_eq!(values(&resp, "content-security-policy"), [csp]);
    assert_eq!(values(&resp, "x-content-type-options"), ["nosniff"]);
    assert_eq!(values(&resp, "referrer-policy"), ["strict-origin-when-cross-origin"]);
    assert_eq!(values(&resp, "strict-transport-security"), ["max-age=31536000; includeSubDomains"]);
}

#[test]
fn a_domain_promises_nothing_for_the_names_below_it() {
    let resp = secured(&[], &HeaderPolicy::default(), Hsts::Domain);
    assert_eq!(values(&resp, "strict-transport-security"), ["max-age=31536000"]);
}

#[test]
fn the_platform_owns_the_security_fields() {
    let backend = [
        ("Content-Security-Policy", "default-src *"),
        ("content-security-policy", "script-src *"),
        ("Referrer-Policy", "unsafe-url"),
        ("X-Content-Type-Options", "sniff"),
        ("Strict-Transport-Security", "max-age=1; preload"),
        ("X-Request-Id", "mine"),
        ("X-Stoa-Tenant", "mine"),
        ("X-Powered-By", "mine"),
        ("Alt-Svc", "h3=\":9443\""),
    ];
    let policy = HeaderPolicy { referrer_policy: ReferrerPolicy::NoReferrer, ..HeaderPolicy::default() };
    let resp = secured(&backend, &policy, Hsts::Off);
    assert_eq!(values(&resp, "content-security-policy").len(), 1);
    assert_eq!(values(&resp, "referrer-policy"), ["no-referrer"]);
    assert_eq!(values(&resp, "x-content-type-options"), ["nosniff"]);
    for name in ["strict-transport-security", "x-stoa-tenant", "x-powered-by", "alt-svc"] {
        assert!(values(&resp, name).is_empty(), "{name}");
    }
    assert_ne!(values(&resp, "x-request-id"), ["mine"]);
}

#[test]
fn an_emptied_policy_sends_none_and_does_not_hand_the_field_to_the_backend() {
    let nothing = Csp {
        default_src: Vec::new(),
        img_src: Vec::new(),
        script_src: Vec::new(),
        frame_ancestors: Vec::new(),
        ..Csp::default()
    };
    let policy = HeaderPolicy { content_security_policy: nothing, ..HeaderPolicy::default() };
    let resp = secured(&[("Content-Security-Policy", "default-src *")], &policy, Hsts::Off);
    assert!(values(&resp, "content-security-policy").is_empty());
}

#[test]
fn what_is_the_apps_stays_the_apps() {
    let own =
        [("Server", "nginx"), ("ETag", "\"x\""), ("X-Frame-Options", "DENY"), ("Set-Cookie", "a=1; Path=/")];
    let resp = secured(&own, &HeaderPolicy::default(), Hsts::Zone);
    for (name, value) in own {
        assert_eq!(values(&resp, name), [value]);
    }
}

#[test]
fn only_the_cookies_of_a_whole_zone_change_and_their_order_stays() {
    let cookies = [
        ("Set-Cookie", "a=1; Domain=apps.localhost; Path=/"),
        ("set-cookie", "b=2; Domain=hello.apps.localhost"),
        ("Set-Cookie", "c=3; domain=\".APPS.localhost\""),
    ];
    let resp = secured(&cookies, &HeaderPolicy::default(), Hsts::Zone);
    assert_eq!(values(&resp, "set-cookie"), ["a=1; Path=/", "b=2; Domain=hello.apps.localhost", "c=3"]);
}
