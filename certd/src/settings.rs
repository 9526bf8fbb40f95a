//! What an operator chooses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::acme::ChallengeKind;

use crate::CertdError;
use crate::local_ca::LEAF_LIFETIME;

/// How certd works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The authority for public names; none: the local authority signs for every proved name.
    pub acme: Option<Acme>,
    /// Name servers that are asked; none: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// The names by which the authority knows itself in CAA records (`caaIdentities` of its directory); none: CAA
    /// records are left to it.
    pub caa_identities: Vec<String>,
    /// An edge's https listener, asked which certificate it shows; none: the edges' reports are believed.
    pub probe: Option<SocketAddr>,
    /// Lifetime of the local authority's certificates.
    pub local_lifetime: Duration,
    /// How long an order waits for the edges to hold the answer to a challenge.
    pub edge_wait: Duration,
    /// How long an order is in a process's hands without a sign of life; renewed with every step. After a
    /// crash others go on when it is over.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            acme: None,
            resolvers: Vec::new(),
            caa_identities: Vec::new(),
            probe: None,
            local_lifetime: LEAF_LIFETIME,
            edge_wait: Duration::from_secs(3),
            lease: Duration::from_secs(15),
        }
    }
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
    /// How names are proved to it.
    pub challenge: ChallengeKind,
}

impl Acme {
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
        let acme = Acme {
            directory: directory.to_owned(),
            ca_file: None,
            contact: Some(contact.to_owned()),
            challenge: ChallengeKind::Http01,
        };
        acme.check().map_or_else(|error| error.to_string(), |()| "sound".to_owned())
    }

    #[test]
    fn a_directory_and_a_contact_that_cannot_be_are_named() {
        assert_eq!(checked("https://localhost:14000/dir", "mailto:ops@example.com"), "sound");
        for directory in ["http://localhost/dir", "localhost", "", "https://"] {
            let error = format!("acme.directory `{directory}` must be a https:// address");
            assert_eq!(checked(directory, "mailto:ops@example.com"), error);
        }
        assert_eq!(
            checked("https://ca.test/dir", "ops@example.com"),
            "acme.contact `ops@example.com` must be written as mailto:you@example.com"
        );
    }
}
