//! The edge: TLS, SNI, routing, protection, forwarding, metering.

mod backends;
mod headers;
mod page;
mod refusal;
