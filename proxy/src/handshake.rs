//! A TLS handshake from the first byte to the last: its deadlines, its place, and how its end is told.
//!
//! The ClientHello has a deadline of its own, in all, so that silence and drips are cheap to hold. Then a place
//! is taken, before anything is computed. Anybody can make handshakes fail by the thousand: each is counted,
//! and of each kind at most one a second is logged, at debug.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use rustls::{Error as TlsError, InvalidMessage};
use tokio::time::timeout;

use crate::connection::Wire;
use crate::edge::Shared;
use crate::metrics::Handshake;
use crate::tls::{self, HandshakeError, Secured};

/// A handshake over `wire`; none if it came to nothing, which has been counted.
pub(crate) async fn perform(edge: &Shared, wire: Wire, client: SocketAddr) -> Option<Secured> {
    let (deadlines, metrics) = (&edge.deadlines, &edge.state.metrics);
    let greeting = match timeout(deadlines.client_hello, tls::greet(wire)).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) => return failed(edge, client, kind(&error), Some(&error)),
        Err(_) => return failed(edge, client, Handshake::HelloTimedOut, None),
    };
    let place = match edge.slots.shake() {
        Ok(place) => place,
        Err(why) => {
            greeting.turn_away();
            metrics.count_refused_connection(why);
            return None;
        }
    };
    let accepted = timeout(deadlines.handshake, edge.tls.accept(greeting, &*edge.state.clock)).await;
    drop(place);
    match accepted {
        Ok(Ok(Some(secured))) => {
            metrics.count_handshake(Handshake::Ok);
            Some(secured)
        }
        Ok(Ok(None)) => {
            metrics.count_handshake(Handshake::AcmeChallenge);
            None
        }
        Ok(Err(error)) => failed(edge, client, kind(&error), Some(&error)),
        Err(_) => failed(edge, client, Handshake::TimedOut, None),
    }
}

fn failed(
    edge: &Shared,
    client: SocketAddr,
    kind: Handshake,
    error: Option<&HandshakeError>,
) -> Option<Secured> {
    edge.state.metrics.count_handshake(kind);
    if tracing::enabled!(tracing::Level::DEBUG)
        && edge.samples.take(kind, edge.state.clock.now().unix_seconds())
    {
        let (kind, error) = (kind.as_str(), error.map(tracing::field::display));
        tracing::debug!(%client, kind, error, "handshake failed (at most one of a kind is told a second)");
    }
    None
}

/// What an operator counts a failure as.
fn kind(error: &HandshakeError) -> Handshake {
    match error {
        HandshakeError::UnknownName(_) => Handshake::UnknownName,
        HandshakeError::NoAuthority(_) => Handshake::ClientCertificate,
        HandshakeError::Failed(error) => kind_of_io(error),
    }
}

fn kind_of_io(error: &io::Error) -> Handshake {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => Handshake::NotTls,
        Some(TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol) => Handshake::Incompatible,
        Some(TlsError::NoCertificatesPresented | TlsError::InvalidCertificate(_)) => {
            Handshake::ClientCertificate
        }
        Some(TlsError::AlertReceived(_)) => Handshake::AlertReceived,
        Some(_) => Handshake::Failed,
        None if error.kind() == io::ErrorKind::InvalidData => Handshake::Failed,
        None => Handshake::Gone,
    }
}

/// When a failure of each kind was logged last, in Unix seconds.
#[derive(Debug, Default)]
pub(crate) struct Samples([AtomicI64; Handshake::KINDS]);

impl Samples {
    /// Whether this is the first of its kind in its second.
    fn take(&self, kind: Handshake, second: i64) -> bool {
        self.0.get(kind as usize).is_some_and(|last| last.swap(second, Relaxed) != second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_of_a_kind_is_logged_a_second() {
        let samples = Samples::default();
        assert!(samples.take(Handshake::Gone, 7) && samples.take(Handshake::Failed, 7));
        assert!(!samples.take(Handshake::Gone, 7));
        assert!(samples.take(Handshake::Gone, 8));
    }

    #[test]
    fn every_kind_of_failure_has_a_sample_of_its_own() {
        let samples = Samples::default();
        assert!(Handshake::ALL.iter().all(|kind| samples.take(*kind, 1)));
    }
}
