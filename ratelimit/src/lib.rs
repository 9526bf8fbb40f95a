//! May this key take n now? The generic cell rate algorithm (GCRA, ITU-T I.371), in process.
//!
//! An answer comes at once, from memory, without a lock and without I/O, so it can stand in a request's way
//! and has no backend that could be away. What an edge knows by name (a tenant) owns a [`Gcra`] word; what
//! strangers bring (a visitor of a tenant) lives in a [`VisitorTable`] of fixed size. Both speak
//! [`Limiter`], and so will a limiter that shares its limit across edges: it draws on leases fetched
//! beforehand, and its callers do not change. Deliberately absent: counting windows, HTTP answers.

mod decision;
mod gcra;
pub mod headers;
mod moment;
mod terms;
mod visitors;

pub use decision::{Decision, Limiter};
pub use gcra::Gcra;
pub use moment::{Moment, Stopwatch};
pub use visitors::{VisitorBucket, VisitorTable};
