//! Lists: `?limit=&cursor=` in, `{"data": […], "pagination": {…}}` out.

use serde::{Deserialize, Serialize};
use store::{Page, Paged};
use utoipa::{IntoParams, ToSchema};

use super::query::refused;
use crate::problem::Problem;

/// Entries on a page unless told otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// Most entries on a page.
const MAX_LIMIT: u32 = 200;
/// Longest cursor that is looked at, in bytes; ours are shorter than 100.
const MAX_CURSOR_BYTES: usize = 512;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Most entries on the page, 1 to 200. Default 50.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<String>,
    /// Where the page begins: `pagination.cursor` of the page before.
    cursor: Option<String>,
}

impl ListQuery {
    pub(crate) fn new(limit: Option<String>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The page that is asked for.
    pub(crate) fn page(self) -> Result<Page, Problem> {
        let limit = match self.limit {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| refused("limit", format!("`{text}` is not a number from 1 to 200")))?,
        };
        match self.cursor {
            Some(cursor) if cursor.len() > MAX_CURSOR_BYTES => {
                Err(refused("cursor", "it is none of ours: send `pagination.cursor` of the page before"))
            }
            cursor => Ok(Page { limit, cursor }),
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The entries.
    data: Vec<T>,
    /// How to go on.
    pagination: Pagination,
}

/// How to go on after a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pagination {
    /// Give it as `cursor` for the next page; null on the last.
    cursor: Option<String>,
    /// Whether there is a next page.
    has_more: bool,
}

impl<T> List<T> {
    /// A page of the store's, each item shown by `show`.
    pub(crate) fn of<I>(page: Paged<I>, show: impl FnMut(I) -> T) -> Self {
        Self::page(page.items.into_iter().map(show).collect(), page.next)
    }

    /// The entries of a page, and where the next one begins.
    pub(crate) fn page(data: Vec<T>, cursor: Option<String>) -> Self {
        Self { data, pagination: Pagination { has_more: cursor.is_some(), cursor } }
    }

    /// A list that is always whole.
    pub(crate) fn whole(data: Vec<T>) -> Self {
        Self::page(data, None)
    }
}
