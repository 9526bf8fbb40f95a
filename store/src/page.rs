//! Lists in pages. A cursor is the base64url of the last id; what is no cursor is refused, never guessed.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Result, StoreError};

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Most items, 1 to [`Page::MAX_LIMIT`].
    pub limit: u32,
    /// [`Paged::next`] of the page before; none: the first page.
    pub cursor: Option<String>,
}

impl Page {
    /// Most items a page may have.
    pub const MAX_LIMIT: u32 = 200;
    /// Items of a page when nobody says otherwise.
    pub const DEFAULT_LIMIT: u32 = 50;

    /// The first page of `limit` items.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit, cursor: None }
    }

    /// The limit, checked, plus the one row that tells whether there is more.
    pub(crate) fn rows(&self) -> Result<i64> {
        if (1..=Self::MAX_LIMIT).contains(&self.limit) {
            return Ok(i64::from(self.limit) + 1);
        }
        let reason = format!("limit is {}: it must be from 1 to {}", self.limit, Self::MAX_LIMIT);
        Err(StoreError::invalid("limit", reason))
    }

    /// The last id of the page before.
    pub(crate) fn after<T: FromStr>(&self) -> Result<Option<T>> {
        self.cursor.as_deref().map(decode).transpose()
    }

    /// [`Self::after`] as SQL compares it; the empty text sorts before every id.
    pub(crate) fn after_text<T: FromStr + ToString>(&self) -> Result<String> {
        Ok(self.after::<T>()?.map(|id| id.to_string()).unwrap_or_default())
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(Self::DEFAULT_LIMIT)
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page; none: this was the last.
    pub next: Option<String>,
}

impl<T> Paged<T> {
    /// Cuts off the row that [`Page::rows`] asked for beyond the limit.
    pub(crate) fn cut<I: ToString>(mut items: Vec<T>, page: &Page, id: impl Fn(&T) -> I) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|item| encode(&id(item).to_string()));
        Self { items, next }
    }
}

fn encode(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

fn decode<T: FromStr>(cursor: &str) -> Result<T> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let shown: String = cursor.chars().take(60).collect();
        StoreError::invalid(
            "cursor",
            format!("`{shown}` is not a cursor of this list: leave it out to begin anew"),
        )
    })
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::id::{AppId, TenantId};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hostile_cursor_is_refused_by_name(cursor in ".{0,200}") {
            let page = Page { limit: 1, cursor: Some(cursor.clone()) };
            if let Ok(Some(id)) = page.after::<TenantId>() {
                let again = Page { limit: 1, cursor: Some(encode(&id.to_string())) };
                prop_assert_eq!(again.after::<TenantId>().ok(), Some(Some(id)));
            }
        }

        #[test]
        fn a_cursor_leads_back_to_its_id(millis in 0_i64..1 << 47) {
            let id = AppId::generate(Timestamp::from_unix_millis(millis));
            let page = Page { limit: 1, cursor: Some(encode(&id.to_string())) };
            prop_assert_eq!(page.after::<AppId>().ok(), Some(Some(id)));
            prop_assert!(page.after::<TenantId>().is_err());
        }
    }

    #[test]
    fn a_limit_out_of_range_is_refused_by_value() {
        for limit in [0, 201, u32::MAX] {
            let error = Page::first(limit).rows().map_err(|error| error.to_string());
            assert_eq!(error, Err(format!("limit is {limit}: it must be from 1 to 200")));
        }
    }
}
