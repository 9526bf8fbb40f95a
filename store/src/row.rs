//! From columns to the model's types. What does not parse is corruption, named by its column.

use std::fmt::Display;
use std::str::FromStr;

use model::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{Result, StoreError};

/// Typed reading of a row's columns.
pub(crate) trait Columns {
    fn text(&self, column: &'static str) -> Result<String>;
    fn text_or_none(&self, column: &'static str) -> Result<Option<String>>;
    fn integer(&self, column: &'static str) -> Result<i64>;
    fn integer_or_none(&self, column: &'static str) -> Result<Option<i64>>;

    fn natural(&self, column: &'static str) -> Result<u64> {
        let number = self.integer(column)?;
        u64::try_from(number).map_err(|_| damaged(column, number))
    }

    fn flag(&self, column: &'static str) -> Result<bool> {
        Ok(self.integer(column)? != 0)
    }

    fn moment(&self, column: &'static str) -> Result<Timestamp> {
        Ok(Timestamp::from_unix_millis(self.integer(column)?))
    }

    fn moment_or_none(&self, column: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.integer_or_none(column)?.map(Timestamp::from_unix_millis))
    }

    fn parsed<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T> {
        self.text(column)?.parse().map_err(|error| damaged(column, error))
    }

    fn parsed_or_none<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<Option<T>> {
        let text = self.text_or_none(column)?;
        text.map(|text| text.parse().map_err(|error| damaged(column, error))).transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| damaged(column, error))
    }

    fn json_or_none<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text = self.text_or_none(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| damaged(column, error))).transpose()
    }

    /// A fieldless enum, stored as the word that JSON has for it.
    fn word<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        let text = self.text(column)?;
        serde_json::from_value(serde_json::Value::String(text)).map_err(|error| damaged(column, error))
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &'static str) -> Result<String> {
        Ok(self.try_get(column)?)
    }

    fn text_or_none(&self, column: &'static str) -> Result<Option<String>> {
        Ok(self.try_get(column)?)
    }

    fn integer(&self, column: &'static str) -> Result<i64> {
        Ok(self.try_get(column)?)
    }

    fn integer_or_none(&self, column: &'static str) -> Result<Option<i64>> {
        Ok(self.try_get(column)?)
    }
}

fn damaged(column: &str, error: impl Display) -> StoreError {
    StoreError::corrupt(format!("column {column}: {error}"))
}

/// JSON text of a value of ours.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::corrupt(format!("cannot be written: {error}")))
}

/// The word that JSON has for a fieldless enum.
pub(crate) fn to_word<T: Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(StoreError::corrupt("a value that is no word cannot be written")),
    }
}

/// A count as SQL keeps it, saturating.
pub(crate) fn to_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
