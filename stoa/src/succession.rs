//! One process in the place of another, without a visitor noticing: a new binary, or a new configuration.
//!
//! The old process starts the new one with its own arguments and gives it the listening sockets and the lock of
//! the data directory. The new one reads the configuration, loads its state, listens, and says that it is ready.
//! From then on it is in charge, and the old one lets go of everything but the requests that it has. If the new
//! one does not get ready, it is ended and the old one goes on as if nothing had been.
//!
//! What both may need at a time: the store (a transaction each, as several nodes), the journals of usage (one
//! each, see `feed::usage`), the access log (whole lines, appended). The edge's replica is the old one's until it
//! stops following; the new one reads it beside, and takes it over by its lock.

mod channel;
mod heritage;
mod reign;
mod successor;

pub(crate) use channel::Gift;
pub(crate) use heritage::{Heritage, Predecessor};
pub(crate) use reign::{End, Reign};
