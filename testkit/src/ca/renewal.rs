//! Renewal information (RFC 9773), with the window of Let's Encrypt.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use model::Timestamp;
use serde_json::json;

use super::answer::{Answer, put};
use super::faults::Fault;
use super::problem::Problem;
use super::state::State;

/// Under this lifetime a certificate is renewed at its half, else when a third is left.
const SHORT: Duration = Duration::from_secs(10 * 24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// How soon a client should ask again.
pub(super) const POLL: Duration = Duration::from_secs(6 * 3600);
/// Where clients send people who ask why.
const EXPLANATION: &str = "https://ca.test/why-renew-now";

/// When a certificate should be renewed: from `start` on, before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub start: Timestamp,
    /// The moment after the last.
    pub end: Timestamp,
}

impl Window {
    /// One hundredth of the lifetime to either side of the ideal moment: when a third of the lifetime is
    /// left, or half of one under ten days.
    #[must_use]
    pub fn of(not_before: Timestamp, not_after: Timestamp) -> Self {
        let lifetime = not_after.plus(Duration::from_secs(1)).since(not_before);
        let left = if lifetime < SHORT { lifetime / 2 } else { lifetime / 3 };
        let (ideal, margin) = (not_after.minus(left), lifetime / 100);
        Self { start: ideal.minus(margin).floor_to(MINUTE), end: ideal.plus(margin).floor_to(MINUTE) }
    }

    /// What a revoked certificate gets: a window that is over.
    #[must_use]
    pub fn over(now: Timestamp) -> Self {
        Self { start: now.minus(MINUTE * 60), end: now.minus(MINUTE * 30) }
    }

    /// Whether `now` lies in it; only then no limit counts for a renewal.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.end
    }
}

impl State {
    pub(super) fn renewal_info(&mut self, id: &str, fault: Option<Fault>) -> Result<Answer, Problem> {
        let now = self.now();
        let serial = self.serial_of_ari_id(id)?;
        let issued = self.issued.get(&serial).ok_or_else(|| Problem::not_found("certificate"))?;
        let Window { start, mut end } = issued.window(now);
        if fault == Some(Fault::EndBeforeStart) {
            end = start.minus(MINUTE);
        }
        let mut body = json!({ "suggestedWindow": { "start": start, "end": end } });
        if issued.is_hurried() {
            put(&mut body, "explanationURL", EXPLANATION);
        }
        let answer = Answer::json(StatusCode::OK, body);
        Ok(match fault {
            Some(Fault::NoRetryAfter) => answer,
            _ => answer.with(RETRY_AFTER, POLL.as_secs().to_string()),
        })
    }

    /// The serial number in an id `<key identifier>.<serial>` of RFC 9773 §4.1.
    pub(super) fn serial_of_ari_id(&self, id: &str) -> Result<String, Problem> {
        match id.split_once('.') {
            Some((key_id, serial)) if key_id == self.signer.key_id => Ok(serial.to_owned()),
            Some(_) => Err(Problem::not_found("issuer of the certificate")),
            None => Err(Problem::malformed(format!("`{id}` is no certificate id"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Timestamp {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    /// Hours from notBefore to the start and the end of the window of a certificate of so many hours.
    fn window(hours: u32) -> (f64, f64) {
        let window = Window::of(start(), start().plus(HOUR * hours).minus(Duration::from_secs(1)));
        let hours = |at: Timestamp| at.since(start()).as_secs_f64() / 3600.0;
        (hours(window.start), hours(window.end))
    }

    #[test]
    fn the_window_is_a_fiftieth_of_the_lifetime_around_two_thirds() {
        for (lifetime, ideal, margin) in
            [(90 * 24, 60.0 * 24.0, 21.6), (45 * 24, 30.0 * 24.0, 10.8), (160, 80.0, 1.6)]
        {
            let (from, to) = window(lifetime);
            assert!((from - (ideal - margin)).abs() < 0.02, "{from}");
            assert!((to - (ideal + margin)).abs() < 0.02, "{to}");
        }
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let window = Window { start: start(), end: start().plus(HOUR) };
        assert!(window.holds(start()));
        assert!(window.holds(start().plus(HOUR).minus(Duration::from_millis(1))));
        assert!(!window.holds(start().plus(HOUR)));
        assert!(!window.holds(start().minus(Duration::from_millis(1))));
        assert!(!Window::over(start()).holds(start()));
    }
}
