//! Micro-benchmarks of what every request does: `cargo bench -p benches -- <name>`.
//!
//! The benchmarks stand in `benches/`; this library is deliberately empty.
