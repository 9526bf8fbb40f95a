//! Which site answers at a host. Exact names only: a wildcard certificate is no site.

use model::Host;

use crate::refusal::Refusal;
use crate::state::{Route, State};

/// The site at `host`, from memory. An unknown host costs one look-up and nothing else.
///
/// # Errors
/// [`Refusal::UnknownHost`].
pub(crate) fn find(host: &Host, state: &State) -> Result<Route, Refusal> {
    state.route(host.as_str()).ok_or(Refusal::UnknownHost)
}
