//! One libFuzzer program for all targets, so that the edge is linked once: `FUZZ_TARGET` names the target.
#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

fuzz_target!(
    init: {
        TARGET.get_or_init(named);
    },
    |bytes: &[u8]| TARGET.get_or_init(named)(bytes)
);

fn named() -> targets::Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match targets::TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => *target,
        None => panic!("FUZZ_TARGET is `{name}`, which is no target: see fuzz/src/targets.rs"),
    }
}
