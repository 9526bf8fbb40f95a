//! The admin API: tenants, apps, domains, certificates, keys, usage and audit over HTTP, and the feed that
//! edges which run apart follow.
//!
//! One route table gives both the router and the OpenAPI document. A handler reads what it was given, calls
//! the store, and shows the result; what surrounds it (key, idempotency, bounds, problems) stands in
//! `layer`. Deliberately absent: TLS (it listens on loopback or behind the edge), limits per key, SQL.

mod caller;
mod consent;
mod document;
mod door;
mod inspect;
pub mod keys;
mod layer;
mod origin;
mod places;
mod problem;
mod request;
mod resource;
mod router;
mod serve;
mod state;

use std::time::Duration;

pub use consent::{Consent, Link};
pub use inspect::Inspect;
pub use origin::StoreOrigin;
pub use router::{document, router};
pub use serve::serve;
pub use state::{Settings, State};

/// Most bytes of a body: far above any resource, far below what hurts.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Most bytes of a body of an edge: 50,000 rows of usage.
pub const MAX_EDGE_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Longest that an edge may wait for changes in one request.
pub const MAX_WAIT: Duration = Duration::from_secs(30);
