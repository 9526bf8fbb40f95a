//! Domains and certificates: DNS checks, local CA, ACME.
