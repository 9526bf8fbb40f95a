//! `stoa.toml` to validated settings, one struct a part.
//!
//! Every key is optional and has a default that is safe; an unknown key is an error, and so is a setting
//! that this version would not act on. All errors are told at once, with line and column. Relative paths are
//! resolved against the working directory of the process. This crate is the only reader of the environment
//! ([`environment`]); only the binary's start-up sees this crate. Deliberately absent: what tenants change.

mod access_log;
mod acme;
mod api;
mod connect;
mod control;
mod dns;
mod document;
mod edge;
pub mod environment;
mod error;
mod file;
mod flat;
#[doc(hidden)]
pub mod fuzzing;
mod later;
mod listeners;
mod local_ca;
mod log;
mod role;
mod secret;
mod settings;
mod store;

pub use access_log::AccessLog;
pub use acme::{Acme, AcmeDns, DnsProvider, External, TsigAlgorithm};
pub use api::Api;
pub use connect::{Connect, ConnectService};
pub use control::Control;
pub use dns::Dns;
pub use edge::Edge;
pub use error::{ConfigError, ConfigErrors, Position};
pub use flat::{defaults, flatten};
pub use local_ca::LocalCa;
pub use log::{Log, LogFormat, LogLevel};
pub use role::Role;
pub use settings::{Overrides, Settings, load, parse};
pub use store::Store;
