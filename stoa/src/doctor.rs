//! `stoa doctor`: looks at an installation from the outside and says what is wrong and what to do.
//!
//! Each check reads only. Deliberately absent: repair.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::Settings;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::command::Place;

/// No check waits longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a check found: that all is well, or what to do.
type Finding = anyhow::Result<String>;

/// Looks at everything and prints a line a check.
///
/// # Errors
/// Something is wrong; what, was printed.
pub(crate) async fn run(place: &Place) -> anyhow::Result<()> {
    let overrides = config::Overrides { data: place.data.clone() };
    let settings = config::load(place.config.as_deref(), overrides)?;
    let is_edge = settings.control.is_some();
    let mut findings: Vec<(&str, Finding)> = vec![
        ("configuration", Ok("valid".to_owned())),
        ("data directory", data_directory(&settings.data)),
        ("metrics", answers(&format!("http://{}/healthz", settings.edge.metrics)).await),
        ("edge", answers(&format!("http://{}/readyz", settings.edge.metrics)).await),
        ("https", listens(&settings).await),
    ];
    if !is_edge {
        findings.push(("master key", private(&settings.data.join("master-key"))));
        findings.push(("platform key", private(&settings.data.join("platform-key"))));
        findings.push(("API", answers(&format!("http://{}/readyz", settings.api.listen)).await));
    }
    findings.push(("name servers", resolvers(&settings).await));
    let wrong = findings.iter().filter(|(_, finding)| finding.is_err()).count();
    for (what, finding) in &findings {
        match finding {
            Ok(well) => println!("ok     {what}: {well}"),
            Err(error) => println!("WRONG  {what}: {error:#}"),
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} checks found something wrong", findings.len());
    }
    Ok(())
}

fn data_directory(path: &Path) -> Finding {
    let found = std::fs::metadata(path)
        .with_context(|| format!("`{}` is not there: run `stoa up` once", path.display()))?;
    if !found.is_dir() {
        bail!("`{}` is not a directory", path.display());
    }
    Ok(path.display().to_string())
}

fn private(path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt as _;
    if config::environment::master_key().is_some() && path.ends_with("master-key") {
        return Ok("from STOA_MASTER_KEY".to_owned());
    }
    let found = std::fs::metadata(path).with_context(|| format!("`{}` is not there", path.display()))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("others may read `{0}` (mode {mode:o}): chmod 600 {0}", path.display());
    }
    Ok(format!("{}, readable by its owner only", path.display()))
}

async fn answers(url: &str) -> Finding {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let response = client.get(url).send().await;
    let response = response.with_context(|| format!("no answer from {url}: is it running?"))?;
    if !response.status().is_success() {
        bail!("{url} answers {}", response.status());
    }
    Ok(format!("{url} answers"))
}

async fn listens(settings: &Settings) -> Finding {
    let address = crate::settings::probe(&settings.edge.https).context("no address in `edge.https`")?;
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    connected.ok().and_then(Result::ok).with_context(|| format!("nothing listens on {address}"))?;
    Ok(format!("something listens on {address}"))
}

async fn resolvers(settings: &Settings) -> Finding {
    for resolver in &settings.dns.resolvers {
        let connected = timeout(PATIENCE, TcpStream::connect(resolver)).await;
        if connected.ok().and_then(Result::ok).is_none() {
            bail!("{resolver} does not accept connections: check `dns.resolvers`");
        }
    }
    match settings.dns.resolvers.len() {
        0 => Ok("the system's".to_owned()),
        count => Ok(format!("{count} answer")),
    }
}
