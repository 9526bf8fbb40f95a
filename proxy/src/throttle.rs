//! How fast one visitor of a tenant may ask: an IPv4 address, or an IPv6 /64.
//!
//! A table of fixed size in memory, so it never waits and is never away. Under a spray of addresses it
//! forgets the least guilty first, which is failing open, and counts that.

use std::time::Duration;

use model::limits::Rate;
use model::net::VisitorKey;
use model::tenant::Tenant;
use ratelimit::{Decision, Limiter as _};

use crate::refusal::{LimitAnswer, Refusal};
use crate::state::State;
use crate::visitor::Visitor;

/// Takes one request of the visitor's rate.
///
/// # Errors
/// [`Refusal::VisitorLimit`].
pub(crate) fn check(visitor: Visitor, tenant: &Tenant, state: &State) -> Result<(), Refusal> {
    let rate = tenant.limits.visitor;
    let visitor = VisitorKey::from(visitor.address);
    let decision = state.visitors.bucket(&(tenant.id, visitor)).take(state.stopwatch.now(), rate, 1);
    refused("visitor", rate, &decision).map_or(Ok(()), |policy| Err(Refusal::VisitorLimit { policy }))
}

/// What a refusal says of the limit; none if the request was taken.
pub(crate) fn refused(policy: &'static str, rate: Rate, decision: &Decision) -> Option<LimitAnswer> {
    let Decision::Refused { retry_after, .. } = *decision else { return None };
    let burst = rate.burst.max(1);
    Some(LimitAnswer {
        limit: burst,
        remaining: 0,
        reset_seconds: whole_seconds(retry_after),
        retry_after_seconds: whole_seconds(retry_after),
        window_seconds: whole_seconds(rate.interval().saturating_mul(burst)),
        policy,
    })
}

/// Rounded up, at least 1, so that a visitor who obeys is never refused for it.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_the_policy_in_whole_seconds() {
        let rate = Rate { requests_per_minute: 60, burst: 5 };
        let decision = Decision::Refused {
            retry_after: Duration::from_millis(1_200),
            reset_after: Duration::from_secs(5),
        };
        let answer = refused("visitor", rate, &decision).unwrap();
        assert_eq!(answer.policy_field(), "\"visitor\";q=5;w=5");
        assert_eq!(answer.state_field(), "\"visitor\";r=0;t=2");
        assert_eq!(answer.wait_seconds(), 2);
    }

    #[test]
    fn what_was_taken_is_no_refusal() {
        let rate = Rate { requests_per_minute: 60, burst: 5 };
        let decision = Decision::Allowed { remaining: 4, reset_after: Duration::from_secs(1) };
        assert_eq!(refused("visitor", rate, &decision), None);
    }
}
