//! What comes in: bodies, paths, queries and preconditions, each checked whole before a handler sees it.
//!
//! Every extractor answers with a problem that names the value; none answers in axum's own words.

pub(crate) mod body;
pub(crate) mod merge;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod precondition;
pub(crate) mod query;

pub(crate) use body::{Json, OptionalJson};
pub(crate) use page::{List, ListQuery};
pub(crate) use path::Id;
pub(crate) use precondition::{IfMatch, Tagged};
pub(crate) use query::Query;
