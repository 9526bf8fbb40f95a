//! What must hold of whatever stands in a configuration, for the fuzz target in `fuzz/` and the replay of its
//! corpus. No interface: it may change at any time.

use std::path::Path;

use crate::{Overrides, parse};

/// A text as `stoa.toml`: it is settings, or errors of one line each, in the order of the file and inside it.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Err(errors) = parse(text, Some(Path::new("stoa.toml")), Overrides::default()) else { return };
    assert!(!errors.errors.is_empty(), "refused without a reason");
    assert!(errors.errors.is_sorted_by_key(|error| error.position));
    let lines: Vec<&str> = text.split('\n').collect();
    for error in &errors.errors {
        assert!(!error.message.is_empty() && !error.message.contains(char::is_control), "{error:?}");
        let Some(position) = error.position else { continue };
        let line = lines.get(position.line - 1);
        let last = line.map_or(0, |line| line.chars().count() + 1);
        assert!((1..=last).contains(&position.column), "{position:?} lies outside the file");
    }
}
