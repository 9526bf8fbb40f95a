//! The shared words of Stoa: ids, hosts, sites, certificates, usage, sealing and time.
//!
//! Row 0 of the workspace: no I/O, no runtime, no framework. Raw text becomes one of these types at the
//! door and stays one. What is deliberately absent: how anything is stored, sent or served.

pub mod acme;
pub mod anchors;
pub mod backend;
pub mod certificate;
pub mod chain;
pub mod change;
pub mod client_ca;
pub mod clock;
pub mod csp;
pub mod domain;
pub mod edge;
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod id;
pub mod limits;
pub mod net;
pub mod push;
pub mod seal;
pub mod secret;
pub mod site;
pub mod tenant;
pub mod ticket;
pub mod time;
pub mod usage;

pub use clock::Clock;
pub use host::{Host, HostPattern};
pub use time::Timestamp;
