//! What an operator chooses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Host;
use model::acme::ChallengeKind;
use model::net::Networks;
use model::secret::Secret;
use zeroize::Zeroizing;

use crate::CertdError;
use crate::acme::Limits;
use crate::adapters::{self, Account};
use crate::consent::Service;
use crate::local_ca::LEAF_LIFETIME;

/// How certd works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The authority for public names; none: the local authority signs for every proved name.
    pub acme: Option<Acme>,
    /// Authorities that are asked when that one cannot be, in order.
    pub fallbacks: Vec<Acme>,
    /// The zone of ours where texts for dns-01 are written; none: every name is proved as [`Acme::challenge`] says.
    pub dns: Option<DnsZone>,
    /// How long its name servers may take to show a text.
    pub dns_wait: Duration,
    /// Whether names may be proved by a text that stands for good (dns-persist-01), where there is one.
    pub dns_persist: bool,
    /// Name servers that are asked; none: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// The names by which [`Settings::acme`] knows itself in CAA records, beside those that it tells (`caaIdentities`
    /// of its directory). If it tells none either, CAA records are left to it.
    pub caa_identities: Vec<String>,
    /// An edge's https listener, asked which certificate it shows; none: the edges' reports are believed.
    pub probe: Option<SocketAddr>,
    /// Lifetime of the local authority's certificates.
    pub local_lifetime: Duration,
    /// How long an order waits for the edges to hold the answer to a challenge.
    pub edge_wait: Duration,
    /// How records are set at creators' own providers.
    pub connect: Connect,
    /// Most orders that are begun with one authority in a second, by all processes together.
    pub orders_per_second: u32,
    /// Most questions about renewals that one process asks in a second. Let's Encrypt bears a thousand from one address.
    pub questions_per_second: u32,
    /// How long one attempt at an order waits for the authority to look and to sign.
    pub order_wait: Duration,
    /// How long an order, or a creator's provider, is in a process's hands without a sign of life; renewed with every
    /// step. After a crash others go on when it is over.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            acme: None,
            fallbacks: Vec::new(),
            dns: None,
            dns_wait: adapters::WAIT,
            dns_persist: false,
            resolvers: Vec::new(),
            caa_identities: Vec::new(),
            probe: None,
            local_lifetime: LEAF_LIFETIME,
            edge_wait: Duration::from_secs(3),
            connect: Connect::default(),
            orders_per_second: 10,
            questions_per_second: 50,
            order_wait: Duration::from_secs(90),
            // What a process that was killed held is gone on with within five seconds.
            lease: Duration::from_secs(4),
        }
    }
}

/// Creators' own providers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    /// Networks of the operator's own that creators' servers may be in; else they must be on the internet.
    pub networks: Networks,
    /// Who we are to providers that set records on pages of their own; none: nobody.
    pub service: Option<Service>,
    /// Another address of Cloudflare's API than the provider's.
    pub cloudflare: Option<String>,
    /// Another address of DigitalOcean's API than the provider's.
    pub digitalocean: Option<String>,
}

/// A zone of ours at a DNS provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsZone {
    /// Its name.
    pub zone: Host,
    /// Who runs it, and what opens it.
    pub account: Account,
    /// The servers that must show a text; none: those that its NS records name.
    pub name_servers: Vec<SocketAddr>,
}

/// An ACME authority (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Its directory, `https://…`.
    pub directory: String,
    /// PEM file with trust anchors of the directory beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `mailto:…` of the operator.
    pub contact: Option<String>,
    /// How names are proved to it that are not proved by texts in [`Settings::dns`].
    pub challenge: ChallengeKind,
    /// Kinds of certificates that are wanted, the best first; the first one that it offers is asked for.
    pub profiles: Vec<String>,
    /// The account with it that was made elsewhere (RFC 8555 §7.3.4), if it wants one.
    pub external: Option<External>,
    /// What it allows.
    pub limits: Limits,
}

/// An account that was made on an authority's own site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Its key's id.
    pub key_id: String,
    /// The key in base64url, as the site shows it.
    pub hmac_key: Secret,
}

impl External {
    /// The key as bytes.
    ///
    /// # Errors
    /// [`CertdError::Settings`] if it is no base64url.
    pub(crate) fn key(&self) -> Result<Zeroizing<Vec<u8>>, CertdError> {
        let text = self.hmac_key.reveal().trim_end_matches('=');
        let key = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
        key.map_err(|_| {
            let what = "is not base64url: copy it as the authority's site shows it";
            CertdError::Settings(format!("acme.eab_hmac_key of the key `{}` {what}", self.key_id))
        })
    }
}

impl Acme {
    /// The authority at `directory`, with nothing else said.
    #[must_use]
    pub fn at(directory: impl Into<String>) -> Self {
        let directory = directory.into();
        Self {
            limits: Limits::of(&directory),
            directory,
            ca_file: None,
            contact: None,
            challenge: ChallengeKind::default(),
            profiles: Vec::new(),
            external: None,
        }
    }

    /// Checks what can be checked without the network.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names the value and what to do.
    pub fn check(&self) -> Result<(), CertdError> {
        let uri: Option<http::Uri> = self.directory.parse().ok();
        let sound = uri.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some());
        if !sound {
            let text = format!("acme.directory `{}` must be a https:// address", self.directory);
            return Err(CertdError::Settings(text));
        }
        if let Some(external) = &self.external {
            external.key()?;
        }
        match &self.contact {
            Some(contact) if !contact.starts_with("mailto:") || !contact.contains('@') => {
                let text = format!("acme.contact `{contact}` must be written as mailto:you@example.com");
                Err(CertdError::Settings(text))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(directory: &str, contact: &str) -> String {
        let acme = Acme { contact: Some(contact.to_owned()), ..Acme::at(directory) };
        acme.check().map_or_else(|error| error.to_string(), |()| "sound".to_owned())
    }

    #[test]
    fn a_directory_and_a_contact_that_cannot_be_are_named() {
        assert_eq!(checked("https://localhost:14000/dir", "mailto:ops@example.com"), "sound");
        for directory in ["http://localhost/dir", "localhost", "", "https://"] {
            let error = format!("acme.directory `{directory}` must be a https:// address");
            assert_eq!(checked(directory, "mailto:ops@example.com"), error);
        }
        let external =
            External { key_id: "kid-1".to_owned(), hmac_key: Secret::new("not base64url!".to_owned()) };
        let acme = Acme { external: Some(external), ..Acme::at("https://ca.test/dir") };
        let error = acme.check().unwrap_err().to_string();
        assert!(error.contains("kid-1") && !error.contains("not base64url!"), "{error}");
        assert_eq!(
            checked("https://ca.test/dir", "ops@example.com"),
            "acme.contact `ops@example.com` must be written as mailto:you@example.com"
        );
    }
}
