//! What a process finds at its start: sockets that its predecessor gives it, or systemd, or nothing.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::Settings;
use listenfd::ListenFd;

use super::channel::{self, FAILED, LOCK, READY};

/// How long the predecessor may take to give everything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest reason that is told upwards.
const MOST_REASON_BYTES: usize = 4 << 10;

/// What a process was given.
#[derive(Debug, Default)]
pub(crate) struct Heritage {
    /// Listening sockets; whoever needs an address looks here first.
    pub(crate) sockets: Vec<TcpListener>,
    /// The lock of the data directory.
    pub(crate) lock: Option<File>,
    predecessor: Option<Predecessor>,
    /// What systemd passed, by name.
    activated: Vec<(String, SocketAddr)>,
}

/// The process whose place this one takes.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Heritage {
    /// Takes what there is. Call it once, before there are threads: it removes variables from the environment.
    ///
    /// # Errors
    /// What was given cannot be taken.
    pub(crate) fn take() -> anyhow::Result<Self> {
        if config::environment::is_succession() {
            return Self::of_predecessor().context("cannot take over from the process before");
        }
        Self::of_systemd().context("cannot take the sockets that systemd passes")
    }

    fn of_predecessor() -> anyhow::Result<Self> {
        let way = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // So that the way ends with its owner, and nobody reads it by accident.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        way.set_read_timeout(Some(PATIENCE))?;
        let mut heritage = Self::default();
        for gift in channel::take(&way)? {
            match gift.name.as_str() {
                LOCK => heritage.lock = Some(gift.fd.into()),
                _ => heritage.sockets.push(gift.fd.into()),
            }
        }
        way.set_read_timeout(None)?;
        heritage.predecessor = Some(Predecessor(way));
        Ok(heritage)
    }

    fn of_systemd() -> anyhow::Result<Self> {
        let names = config::environment::listen_names();
        let mut passed = ListenFd::from_env();
        let mut heritage = Self::default();
        for number in 0..passed.len() {
            let name = names.get(number).cloned().unwrap_or_default();
            let socket = passed.take_tcp_listener(number);
            let socket = socket.with_context(|| format!("`{name}`, number {number}"))?;
            let socket = socket.with_context(|| format!("`{name}`, number {number}, is missing"))?;
            heritage.activated.push((name, socket.local_addr()?));
            heritage.sockets.push(socket);
        }
        Ok(heritage)
    }

    /// Listens on `address`: with a socket that was given, else with a new one.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) async fn listen(&mut self, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        let given = |socket: &TcpListener| socket.local_addr().is_ok_and(|own| own == address);
        match self.sockets.iter().position(given) {
            Some(at) => {
                let socket = self.sockets.swap_remove(at);
                socket.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(socket)
            }
            None => tokio::net::TcpListener::bind(address).await,
        }
    }

    /// Whether this process takes the place of another.
    pub(crate) fn is_succession(&self) -> bool {
        self.predecessor.is_some()
    }

    /// A second handle of the way to the predecessor.
    pub(crate) fn predecessor(&self) -> Option<Predecessor> {
        self.predecessor.as_ref().and_then(|way| way.0.try_clone().ok()).map(Predecessor)
    }

    /// Everything that systemd passes must be an address of the configuration, and of the key that it is named
    /// after: a socket that nobody serves would keep its visitors waiting.
    ///
    /// # Errors
    /// Names the socket that is not.
    pub(crate) fn check(&self, settings: &Settings) -> anyhow::Result<()> {
        let edge = &settings.edge;
        let keys: [(&str, &[SocketAddr]); 4] = [
            ("http", &edge.http),
            ("https", &edge.https),
            ("metrics", std::slice::from_ref(&edge.metrics)),
            ("api", std::slice::from_ref(&settings.api.listen)),
        ];
        for (name, address) in &self.activated {
            let is_key = keys.iter().any(|(key, _)| key == name);
            let fits = |(key, addresses): &(&str, &[SocketAddr])| {
                (!is_key || key == name) && addresses.contains(address)
            };
            if !keys.iter().any(fits) {
                bail!(
                    "systemd passes the socket `{name}` for {address}, which is not in the configuration: name \
                     it there, or take it out of the socket unit"
                );
            }
        }
        Ok(())
    }
}

impl Predecessor {
    /// Says that this process serves. It is in charge from now on.
    pub(crate) fn tell_ready(&self) {
        self.tell(READY);
    }

    /// Says why this process does not serve.
    pub(crate) fn tell_failure(&self, reason: &str) {
        let reason = reason.replace('\n', "; ");
        let end = reason.floor_char_boundary(MOST_REASON_BYTES);
        self.tell(&format!("{FAILED}{}", reason.get(..end).unwrap_or_default()));
    }

    /// An error means that it is gone; then nobody else serves, and this process goes on.
    fn tell(&self, line: &str) {
        let _told = (&self.0).write_all(format!("{line}\n").as_bytes());
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(self) {
        let watched = self.0.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(self.0));
        if let Ok(way) = watched {
            // Nothing comes down the way any more but its end.
            let _ended = way.readable().await;
        }
    }
}
