//! Which site answers at a host: exact names first, then a creator's wildcard. A wildcard certificate is no site.

use model::Host;

use crate::refusal::Refusal;
use crate::state::{Route, State};

/// The site at `host`, from memory. An unknown host costs two look-ups and nothing else.
///
/// # Errors
/// [`Refusal::UnknownHost`].
pub(crate) fn find(host: &Host, state: &State) -> Result<Route, Refusal> {
    state.route(host.as_str()).ok_or(Refusal::UnknownHost)
}
