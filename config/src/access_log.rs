//! Where the edge writes one line for each request.

use std::path::{Path, PathBuf};

use crate::document::Section;
use crate::error::Faults;

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// A file, appended to.
    File(PathBuf),
    /// Standard output: `"-"`.
    Stdout,
    /// Nowhere: `"off"`.
    Off,
}

/// The access log of `[edge]`; `access.log` in the data directory unless told otherwise.
pub(crate) fn read(edge: &Section<'_>, data: &Path, faults: &mut Faults<'_>) -> AccessLog {
    match edge.text("access_log", faults) {
        None => AccessLog::File(data.join("access.log")),
        Some(text) => match text.value {
            "-" => AccessLog::Stdout,
            "off" => AccessLog::Off,
            "" => {
                faults.at(text.span, "`edge.access_log` is empty: write a path, \"-\" or \"off\"");
                AccessLog::Off
            }
            path if Path::new(path).is_dir() => {
                faults.at(text.span, format!("`edge.access_log` is `{path}`, a directory: name a file"));
                AccessLog::Off
            }
            path => AccessLog::File(PathBuf::from(path)),
        },
    }
}
