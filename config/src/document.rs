//! Reading typed values out of TOML, noting every fault with its place instead of stopping at the first.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::error::Faults;

type Value<'d> = Spanned<DeValue<'d>>;

/// One table of the file, or the place where one could be.
#[derive(Debug, Clone)]
pub(crate) struct Section<'d> {
    name: &'static str,
    table: Option<&'d DeTable<'d>>,
    span: Option<Range<usize>>,
}

/// A text of the file.
#[derive(Debug, Clone)]
pub(crate) struct Text<'d> {
    /// The key it stands at, e.g. `edge.http`.
    pub(crate) path: String,
    /// The text.
    pub(crate) value: &'d str,
    /// Where.
    pub(crate) span: Range<usize>,
}

impl<'d> Section<'d> {
    /// The file itself.
    pub(crate) fn root(table: &'d DeTable<'d>) -> Self {
        Self { name: "", table: Some(table), span: None }
    }

    /// The table at `name`, whose only keys may be `keys`.
    pub(crate) fn section(&self, name: &'static str, keys: &[&str], faults: &mut Faults<'_>) -> Self {
        self.table((name, name), keys, faults)
    }

    /// The table at `key`, written [`name`], whose only keys may be `keys`.
    pub(crate) fn table(
        &self,
        (key, name): (&str, &'static str),
        keys: &[&str],
        faults: &mut Faults<'_>,
    ) -> Self {
        let Some(value) = self.get(key) else { return Self { name, table: None, span: None } };
        let table = value.get_ref().as_table();
        if table.is_none() {
            faults.at(value.span(), format!("`{name}` is {}: write it as a table, [{name}]", kind(value)));
        }
        let section = Self { name, table, span: Some(value.span()) };
        section.refuse_others(keys, faults);
        section
    }

    /// The tables of the list at `key`, written [[`name`]], whose only keys may be `keys`.
    pub(crate) fn sections(
        &self,
        (key, name): (&str, &'static str),
        keys: &[&str],
        faults: &mut Faults<'_>,
    ) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let advice = || format!("`{name}` is {}: write a table, [[{name}]]", kind(value));
        let Some(array) = value.get_ref().as_array() else {
            faults.at(value.span(), advice());
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array {
            match item.get_ref().as_table() {
                Some(table) => {
                    let section = Self { name, table: Some(table), span: Some(item.span()) };
                    section.refuse_others(keys, faults);
                    sections.push(section);
                }
                None => faults.at(item.span(), advice()),
            }
        }
        sections
    }

    /// Where the table stands; none if it does not.
    pub(crate) fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Notes each key that is not one of `keys`.
    pub(crate) fn refuse_others(&self, keys: &[&str], faults: &mut Faults<'_>) {
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let name = key.get_ref().as_ref();
            if !keys.contains(&name) {
                faults.at(key.span(), format!("unknown key `{}`: {}", self.path(name), advice(name, keys)));
            }
        }
    }

    /// The text at `key`.
    pub(crate) fn text(&self, key: &str, faults: &mut Faults<'_>) -> Option<Text<'d>> {
        let value = self.get(key)?;
        let text = self.as_text(key, value);
        if text.is_none() {
            faults
                .at(value.span(), format!("`{}` is {}: write a text in quotes", self.path(key), kind(value)));
        }
        text
    }

    /// The texts of the list at `key`; those that are none are noted and left out.
    pub(crate) fn texts(&self, key: &str, faults: &mut Faults<'_>) -> Option<Vec<Text<'d>>> {
        let value = self.get(key)?;
        let path = self.path(key);
        let Some(array) = value.get_ref().as_array() else {
            faults.at(value.span(), format!("`{path}` is {}: write a list of texts, [\"…\"]", kind(value)));
            return None;
        };
        let mut texts = Vec::new();
        for item in array {
            match self.as_text(key, item) {
                Some(text) => texts.push(text),
                None => faults.at(item.span(), format!("`{path}` has {}: write texts in quotes", kind(item))),
            }
        }
        Some(texts)
    }

    /// As [`Self::texts`], of a list that must not be empty.
    pub(crate) fn some_texts(
        &self,
        key: &str,
        example: &str,
        faults: &mut Faults<'_>,
    ) -> Option<Vec<Text<'d>>> {
        let texts = self.texts(key, faults)?;
        let value = self.get(key)?;
        if value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            let path = self.path(key);
            let advice = format!("write at least one, e.g. {example}, or remove it for the default");
            faults.at(value.span(), format!("`{path}` is empty: {advice}"));
        }
        Some(texts)
    }

    /// The whole number at `key`, within `range`.
    pub(crate) fn number(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        faults: &mut Faults<'_>,
    ) -> Option<u64> {
        let value = self.get(key)?;
        let number = value.get_ref().as_integer().and_then(as_u64).filter(|number| range.contains(number));
        if number.is_none() {
            let shown = value.get_ref().as_integer().map_or_else(|| kind(value), ToString::to_string);
            let (path, low, high) = (self.path(key), range.start(), range.end());
            faults
                .at(value.span(), format!("`{path}` is {shown}: write a whole number from {low} to {high}"));
        }
        number
    }

    /// The truth value at `key`.
    pub(crate) fn truth(&self, key: &str, faults: &mut Faults<'_>) -> Option<bool> {
        let value = self.get(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            faults.at(value.span(), format!("`{}` is {}: write true or false", self.path(key), kind(value)));
        }
        truth
    }

    /// The table at `key` if there is one and it is a table.
    pub(crate) fn inner(&self, key: &'static str) -> Option<Self> {
        let value = self.get(key)?;
        let table = value.get_ref().as_table()?;
        Some(Self { name: key, table: Some(table), span: Some(value.span()) })
    }

    /// Where the value at `key` stands.
    pub(crate) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.get(key).map(Spanned::span)
    }

    /// `key` with its table's name.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn get(&self, key: &str) -> Option<&'d Value<'d>> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn as_text(&self, key: &str, value: &'d Value<'d>) -> Option<Text<'d>> {
        let text = value.get_ref().as_str()?;
        Some(Text { path: self.path(key), value: text, span: value.span() })
    }
}

fn as_u64(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn kind(value: &Value<'_>) -> String {
    let kind = value.get_ref().type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn advice(name: &str, keys: &[&str]) -> String {
    let nearest = keys.iter().map(|key| (distance(name, key), key)).min();
    match nearest {
        Some((far, key)) if far <= 2 => format!("did you mean `{key}`?"),
        _ if keys.is_empty() => "remove it".to_owned(),
        _ => format!("there are {}", keys.join(", ")),
    }
}

/// Levenshtein's distance in characters, of the first 32.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(32).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, from) in a.chars().take(32).enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        let mut next = vec![left];
        for (to, up) in b.iter().zip(row.iter().skip(1)) {
            let cost = diagonal + usize::from(from != *to);
            left = cost.min(up + 1).min(left + 1);
            diagonal = *up;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, expected) in
            [("", "", 0), ("http", "htp", 1), ("kitten", "sitting", 3), ("zone", "zones", 1), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
