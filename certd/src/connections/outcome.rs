//! What becomes of a step: the end that is told, or another attempt.

use std::fmt::Display;
use std::time::Duration;

use model::Timestamp;
use model::domain::connection::{ConnectionStatus, Findings, Step, Trouble};
use store::{Connection, ConnectionPatch, Keep};

use crate::adapters::{AdapterError, Fault, Left, Plan};
use crate::https::TOTAL;

/// Waits before another attempt when nobody answers: somebody looks at a page meanwhile.
const PAUSES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(20)];
/// Longest wait that a provider may ask for without being told as one that does not answer.
const SHORT: Duration = Duration::from_secs(2);
/// How long nobody goes on with what was cut off: a change that was sent may land for as long as one exchange takes.
pub(super) const SETTLED: Duration = TOTAL.saturating_add(Duration::from_secs(5));
/// Most lines of details, and most characters of each: a stranger's server wrote some of them.
const MAX_DETAILS: (usize, usize) = (20, 300);

/// Why a step goes no further.
#[derive(Debug)]
pub(super) struct Stop {
    trouble: Trouble,
    /// In the words of the trade.
    details: Vec<String>,
    /// What was seen before.
    findings: Findings,
    /// Whether the same may go well in a moment.
    passes: bool,
}

impl Stop {
    pub(super) fn new(trouble: Trouble, detail: String) -> Self {
        Self { trouble, details: vec![detail], findings: Findings::default(), passes: false }
    }

    /// Nobody answers.
    pub(super) fn away(detail: String) -> Self {
        Self { passes: true, ..Self::new(Trouble::Away, detail) }
    }

    /// Of which nobody knows what became: another look tells.
    pub(super) fn unsettled(self) -> Self {
        Self { passes: true, ..self }
    }

    pub(super) fn slow(bound: Duration) -> Self {
        Self::away(format!("it was not done within {} s", bound.as_secs()))
    }

    pub(super) fn in_the_way(plan: &Plan, findings: Findings) -> Self {
        let details = plan.obstacles.iter().map(ToString::to_string).collect();
        Self { trouble: Trouble::InTheWay, details, findings, passes: false }
    }

    pub(super) fn others(left: &[Left]) -> Self {
        let details = left.iter().map(ToString::to_string).collect();
        Self { trouble: Trouble::Others, details, findings: Findings::default(), passes: false }
    }

    /// With what remains in the zone.
    pub(super) fn with<T: Display>(mut self, remains: impl IntoIterator<Item = T>) -> Self {
        self.details.extend(remains.into_iter().map(|line| format!("not taken back: {line}")));
        self
    }

    fn into_findings(self) -> Findings {
        let details = self.details.into_iter().take(MAX_DETAILS.0);
        let details = details.map(|line| printable(&line, MAX_DETAILS.1)).collect();
        Findings { trouble: Some(self.trouble), details, ..self.findings }
    }
}

impl From<AdapterError> for Stop {
    fn from(error: AdapterError) -> Self {
        let zone = Some(error.zone.clone());
        let text = error.to_string();
        let (trouble, passes) = match error.fault {
            Fault::Credential { .. } => (Trouble::Key, false),
            Fault::ZoneMissing => (Trouble::Zone, false),
            Fault::Limited { retry_after } => (Trouble::Away, retry_after.is_none_or(|wait| wait <= SHORT)),
            Fault::Away { .. } => (Trouble::Away, true),
            Fault::Nonsense { .. } => (Trouble::Away, false),
            Fault::Refused { .. } => (Trouble::Refused, false),
            Fault::Changed { .. } => (Trouble::Changed, false),
            Fault::Blocked(_) => (Trouble::InTheWay, false),
        };
        let findings = Findings { zone, ..Findings::default() };
        Self { trouble, details: vec![text], findings, passes }
    }
}

/// A text that a stranger's server may have written, as it can be shown on a terminal: without control characters, and
/// at most so many characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(most).collect()
}

/// The end of a step.
pub(super) fn ended(status: ConnectionStatus, findings: Findings, keep: Keep) -> ConnectionPatch {
    ConnectionPatch { status: Some(status), findings: Some(findings), keep, ..ConnectionPatch::default() }
}

/// A step that stopped: it is tried again, or told. Says that nothing was changed only if nothing can have been, as far as
/// `held` knows.
pub(super) fn failed(held: &Connection, stop: Stop, now: Timestamp) -> ConnectionPatch {
    let is_setting = held.step == Step::Apply && held.applied.is_some();
    if is_setting || held.findings.partial {
        return half_way(held, stop, now);
    }
    unchanged(held, stop, now)
}

/// A step that changed nothing: it is tried again, or told.
pub(super) fn unchanged(held: &Connection, stop: Stop, now: Timestamp) -> ConnectionPatch {
    if let Some(again) = again(held, &stop, now) {
        return again;
    }
    let status = match held.step {
        // What is to be taken back is there as it was.
        Step::Undo => ConnectionStatus::Applied,
        Step::Preview | Step::Apply => ConnectionStatus::Failed,
    };
    let keep = keep(held, &stop);
    ended(status, stop.into_findings(), keep)
}

/// A step that left something behind, or may have: it is tried again, or told.
pub(super) fn half_way(held: &Connection, stop: Stop, now: Timestamp) -> ConnectionPatch {
    again(held, &stop, now).unwrap_or_else(|| incomplete(held, stop))
}

/// What is left of a step that was cut off. Whoever goes on waits until what was sent has landed or never will.
pub(super) fn cut_off(held: &Connection, now: Timestamp) -> ConnectionPatch {
    let is_changing = held.step != Step::Preview && held.applied.is_some();
    let pause = if is_changing { SETTLED } else { Duration::ZERO };
    ConnectionPatch { next_at: Some(now.plus(pause)), ..ConnectionPatch::default() }
}

/// A step that left something behind, which is told.
pub(super) fn incomplete(held: &Connection, stop: Stop) -> ConnectionPatch {
    let keep = keep(held, &stop);
    ended(ConnectionStatus::Incomplete, stop.into_findings(), keep)
}

/// A key that does not open is of no use to anybody.
fn keep(held: &Connection, stop: &Stop) -> Keep {
    if !held.kept || matches!(stop.trouble, Trouble::Key | Trouble::Zone) { Keep::Not } else { Keep::AsItIs }
}

/// Another attempt, if there is sense in it.
pub(super) fn again(held: &Connection, stop: &Stop, now: Timestamp) -> Option<ConnectionPatch> {
    let attempt = usize::try_from(held.attempts).unwrap_or(usize::MAX);
    let pause = PAUSES.get(attempt).filter(|_| stop.passes)?;
    Some(ConnectionPatch {
        attempts: Some(held.attempts.saturating_add(1)),
        next_at: Some(now.plus(*pause)),
        ..ConnectionPatch::default()
    })
}

#[cfg(test)]
mod tests {
    use model::domain::connection::{Connector, Door};
    use model::id::{DomainId, TenantId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_795_370_400_000);

    fn held(step: Step, applied: Option<&str>, partial: bool) -> Connection {
        Connection {
            domain: DomainId::generate(NOW),
            tenant: TenantId::generate(NOW),
            door: Door::to(Connector::Cloudflare),
            step,
            status: ConnectionStatus::Working,
            findings: Findings { partial, ..Findings::default() },
            plan: None,
            applied: applied.map(str::to_owned),
            credential: None,
            kept: true,
            forget_at: NOW,
            attempts: 3,
            fence: 1,
            updated_at: NOW,
        }
    }

    #[test]
    fn nothing_was_changed_is_said_only_where_that_is_known() {
        for (held, told) in [
            (held(Step::Preview, None, false), ConnectionStatus::Failed),
            (held(Step::Apply, None, false), ConnectionStatus::Failed),
            (held(Step::Apply, Some("{}"), false), ConnectionStatus::Incomplete),
            (held(Step::Undo, Some("{}"), false), ConnectionStatus::Applied),
            (held(Step::Undo, Some("{}"), true), ConnectionStatus::Incomplete),
        ] {
            let patch = failed(&held, Stop::slow(Duration::from_secs(120)), NOW);
            assert_eq!((patch.status, patch.applied), (Some(told), None), "{held:?}");
        }
    }

    #[test]
    fn nobody_goes_on_with_a_change_that_may_still_be_on_its_way() {
        let pause = |held: &Connection| cut_off(held, NOW).next_at.unwrap().since(NOW);
        assert!(pause(&held(Step::Apply, Some("{}"), false)) > TOTAL);
        assert!(pause(&held(Step::Undo, Some("{}"), false)) > TOTAL);
        assert_eq!(pause(&held(Step::Apply, None, false)), Duration::ZERO);
        assert_eq!(pause(&held(Step::Preview, None, false)), Duration::ZERO);
    }

    #[test]
    fn what_a_server_says_cannot_write_on_a_terminal() {
        assert_eq!(printable("\u{1b}[2Jgone\r\n", 7), " [2Jgon");
        let stop = Stop::new(Trouble::Refused, "\u{7}".repeat(1_000)).with(vec!["x"; 100]);
        let findings = stop.into_findings();
        assert_eq!(findings.details.len(), MAX_DETAILS.0);
        assert_eq!(findings.details[0], " ".repeat(MAX_DETAILS.1));
        assert_eq!(findings.details[1], "not taken back: x");
    }
}
