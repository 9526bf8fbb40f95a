//! Tests of the workspace as a whole.
#![expect(clippy::expect_used, reason = "a failing set-up should stop the test")]

mod architecture;
mod fuzz_corpus;
