//! Certificates: signed for an order's request, given out, revoked (RFC 8555 §7.4.2, §7.6).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use http::StatusCode;
use http::header::LINK;
use model::Timestamp;
use rcgen::{Certificate, CertificateSigningRequestParams, KeyPair, PublicKey, PublicKeyData as _, SanType};
use serde_json::Value;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::answer::Answer;
use super::faults::Fault;
use super::jws::{Jwk, decode};
use super::problem::Problem;
use super::renewal::Window;
use super::signer::{Leaf, draw_serial};
use super::state::{End, State};
use super::wishes::Replaces;

const HOUR: Duration = Duration::from_secs(3600);
/// More than any client should read of a chain.
const OVERSIZED: usize = 200 * 1024;

/// A certificate that was given to somebody.
pub(super) struct Issued {
    pub(super) account: u64,
    pub(super) names: Vec<String>,
    certificate: Certificate,
    key: PublicKey,
    not_before: Timestamp,
    not_after: Timestamp,
    pub(super) is_revoked: bool,
    /// Another window than its lifetime gives.
    pub(super) window: Option<Window>,
    /// The newest order that is to replace it.
    pub(super) replaced_by: Option<u64>,
    pub(super) is_replaced: bool,
}

impl Issued {
    /// When it should be renewed.
    pub(super) fn window(&self, now: Timestamp) -> Window {
        if self.is_revoked {
            return Window::over(now);
        }
        self.window.unwrap_or_else(|| Window::of(self.not_before, self.not_after))
    }

    /// Whether it should be renewed for another reason than its age.
    pub(super) fn is_hurried(&self) -> bool {
        self.is_revoked || self.window.is_some()
    }
}

/// What a certificate request asks for.
struct Request {
    key: PublicKey,
    names: Vec<String>,
}

impl State {
    /// Signs for an order that is ready; gives the serial number.
    pub(super) fn issue(&mut self, id: u64, csr: &str) -> Result<String, Problem> {
        let now = self.now();
        let order = self.orders.get(&id).ok_or_else(|| Problem::not_found("order"))?;
        let request = read(csr)?;
        if request.names != order.names {
            let detail = format!("CSR is for {:?}, the order for {:?}", request.names, order.names);
            return Err(Problem::new("badCSR", detail));
        }
        let (account, names, set) = (order.account, order.names.clone(), order.set.clone());
        let (is_renewal, replaces) = (order.is_renewal, order.replaces.clone());
        if self.accounts.get(account).is_some_and(|account| account.key.has_point(request.key.der_bytes())) {
            return Err(Problem::new("badCSR", "certificate public key must be different than account key"));
        }
        let profile = self.options.profiles.get(order.profile);
        let lifetime = profile.map_or(HOUR, |profile| profile.lifetime);
        let not_before = now.minus(HOUR);
        let not_after = not_before.plus(lifetime).minus(Duration::from_secs(1));
        let number = draw_serial(&mut self.chance);
        let leaf = Leaf { names: &names, not_before, not_after };
        let certificate = self.signer.sign(leaf, &request.key, number).map_err(Problem::internal)?;
        let serial = BASE64URL.encode(number);
        self.count_issue(&names, &set, is_renewal, replaces.as_ref());
        let issued = Issued {
            account,
            names,
            certificate,
            key: request.key,
            not_before,
            not_after,
            is_revoked: false,
            window: None,
            replaced_by: None,
            is_replaced: false,
        };
        self.issued.insert(serial.clone(), issued);
        self.ends(not_after, End::Certificate(serial.clone()));
        Ok(serial)
    }

    fn count_issue(&mut self, names: &[String], set: &str, is_renewal: bool, replaces: Option<&Replaces>) {
        let now = self.now();
        self.counts.finalized += 1;
        match replaces {
            Some(replaces) if replaces.inside => self.counts.renewals_inside += 1,
            Some(_) => self.counts.renewals_outside += 1,
            None if is_renewal => self.counts.renewals_unmarked += 1,
            None => {}
        }
        if let Some(replaces) = replaces
            && let Some(old) = self.issued.get_mut(&replaces.serial)
        {
            old.is_replaced = true;
        }
        let is_inside = replaces.is_some_and(|replaces| replaces.inside);
        self.quota.note_issued((names, set), is_inside, now);
    }

    /// A chain, with the address of the other one.
    pub(super) fn certificate(
        &mut self,
        account: u64,
        (serial, chain): (&str, usize),
        fault: Option<Fault>,
    ) -> Result<Answer, Problem> {
        let rest = self.signer.intermediate_pem(chain).map(str::to_owned);
        let rest = rest.ok_or_else(|| Problem::not_found("chain"))?;
        let issued = self.issued.get(serial).filter(|issued| issued.account == account);
        let issued = issued.ok_or_else(|| Problem::not_found("certificate"))?;
        let pem = match fault {
            Some(Fault::WrongKey | Fault::WrongName | Fault::Expired) => self.spoilt(serial, fault)? + &rest,
            Some(Fault::Truncated) => {
                let whole = issued.certificate.pem();
                whole.chars().take(whole.len() * 2 / 3).collect()
            }
            Some(Fault::Oversized) => {
                issued.certificate.pem() + &rest.repeat(OVERSIZED / rest.len().max(1) + 1)
            }
            _ => issued.certificate.pem() + &rest,
        };
        let other = self.url(format_args!("certificate/{serial}/{}", 1 - chain));
        let answer = Answer::text(StatusCode::OK, "application/pem-certificate-chain", pem);
        Ok(answer.with(LINK, format!("<{other}>;rel=\"alternate\"")))
    }

    /// A certificate like the one with this serial number, with something wrong about it.
    fn spoilt(&mut self, serial: &str, fault: Option<Fault>) -> Result<String, Problem> {
        let (now, number) = (self.now(), draw_serial(&mut self.chance));
        let issued = self.issued.get(serial).ok_or_else(|| Problem::not_found("certificate"))?;
        let other = ["spoilt.example.org".to_owned()];
        let mut leaf =
            Leaf { names: &issued.names, not_before: issued.not_before, not_after: issued.not_after };
        let signed = match fault {
            Some(Fault::WrongKey) => {
                let stranger = KeyPair::generate().map_err(Problem::internal)?;
                self.signer.sign(leaf, &stranger, number)
            }
            Some(Fault::WrongName) => {
                leaf.names = &other;
                self.signer.sign(leaf, &issued.key, number)
            }
            _ => {
                (leaf.not_before, leaf.not_after) = (now.minus(HOUR * 48), now.minus(HOUR));
                self.signer.sign(leaf, &issued.key, number)
            }
        };
        Ok(signed.map_err(Problem::internal)?.pem())
    }

    /// By the account that asked for it, or by whoever has its key.
    pub(super) fn revoke_cert(
        &mut self,
        account: Option<u64>,
        key: &Jwk,
        payload: &Value,
    ) -> Result<Answer, Problem> {
        let der = decode(payload["certificate"].as_str().unwrap_or_default(), "certificate")?;
        let (_, leaf) =
            X509Certificate::from_der(&der).map_err(|_| Problem::malformed("the certificate is damaged"))?;
        let issued = self.issued.get_mut(&BASE64URL.encode(leaf.raw_serial()));
        let issued = issued.filter(|issued| issued.certificate.der().as_ref() == der);
        let issued = issued.ok_or_else(|| Problem::not_found("certificate"))?;
        let is_owner = match account {
            Some(account) => issued.account == account,
            None => key.has_point(issued.key.der_bytes()),
        };
        if !is_owner {
            return Err(Problem::unauthorized("the certificate is another account's and of another key"));
        }
        match payload["reason"].as_u64() {
            None | Some(0 | 1 | 3 | 4 | 5) => {}
            Some(reason) => {
                return Err(Problem::new("badRevocationReason", format!("reason {reason} is not taken")));
            }
        }
        if issued.is_revoked {
            return Err(Problem::new("alreadyRevoked", "the certificate is revoked already"));
        }
        issued.is_revoked = true;
        self.counts.revoked += 1;
        Ok(Answer::empty(StatusCode::OK))
    }
}

fn read(csr: &str) -> Result<Request, Problem> {
    let bad = |why: String| Problem::new("badCSR", format!("Error parsing certificate request: {why}"));
    let der = decode(csr, "csr").map_err(|problem| bad(problem.detail))?;
    let request = CertificateSigningRequestParams::from_der(&der.into());
    let request = request.map_err(|error| bad(error.to_string()))?;
    let mut names = Vec::new();
    for name in &request.params.subject_alt_names {
        match name {
            SanType::DnsName(name) => names.push(name.as_str().to_ascii_lowercase()),
            other => return Err(bad(format!("{other:?} is no DNS name"))),
        }
    }
    names.sort();
    names.dedup();
    Ok(Request { key: request.public_key, names })
}
