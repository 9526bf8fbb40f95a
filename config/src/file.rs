//! Small text files that the configuration names, read with a bound.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::document::Section;
use crate::error::Faults;

/// Most bytes of any such file: far above every bundle of trust anchors.
const MAX_BYTES: u64 = 4 << 20;

/// The whole of a text file.
///
/// # Errors
/// One sentence that names the path and what is wrong.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read `{shown}`: {error}");
    let is_file = path.metadata().map_err(failed)?.is_file();
    if !is_file {
        return Err(format!("cannot read `{shown}`: it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("cannot read `{shown}`: it is longer than {MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("cannot read `{shown}`: byte {} is not UTF-8", error.utf8_error().valid_up_to())
    })
}

/// The path at `key` of a PEM file with at least one certificate.
pub(crate) fn certificates(section: &Section<'_>, key: &str, faults: &mut Faults<'_>) -> Option<PathBuf> {
    let text = section.text(key, faults)?;
    let path = PathBuf::from(text.value);
    let fault = match read(&path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => return Some(path),
        Ok(_) => format!("`{}` has no certificate: name a PEM file with the trust anchor", path.display()),
        Err(error) => error,
    };
    faults.at(text.span, format!("`{}`: {fault}", text.path));
    None
}
