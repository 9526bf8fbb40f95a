//! The limits of an authority that we know, and what an order draws from them.

use std::time::Duration;

use model::{Host, HostPattern, Timestamp};
use store::{Bucket, Draw, Limit, Order, Urgency};

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
pub enum Purpose {
    /// A name that the authority has not certified before.
    First,
    /// The same names as those of a certificate of this authority.
    Renewal,
    /// As [`Self::Renewal`], within the window that the authority gave: exempt from all limits.
    Advised,
}

/// The names of an order, as far as limits go.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    host: &'a HostPattern,
    beside: Option<&'a HostPattern>,
}

impl Names<'_> {
    /// What authorities call the exact set.
    fn set(self) -> String {
        match self.beside {
            Some(beside) => {
                let [host, beside] = [self.host.to_string(), beside.to_string()];
                format!("{},{}", host.as_str().min(&beside), host.as_str().max(&beside))
            }
            None => self.host.to_string(),
        }
    }
}

impl Purpose {
    /// Of an order for the same names as those of a certificate that the same authority made, and that it may say it
    /// takes the place of; `window` is what the authority advised.
    #[must_use]
    pub fn of_renewal(window: Option<(Timestamp, Timestamp)>, now: Timestamp) -> Self {
        match window {
            Some((start, end)) if start <= now && now < end => Self::Advised,
            _ => Self::Renewal,
        }
    }
}

impl<'a> From<&'a HostPattern> for Names<'a> {
    fn from(host: &'a HostPattern) -> Self {
        Self { host, beside: None }
    }
}

impl<'a> From<&'a Order> for Names<'a> {
    fn from(order: &'a Order) -> Self {
        Self { host: &order.host, beside: order.beside() }
    }
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

    /// What an order for `names` draws.
    #[must_use]
    pub fn order<'a>(self, names: impl Into<Names<'a>>, purpose: Purpose, urgency: Urgency) -> Vec<Draw> {
        let names = names.into();
        if self == Self::Unknown || purpose == Purpose::Advised {
            return Vec::new();
        }
        let spare = |normally: u32| match urgency {
            Urgency::Emergency | Urgency::Overdue => 0,
            Urgency::Waiting | Urgency::Renewal => normally,
        };
        let exact = Draw {
            bucket: Bucket::ExactSet,
            subject: names.set(),
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
            subject: registered_domain(names.host.base()).to_owned(),
            limit: Limit { burst: 50, period: DAY * 7, spare: spare(5) },
        };
        vec![orders, domain, exact]
    }

    /// What would keep the authority from taking an order for `names` if it had said that it is used up.
    pub(crate) fn stops<'a>(self, names: impl Into<Names<'a>>, purpose: Purpose) -> Vec<Draw> {
        let names = names.into();
        let kinds: &[Stop] = match (self, purpose) {
            (Self::LetsEncrypt, Purpose::Advised) => &[],
            (Self::LetsEncrypt, Purpose::Renewal) => &[Stop::ExactSet],
            _ => &[Stop::Account, Stop::RegisteredDomain, Stop::ExactSet],
        };
        kinds.iter().map(|kind| kind.draw(names)).collect()
    }

    /// What is used up when the authority refuses an order for `names` with these words: what it has said, and the limit
    /// by our own account if we know it. Words that name no limit are about the account.
    pub(crate) fn used_up<'a>(self, reason: &str, names: impl Into<Names<'a>>) -> Vec<Draw> {
        let (stop, names) = (Stop::read(reason), names.into());
        let known = self.order(names, Purpose::First, Urgency::Waiting);
        let told = match names.beside.filter(|beside| reason.contains(&format!("\"{beside}\""))) {
            Some(beside) if stop == Stop::Failures => stop.draw(beside.into()),
            _ => stop.draw(names),
        };
        known.into_iter().filter(|draw| Some(draw.bucket) == stop.bucket()).chain([told]).collect()
    }

    /// Whether these words of the authority are about the very names of an order, and not about the account or all names
    /// of a registered domain.
    pub(crate) fn is_about_names(reason: &str) -> bool {
        matches!(Stop::read(reason), Stop::ExactSet | Stop::Failures)
    }

    /// What keeps an order for `names` away from an authority that did not finish it.
    pub(crate) fn gave_up<'a>(names: impl Into<Names<'a>>) -> [Draw; 1] {
        [Stop::ExactSet.draw(names.into())]
    }

    /// What a failed validation of `host` draws. Stricter than the authority: five an hour it allows, and it pauses a
    /// name that goes on failing for months.
    #[must_use]
    pub fn failure(self, host: &str) -> Vec<Draw> {
        if self == Self::Unknown {
            return Vec::new();
        }
        let draw = |bucket, burst, period| Draw {
            bucket,
            subject: host.to_owned(),
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

    fn draw(self, names: Names<'_>) -> Draw {
        let subject = match self {
            Self::Account => "account".to_owned(),
            Self::RegisteredDomain => format!("registered domain {}", registered_domain(names.host.base())),
            Self::ExactSet => format!("name {}", names.set()),
            Self::Failures => format!("name {}", names.host.base()),
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
        let host: HostPattern = "shop.example.co.uk".parse().unwrap();
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
        let host: HostPattern = "shop.example.co.uk".parse().unwrap();
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
    fn two_names_are_a_set_of_their_own_under_one_registered_domain() {
        let [apex, www] =
            ["example.co.uk", "www.example.co.uk"].map(|name| name.parse::<HostPattern>().unwrap());
        for names in [Names { host: &apex, beside: Some(&www) }, Names { host: &www, beside: Some(&apex) }] {
            let draws = Limits::LetsEncrypt.order(names, Purpose::First, Urgency::Waiting);
            let subjects: Vec<String> = draws.into_iter().map(|draw| draw.subject).collect();
            assert_eq!(subjects, ["", "example.co.uk", "example.co.uk,www.example.co.uk"]);
            let told = "too many failed authorizations (5) for \"www.example.co.uk\" in the last 1h0m0s";
            let stopped = Limits::LetsEncrypt.used_up(told, names);
            assert_eq!(stopped.last().unwrap().subject, "name www.example.co.uk");
            assert!(Limits::is_about_names(told) && !Limits::is_about_names("slow down"));
        }
    }

    #[test]
    fn an_emergency_leaves_nothing_to_others() {
        let host: HostPattern = "shop.example.com".parse().unwrap();
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
