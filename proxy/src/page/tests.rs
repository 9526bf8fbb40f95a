use std::collections::HashSet;

use model::Timestamp;

use super::*;
use crate::refusal::tests::all;

const BROWSER: HeaderValue = HeaderValue::from_static("text/html,*/*;q=0.8");

fn reference() -> RequestId {
    RequestId::generate(Timestamp::from_unix_millis(1_795_371_000_123))
}

fn field<'a>(header: &'a ResponseHeader, name: &str) -> Option<&'a str> {
    header.headers.get(name).and_then(|value| value.to_str().ok())
}

fn page_of(refusal: &Refusal, request: RequestId) -> (ResponseHeader, String) {
    let (header, body) = response(refusal, request, Some(&BROWSER), false);
    (header, String::from_utf8(body.to_vec()).unwrap())
}

fn pages() -> impl Iterator<Item = (Refusal, ResponseHeader, String)> {
    all().into_iter().filter(|refusal| refusal.status() != 308).map(|refusal| {
        let (header, body) = page_of(&refusal, reference());
        (refusal, header, body)
    })
}

#[test]
fn every_page_is_at_most_10_kilobytes_and_needs_nothing_from_outside() {
    for (refusal, header, body) in pages() {
        assert!(body.len() <= 10_240, "{refusal}: {} bytes", body.len());
        for word in
            ["http://", "https://", "src=", "href=", "<script", "<link", "@import", "url(", "style=", "{{"]
        {
            assert!(!body.contains(word), "{refusal}: {word}");
        }
        assert_eq!(field(&header, "content-type"), Some("text/html; charset=utf-8"));
    }
}

#[test]
fn every_page_shows_its_code_and_reference_and_names_its_language() {
    let request = reference();
    for refusal in all().into_iter().filter(|refusal| refusal.status() != 308) {
        let (header, body) = page_of(&refusal, request);
        assert!(body.contains(&format!("<code>{request}</code>")), "{refusal}");
        assert!(
            body.contains(&format!("<code>{}</code> ({})", refusal.code(), refusal.status())),
            "{refusal}"
        );
        assert!(body.contains("<html lang=\"en\">"), "{refusal}");
        assert_eq!(field(&header, "x-request-id"), Some(request.to_string().as_str()));
        assert_eq!(header.status.as_u16(), refusal.status());
    }
}

#[test]
fn every_refusal_has_its_own_words_and_none_names_money() {
    let titles: HashSet<_> = pages().map(|(refusal, ..)| words::of(&refusal).title).collect();
    assert_eq!(titles.len(), pages().count());
    for (refusal, _, body) in pages() {
        for word in ["bill", "pay", "plan", "quota", "invoice", "subscri"] {
            let words = words::of(&refusal);
            let text = format!("{} {} {}", words.title, words.text, words.advice).to_lowercase();
            assert!(!text.contains(word), "{refusal}: {word}");
        }
        assert!(!body.contains("sql injection"), "the visitor is not told what the firewall saw");
    }
}

#[test]
fn the_style_is_the_one_that_the_policy_allows() {
    use base64::Engine;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(digest.as_ref());
    assert!(
        PAGE_CSP.to_str().unwrap().contains(&format!("'sha256-{hash}'")),
        "write sha256-{hash} into PAGE_CSP"
    );
    let (_, body) = page_of(&Refusal::UnknownHost, reference());
    assert!(body.contains(&format!("<style>{STYLE}</style>")));
}

#[test]
fn a_program_gets_a_problem_document() {
    let request = reference();
    for refusal in all().into_iter().filter(|refusal| refusal.status() != 308) {
        let (header, body) = response(&refusal, request, None, false);
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(field(&header, "content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], refusal.status());
        assert_eq!(problem["code"], refusal.code());
        assert_eq!(problem["request_id"], request.to_string());
        assert!(problem["type"].is_string() && problem["title"].is_string() && problem["detail"].is_string());
        assert_eq!(field(&header, "cache-control"), Some("no-store"));
        assert_eq!(field(&header, "x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn a_bad_request_tells_a_program_what_was_bad() {
    let (_, body) = response(&Refusal::BadRequest("the host is empty"), reference(), None, false);
    assert!(String::from_utf8_lossy(&body).contains("the host is empty"));
}

#[test]
fn a_limit_says_how_far_and_how_long() {
    let limited = all().into_iter().find(|refusal| refusal.code() == "visitor_limit").unwrap();
    let (header, body) = page_of(&limited, reference());
    assert_eq!(header.status, 429);
    assert_eq!(field(&header, "retry-after"), Some("3"));
    assert_eq!(field(&header, "ratelimit-policy"), Some("\"visitor\";q=50;w=60"));
    assert_eq!(field(&header, "ratelimit"), Some("\"visitor\";r=0;t=3"));
    assert!(body.contains("in 3 seconds"));
    let (_, body) = response(&limited, reference(), None, false);
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["violated-policies"], serde_json::json!(["visitor"]));
}

#[test]
fn head_has_the_length_of_the_body_it_leaves_out() {
    for refusal in all() {
        let request = reference();
        let (get, body) = response(&refusal, request, Some(&BROWSER), false);
        let (head, nothing) = response(&refusal, request, Some(&BROWSER), true);
        assert!(nothing.is_empty());
        assert_eq!(field(&get, "content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(get.headers, head.headers);
    }
}

#[test]
fn a_redirect_is_permanent_keeps_the_method_and_has_a_tiny_body() {
    let refusal = Refusal::RedirectToHttps { location: "https://a.test/x?y=1".to_owned() };
    let (header, body) = response(&refusal, reference(), Some(&BROWSER), false);
    assert_eq!(header.status, 308);
    assert_eq!(field(&header, "location"), Some("https://a.test/x?y=1"));
    assert!(body.len() < 100);
}

#[test]
fn a_location_that_no_header_can_hold_is_a_bad_request() {
    let refusal = Refusal::RedirectToHttps { location: "https://a.test/\r\nx: y".to_owned() };
    let (header, _) = response(&refusal, reference(), None, false);
    assert_eq!(header.status, 400);
    assert_eq!(field(&header, "location"), None);
}

#[test]
fn a_refused_method_is_told_the_allowed_ones() {
    let (header, _) = response(&Refusal::MethodNotAllowed, reference(), None, false);
    assert_eq!(field(&header, "allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
}

#[test]
fn markup_in_a_value_becomes_text() {
    let mut page = String::new();
    escape("<b a=\"1\" c='2'>&", &mut page);
    assert_eq!(page, "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
}
