//! `stoa trust`: makes this machine trust the local authority, where curl and Chromium look.
//!
//! curl reads the system's bundle, which only root may change; Chromium reads the user's NSS database. What
//! cannot be done is said with the command that would do it. Deliberately absent: other people's machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Where Debian keeps added authorities.
const SYSTEM_FOLDER: &str = "/usr/local/share/ca-certificates";
/// The authority's name in the NSS database and in the system folder.
const NAME: &str = "stoa-local-authority";

/// Installs `ca` where it can and tells what it did.
///
/// # Errors
/// There is no local authority yet, or nothing at all could be done.
pub(crate) fn install(ca: &Path, home: Option<&Path>) -> anyhow::Result<()> {
    if !ca.exists() {
        bail!("`{}` does not exist yet: run `stoa up` once", ca.display());
    }
    let system = trust_system(ca);
    report("curl and other programs", &system);
    let nss = home.context("HOME is not set").and_then(|home| trust_nss(ca, home));
    report("Chromium", &nss);
    if system.is_err() && nss.is_err() {
        bail!("nothing could be changed; `curl --cacert {}` works without it", ca.display());
    }
    Ok(())
}

fn report(who: &str, outcome: &anyhow::Result<String>) {
    match outcome {
        Ok(done) => println!("{who}: {done}"),
        Err(error) => println!("{who}: not done: {error:#}"),
    }
}

fn trust_system(ca: &Path) -> anyhow::Result<String> {
    let target = Path::new(SYSTEM_FOLDER).join(format!("{NAME}.crt"));
    let by_hand =
        || format!("run as root: cp {} {} && update-ca-certificates", ca.display(), target.display());
    std::fs::copy(ca, &target).with_context(by_hand)?;
    run(Command::new("update-ca-certificates")).with_context(by_hand)?;
    Ok(format!("trusted through {}", target.display()))
}

fn trust_nss(ca: &Path, home: &Path) -> anyhow::Result<String> {
    let folder: PathBuf = home.join(".pki/nssdb");
    let database = format!("sql:{}", folder.display());
    let missing = "certutil is needed: install the Debian package libnss3-tools";
    if !folder.join("cert9.db").exists() {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        let mut create = Command::new("certutil");
        create.args(["-d", &database, "-N", "--empty-password"]);
        run(create).context(missing)?;
    }
    let mut remove = Command::new("certutil");
    remove.args(["-d", &database, "-D", "-n", NAME]);
    // An authority of an earlier installation may or may not be there.
    let _ = run(remove);
    let mut add = Command::new("certutil");
    add.args(["-d", &database, "-A", "-t", "C,,", "-n", NAME, "-i"]).arg(ca);
    run(add).context(missing)?;
    Ok(format!("trusted through {}; restart the browser", folder.display()))
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim())
}
