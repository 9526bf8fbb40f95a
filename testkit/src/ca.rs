//! A certificate authority that does what a test says: ACME (RFC 8555) with renewal information (RFC 9773),
//! profiles, external accounts, CAA, Let's Encrypt's limits, and faults, at the time of the test's clock.
//!
//! ```ignore
//! let clock = Arc::new(ManualClock::at(start));
//! let ca = Ca::start(ca::Options { clock: clock.clone(), ..ca::Options::default() }).await?;
//! ca.script(Rule::next(3, Fault::Limited(Some(Wait::Seconds(60)))).on(Kind::NewOrder));
//! // … let a client with `ca.directory_url` and `ca.ca_file` work …
//! assert_eq!(ca.counts().finalized, 1);
//! ```
//!
//! It is no second opinion on what a client does: that is [`crate::pebble`]. It keeps all its state in
//! memory, ended things are forgotten, and no request costs more than the order it is about, so that a
//! simulated year of many thousand names is cheap. Deliberately absent: several vantage points, IP addresses
//! and other identifiers than DNS names, `dns-persist-01`, RSA account keys, and CRLs.

mod accounts;
mod admission;
mod answer;
mod caa;
mod certificates;
mod challenges;
mod counts;
mod faults;
mod handler;
mod jws;
mod limits;
mod nonces;
mod orders;
mod problem;
mod quota;
mod renewal;
mod requests;
mod route;
mod server;
mod signer;
mod state;
mod stub;
mod validation;
mod wishes;

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use model::clock::{Clock, SystemClock};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use caa::{CaaRecord, CaaRecords, IDENTITY};
pub use counts::{Counts, Kind};
pub use faults::{Fault, Rule, Wait};
pub use handler::{Handler, Reply};
pub use limits::{Limit, Limits, Rate};
pub use problem::Problem;
pub use renewal::Window;
pub use stub::{Lifespan, Placed, Stub, Tally};
pub use validation::{ChallengeType, Check, Judge, Validation};

use crate::authority::Authority;
use crate::ports::Port;

const HOUR: Duration = Duration::from_secs(3600);

/// A kind of certificate that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// As orders name it.
    pub name: String,
    /// From an hour before the present on.
    pub lifetime: Duration,
}

impl Profile {
    /// A profile.
    #[must_use]
    pub fn new(name: &str, lifetime: Duration) -> Self {
        Self { name: name.to_owned(), lifetime }
    }
}

/// How the authority behaves. The default allows everybody everything, without limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its present.
    pub clock: Arc<dyn Clock>,
    /// How names are checked.
    pub validation: Validation,
    /// The name that it goes by in CAA records.
    pub identity: String,
    /// CAA records of names, looked at when a name is checked; none: nobody has any.
    pub caa: Option<CaaRecords>,
    /// Its limits.
    pub limits: Limits,
    /// What it offers; the first is for orders that name none.
    pub profiles: Vec<Profile>,
    /// Keys of external accounts (HMAC) by their ids; none: accounts need no external one.
    pub external_accounts: HashMap<String, Vec<u8>>,
    /// Whether an account that asks for the same names again gets its unfinished order again.
    pub reuse_orders: bool,
    /// How long a name stays proved to an account; none: every order proves all its names.
    pub reuse_authorizations: Option<Duration>,
    /// Whether it offers renewal information.
    pub renewal_info: bool,
    /// Whether it offers dns-persist-01 (draft-ietf-acme-dns-persist).
    pub dns_persist: bool,
    /// Names that it refuses.
    pub blocked: HashSet<String>,
    /// What nonces, tokens, serial numbers and faults are drawn from.
    pub seed: u64,
}

impl Default for Options {
    /// Profiles of Let's Encrypt in 2026: `classic` (90 days), `tlsserver` (45 days), `shortlived` (160 hours).
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            validation: Validation::default(),
            identity: IDENTITY.to_owned(),
            caa: None,
            limits: Limits::default(),
            profiles: vec![
                Profile::new("classic", HOUR * 24 * 90),
                Profile::new("tlsserver", HOUR * 24 * 45),
                Profile::new("shortlived", HOUR * 160),
            ],
            external_accounts: HashMap::new(),
            reuse_orders: true,
            reuse_authorizations: None,
            renewal_info: true,
            dns_persist: false,
            blocked: HashSet::new(),
            seed: 1,
        }
    }
}

/// A running authority, ended when dropped. What a test may tell it and ask it is in [`Handler`].
#[derive(Debug)]
pub struct Ca {
    /// `https://localhost:<port>/dir`
    pub directory_url: String,
    /// A PEM file with the trust anchor of the directory's own certificate, which is valid for all times.
    pub ca_file: PathBuf,
    handler: Arc<Handler>,
    server: JoinHandle<()>,
    _port: Port,
    _dir: TempDir,
}

impl Ca {
    /// Starts the authority.
    ///
    /// # Errors
    /// If no port is free or no key can be made.
    pub async fn start(options: Options) -> Result<Self> {
        crate::tls::install_provider();
        let dir = tempfile::Builder::new().prefix("stoa-ca-").tempdir()?;
        let own = Authority::new()?;
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, own.pem())?;
        let port = Port::lease()?;
        let listener = TcpListener::bind(port.address()).await?;
        let base = format!("https://localhost:{}", port.number());
        let directory_url = format!("{base}/dir");
        let handler = Arc::new(Handler::new(base, options)?);
        let acceptor = server::acceptor(own.issue(&["localhost", "127.0.0.1"])?)?;
        let server = tokio::spawn(server::serve(listener, acceptor, Arc::clone(&handler)));
        Ok(Self { directory_url, ca_file, handler, server, _port: port, _dir: dir })
    }
}

impl Deref for Ca {
    type Target = Arc<Handler>;

    fn deref(&self) -> &Arc<Handler> {
        &self.handler
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.server.abort();
    }
}
