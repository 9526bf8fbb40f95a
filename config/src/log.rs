//! `[log]`: what the process says about itself, on standard error.

use crate::document::Section;
use crate::error::Faults;

pub(crate) const KEYS: [&str; 2] = ["level", "format"];

/// The process's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The least that is worth a line.
    pub level: LogLevel,
    /// For people or for programs.
    pub format: LogFormat,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Somebody must act.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Log {
    Log { level: level(section, faults), format: format(section, faults) }
}

fn level(section: &Section<'_>, faults: &mut Faults<'_>) -> LogLevel {
    let Some(text) = section.text("level", faults) else { return LogLevel::Info };
    let level = LogLevel::ALL.into_iter().find(|level| level.as_str() == text.value);
    level.unwrap_or_else(|| {
        let shown = text.value;
        faults.at(text.span, format!("`log.level` is `{shown}`: write error, warn, info, debug or trace"));
        LogLevel::Info
    })
}

fn format(section: &Section<'_>, faults: &mut Faults<'_>) -> LogFormat {
    let Some(text) = section.text("format", faults) else { return LogFormat::Text };
    match text.value {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            faults.at(text.span.clone(), format!("`log.format` is `{other}`: write text or json"));
            LogFormat::Text
        }
    }
}
