//! When an authority would like a certificate to be renewed (RFC 9773).

use std::time::Duration;

use http::Method;
use instant_acme::{CertificateIdentifier, Error};
use model::{HostPattern, Timestamp, chain};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::AcmeError;
use super::account::Authority;
use super::directory::{self, Answered};
use super::error::retry_at;

/// How long until it is asked again if it does not say; what Let's Encrypt says.
const ASK_IN: Duration = Duration::from_secs(6 * 3600);
/// The least and the most that it may say (RFC 9773 §4.3.2 leaves the bounds to us): no flood, and never more than a
/// day without a look, because revocations are told this way.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));
/// After a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);

/// What an authority said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// First and last moment; none: it has no advice.
    pub window: Option<(Timestamp, Timestamp)>,
    /// How long until it is asked again.
    pub ask_in: Duration,
}

impl Advice {
    /// None, and not to be asked for until so much later.
    #[must_use]
    pub const fn none(ask_in: Duration) -> Self {
        Self { window: None, ask_in }
    }

    /// None, because it could not be had.
    pub const FAILED: Self = Self::none(AFTER_FAILURE);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: Suggested,
}

#[derive(Debug, Deserialize)]
struct Suggested {
    start: Timestamp,
    end: Timestamp,
}

/// The name of a certificate in RFC 9773 §4.1, from its chain.
///
/// # Errors
/// [`AcmeError::Unusable`] if the certificate names no authority key.
pub(crate) fn identifier(chain_pem: &str) -> Result<CertificateIdentifier<'static>, AcmeError> {
    let identifier = CertificateIdentifier::try_from(&leaf(chain_pem)?).map_err(AcmeError::Unusable)?;
    Ok(identifier.into_owned())
}

/// The names that a certificate was made for, in order, from its chain: it may be served for fewer by now. Empty if they
/// cannot be read.
pub(crate) fn made_for(chain_pem: &str) -> Vec<HostPattern> {
    leaf(chain_pem).ok().and_then(|leaf| chain::names_of(&leaf)).unwrap_or_default()
}

fn leaf(chain_pem: &str) -> Result<CertificateDer<'static>, AcmeError> {
    CertificateDer::from_pem_slice(chain_pem.as_bytes())
        .map_err(|error| AcmeError::Unusable(error.to_string()))
}

impl Authority {
    /// Asks when the certificate with that chain should be renewed.
    ///
    /// # Errors
    /// [`AcmeError`] says why there was no answer.
    pub(crate) async fn advice(&self, chain_pem: &str, now: Timestamp) -> Result<Advice, AcmeError> {
        let Some(base) = self.directory().await?.renewal_info.clone() else {
            return Ok(Advice::none(BOUNDS.1));
        };
        let line = self.line();
        let url = format!("{}/{}", base.trim_end_matches('/'), identifier(chain_pem)?);
        let answer = directory::ask(&line.recorder, Method::GET, &url).await;
        let advice = answer.and_then(|answer| read(&answer, now));
        advice.map_err(|error| line.sorted(error))
    }
}

fn read(answer: &Answered, now: Timestamp) -> Result<Advice, Error> {
    let info: RenewalInfo = answer.json()?;
    let Suggested { start, end } = info.suggested_window;
    let asked = answer.header("retry-after").and_then(|text| retry_at(&text, now));
    let ask_in = asked.map_or(ASK_IN, |at| at.since(now)).clamp(BOUNDS.0, BOUNDS.1);
    // "A client MUST NOT … if the end is not after the start" (§4.2): as if there were none.
    let window = (start < end).then_some((start, end));
    Ok(Advice { window, ask_in })
}
