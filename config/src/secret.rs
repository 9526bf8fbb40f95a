//! A secret in the file is named, not written: `{ env = "NAME" }` or `{ file = "path" }`.

use std::ops::Range;
use std::path::Path;

use model::secret::Secret;

use crate::document::Section;
use crate::error::Faults;
use crate::{environment, file};

/// The secret at `key`. A text in its place is refused without being repeated.
pub(crate) fn read(section: &Section<'_>, key: &'static str, faults: &mut Faults<'_>) -> Option<Secret> {
    let span = section.span_of(key)?;
    let path = section.path(key);
    let Some(source) = section.inner(key) else {
        faults.at(
            span,
            format!(
                "`{path}` must not stand in the file: write {{ env = \"NAME\" }} or {{ file = \"path\" }}"
            ),
        );
        return None;
    };
    source.refuse_others(&["env", "file"], faults);
    read_source(&source, span, &path, faults)
}

fn read_source(
    source: &Section<'_>,
    span: Range<usize>,
    path: &str,
    faults: &mut Faults<'_>,
) -> Option<Secret> {
    let secret = match (source.text("env", faults), source.text("file", faults)) {
        (Some(name), None) => variable(name.value),
        (None, Some(name)) => whole(Path::new(name.value)),
        _ => Err("write either { env = \"NAME\" } or { file = \"path\" }".to_owned()),
    };
    secret.map_err(|fault| faults.at(span, format!("`{path}`: {fault}"))).ok()
}

fn variable(name: &str) -> Result<Secret, String> {
    let sound = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !sound {
        return Err("the name of a variable has letters, digits and underscores".to_owned());
    }
    environment::variable(name)
        .map(Secret::new)
        .ok_or_else(|| format!("the environment variable `{name}` is not set, or empty"))
}

fn whole(path: &Path) -> Result<Secret, String> {
    let text = file::read(path)?;
    let bare = text.trim();
    if bare.is_empty() {
        return Err(format!("`{}` is empty", path.display()));
    }
    Ok(Secret::new(bare.to_owned()))
}
