//! Which authority an order goes to: the first one that works and has room, and how long an order waits for it before
//! it goes to the next.

use std::time::Duration;

use model::{HostPattern, Timestamp};
use store::{CertificateRecord, Circuit, Draw, Order, RenewalAdvice, StoreError, Urgency};

use crate::acme::{self, AcmeError, Advice, Authority, Limits, Purpose};
use crate::caa::Candidate;
use crate::renewal;
use crate::work::Work;

/// The least wait before an order goes elsewhere.
pub(crate) const LEAST: Duration = Duration::from_secs(2);
/// How long an order that an authority did not finish is left there if somebody waits for it, and if nobody does.
const OVERDUE: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(3600));
/// How long one that was given up stays away from that authority if there is another one.
const AWAY: Duration = Duration::from_secs(3600);
/// How often it is looked whether the authority of a certificate is configured again.
const UNKNOWN: Duration = Duration::from_secs(24 * 3600);

/// How long an order puts up with an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    /// That fails.
    outage: Duration,
    /// That has no room.
    queue: Duration,
}

impl Patience {
    /// Of an order for a name that is served with `held`: somebody who waits, or who would lose the padlock soon, does
    /// not wait for the authority that we would rather have.
    fn of(held: Option<&CertificateRecord>, now: Timestamp) -> Self {
        let short = Self { outage: Duration::from_secs(60), queue: Duration::from_secs(120) };
        let long = Self { outage: Duration::from_secs(6 * 3600), queue: Duration::MAX };
        match held.filter(|held| held.not_after > now) {
            Some(held) if held.not_after.since(now) > held.not_after.since(held.not_before) / 5 => long,
            _ => short,
        }
    }

    /// With an order that the authority has and does not finish.
    fn unfinished(self) -> Duration {
        if self.has_time() { OVERDUE.1 } else { OVERDUE.0 }
    }

    /// Whether a failure more does no harm.
    fn has_time(self) -> bool {
        self.queue == Duration::MAX
    }
}

/// What speaks against an authority now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Nothing.
    Good,
    /// It is to be waited for until then.
    Wait(Timestamp),
    /// The order has waited long enough for it.
    Over(Timestamp),
}

fn verdict(circuit: Option<&Circuit>, free_at: Timestamp, patience: Patience, now: Timestamp) -> Verdict {
    if let Some(circuit) = circuit {
        let gives_up = circuit.since.plus(patience.outage);
        if gives_up <= now {
            return Verdict::Over(circuit.open_until);
        }
        if circuit.is_open() && now < circuit.open_until {
            return Verdict::Wait(circuit.open_until.min(gives_up));
        }
    }
    if free_at.since(now) > patience.queue { Verdict::Over(free_at) } else { Verdict::Good }
}

/// The certificate that an order takes the place of, as its authority sees it.
#[derive(Debug, Clone)]
pub(crate) struct Predecessor {
    /// What is served now.
    pub(crate) held: Option<CertificateRecord>,
    /// The names that it was made for.
    made_for: Vec<HostPattern>,
    /// Whether an order may say that it replaces it.
    is_linked: bool,
}

impl Predecessor {
    /// As [`Self`], for an authority that does not take `replaces`: it is no renewal within a window.
    pub(crate) fn unlinked(&mut self) {
        self.is_linked = false;
    }

    /// The chain, if that authority made it. One shared name is enough to be replaced (RFC 9773 §5).
    pub(crate) fn chain_of(&self, authority: &str) -> Option<&str> {
        let made_there = |held: &&CertificateRecord| held.authority.as_deref() == Some(authority);
        self.held.as_ref().filter(made_there).map(|held| held.chain_pem.as_str())
    }

    fn purpose(&self, authority: &str, order: &Order, now: Timestamp) -> Purpose {
        let Some(held) = self.held.as_ref().filter(|_| self.chain_of(authority).is_some()) else {
            return Purpose::First;
        };
        let window = held.renewal_window.filter(|_| self.is_linked);
        match Purpose::of_renewal(window, now) {
            Purpose::Renewal if self.made_for != order.names => Purpose::First,
            purpose => purpose,
        }
    }
}

impl Work {
    /// What `order` takes the place of.
    pub(crate) async fn predecessor(&self, order: &Order) -> Result<Predecessor, AcmeError> {
        let held = self.store.active_certificate_for(&order.host).await?;
        // Another account's certificate is renewed by its own orders.
        let held = held.filter(|held| held.tenant == order.tenant);
        let held = held.filter(|held| held.names.iter().any(|name| order.names.contains(name)));
        let made_for = held.as_ref().map(|held| acme::made_for(&held.chain_pem)).unwrap_or_default();
        Ok(Predecessor { held, made_for, is_linked: true })
    }

    /// The authority of the `candidates` that the order goes to.
    ///
    /// # Errors
    /// [`AcmeError::Busy`] if all are to be waited for, with when.
    pub(crate) async fn choose<'a>(
        &self,
        candidates: &[Candidate<'a>],
        order: &Order,
        predecessor: &Predecessor,
    ) -> Result<Candidate<'a>, AcmeError> {
        let now = self.store.now();
        let circuits = if candidates.len() > 1 { self.store.circuits().await? } else { Vec::new() };
        let patience = Patience::of(predecessor.held.as_ref(), now);
        let mut soonest: Option<(Timestamp, Candidate<'a>)> = None;
        // What is under way stays where it is as long as that one works: a certificate may be made there already.
        let is_there = |candidate: &&Candidate<'a>| {
            order.order_url.is_some() && order.authority.as_deref() == Some(candidate.authority.name())
        };
        let there = candidates.iter().filter(is_there);
        let others = candidates.iter().filter(|candidate| !is_there(candidate));
        for candidate in there.chain(others).copied() {
            let authority = candidate.authority;
            let circuit = circuits.iter().find(|circuit| circuit.authority == authority.name());
            let free_at = self.free_at(authority, order, predecessor).await?;
            match verdict(circuit, free_at, patience, now) {
                Verdict::Good => return Ok(candidate),
                // Its failures are past patience: in a while those that have time try it once, or one that has not.
                Verdict::Over(_) if order.attempts == 0 && self.shall_try(circuit, patience).await? => {
                    return Ok(candidate);
                }
                Verdict::Wait(until) => {
                    let reason = circuit.map(|circuit| circuit.reason.clone()).unwrap_or_default();
                    return Err(AcmeError::Busy { reason, retry_at: Some(until) });
                }
                Verdict::Over(until) if soonest.as_ref().is_none_or(|(found, _)| until < *found) => {
                    soonest = Some((until, candidate));
                }
                Verdict::Over(_) => {}
            }
        }
        let Some((until, candidate)) = soonest else {
            return Err(AcmeError::Refused("no authority is configured".to_owned()));
        };
        let failing = circuits.iter().find(|circuit| circuit.authority == candidate.authority.name());
        match failing.filter(|_| until > now) {
            Some(circuit) => Err(AcmeError::Busy { reason: circuit.reason.clone(), retry_at: Some(until) }),
            None => Ok(candidate),
        }
    }

    async fn shall_try(&self, circuit: Option<&Circuit>, patience: Patience) -> Result<bool, AcmeError> {
        match circuit {
            Some(circuit) if circuit.open_until <= self.store.now() => {
                Ok(patience.has_time() || self.store.may_try_authority(circuit).await?)
            }
            _ => Ok(false),
        }
    }

    /// When `authority` has room for the order; a turn that it has already is not drawn again.
    async fn free_at(
        &self,
        authority: &Authority,
        order: &Order,
        predecessor: &Predecessor,
    ) -> Result<Timestamp, AcmeError> {
        let turn = order.turn().filter(|_| order.authority.as_deref() == Some(authority.name()));
        let has_order = order.order_url.is_some() && order.authority.as_deref() == Some(authority.name());
        if has_order {
            return Ok(self.store.now());
        }
        let mut draws = self.stops(authority, order, predecessor);
        if turn.is_none() {
            draws.extend(self.draws(authority, order, predecessor));
        }
        let free_at = self.store.budget_free_at(authority.name(), &draws).await?;
        Ok(turn.map_or(free_at, |turn| turn.max(free_at)))
    }

    /// What the authority may have said is used up.
    pub(crate) fn stops(&self, authority: &Authority, order: &Order, predecessor: &Predecessor) -> Vec<Draw> {
        let purpose = predecessor.purpose(authority.name(), order, self.store.now());
        authority.limits().stops(order, purpose)
    }

    /// Stops what the authority says is used up: all orders that draw from it wait, and no others.
    pub(crate) async fn note_limit(
        &self,
        authority: &Authority,
        order: &Order,
        (reason, until): (&str, Timestamp),
    ) -> Result<(), AcmeError> {
        let used_up = authority.limits().used_up(reason, order);
        let what = used_up.last().map(|draw| draw.subject.as_str()).unwrap_or_default();
        tracing::warn!(authority = authority.name(), what, %until, reason, "the authority makes no more for now");
        Ok(self.store.stop_budget(authority.name(), &used_up, until).await?)
    }

    /// Whether the order is given up where it is: it was left unfinished for too long.
    pub(crate) fn is_overdue(&self, order: &Order, predecessor: &Predecessor) -> bool {
        let now = self.store.now();
        let patience = Patience::of(predecessor.held.as_ref(), now).unfinished();
        order.placed_at.is_some_and(|placed| placed.plus(patience) <= now)
    }

    /// When an order that is left unfinished becomes overdue.
    pub(crate) fn overdue_at(&self, order: &Order, predecessor: &Predecessor) -> Timestamp {
        let now = self.store.now();
        let patience = Patience::of(predecessor.held.as_ref(), now).unfinished();
        order.placed_at.map_or(now, |placed| placed.plus(patience))
    }

    /// Keeps an order that was given up away from that authority for a while.
    pub(crate) async fn stay_away(&self, authority: &Authority, order: &Order) -> Result<(), AcmeError> {
        let until = self.store.now().plus(AWAY);
        Ok(self.store.stop_budget(authority.name(), &Limits::gave_up(order), until).await?)
    }

    /// Whether somebody waits who would rather go elsewhere than wait until then.
    pub(crate) fn goes_elsewhere(&self, predecessor: &Predecessor, until: Timestamp) -> bool {
        let now = self.store.now();
        until.since(now) > Patience::of(predecessor.held.as_ref(), now).queue
    }

    /// What the order draws from the authority's limits.
    pub(crate) fn draws(&self, authority: &Authority, order: &Order, predecessor: &Predecessor) -> Vec<Draw> {
        let now = self.store.now();
        let purpose = predecessor.purpose(authority.name(), order, now);
        let urgency: Urgency = renewal::urgency(predecessor.held.as_ref(), now);
        authority.limits().order(order, purpose, urgency)
    }

    /// When an order that failed goes to another one of the `candidates`; far away if it stays with the one it is at.
    pub(crate) async fn gives_up_at(
        &self,
        candidates: &[Candidate<'_>],
        order: &Order,
        predecessor: &Predecessor,
    ) -> Result<Timestamp, AcmeError> {
        let now = self.store.now();
        let patience = Patience::of(predecessor.held.as_ref(), now);
        let circuits = self.store.circuits().await?;
        let gives_up = |authority: &Authority| {
            let circuit = circuits.iter().find(|circuit| circuit.authority == authority.name())?;
            Some(circuit.since.plus(patience.outage))
        };
        let known = || candidates.iter().map(|candidate| candidate.authority);
        let at = known().find(|known| Some(known.name()) == order.authority.as_deref());
        let at = at.or(known().next()).and_then(gives_up);
        let other_works = known().any(|other| gives_up(other).is_none_or(|end| end > now));
        Ok(match at {
            Some(end) if end > now => end,
            Some(_) if other_works => now.plus(LEAST),
            _ => now.plus(UNKNOWN),
        })
    }

    /// Asks when certificates should be renewed, each of the authority that made it, and writes down what was said.
    pub(crate) async fn ask_for_advice(
        &self,
        questions: &[(CertificateRecord, String)],
    ) -> Result<(), StoreError> {
        let asked = questions.iter().map(|(held, made_by)| self.advice(held, made_by));
        let told = futures_util::future::join_all(asked).await;
        self.store.put_renewal_windows(&told).await?;
        for ((held, made_by), advice) in questions.iter().zip(&told).filter(|(_, told)| told.is_recalled) {
            let others = self.store.hasten_questions(made_by, renewal::others_to_ask(advice.ask_in)).await?;
            tracing::warn!(certificate = %held.id, made_by, others, "the authority wants a certificate back");
        }
        Ok(())
    }

    async fn advice(&self, held: &CertificateRecord, made_by: &str) -> RenewalAdvice {
        let authority = self.authorities.iter().find(|known| known.name() == made_by);
        let advice = match authority {
            None => Advice::none(UNKNOWN),
            Some(authority) => {
                authority.advice(&held.chain_pem, self.store.now()).await.unwrap_or_else(|error| {
                    tracing::warn!(certificate = %held.id, %error, "no word about when to renew");
                    Advice { window: held.renewal_window, ..Advice::FAILED }
                })
            }
        };
        let told = renewal::heed(held.into(), advice, self.store.now());
        if told.is_news {
            tracing::debug!(certificate = %held.id, ?told.window, %told.renew_at, "renewal window");
        }
        told
    }

    /// Notes what an attempt said of the authority itself.
    pub(crate) async fn note_health(
        &self,
        authority: &Authority,
        outcome: &Result<(), AcmeError>,
    ) -> Result<(), AcmeError> {
        match outcome {
            Err(AcmeError::Busy { reason, .. } | AcmeError::Unfinished { reason }) => {
                let circuit = self.store.note_authority_failure(authority.name(), reason).await?;
                let (failures, open) = (circuit.failures, circuit.is_open());
                tracing::warn!(authority = authority.name(), failures, open, reason, "the authority failed");
            }
            Ok(())
            | Err(
                AcmeError::Limited { .. }
                | AcmeError::Validation { .. }
                | AcmeError::Refused(_)
                | AcmeError::UnknownAccount(_)
                | AcmeError::OrderGone
                | AcmeError::Unusable(_),
            ) => self.store.note_authority_works(authority.name()).await?,
            Err(_) => {}
        }
        Ok(())
    }

    /// Gives our accounts other keys where somebody asked for that.
    pub(crate) async fn change_keys(&self) -> Result<(), AcmeError> {
        for directory in self.store.key_changes().await? {
            let authority = self.authorities.iter().find(|known| known.name() == directory);
            let Some(authority) = authority else { continue };
            if let Err(error) = authority.change_key().await {
                tracing::warn!(directory, %error, "our account keeps its key for now");
            }
        }
        Ok(())
    }

    /// Asks authorities that failed whether they are back, each once in a while and by one process.
    pub(crate) async fn try_authorities(&self) -> Result<(), AcmeError> {
        for circuit in self.store.circuits().await? {
            let Some(authority) = self.authorities.iter().find(|known| known.name() == circuit.authority)
            else {
                self.store.note_authority_works(&circuit.authority).await?;
                continue;
            };
            // One that failed a few times only as well: once orders have gone elsewhere, nothing else asks it.
            // That it answers is not yet that it makes certificates: the failures stay until an order goes through.
            if self.store.may_try_authority(&circuit).await? {
                match authority.ask_anew().await {
                    Ok(_) => self.store.note_authority_answers(authority.name()).await?,
                    Err(error) => self.note_health(authority, &Err(error)).await?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SHORT: Patience = Patience { outage: MINUTE, queue: MINUTE.saturating_mul(2) };
    const LONG: Patience = Patience { outage: MINUTE.saturating_mul(360), queue: Duration::MAX };

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn failing(since: Timestamp, failures: u32, open_until: Timestamp) -> Circuit {
        Circuit { authority: String::new(), failures, since, open_until, reason: String::new() }
    }

    #[test]
    fn an_authority_that_works_and_has_room_is_taken() {
        assert_eq!(verdict(None, now(), SHORT, now()), Verdict::Good);
        let once = failing(now().minus(MINUTE / 2), 1, now());
        assert_eq!(verdict(Some(&once), now(), SHORT, now()), Verdict::Good);
    }

    #[test]
    fn somebody_who_waits_goes_elsewhere_after_a_minute_of_failures_and_a_renewal_after_six_hours() {
        let out = |minutes| failing(now().minus(MINUTE * minutes), 2, now());
        assert_eq!(verdict(Some(&out(1)), now(), SHORT, now()), Verdict::Over(now()));
        assert_eq!(verdict(Some(&out(1)), now(), LONG, now()), Verdict::Good);
        assert_eq!(verdict(Some(&out(360)), now(), LONG, now()), Verdict::Over(now()));
    }

    #[test]
    fn an_authority_that_is_left_alone_is_waited_for_and_no_longer_than_patience_lasts() {
        let soon = failing(now().minus(MINUTE / 2), 5, now().plus(MINUTE));
        assert_eq!(verdict(Some(&soon), now(), SHORT, now()), Verdict::Wait(now().plus(MINUTE / 2)));
        assert_eq!(verdict(Some(&soon), now(), LONG, now()), Verdict::Wait(now().plus(MINUTE)));
        let tried = failing(now().minus(MINUTE / 2), 5, now());
        assert_eq!(verdict(Some(&tried), now(), SHORT, now()), Verdict::Good);
    }

    #[test]
    fn two_minutes_in_the_queue_are_enough_for_somebody_who_waits() {
        let at = |minutes| now().plus(MINUTE * minutes);
        assert_eq!(verdict(None, at(2), SHORT, now()), Verdict::Good);
        assert_eq!(verdict(None, at(3), SHORT, now()), Verdict::Over(at(3)));
        assert_eq!(verdict(None, at(10_000), LONG, now()), Verdict::Good);
    }
}
