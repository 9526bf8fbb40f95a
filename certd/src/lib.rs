//! Domains and certificates: who a domain belongs to, where it points, and the certificate it is served with.
//!
//! [`Certd`] is one loop over the store: domains are looked up when they are due, orders are placed for what
//! is proved, renewals begin when the authority advises or a third of the lifetime is left. Everything it knows lies in the store, so
//! that a crash at any point costs nothing but time, and several processes share the work by leases. A valid
//! certificate is never taken away because a new one could not be had. Deliberately absent: serving (that is
//! `proxy`), and any order for a name that is not in the store.

pub mod acme;
pub mod adapters;
pub mod consent;
pub mod dns;
pub mod line;
pub mod local_ca;
pub mod renewal;
pub mod rhythm;

mod authorities;
mod caa;
mod connections;
mod contests;
mod daemon;
mod delegation;
mod domains;
mod edges;
mod error;
mod facts;
mod guard;
mod https;
mod orders;
mod pace;
mod presence;
mod settings;
mod work;
mod zones;

pub use caa::StandingProof;
pub use daemon::Certd;
pub use error::CertdError;
pub use guard::{Forbidden, Guard};
pub use settings::{Acme, Connect, DnsZone, External, Settings};
