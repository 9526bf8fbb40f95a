//! The answer to a refused request: a page for people, a problem document (RFC 9457) for programs.
//!
//! A page is one file of at most 10 KB: no outside assets, no script, and its one style is allowed by hash in
//! its own Content-Security-Policy. It carries the reference code that stands in the access log too. It
//! cannot fail: what a header cannot hold is answered as a bad request.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::id::RequestId;
use pingora_http::ResponseHeader;
use serde::Serialize;

use crate::refusal::Refusal;
use accept::Form;
use words::Words;

mod accept;
mod words;

const TEMPLATE: &str = include_str!("page/refusal.html");
const STYLE: &str = include_str!("page/refusal.css");
/// Allows [`STYLE`] by its SHA-256 (CSP Level 3 §2.3.1) and nothing else; a test holds the two together.
const PAGE_CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'sha256-b+7Y6EnnT/IXU02qm2OA+eqasrT+qtKwv1vUzM/nWMY='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const PROBLEM_CSP: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// What sites here may be asked with; the app decides about each of them.
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const REDIRECT_BODY: &str = "This site is served over https only.\n";
/// Problem type of an exhausted limit (draft-ietf-httpapi-ratelimit-headers-10 §8).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A problem document.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    request_id: &'a str,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<[&'static str; 1]>,
}

/// The response to a refused request, whose `Accept` is `accept`. The body is empty if `is_head`; the length
/// is that of the body which a GET gets.
pub(crate) fn response(
    refusal: &Refusal,
    request: RequestId,
    accept: Option<&HeaderValue>,
    is_head: bool,
) -> (ResponseHeader, Bytes) {
    if let Refusal::RedirectToHttps { location } = refusal {
        return match HeaderValue::try_from(location.as_str()) {
            Ok(location) => redirect(refusal, location, request, is_head),
            Err(_) => response(&Refusal::BadRequest("the target is not text"), request, accept, is_head),
        };
    }
    let reference = request.to_string();
    let (content_type, policy, body) = match accept::choose(accept) {
        Form::Html => ("text/html; charset=utf-8", PAGE_CSP, html(refusal, &reference)),
        Form::Problem => ("application/problem+json", PROBLEM_CSP, problem(refusal, &reference)),
        Form::Json => ("application/json", PROBLEM_CSP, problem(refusal, &reference)),
    };
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    insert_refusal_headers(&mut headers, refusal);
    finish(headers, refusal, &reference, body, is_head)
}

fn redirect(
    refusal: &Refusal,
    location: HeaderValue,
    request: RequestId,
    is_head: bool,
) -> (ResponseHeader, Bytes) {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(LOCATION, location);
    finish(headers, refusal, &request.to_string(), REDIRECT_BODY.to_owned(), is_head)
}

fn insert_refusal_headers(headers: &mut HeaderMap, refusal: &Refusal) {
    if let Some(seconds) = refusal.wait_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal {
        Refusal::MethodNotAllowed => {
            headers.insert(ALLOW, ALLOWED_METHODS);
        }
        Refusal::VisitorLimit { policy } | Refusal::TenantLimit { policy } => {
            insert_text(headers, RATE_LIMIT_POLICY, policy.policy_field());
            insert_text(headers, RATE_LIMIT, policy.state_field());
        }
        _ => {}
    }
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

fn finish(
    mut headers: HeaderMap,
    refusal: &Refusal,
    reference: &str,
    body: String,
    is_head: bool,
) -> (ResponseHeader, Bytes) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    insert_text(&mut headers, X_REQUEST_ID, reference.to_owned());
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    parts.headers = headers;
    let body = if is_head { Bytes::new() } else { Bytes::from(body) };
    (ResponseHeader::from(parts), body)
}

fn html(refusal: &Refusal, reference: &str) -> String {
    let Words { title, text, advice } = words::of(refusal);
    let wait = refusal.wait_seconds().map_or_else(String::new, |seconds| match seconds {
        1 => " You can try again in one second.".to_owned(),
        _ => format!(" You can try again in {seconds} seconds."),
    });
    let status = refusal.status().to_string();
    let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + 512);
    for (index, piece) in TEMPLATE.split("{{").enumerate() {
        let (name, rest) =
            if index == 0 { ("", piece) } else { piece.split_once("}}").unwrap_or(("", piece)) };
        match name {
            "style" => page.push_str(STYLE),
            "title" => escape(title, &mut page),
            "text" => escape(text, &mut page),
            "advice" => escape(advice, &mut page),
            "wait" => escape(&wait, &mut page),
            "reference" => escape(reference, &mut page),
            "code" => escape(refusal.code(), &mut page),
            "status" => escape(&status, &mut page),
            _ => {}
        }
        page.push_str(rest);
    }
    page
}

/// Appends `text` so that it is text in an element or in a quoted attribute.
fn escape(text: &str, page: &mut String) {
    for character in text.chars() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            _ => page.push(character),
        }
    }
}

fn problem(refusal: &Refusal, reference: &str) -> String {
    let Words { title, text, advice } = words::of(refusal);
    let policy = match refusal {
        Refusal::VisitorLimit { policy } | Refusal::TenantLimit { policy } => Some(policy.policy),
        _ => None,
    };
    let detail = match refusal {
        Refusal::BadRequest(reason) | Refusal::RequestTimeout(reason) => format!("{text} Reason: {reason}."),
        _ => format!("{text} {advice}"),
    };
    let problem = Problem {
        kind: if policy.is_some() { QUOTA_EXCEEDED } else { "about:blank" },
        title,
        status: refusal.status(),
        detail,
        code: refusal.code(),
        request_id: reference,
        violated_policies: policy.map(|policy| [policy]),
    };
    // Texts and numbers always have a JSON form.
    serde_json::to_string(&problem).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests;
