//! One call of the admin API, as data.

use reqwest::Method;
use serde_json::Value;

/// What to ask, and which columns to show if the answer is a list.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) columns: Vec<&'static str>,
}

impl Request {
    /// Any call.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), body: None, columns: Vec::new() }
    }

    /// A reading call.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// With a JSON body.
    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With a query parameter, if it was given.
    pub(super) fn query(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    /// With the columns of a printed list.
    pub(super) fn columns(mut self, columns: &[&'static str]) -> Self {
        self.columns = columns.to_vec();
        self
    }

    /// Whether every page of a list is wanted.
    pub(super) fn is_list(&self) -> bool {
        !self.columns.is_empty()
    }
}

/// A short name made from a name for people: `Ann's Shop` becomes `ann-s-shop`.
pub(super) fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for character in name.to_lowercase().chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(40);
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug_of;

    #[test]
    fn a_short_name_is_made_from_what_people_type() {
        assert_eq!(slug_of("Ann's Shop!"), "ann-s-shop");
        assert_eq!(slug_of("  Blumen & Öl  "), "blumen-l");
    }
}
