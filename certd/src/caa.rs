//! Which of our authorities the CAA records of an order's names allow (RFC 8659), by our account there and by the ways
//! in which we can prove the names (RFC 8657).

use std::sync::Arc;

use model::HostPattern;
use model::acme::{ChallengeKind, DNS01_LABEL, STANDING_LABEL};
use model::domain::{Forbidden, Record, RecordKind, Unprovable};
use store::{DomainRecord, Order, StoreError};

use crate::acme::{AcmeError, Authority};
use crate::delegation::{Delegation, Places};
use crate::dns::{self, Issuer, LookupError, Policy, Scope, Standing};
use crate::work::Work;

/// An authority that may make a certificate, and how the names are proved to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) kind: ChallengeKind,
}

/// What the records say about the names of one certificate; nothing: they are not to be compared.
type Policies = Vec<(Policy, Scope)>;

/// How the names of one certificate can be proved beside the way that is usual for an authority.
#[derive(Debug, Default)]
struct Ways {
    /// By texts in a zone of ours.
    by_text: bool,
    /// By texts that stand for good: those of each name. Nothing: that is switched off.
    standing: Vec<(Vec<Standing>, Scope)>,
    /// Whether what stands may not be good enough for the authority, since the last attempt failed: then the usual way is
    /// gone first.
    is_in_doubt: bool,
    /// Whether a wildcard is among them: nobody can visit all its names, so the usual way may prove nothing.
    is_wide: bool,
}

impl Ways {
    fn usual(&self, authority: &Authority) -> ChallengeKind {
        if self.is_wide { ChallengeKind::Dns01 } else { authority.challenge() }
    }

    /// Whether the names can be proved in this way as far as we know.
    fn includes(&self, kind: ChallengeKind) -> bool {
        match kind {
            ChallengeKind::Dns01 => self.by_text || !self.is_wide,
            // It is preferred only where the texts are there.
            ChallengeKind::DnsPersist01 => true,
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => !self.is_wide,
        }
    }
}

/// Knows the text that proves a name to the first authority for good (dns-persist-01). Cheap to clone.
#[derive(Clone)]
pub struct StandingProof(Arc<Work>);

impl std::fmt::Debug for StandingProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StandingProof").finish_non_exhaustive()
    }
}

impl StandingProof {
    pub(crate) fn new(work: Arc<Work>) -> Self {
        Self(work)
    }

    /// The text; none: it is switched off, or the authority's name or our account there is not known yet.
    pub async fn text(&self, name: &HostPattern) -> Option<String> {
        self.0.standing_text(name).await
    }
}

impl Work {
    /// The authorities that may make the order's certificate, the one that we would rather have first. One that has
    /// not told yet who it is may.
    ///
    /// # Errors
    /// [`AcmeError::Forbidden`] if none may, [`AcmeError::NotYet`] if the records cannot be told.
    pub(crate) async fn candidates(
        &self,
        order: &Order,
        places: &Places,
    ) -> Result<Vec<Candidate<'_>>, AcmeError> {
        let policies = match self.policies(&order.names).await {
            Ok(policies) => policies,
            // What was placed already must come to its end.
            Err(_) if order.order_url.is_some() => Policies::new(),
            Err(error) => {
                let reason = format!("its CAA records cannot be told: {error}");
                return Err(AcmeError::NotYet { host: order.host.to_string(), reason });
            }
        };
        let ways = Ways {
            by_text: places.has(&order.host) && order.beside().is_none_or(|beside| places.has(beside)),
            standing: self.standing(&order.names).await,
            is_in_doubt: order.attempts % 2 == 1,
            is_wide: order.names.iter().any(HostPattern::is_wildcard),
        };
        let mut candidates = Vec::with_capacity(self.authorities.len());
        for authority in &self.authorities {
            let is_there = order.order_url.is_some() && order.authority.as_deref() == Some(authority.name());
            let allowed = self.kind(authority, &ways, &policies).await?;
            let preferred = self.preferred(authority, &ways).await?;
            let kind = allowed.or(is_there.then_some(preferred));
            candidates.extend(kind.map(|kind| Candidate { authority, kind }));
        }
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        let host = order.host.to_string();
        Err(match &places.untold {
            Some(error) if ways.is_wide => AcmeError::NotYet { host, reason: error.to_string() },
            None if ways.is_wide && !ways.by_text => {
                AcmeError::NotHere { host, reason: "no record proves all its names".to_owned() }
            }
            _ => AcmeError::Forbidden { host },
        })
    }

    /// What is missing to prove a wildcard; a name is proved by those who visit it.
    pub(crate) async fn unprovable(&self, domain: &DomainRecord) -> Result<Option<Unprovable>, StoreError> {
        if !self.is_public() || !domain.host.is_wildcard() {
            return Ok(None);
        }
        let by_text = match self.delegation(&domain.host, Some(domain.id)).await? {
            Delegation::Untold(error) => {
                tracing::debug!(host = %domain.host, %error, "nobody can tell whether its proof is delegated");
                return Ok(domain.facts.unprovable.clone());
            }
            delegation => matches!(delegation, Delegation::Here(_)),
        };
        if !by_text && self.settings.dns_persist {
            self.introduce().await;
        }
        let names = std::slice::from_ref(&domain.host);
        let ways = Ways { by_text, standing: self.standing(names).await, is_in_doubt: false, is_wide: true };
        for authority in &self.authorities {
            if ways.includes(self.preferred(authority, &ways).await?) {
                return Ok(None);
            }
        }
        let record = self.proving(domain).await?;
        if record.is_none() {
            tracing::warn!(host = %domain.host, "a wildcard cannot be proved: set up [acme.dns], or acme.dns_persist");
        }
        Ok(Some(Unprovable { record }))
    }

    /// The record that lets us prove a wildcard to an authority; none: we are not set up for it.
    async fn proving(&self, domain: &DomainRecord) -> Result<Option<Record>, StoreError> {
        let base = domain.host.base();
        if let Some(proofs) = &self.proofs
            && let Ok(place) = proofs.delegate(self.store.delegate_of(domain).await?)
        {
            return Ok(Some(Record::new(RecordKind::Cname, format!("{DNS01_LABEL}.{base}"), place)));
        }
        let is_known = self.authorities.first().is_none_or(|authority| !authority.lacks_standing());
        let text = if is_known { self.standing_text(&domain.host).await } else { None };
        Ok(text.map(|text| Record::new(RecordKind::Txt, format!("{STANDING_LABEL}.{base}"), text)))
    }

    /// Lets the first authority tell who it is and who we are there: the text that stands says both.
    async fn introduce(&self) {
        let Some(authority) = self.authorities.first() else { return };
        let is_known = authority.caa_identities().is_some()
            && authority.account_url().await.is_ok_and(|account| account.is_some());
        if !is_known && let Err(error) = authority.session().await {
            tracing::debug!(directory = authority.name(), %error, "no account was made");
        }
    }

    async fn standing_text(&self, name: &HostPattern) -> Option<String> {
        let authority = self.authorities.first().filter(|_| self.settings.dns_persist)?;
        let identity = self.identities(authority).into_iter().next()?;
        let account = authority.account_url().await.ok().flatten()?;
        Some(Standing::text(&identity, &account, Scope::of(name)))
    }

    /// The record that is missing if none of our authorities may make a certificate for a domain.
    pub(crate) async fn forbidden(
        &self,
        domain: &DomainRecord,
    ) -> Result<Result<Option<Forbidden>, StoreError>, LookupError> {
        let names = std::slice::from_ref(&domain.host);
        let policies = self.policies(names).await?;
        if policies.is_empty() {
            return Ok(Ok(None));
        }
        let delegation = match self.delegation(&domain.host, Some(domain.id)).await {
            Ok(delegation) => delegation,
            Err(error) => return Ok(Err(error)),
        };
        let ways = Ways {
            by_text: matches!(delegation, Delegation::Here(_)),
            standing: self.standing(names).await,
            is_in_doubt: false,
            is_wide: domain.host.is_wildcard(),
        };
        Ok(self.missing(&ways, &policies).await)
    }

    async fn missing(&self, ways: &Ways, policies: &Policies) -> Result<Option<Forbidden>, StoreError> {
        let mut missing = None;
        for authority in &self.authorities {
            if self.kind(authority, ways, policies).await?.is_some() {
                return Ok(None);
            }
            if missing.is_none() {
                let issuer = self.issuer(authority, self.preferred(authority, ways).await?).await?;
                missing = policies.iter().find_map(|(policy, scope)| policy.forbidden(&issuer, *scope));
            }
        }
        Ok(missing)
    }

    async fn policies(&self, names: &[HostPattern]) -> Result<Policies, LookupError> {
        let mut policies = Policies::new();
        if self.authorities.iter().all(|authority| self.identities(authority).is_empty()) {
            return Ok(policies);
        }
        for name in names {
            policies.push((dns::policy(self.lookup.as_ref(), name.base()).await?, Scope::of(name)));
        }
        policies.retain(|(policy, _)| policy.says_anything());
        Ok(policies)
    }

    /// How the names may be proved to `authority`; none: it may not make the certificate.
    async fn kind(
        &self,
        authority: &Authority,
        ways: &Ways,
        policies: &Policies,
    ) -> Result<Option<ChallengeKind>, StoreError> {
        let (preferred, usual) = (self.preferred(authority, ways).await?, ways.usual(authority));
        let kinds = match preferred {
            ChallengeKind::DnsPersist01 if ways.is_in_doubt => [usual, preferred],
            _ => [preferred, usual],
        };
        for kind in kinds.into_iter().filter(|kind| ways.includes(*kind)) {
            if policies.is_empty() {
                return Ok(Some(kind));
            }
            let issuer = self.issuer(authority, kind).await?;
            if policies.iter().all(|(policy, scope)| policy.allows(&issuer, *scope)) {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// A text that we write where we can, for every authority knows that way; one that stands already; else the usual
    /// way.
    async fn preferred(&self, authority: &Authority, ways: &Ways) -> Result<ChallengeKind, StoreError> {
        if ways.by_text {
            return Ok(ChallengeKind::Dns01);
        }
        if ways.standing.is_empty() || authority.lacks_standing() {
            return Ok(ways.usual(authority));
        }
        let (now, issuer) = (self.store.now(), self.issuer(authority, ChallengeKind::DnsPersist01).await?);
        let stands = |(texts, scope): &(Vec<Standing>, Scope)| {
            texts.iter().any(|text| text.proves(&issuer, *scope, now))
        };
        let all_stand = ways.standing.iter().all(stands);
        Ok(if all_stand { ChallengeKind::DnsPersist01 } else { ways.usual(authority) })
    }

    /// The texts that stand for each name, if it is to be looked for them.
    async fn standing(&self, names: &[HostPattern]) -> Vec<(Vec<Standing>, Scope)> {
        let mut found = Vec::new();
        if self.settings.dns_persist {
            for name in names {
                found.push((dns::standing(self.lookup.as_ref(), name.base()).await, Scope::of(name)));
            }
        }
        found
    }

    async fn issuer(&self, authority: &Authority, kind: ChallengeKind) -> Result<Issuer, StoreError> {
        let (identities, account) = (self.identities(authority), authority.account_url().await?);
        Ok(Issuer { identities, account, method: method(kind).to_owned() })
    }

    /// The names by which the authority knows itself; none: not known, not compared.
    fn identities(&self, authority: &Authority) -> Vec<String> {
        let is_first = self.authorities.first().is_some_and(|first| first.name() == authority.name());
        let set = self.settings.caa_identities.iter().filter(|_| is_first).cloned();
        set.chain(authority.caa_identities().unwrap_or_default()).collect()
    }
}

/// In the words of RFC 8657.
fn method(kind: ChallengeKind) -> &'static str {
    match kind {
        ChallengeKind::Http01 => "http-01",
        ChallengeKind::TlsAlpn01 => "tls-alpn-01",
        ChallengeKind::Dns01 => "dns-01",
        ChallengeKind::DnsPersist01 => "dns-persist-01",
    }
}

#[cfg(test)]
mod tests;
