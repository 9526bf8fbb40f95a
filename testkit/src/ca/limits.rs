//! The limits of Let's Encrypt (its page on rate limits, August 2026): token buckets that refill steadily,
//! written as the moment at which each is full again, so that a full one need not be remembered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use model::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

use super::counts::Kind;
use super::problem::Problem;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Fewest buckets that are looked through for full ones.
const SWEEP: usize = 4096;

/// A bucket's size, and the time in which it refills from empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens in a full bucket.
    pub count: u32,
    /// Time in which as many come back.
    pub per: Duration,
}

impl Rate {
    /// `count` tokens `per` this time.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Self {
        Self { count, per }
    }
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Orders that an account opens.
    OrdersPerAccount,
    /// Certificates for names of one registered domain, of all accounts together.
    CertificatesPerDomain,
    /// Certificates for exactly the same names, of all accounts together.
    CertificatesPerSet,
    /// Failed checks of one name by one account.
    FailedAuthorizations,
    /// Failed checks of one name by one account without a success; what is over is paused until somebody
    /// asks, here until the bucket has a token again.
    Pause,
    /// Requests of one kind.
    Requests(Kind),
}

/// The limits in force; none: not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// See [`Limit::OrdersPerAccount`].
    pub orders_per_account: Option<Rate>,
    /// See [`Limit::CertificatesPerDomain`].
    pub certificates_per_domain: Option<Rate>,
    /// See [`Limit::CertificatesPerSet`].
    pub certificates_per_set: Option<Rate>,
    /// See [`Limit::FailedAuthorizations`].
    pub failed_authorizations: Option<Rate>,
    /// See [`Limit::Pause`].
    pub pause: Option<Rate>,
    /// See [`Limit::Requests`].
    pub requests: BTreeMap<Kind, Rate>,
}

impl Limits {
    /// Let's Encrypt's numbers.
    #[must_use]
    pub fn lets_encrypt() -> Self {
        Self {
            orders_per_account: Some(Rate::new(300, HOUR * 3)),
            certificates_per_domain: Some(Rate::new(50, DAY * 7)),
            certificates_per_set: Some(Rate::new(5, DAY * 7)),
            failed_authorizations: Some(Rate::new(5, HOUR)),
            pause: Some(Rate::new(1152, DAY * 1152)),
            requests: BTreeMap::new(),
        }
    }

    /// With Let's Encrypt's numbers of requests from one address, which are refused with status 503. They need
    /// a clock that runs: at one that stands the authority is soon deaf.
    #[must_use]
    pub fn with_request_rates(mut self) -> Self {
        let rates = [(Kind::NewNonce, 20), (Kind::NewOrder, 300), (Kind::RenewalInfo, 1000)];
        let each_second = |(kind, count)| (kind, Rate::new(count, Duration::from_secs(1)));
        self.requests.extend(rates.map(each_second));
        self
    }

    fn of(&self, limit: Limit) -> Option<Rate> {
        match limit {
            Limit::OrdersPerAccount => self.orders_per_account,
            Limit::CertificatesPerDomain => self.certificates_per_domain,
            Limit::CertificatesPerSet => self.certificates_per_set,
            Limit::FailedAuthorizations => self.failed_authorizations,
            Limit::Pause => self.pause,
            Limit::Requests(kind) => self.requests.get(&kind).copied(),
        }
    }
}

/// Whose bucket: the account (0 for all together), and what it is about.
pub(super) type Owner = (u64, String);

/// The buckets that are not full.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    pub(super) limits: Limits,
    full_at: HashMap<(Limit, Owner), Timestamp>,
    sweep_at: usize,
}

impl Buckets {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Whether a token is there.
    pub(super) fn check(&self, limit: Limit, owner: &Owner, now: Timestamp) -> Result<(), Refusal> {
        let Some(rate) = self.limits.of(limit) else { return Ok(()) };
        let full_at = self.full_at.get(&(limit, owner.clone())).copied().unwrap_or(now).max(now);
        let wait = full_at.plus(token(rate)).since(now.plus(rate.per));
        if wait.is_zero() { Ok(()) } else { Err(Refusal { limit, rate, about: owner.1.clone(), wait }) }
    }

    /// Takes a token; a bucket that is empty stays so.
    pub(super) fn spend(&mut self, limit: Limit, owner: Owner, now: Timestamp) {
        let Some(rate) = self.limits.of(limit) else { return };
        if self.check(limit, &owner, now).is_err() {
            return;
        }
        let full_at = self.full_at.entry((limit, owner)).or_insert(now);
        *full_at = (*full_at).max(now).plus(token(rate));
        if self.full_at.len() > self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = SWEEP.max(self.full_at.len() * 2);
        }
    }

    /// Fills a bucket.
    pub(super) fn refill(&mut self, limit: Limit, owner: Owner) {
        self.full_at.remove(&(limit, owner));
    }
}

/// The time in which one token comes back.
fn token(rate: Rate) -> Duration {
    rate.per / rate.count.max(1)
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) limit: Limit,
    rate: Rate,
    about: String,
    pub(super) wait: Duration,
}

impl Refusal {
    /// In the words of Let's Encrypt, which clients are known to read.
    pub(super) fn problem(&self, now: Timestamp) -> Problem {
        let (count, about, at) = (self.rate.count, &self.about, Written(now.plus(self.wait)));
        let per = Spoken(self.rate.per);
        let (what, page) = match self.limit {
            Limit::OrdersPerAccount => {
                (format!("too many new orders ({count}) from this account"), "new-orders-per-account")
            }
            Limit::CertificatesPerDomain => (
                format!("too many certificates ({count}) already issued for {about:?}"),
                "new-certificates-per-registered-domain",
            ),
            Limit::CertificatesPerSet => (
                format!("too many certificates ({count}) already issued for this exact set of identifiers"),
                "new-certificates-per-exact-set-of-identifiers",
            ),
            Limit::FailedAuthorizations => (
                format!("too many failed authorizations ({count}) for {about:?}"),
                "authorization-failures-per-identifier-per-account",
            ),
            Limit::Pause => {
                let detail = format!(
                    "Your account is temporarily prevented from requesting certificates for {about} and \
                     possibly others. Please visit: https://ca.test/unpause"
                );
                return Problem::new("rateLimited", detail);
            }
            Limit::Requests(_) => {
                let busy = Problem::new("rateLimited", "Service busy; retry later.");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Problem { status, retry_after: Some(self.wait), ..busy };
            }
        };
        let detail = format!(
            "{what} in the last {per}, retry after {at}: see https://letsencrypt.org/docs/rate-limits/#{page}"
        );
        Problem { retry_after: Some(self.wait), ..Problem::new("rateLimited", detail) }
    }
}

/// A duration as Go prints it: `168h0m0s`.
struct Spoken(Duration);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

/// A moment as `2026-11-23 15:40:00 UTC`, rounded up to the second.
struct Written(Timestamp);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.plus(Duration::from_millis(999)).unix_seconds();
        let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
        let moment = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| fmt::Error)?;
        f.write_str(&moment.format(form).map_err(|_| fmt::Error)?)
    }
}

/// The registered domains of some names: their last two labels. The public suffix list is deliberately
/// absent, so that tests use names such as `shop.example.com`, not `shop.example.co.uk`.
pub(super) fn registered_domains(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| registered_domain(name).to_owned()).collect()
}

fn registered_domain(name: &str) -> &str {
    let second_dot = name.rmatch_indices('.').nth(1);
    second_dot.and_then(|(at, _)| name.get(at + 1..)).unwrap_or(name)
}

#[cfg(test)]
mod tests;
