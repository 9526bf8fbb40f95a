//! The edge: TLS, SNI, routing, protection, forwarding, metering.
