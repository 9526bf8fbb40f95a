//! Which form of a refusal a client can read (RFC 9110 §12.5.1, proactive negotiation).
//!
//! HTML goes only to who asks for `text/html` by name, as browsers do when they load a page. Programs,
//! scripts and images, which send `*/*` or nothing, get a problem document.

use http::HeaderValue;

/// Most media ranges that are read; browsers send fewer than ten.
const MAX_RANGES: usize = 32;

/// The form of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A page for people.
    Html,
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// The same document as `application/json`, for who prefers that name.
    Json,
}

/// Qualities in thousandths.
#[derive(Default)]
struct Qualities {
    html: u16,
    problem: Option<u16>,
    json: u16,
    anything: u16,
}

/// Chooses the form for the value of `Accept`.
pub(super) fn choose(accept: Option<&HeaderValue>) -> Form {
    let Some(text) = accept.and_then(|value| value.to_str().ok()) else { return Form::Problem };
    let wanted = read(text);
    let problem = wanted.problem.unwrap_or(wanted.anything);
    if wanted.html > 0 && wanted.html >= wanted.problem.unwrap_or(0).max(wanted.json) {
        Form::Html
    } else if wanted.json > problem {
        Form::Json
    } else {
        Form::Problem
    }
}

fn read(text: &str) -> Qualities {
    let mut found = Qualities::default();
    for range in text.split(',').take(MAX_RANGES) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(quality).unwrap_or(1000);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("text/html") || is("application/xhtml+xml") {
            found.html = found.html.max(quality);
        } else if is("application/problem+json") {
            found.problem = Some(quality);
        } else if is("application/json") {
            found.json = quality;
        } else if is("application/*") || is("*/*") {
            found.anything = found.anything.max(quality);
        }
    }
    found
}

/// The weight of a `q=` parameter in thousandths; a weight that cannot be read counts as 0.
fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(0);
    }
    match whole {
        "1" => Some(1000),
        "0" => Some(format!("{fraction:0<3}").parse().unwrap_or(0)),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &'static str) -> Form {
        choose(Some(&HeaderValue::from_static(text)))
    }

    #[test]
    fn a_browser_that_loads_a_page_gets_html() {
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert_eq!(chosen(chromium), Form::Html);
        assert_eq!(chosen("Text/HTML;Q=0.1"), Form::Html);
    }

    #[test]
    fn who_does_not_name_html_gets_a_problem() {
        assert_eq!(choose(None), Form::Problem);
        for text in ["*/*", "", "image/avif,image/webp,*/*;q=0.8", "text/*", "text/html;q=0, */*", ",,;;=,"] {
            assert_eq!(chosen(text), Form::Problem, "{text}");
        }
    }

    #[test]
    fn json_by_its_plain_name_is_answered_under_that_name() {
        assert_eq!(chosen("application/json"), Form::Json);
        assert_eq!(chosen("application/json, */*;q=0.5"), Form::Json);
        assert_eq!(chosen("application/json, text/plain, */*"), Form::Problem);
        assert_eq!(chosen("application/problem+json, application/json"), Form::Problem);
        assert_eq!(chosen("application/problem+json;q=0.2, application/json"), Form::Json);
    }

    #[test]
    fn the_higher_quality_wins_over_html() {
        assert_eq!(chosen("text/html;q=0.5, application/json;q=0.9"), Form::Json);
        assert_eq!(chosen("text/html;q=0.9, application/json;q=0.5"), Form::Html);
        assert_eq!(chosen("text/html, application/json"), Form::Html);
    }

    #[test]
    fn a_quality_that_cannot_be_read_counts_as_nothing() {
        for text in
            ["text/html;q=2", "text/html;q=abc", "text/html;q=0.12345", "text/html;q=-1", "text/html;q="]
        {
            assert_eq!(chosen(text), Form::Problem, "{text}");
        }
    }
}
