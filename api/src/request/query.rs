//! Query parameters: unknown ones are refused, because a mistyped filter would answer too much.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{Code, Fault, Problem};

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let text = std::error::Error::source(&rejection)
                .map_or_else(|| rejection.to_string(), ToString::to_string);
            Problem::new(Code::InvalidQuery, format!("The query is not understood: {text}."))
        })?;
        Ok(Self(query.0))
    }
}

/// A parameter that was understood as text and cannot be accepted.
pub(crate) fn refused(name: &str, message: impl ToString) -> Problem {
    let message = message.to_string();
    Problem::new(Code::InvalidQuery, format!("The query parameter `{name}`: {message}."))
        .with_faults(vec![Fault::invalid(format!("?{name}"), message)])
}

/// Reads an optional parameter.
pub(crate) fn read<T: std::str::FromStr<Err: ToString>>(
    name: &str,
    text: Option<&String>,
) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse().map_err(|error: T::Err| refused(name, error.to_string()))).transpose()
}
