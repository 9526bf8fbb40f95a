//! What can be scripted to go wrong, and when.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::counts::Kind;

/// How `Retry-After` says when to come back (RFC 9110 §10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// In seconds.
    Seconds(u64),
    /// As a date, this long after the authority's present.
    Date(Duration),
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is taken and never answered.
    Hang,
    /// The connection is closed without an answer; nothing was done.
    Close,
    /// The request is carried out, then the connection is closed without an answer.
    LoseAnswer,
    /// A page of HTML with status 503.
    Unavailable(Option<Wait>),
    /// Status 429, type `rateLimited`.
    Limited(Option<Wait>),
    /// Status 403, type `unauthorized`.
    Refused,
    /// The nonce is refused, though it was good.
    BadNonce,
    /// The order stays in `processing` until [`super::Handler::finish_orders`].
    Processing,
    /// The chain ends in the middle of its first certificate.
    Truncated,
    /// The certificate is for another key.
    WrongKey,
    /// The certificate is for another name.
    WrongName,
    /// The certificate ended an hour ago.
    Expired,
    /// The chain has more than 200 KB.
    Oversized,
    /// Renewal information without `Retry-After`.
    NoRetryAfter,
    /// A renewal window that ends before it starts.
    EndBeforeStart,
}

impl Fault {
    /// Whether the fault can befall this kind of request.
    fn befalls(self, kind: Kind) -> bool {
        match self {
            Self::Hang | Self::Close | Self::LoseAnswer | Self::Unavailable(_) | Self::Limited(_) => true,
            Self::BadNonce | Self::Refused => kind.is_signed(),
            Self::Processing => kind == Kind::Finalize,
            Self::Truncated | Self::WrongKey | Self::WrongName | Self::Expired | Self::Oversized => {
                kind == Kind::Certificate
            }
            Self::NoRetryAfter | Self::EndBeforeStart => kind == Kind::RenewalInfo,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Times {
    Always,
    Next(u32),
    Share(f64),
}

/// When something goes wrong. Without [`Rule::on`] it befalls every request that it can befall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    fault: Fault,
    times: Times,
    kind: Option<Kind>,
}

impl Rule {
    /// Until the rules are cleared.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self { fault, times: Times::Always, kind: None }
    }

    /// The next `times` requests.
    #[must_use]
    pub fn next(times: u32, fault: Fault) -> Self {
        Self { fault, times: Times::Next(times), kind: None }
    }

    /// A share of the requests from 0 to 1, drawn with the authority's seed.
    #[must_use]
    pub fn share(share: f64, fault: Fault) -> Self {
        Self { fault, times: Times::Share(share.clamp(0.0, 1.0)), kind: None }
    }

    /// Only requests of this kind.
    #[must_use]
    pub fn on(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }
}

/// The rules in force, in the order they were given; the first that applies counts.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Rule>);

impl Faults {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What befalls a request of this kind.
    pub(super) fn draw(&mut self, kind: Kind, chance: &mut StdRng) -> Option<Fault> {
        let fits = |rule: &Rule| rule.fault.befalls(kind) && rule.kind.is_none_or(|only| only == kind);
        let drawn = self.0.iter_mut().find_map(|rule| {
            let befalls = fits(rule)
                && match &mut rule.times {
                    Times::Always => true,
                    Times::Next(left) => {
                        *left = left.saturating_sub(1);
                        true
                    }
                    Times::Share(share) => chance.random_bool(*share),
                };
            befalls.then_some(rule.fault)
        });
        self.0.retain(|rule| rule.times != Times::Next(0));
        drawn
    }
}
