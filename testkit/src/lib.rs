//! Real servers and clients on loopback, for tests only.
