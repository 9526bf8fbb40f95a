//! The limits of an authority that we know, and what an order draws from them.

use std::time::Duration;

use model::Host;
use store::{Bucket, Draw, Limit, Urgency};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which limits an authority has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// None that we know of: it says so itself when one is reached.
    Unknown,
    /// Those of Let's Encrypt, read on 2026-08-05.
    LetsEncrypt,
}

/// What an order is for, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A name that the authority has not certified before.
    First,
    /// The same names as those of a certificate of this authority.
    Renewal,
    /// As [`Self::Renewal`], within the window that the authority gave: exempt from all limits.
    Advised,
}

impl Limits {
    /// Those of the authority at `directory`.
    #[must_use]
    pub fn of(directory: &str) -> Self {
        let uri: Option<http::Uri> = directory.parse().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
        // Its staging environment has far higher limits.
        if host == "acme-v02.api.letsencrypt.org" { Self::LetsEncrypt } else { Self::Unknown }
    }

    /// What an order for `host` alone draws.
    pub(crate) fn order(self, host: &Host, purpose: Purpose, urgency: Urgency) -> Vec<Draw> {
        if self == Self::Unknown || purpose == Purpose::Advised {
            return Vec::new();
        }
        let spare = |normally: u32| match urgency {
            Urgency::Emergency | Urgency::Overdue => 0,
            Urgency::Waiting | Urgency::Renewal => normally,
        };
        let exact = Draw {
            bucket: Bucket::ExactSet,
            subject: host.to_string(),
            limit: Limit { burst: 5, period: DAY * 7, spare: spare(1) },
        };
        if purpose == Purpose::Renewal {
            return vec![exact];
        }
        let orders = Draw {
            bucket: Bucket::Orders,
            subject: String::new(),
            limit: Limit { burst: 300, period: HOUR * 3, spare: spare(30) },
        };
        let domain = Draw {
            bucket: Bucket::RegisteredDomain,
            subject: registered_domain(host).to_owned(),
            limit: Limit { burst: 50, period: DAY * 7, spare: spare(5) },
        };
        vec![orders, domain, exact]
    }

    /// What would keep the authority from taking an order for `host` if it had said that it is used up.
    pub(crate) fn stops(self, host: &Host, purpose: Purpose) -> Vec<Draw> {
        let kinds: &[Stop] = match (self, purpose) {
            (Self::LetsEncrypt, Purpose::Advised) => &[],
            (Self::LetsEncrypt, Purpose::Renewal) => &[Stop::ExactSet],
            _ => &[Stop::Account, Stop::RegisteredDomain, Stop::ExactSet],
        };
        kinds.iter().map(|kind| kind.draw(host)).collect()
    }

    /// What is used up when the authority refuses an order for `host` with these words: what it has said, and the limit
    /// by our own account if we know it. Words that name no limit are about the account.
    pub(crate) fn used_up(self, reason: &str, host: &Host) -> Vec<Draw> {
        let stop = Stop::read(reason);
        let known = self.order(host, Purpose::First, Urgency::Waiting);
        known.into_iter().filter(|draw| Some(draw.bucket) == stop.bucket()).chain([stop.draw(host)]).collect()
    }

    /// What keeps an order for `host` away from an authority that did not finish it.
    pub(crate) fn gave_up(host: &Host) -> [Draw; 1] {
        [Stop::ExactSet.draw(host)]
    }

    /// What a failed validation of `host` draws. Stricter than the authority: five an hour it allows, and it pauses a
    /// name that goes on failing for months.
    pub(crate) fn failure(self, host: &Host) -> Vec<Draw> {
        if self == Self::Unknown {
            return Vec::new();
        }
        let draw = |bucket, burst, period| Draw {
            bucket,
            subject: host.to_string(),
            limit: Limit { burst, period, spare: 0 },
        };
        vec![draw(Bucket::FailuresPerHour, 3, HOUR), draw(Bucket::FailuresPerDay, 6, DAY)]
    }
}

/// What an authority may say is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Account,
    RegisteredDomain,
    ExactSet,
    Failures,
}

impl Stop {
    /// From the words of Let's Encrypt, which others use as well: the problem's type is the same for all.
    fn read(reason: &str) -> Self {
        let reason = reason.to_ascii_lowercase();
        let says = |words: &str| reason.contains(words);
        if says("exact set of") {
            Self::ExactSet
        } else if says("failed authorizations") {
            Self::Failures
        } else if says("certificates") && (says("already issued for") || says("per registered domain")) {
            Self::RegisteredDomain
        } else {
            Self::Account
        }
    }

    /// The limit that is meant, if it is one that orders draw from.
    fn bucket(self) -> Option<Bucket> {
        match self {
            Self::Account => Some(Bucket::Orders),
            Self::RegisteredDomain => Some(Bucket::RegisteredDomain),
            Self::ExactSet => Some(Bucket::ExactSet),
            Self::Failures => None,
        }
    }

    fn draw(self, host: &Host) -> Draw {
        let subject = match self {
            Self::Account => "account".to_owned(),
            Self::RegisteredDomain => format!("registered domain {}", registered_domain(host)),
            Self::ExactSet | Self::Failures => format!("name {host}"),
        };
        // It holds nothing until the time is over.
        let limit = Limit { burst: 1, period: Duration::ZERO, spare: 0 };
        Draw { bucket: Bucket::Stopped, subject, limit }
    }
}

/// The part of a name that somebody registered, by the list of public suffixes.
pub(crate) fn registered_domain(host: &Host) -> &str {
    psl::domain_str(host.as_str()).unwrap_or(host.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(purpose: Purpose) -> Vec<(Bucket, String)> {
        let host = Host::parse("shop.example.co.uk").unwrap();
        let draws = Limits::LetsEncrypt.order(&host, purpose, Urgency::Waiting);
        draws.into_iter().map(|draw| (draw.bucket, draw.subject)).collect()
    }

    #[test]
    fn a_first_order_draws_from_all_and_a_renewal_from_its_own_names_only() {
        let exact = (Bucket::ExactSet, "shop.example.co.uk".to_owned());
        let domain = (Bucket::RegisteredDomain, "example.co.uk".to_owned());
        assert_eq!(buckets(Purpose::First), [(Bucket::Orders, String::new()), domain, exact.clone()]);
        assert_eq!(buckets(Purpose::Renewal), [exact]);
        assert!(buckets(Purpose::Advised).is_empty());
    }

    #[test]
    fn what_is_used_up_is_read_from_the_authoritys_words() {
        let host = Host::parse("shop.example.co.uk").unwrap();
        let told = |reason: &str| {
            let draws = Limits::LetsEncrypt.used_up(reason, &host);
            draws.into_iter().map(|draw| (draw.bucket, draw.subject)).collect::<Vec<_>>()
        };
        let stopped = |subject: &str| (Bucket::Stopped, subject.to_owned());
        assert_eq!(
            told("too many new orders (300) from this account in the last 3h0m0s"),
            [(Bucket::Orders, String::new()), stopped("account")]
        );
        assert_eq!(
            told("too many certificates (50) already issued for \"example.co.uk\" in the last 168h0m0s"),
            [
                (Bucket::RegisteredDomain, "example.co.uk".to_owned()),
                stopped("registered domain example.co.uk")
            ]
        );
        let exact = "too many certificates (5) already issued for this exact set of identifiers in the last";
        let name = stopped("name shop.example.co.uk");
        assert_eq!(told(exact), [(Bucket::ExactSet, host.to_string()), name.clone()]);
        assert_eq!(told("too many failed authorizations (5) for \"shop.example.co.uk\""), [name]);
        assert_eq!(told("slow down")[1], stopped("account"));
        assert_eq!(Limits::Unknown.used_up("slow down", &host).len(), 1);
    }

    #[test]
    fn an_emergency_leaves_nothing_to_others() {
        let host = Host::parse("shop.example.com").unwrap();
        let spared = |urgency| {
            let draws = Limits::LetsEncrypt.order(&host, Purpose::First, urgency);
            draws.into_iter().map(|draw| draw.limit.spare).sum::<u32>()
        };
        assert_eq!((spared(Urgency::Emergency), spared(Urgency::Waiting)), (0, 36));
    }

    #[test]
    fn only_the_real_lets_encrypt_has_its_limits() {
        let of = |host: &str| Limits::of(&format!("https://{host}/directory"));
        assert_eq!(of("acme-v02.api.letsencrypt.org"), Limits::LetsEncrypt);
        for other in ["acme-staging-v02.api.letsencrypt.org", "localhost:14000", "ca.test"] {
            assert_eq!(of(other), Limits::Unknown);
        }
    }
}
