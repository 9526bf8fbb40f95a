//! What is wrong with a configuration: everything at once, each with its place.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A place in the file; both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Where; none if it is something that is missing from the whole file.
    pub position: Option<Position>,
    /// One sentence that names the key, the value and what to do.
    pub message: String,
}

/// Everything that is wrong, in the order of the file. Prints one line each: `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file; none if there was none.
    pub file: Option<PathBuf>,
    /// At least one.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            match &self.file {
                Some(file) => write!(f, "{}:", file.display())?,
                None => write!(f, "configuration:")?,
            }
            if let Some(Position { line, column }) = error.position {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " {}", error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects what is wrong while the file is read.
#[derive(Debug)]
pub(crate) struct Faults<'t> {
    text: &'t str,
    found: Vec<(Option<Range<usize>>, String)>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a fault at a range of bytes.
    pub(crate) fn at(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.found.push((Some(span), message.into()));
    }

    /// Notes a fault that has no place.
    pub(crate) fn missing(&mut self, message: impl Into<String>) {
        self.found.push((None, message.into()));
    }

    /// The value if nothing was wrong.
    pub(crate) fn finish<T>(self, file: Option<PathBuf>, value: T) -> Result<T, ConfigErrors> {
        if self.found.is_empty() { Ok(value) } else { Err(self.into_errors(file)) }
    }

    /// What was found, in the order of the file.
    pub(crate) fn into_errors(self, file: Option<PathBuf>) -> ConfigErrors {
        let mut errors: Vec<_> = self
            .found
            .into_iter()
            .map(|(span, message)| {
                let position = span.map(|span| position(self.text, span.start));
                ConfigError { position, message: one_line(&message) }
            })
            .collect();
        errors.sort_by_key(|error| error.position);
        ConfigErrors { file, errors }
    }
}

/// The same without line ends and what else commands a terminal: a message may quote the file.
fn one_line(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for char in message.chars() {
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("a\né = 1", 5), Position { line: 2, column: 3 });
        assert_eq!(position("", 9), Position { line: 1, column: 1 });
    }

    #[test]
    fn a_quoted_value_can_neither_begin_a_line_nor_command_a_terminal() {
        let mut faults = Faults::new("");
        faults.missing("unknown key `a\n\u{1b}[2Jb`");
        let text = faults.finish(None, ()).map_err(|errors| errors.to_string());
        assert_eq!(text, Err("configuration: unknown key `a\\n\\u{1b}[2Jb`".to_owned()));
    }

    #[test]
    fn each_error_is_one_line_with_its_place() {
        let mut faults = Faults::new("a\nb");
        faults.at(2..3, "second");
        faults.at(0..1, "first");
        let text = faults.finish(Some("stoa.toml".into()), ()).map_err(|errors| errors.to_string());
        assert_eq!(text, Err("stoa.toml:1:1: first\nstoa.toml:2:1: second".to_owned()));
    }
}
