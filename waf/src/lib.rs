//! The firewall: rules in, verdict out. Knows no HTTP server.
