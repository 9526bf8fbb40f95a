//! What becomes of a claim after a look at its name. Pure: what the store knows beside the claim is gathered before.
//!
//! The holder's proof counts before everything else, at any moment until the move. A wait ends by a proof that is gone,
//! never by one answer; and one that is over ends in any case, so that nothing is looked at for ever.

use std::time::Duration;

use model::Timestamp;
use model::domain::{Claim, Contest, Policy, Routing};

use super::{Holder, Shown, Sight};
use crate::domain::DomainRecord;

/// How long a name that is to move waits for its new certificate, and for records that are being set for its holder:
/// long enough for some failures of an authority. Its visitors are served as before meanwhile.
pub const SLACK: Duration = Duration::from_secs(3600);
/// How long a proof is missing before the wait ends: one of several servers may be behind, or restored from yesterday.
const MISSING: Duration = Duration::from_secs(600);
/// How long a wait that is over stays open while nobody can tell whether the proof is there.
const UNTOLD: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    /// The name is free: the claim is one like any other.
    Promote,
    /// Its proof was seen: the holder is told.
    Hold,
    /// It was not confirmed until the end.
    Lapse,
    /// The holder keeps the name.
    Refuse,
    Move,
}

/// What the store knows of a claim beside the claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) now: Timestamp,
    /// Since when the proof has been missing, this look included.
    pub(super) missing_since: Option<Timestamp>,
    /// A certificate is ready to be served from the move on.
    pub(super) is_prepared: bool,
    /// Another claim of the name waits for its time already.
    pub(super) is_behind: bool,
    /// The holder has a valid certificate for the name.
    pub(super) holder_is_secure: bool,
    /// A provider is being asked to set the holder's records, or to take them back.
    pub(super) holder_is_busy: bool,
}

pub(super) fn step(claim: &DomainRecord, holder: &Holder, sight: &Sight, known: Known) -> Step {
    let until = match claim.facts.contest {
        Some(Contest::Asked) => None,
        Some(Contest::Waiting { until }) => Some(until),
        _ => return Step::Stay,
    };
    let is_allowed = claim.facts.policy == Policy::Allowed;
    match (holder, until) {
        (Holder::Nobody, _) => Step::Promote,
        (Holder::Domain(holder), Some(_)) if sight.holders_proof.as_ref() == Some(&holder.target.proof) => {
            Step::Refuse
        }
        (_, Some(until)) => while_waiting(is_allowed, sight, until, known),
        (_, None) if !is_allowed || known.is_behind || sight.proof != Shown::Everywhere => Step::Stay,
        // Nobody is served, and nobody ever proved it: the first proof counts.
        (Holder::Domain(holder), None)
            if holder.facts.claim == Claim::Unproved && !holder.was_live && !known.holder_is_busy =>
        {
            Step::Move
        }
        (_, None) => Step::Hold,
    }
}

fn while_waiting(is_allowed: bool, sight: &Sight, until: Timestamp, known: Known) -> Step {
    let now = known.now;
    let is_over = until <= now;
    let missing = known.missing_since.map_or(Duration::ZERO, |since| now.since(since));
    match sight.proof {
        _ if is_over && !is_allowed => Step::Lapse,
        Shown::Missing if missing >= MISSING => Step::Lapse,
        Shown::Untold if until.plus(UNTOLD) <= now => Step::Lapse,
        Shown::Everywhere if is_over && (known.is_ready(sight) || until.plus(SLACK) <= now) => Step::Move,
        _ => Step::Stay,
    }
}

impl Known {
    /// Whether a move now would be noticed by no visitor, and break nothing off.
    fn is_ready(&self, sight: &Sight) -> bool {
        let has_visitors = sight.facts.routing == Routing::Here && self.holder_is_secure;
        (self.is_prepared || !has_visitors) && !self.holder_is_busy
    }
}
