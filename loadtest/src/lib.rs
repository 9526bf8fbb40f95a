//! Load and faults beside peers.
