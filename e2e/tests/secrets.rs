//! What an edge keeps on its disk: nothing that opens a connection of a visitor, for whoever reads the files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::certificate::Certificate;
use model::change::{Batch, Object};
use model::seal::{EDGE_FEED_PURPOSE, SealingKey};
use model::ticket::TicketKey;
use testkit::origin::Origin;

use crate::installation::Apart;

/// The secrets that the control plane tells this edge, in the clear.
async fn told(apart: &Apart) -> Result<Vec<Vec<u8>>> {
    let api = apart.control.api()?.with_key(&apart.secret);
    let batch: Batch = serde_json::from_value(api.get("/edge/changes").await?.ok()?)?;
    let key = SealingKey::derive(apart.secret.as_bytes(), EDGE_FEED_PURPOSE)?;
    let objects = batch.changes.into_iter().filter_map(|change| change.object);
    let secrets = objects.filter_map(|object| match object {
        Object::TicketKey(ticket) => Some(key.open(&TicketKey::key_context(ticket.id), &ticket.key)),
        Object::Certificate(one) => Some(key.open(&Certificate::key_context(one.id), &one.key)),
        _ => None,
    });
    Ok(secrets.collect::<Result<Vec<_>, _>>()?.into_iter().map(|secret| secret.to_vec()).collect())
}

/// As it may be written down: bytes, hexadecimal digits, base64 of two kinds, a list of numbers.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let texts =
        [hex.to_uppercase(), hex, STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret), numbers.join(",")];
    std::iter::once(secret.to_vec()).chain(texts.map(String::into_bytes)).collect()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    Ok(files.into_iter().map(|file| file.path()).filter(|path| path.is_file()).collect())
}

#[tokio::test]
async fn no_file_of_an_edge_has_a_key_in_the_clear_and_nobody_else_may_read_them() -> Result<()> {
    let (apart, origin) = (Apart::start("", "").await?, Origin::start("one").await?);
    apart.tenant("ann").await?.app("shop", &[&origin]).await?.live().await?;
    let secrets = told(&apart).await?;
    ensure!(secrets.iter().any(|secret| secret.len() == model::ticket::KEY_BYTES), "a key of tickets");
    ensure!(secrets.iter().any(|secret| secret.len() > model::ticket::KEY_BYTES), "a key of a certificate");
    let data = apart.edge.data();
    ensure!(data.metadata()?.permissions().mode() & 0o777 == 0o700);
    let files = files(data)?;
    for wanted in ["edge.replica", "edge.usage", "edge.id", "access.log"] {
        ensure!(files.contains(&data.join(wanted)), "{files:?}");
    }
    for path in files.iter().chain([&apart.edge.config().with_file_name("log")]) {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            ensure!(!bytes.windows(form.len()).any(|part| part == form), "a key is in {}", path.display());
        }
        let mode = path.metadata()?.permissions().mode() & 0o777;
        // The log is for whoever the operator lets into the folder.
        let is_log = !path.starts_with(data) || path.ends_with("access.log");
        ensure!(mode == 0o600 || is_log, "{} has the mode {mode:o}", path.display());
    }
    Ok(())
}
