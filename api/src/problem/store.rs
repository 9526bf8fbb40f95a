//! What the store's refusals mean to a caller of the API.

use store::StoreError;

use super::{Code, Fault, Problem};
use crate::request::precondition::stale;
use crate::request::query::refused;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = sentence(&error.to_string());
        match error {
            StoreError::NotFound { what, .. } => Self::not_found(what),
            StoreError::Conflict { field, code, .. } => Self::new(Code::Conflict(code), text.clone())
                .with_faults(vec![Fault::new(pointer(field), code, text)]),
            StoreError::Stale { .. } => stale(),
            StoreError::Invalid { field: field @ ("limit" | "cursor"), reason } => refused(field, reason),
            StoreError::Invalid { field, reason } => {
                Self::faulty(vec![Fault::invalid(pointer(field), sentence(&reason))])
            }
            StoreError::EdgeOfAnotherKey { .. } => Self::new(Code::EdgeOfAnotherKey, text),
            StoreError::TooMany { .. } => Self::new(Code::Conflict("too_many"), text),
            StoreError::Unavailable(source) => Self::unavailable(format!("{text} {source}")),
            StoreError::Fenced { .. } | StoreError::Corrupt { .. } | StoreError::Unopened { .. } => {
                Self::internal(text)
            }
        }
    }
}

/// `headers.content_security_policy` as `/headers/content_security_policy`.
pub(crate) fn pointer(field: &str) -> String {
    format!("/{}", field.replace('.', "/"))
}

/// The first letter large and a full stop, as people read it; a quoted value keeps its case.
pub(crate) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.map(String::from).unwrap_or_default(), characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_as_a_sentence() {
        assert_eq!(sentence("slug `a` is taken"), "Slug `a` is taken.");
        assert_eq!(sentence("`a` is taken."), "`a` is taken.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn a_field_of_the_store_is_a_pointer_into_the_body() {
        let error = StoreError::Invalid { field: "tenant.burst", reason: "it is 0".to_owned() };
        let problem = Problem::from(error);
        assert_eq!(problem.faults().first().map(|fault| fault.pointer.as_str()), Some("/tenant/burst"));
    }
}
