//! The fields that tell a client its limits: `RateLimit-Policy`, `RateLimit` (IETF draft
//! draft-ietf-httpapi-ratelimit-headers-10, Structured Fields of RFC 9651) and `Retry-After` (RFC 9110
//! §10.2.3). Units are whole seconds, rounded up: a client that obeys is never refused for it.
//!
//! A bucket is told as "`burst` in the time that the burst takes to come back", which is the sustained rate.

use std::time::Duration;

use model::limits::Rate;

use crate::Decision;

/// Value of `RateLimit-Policy`, e.g. `"visitor";q=200;w=4`. `name` is a plain ASCII word of ours.
#[must_use]
pub fn policy(name: &'static str, rate: Rate) -> String {
    let window = rate.interval().saturating_mul(rate.burst.max(1));
    format!("\"{name}\";q={};w={}", rate.burst.max(1), whole_seconds(window))
}

/// Value of `RateLimit`, e.g. `"visitor";r=150;t=1`: how many remain, and until when it gets better: the
/// whole burst after an allowed request, the next request after a refused one.
#[must_use]
pub fn state(name: &'static str, decision: &Decision) -> String {
    let until = match decision {
        Decision::Allowed { reset_after, .. } => *reset_after,
        Decision::Refused { retry_after, .. } => *retry_after,
    };
    format!("\"{name}\";r={};t={}", decision.remaining(), whole_seconds(until))
}

/// Value of `Retry-After` in seconds, at least 1; none for an allowed request.
#[must_use]
pub fn retry_after(decision: &Decision) -> Option<u64> {
    match decision {
        Decision::Allowed { .. } => None,
        Decision::Refused { retry_after, .. } => Some(whole_seconds(*retry_after)),
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { requests_per_minute: 3_000, burst: 200 };

    #[test]
    fn a_policy_states_the_sustained_rate() {
        assert_eq!(policy("visitor", RATE), "\"visitor\";q=200;w=4");
    }

    #[test]
    fn seconds_are_rounded_up_and_retry_after_is_not_before_t() {
        let refused = Decision::Refused {
            retry_after: Duration::from_millis(1_001),
            reset_after: Duration::from_secs(9),
        };
        assert_eq!(state("tenant", &refused), "\"tenant\";r=0;t=2");
        assert_eq!(retry_after(&refused), Some(2));
    }

    #[test]
    fn an_allowed_request_has_no_retry_after() {
        let allowed = Decision::Allowed { remaining: 150, reset_after: Duration::from_millis(1) };
        assert_eq!(state("visitor", &allowed), "\"visitor\";r=150;t=1");
        assert_eq!(retry_after(&allowed), None);
    }
}
