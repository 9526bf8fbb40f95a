//! Which domains are looked at next, and how many of whose at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::domain::DomainStatus;
use model::id::TenantId;
use store::{DomainRecord, StoreError};

use super::{Job, Rounds, limit};
use crate::CertdError;

/// Most domains that are looked at at a time.
const CHECKS: usize = 32;
/// How many of them one tenant may always have.
const CHECKS_OF_ONE: usize = 8;
/// Places that tenants with so many leave to others: a look at servers that are silent takes seconds.
const CHECKS_LEFT_FREE: usize = 8;
/// For how long a look at a domain that is live is one process's: longer than it takes.
const BEING_LOOKED_AT: Duration = Duration::from_secs(120);
/// When a domain is looked at again whose look ended in an error.
const CHECK_FAILED: Duration = Duration::from_secs(30);

/// Whether nobody waits for the next look at a domain.
fn is_settled(domain: &DomainRecord) -> bool {
    domain.was_live && domain.status == DomainStatus::Live
}

impl Rounds {
    pub(super) async fn check_domains(&mut self, now: Timestamp) -> Result<(), CertdError> {
        let under_way = self.count(|job| matches!(job, Job::Check(..)));
        if under_way >= CHECKS {
            return Ok(());
        }
        // Those under way are still due: they stand at the front of the list.
        let most = limit(CHECKS + under_way);
        let due = self.work.store.due_domains(now, most).await?;
        let are_more = limit(due.len()) >= most;
        self.begin_checks(due, now).await?;
        let busy = self.tenants_with_enough_checks();
        let is_room = self.count(|job| matches!(job, Job::Check(..))) < CHECKS;
        if are_more && is_room && !busy.is_empty() {
            let due = self.work.store.due_domains_besides(&busy, now, most).await?;
            self.begin_checks(due, now).await?;
        }
        Ok(())
    }

    /// Begins looks as far as there are places. Nobody waits for one at a domain that is live: of several processes one
    /// takes it.
    async fn begin_checks(&mut self, due: Vec<DomainRecord>, now: Timestamp) -> Result<(), CertdError> {
        let (live, others): (Vec<_>, Vec<_>) = self.with_places(due).into_iter().partition(is_settled);
        for domain in others {
            self.begin_check(domain);
        }
        if live.is_empty() {
            return Ok(());
        }
        let until = now.plus(BEING_LOOKED_AT);
        let ids: Vec<_> = live.iter().map(|domain| domain.id).collect();
        let taken: HashSet<_> = self.work.store.take_domain_checks(&ids, until).await?.into_iter().collect();
        for domain in live.into_iter().filter(|domain| taken.contains(&domain.id)) {
            self.begin_check(DomainRecord { next_check_at: until, ..domain });
        }
        Ok(())
    }

    /// Those of the domains for whose look there is a place.
    fn with_places(&self, due: Vec<DomainRecord>) -> Vec<DomainRecord> {
        let mut all = self.count(|job| matches!(job, Job::Check(..)));
        let mut of_each = self.checks_of_each();
        let mut chosen = Vec::new();
        for domain in due {
            let of_one = of_each.entry(domain.tenant).or_default();
            let places = if *of_one < CHECKS_OF_ONE { CHECKS } else { CHECKS - CHECKS_LEFT_FREE };
            if all < places && !self.has(Job::Check(domain.id, domain.tenant)) {
                all += 1;
                *of_one += 1;
                chosen.push(domain);
            }
        }
        chosen
    }

    fn begin_check(&mut self, domain: DomainRecord) {
        let work = Arc::clone(&self.work);
        self.begin(Job::Check(domain.id, domain.tenant), async move {
            let error = match work.check_in_turn(&domain).await {
                Ok(()) => return,
                // Somebody else wrote meanwhile, or took it away: it is looked at by what stands there now.
                Err(CertdError::Store(StoreError::Stale { .. } | StoreError::NotFound { .. })) => return,
                Err(error) => error,
            };
            tracing::warn!(host = %domain.host, %error, "domain could not be checked");
            // Whatever it was: what fails again and again must not take a place without a pause. If somebody else
            // wrote meanwhile, nothing is put off.
            let later = work.store.now().plus(CHECK_FAILED);
            if let Err(error) = work.store.put_domain_check_off(&domain, later).await {
                tracing::debug!(host = %domain.host, %error, "a check that failed was not put off");
            }
        });
    }

    fn checks_of_each(&self) -> HashMap<TenantId, usize> {
        let mut checks: HashMap<TenantId, usize> = HashMap::new();
        for job in self.jobs.values() {
            if let Job::Check(_, tenant) = job {
                *checks.entry(*tenant).or_default() += 1;
            }
        }
        checks
    }

    fn tenants_with_enough_checks(&self) -> Vec<TenantId> {
        let checks = self.checks_of_each();
        checks.into_iter().filter(|(_, checks)| *checks >= CHECKS_OF_ONE).map(|(tenant, _)| tenant).collect()
    }
}
