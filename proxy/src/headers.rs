//! What the edge says and hears in header fields, each with one owner.
//!
//! On the way to a backend, everything that claims to come from an edge is taken out and written anew, so
//! that an app can believe it. On the way back, the security fields are the platform's: what the backend
//! says in them is replaced, because a marketplace answers for all its apps.

pub(crate) use request::{ForwardFacts, is_claim, is_websocket, rebuild_request};
pub(crate) use response::{Hsts, PreparedPolicy, clean_trailers, hint_response, secure_response};
pub(crate) use sound::{Asked, check_response};
pub(crate) use wire::write_request;

mod cookie;
mod request;
mod response;
mod sound;
mod wire;
