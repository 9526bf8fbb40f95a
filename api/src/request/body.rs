//! JSON bodies, read strictly: media type, size, form, then type, each fault named by a JSON pointer.

use std::error::Error as _;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use crate::problem::{Code, Fault, Problem};

/// A body that must be there.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// A body that may be left out; then it is the default.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

/// Most bytes a body may have; set for each route by its layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxBytes(pub(crate) usize);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        let bytes = read(request).await?;
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let media_type = check_media_type(request.headers());
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        media_type?;
        parse(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Reads a whole body, up to the route's [`MaxBytes`].
pub(crate) async fn read(request: Request) -> Result<Bytes, Problem> {
    let limit = request.extensions().get::<MaxBytes>().map_or(crate::MAX_BODY_BYTES, |max| max.0);
    read_up_to(request.into_body(), limit).await
}

/// Reads a whole body of at most `limit` bytes.
pub(crate) async fn read_up_to(body: Body, limit: usize) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let too_large =
            error.source().is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if too_large {
            Problem::new(Code::BodyTooLarge, format!("The body is larger than {limit} bytes."))
        } else {
            Problem::new(Code::NotJson, "The body broke off before its end.")
        }
    })
}

/// `application/json`, or anything that ends in `+json` (RFC 6839), e.g. `application/merge-patch+json`.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let detail = match given {
        Some(given) => format!("The body is `{given}`: send JSON with Content-Type: application/json."),
        None => "The body has no media type: send JSON with Content-Type: application/json.".to_owned(),
    };
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// Reads a JSON object into a type, with a pointer to the first value that does not fit.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| not_json(&error))?;
    // serde would read the fields of a struct from an array too, by their order.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(not_an_object());
    }
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
        .map_err(|error| fault(&error))
}

fn not_an_object() -> Problem {
    let fault = Fault::new("", "wrong_type", "the body must be a JSON object, { … }");
    Problem::new(Code::Invalid, "The body must be a JSON object, { … }.").with_faults(vec![fault])
}

/// Turns a JSON value into a type, with a pointer to the first value that does not fit.
pub(crate) fn convert<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| fault(&error))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Code::NotJson, format!("The body is not JSON: {error}."))
}

fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if !error.inner().is_data() {
        return not_json(error.inner());
    }
    let text = error.inner().to_string();
    // serde_json adds where in the text it was; the pointer says it better.
    let text = text.split(" at line ").next().unwrap_or_default();
    let mut pointer = pointer(error.path());
    let code = if let Some(field) = quoted(text, "missing field `") {
        pointer = format!("{pointer}/{field}");
        "missing"
    } else if text.starts_with("unknown field ") {
        "unknown_field"
    } else if text.starts_with("invalid type") {
        "wrong_type"
    } else {
        "invalid"
    };
    let detail =
        if pointer.is_empty() { format!("The body: {text}.") } else { format!("{pointer}: {text}.") };
    Problem::new(Code::Invalid, detail).with_faults(vec![Fault::new(pointer, code, text)])
}

fn quoted<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_suffix('`')
}

/// A JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("{pointer}/{variant}"),
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        #[serde(rename = "list")]
        _list: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "size")]
        _size: u8,
    }

    fn refusal(text: &str) -> (&'static str, String) {
        let problem = parse::<Thing>(text.as_bytes()).unwrap_err();
        let fault = problem.faults().first().map(|fault| format!("{} {}", fault.pointer, fault.code));
        (problem.code().as_str(), fault.unwrap_or_default())
    }

    #[test]
    fn every_fault_has_its_pointer() {
        for (text, fault) in [
            (r#"{"list": [{"size": 1}, {"size": "x"}]}"#, "/list/1/size wrong_type"),
            (r#"{"list": [{"size": 1}, {"size": 999}]}"#, "/list/1/size invalid"),
            (r#"{"list": [{}]}"#, "/list/0/size missing"),
            (r#"{"list": [{"size": 1, "a/b": 2}]}"#, "/list/0/a~1b unknown_field"),
            (r"{}", "/list missing"),
            (r"[1]", " wrong_type"),
            (r"7", " wrong_type"),
        ] {
            assert_eq!(refusal(text), ("invalid", fault.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_says_so() {
        for text in ["", "{", r#"{"list": []} x"#, "\u{1}", &"[".repeat(10_000)] {
            assert_eq!(refusal(text).0, "not_json", "{text:.20}");
        }
    }
}
