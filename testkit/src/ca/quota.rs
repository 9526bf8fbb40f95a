//! Whether an order is within the limits, and what it costs: the same over the wire and without one.

use std::collections::HashSet;

use model::Timestamp;

use super::limits::{Buckets, Limit, Limits, Owner, Refusal, registered_domains};

/// The limits, with what was drawn from them.
#[derive(Debug, Default)]
pub(super) struct Quota {
    pub(super) buckets: Buckets,
    /// Sets of names that had a certificate.
    sets: HashSet<String>,
}

impl Quota {
    pub(super) fn new(limits: Limits) -> Self {
        Self { buckets: Buckets::new(limits), sets: HashSet::new() }
    }

    /// Whether these names, as one text, had a certificate before.
    pub(super) fn is_known(&self, set: &str) -> bool {
        self.sets.contains(set)
    }

    /// Refuses if a limit is reached, else takes what an order costs. A renewal of exactly the same names
    /// is exempt from those for orders and for registered domains.
    pub(super) fn admit(
        &mut self,
        account: u64,
        (names, set): (&[String], &str),
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let is_renewal = self.is_known(set);
        let mut asked: Vec<(Limit, Owner)> = Vec::new();
        if !is_renewal {
            asked.push((Limit::OrdersPerAccount, (account, String::new())));
        }
        for name in names.iter().map(|name| name.trim_start_matches("*.")) {
            asked.push((Limit::FailedAuthorizations, (account, name.to_owned())));
            asked.push((Limit::Pause, (account, name.to_owned())));
        }
        if !is_renewal {
            let domains = registered_domains(names);
            asked.extend(domains.into_iter().map(|domain| (Limit::CertificatesPerDomain, (0, domain))));
        }
        asked.push((Limit::CertificatesPerSet, (0, set.to_owned())));
        for (limit, owner) in &asked {
            self.buckets.check(*limit, owner, now)?;
        }
        if !is_renewal {
            self.buckets.spend(Limit::OrdersPerAccount, (account, String::new()), now);
        }
        Ok(())
    }

    /// Takes what a certificate costs; none of it if it renews another inside its window.
    pub(super) fn note_issued(&mut self, (names, set): (&[String], &str), is_inside: bool, now: Timestamp) {
        let is_renewal = self.is_known(set);
        if !is_inside {
            if !is_renewal {
                for domain in registered_domains(names) {
                    self.buckets.spend(Limit::CertificatesPerDomain, (0, domain), now);
                }
            }
            self.buckets.spend(Limit::CertificatesPerSet, (0, set.to_owned()), now);
        }
        if !is_renewal {
            self.sets.insert(set.to_owned());
        }
    }
}
