//! Every sentence that a creator reads about a domain, in one place: the API, the command line and the console
//! show these and no others.
//!
//! The rules are in [`super::plain`]; a test checks every sentence with the longest values it can have. What a
//! sentence names (a date, a record, a company) is a field of its [`Message`], never part of a text made elsewhere.

mod connecting;

use std::time::Duration;

use ::time::OffsetDateTime;

use super::{Actor, Facts, Refusal};
use crate::Timestamp;

pub use connecting::{Notice, offer};

/// How often a domain is looked at for now, as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Up to half a minute.
    Seconds,
    /// Up to ten minutes.
    Minutes,
    /// Up to an hour and a bit.
    Hour,
    /// Up to half a day.
    Hours,
    /// Seldom.
    Day,
}

impl Pace {
    /// As the facts have it.
    #[must_use]
    pub const fn of(facts: &Facts) -> Self {
        match facts.look_every_seconds {
            None | Some(0..=30) => Self::Seconds,
            Some(31..=600) => Self::Minutes,
            Some(601..=4_500) => Self::Hour,
            Some(4_501..=43_200) => Self::Hours,
            Some(_) => Self::Day,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Seconds => "every few seconds",
            Self::Minutes => "every few minutes",
            Self::Hour => "every hour",
            Self::Hours => "every few hours",
            Self::Day => "every 24 hours",
        }
    }
}

/// One sentence with what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// `invalid_name`
    InvalidName,
    /// `removed`: kept for its last owner.
    Removed {
        /// Until then.
        until: Option<Timestamp>,
    },
    /// `claimed_elsewhere`
    ClaimedElsewhere {
        /// When it is free, if its owner gave it up.
        free_at: Option<Timestamp>,
    },
    /// `claimed_elsewhere`: it can be proved to be this account's.
    ProveElsewhere {
        /// The provider, if known.
        provider: Option<&'a str>,
    },
    /// `claimed_elsewhere`: proved, and on its way here.
    Moving {
        /// When it moves.
        until: Timestamp,
    },
    /// `claimed_elsewhere`: proved, and about to move here.
    MovingSoon,
    /// `claimed_elsewhere`: it does not move here.
    Kept {
        /// Why.
        cause: Refusal,
    },
    /// `claimed_elsewhere`: it moved away.
    Lost,
    /// `at_risk`, `needs_dns` or `moved`: another account proved that it is theirs.
    Challenged {
        /// When it moves.
        until: Timestamp,
    },
    /// `suspended`
    Suspended,
    /// `needs_dns`: nothing is there yet.
    Add {
        /// The provider, if known.
        provider: Option<&'a str>,
    },
    /// `needs_dns`: the right record under a doubled name.
    Misplaced {
        /// What to enter as the record's name.
        entry: &'a str,
    },
    /// `needs_dns`: it points here, but is not proved.
    Prove {
        /// The provider, if known.
        provider: Option<&'a str>,
    },
    /// `needs_dns`: it points here, but only one record more lets us make its padlock.
    Delegate {
        /// The provider, if known.
        provider: Option<&'a str>,
    },
    /// `conflict`: another record.
    Conflict {
        /// The record that is in the way.
        found: &'a str,
        /// The provider, if known.
        provider: Option<&'a str>,
    },
    /// `conflict`: the value was completed with the domain by the provider.
    Ending,
    /// `conflict`: one record too many.
    LeftOver {
        /// The record to delete.
        found: &'a str,
    },
    /// `wrong_zone`
    WrongZone {
        /// The zone.
        zone: &'a str,
        /// Where the records have no effect.
        stale: &'a str,
        /// Who runs it.
        runs: &'a str,
    },
    /// `dns_broken`: no answer, or a failure.
    Silent {
        /// The zone.
        zone: &'a str,
        /// The provider, if known.
        provider: Option<&'a str>,
    },
    /// `dns_broken`: servers that do not know the zone.
    Strangers {
        /// The zone.
        zone: &'a str,
    },
    /// `dns_broken`: signatures.
    BadSignature {
        /// The zone.
        zone: &'a str,
    },
    /// `dns_broken`: a circle of aliases.
    Circle,
    /// `dns_broken`: no name servers at all.
    Unregistered {
        /// The zone.
        zone: &'a str,
    },
    /// `spreading`: some servers are late.
    Late {
        /// How long the old answer holds at most.
        holds: Duration,
    },
    /// `spreading`: the old record is still remembered.
    Remembered {
        /// Until then.
        until: Timestamp,
    },
    /// `proxied`
    Proxied {
        /// Whose proxy.
        by: &'a str,
    },
    /// `caa_block`
    OthersOnly {
        /// Who may make certificates; none: nobody.
        allowed: Option<&'a str>,
    },
    /// `issuing`
    Issuing,
    /// `our_problem`
    OurProblem {
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// `our_problem` or `at_risk`: we are not set up to prove a wildcard.
    NotReady,
    /// `prepared`
    Prepared,
    /// `deploying`
    Deploying,
    /// `live`
    Live {
        /// End of the certificate.
        until: Timestamp,
    },
    /// `live` with a certificate of its owner's.
    Uploaded,
    /// `live` with a certificate of its owner's that ends soon.
    UploadEnds {
        /// Its end.
        until: Timestamp,
    },
    /// `at_risk`: the record changed.
    Changed {
        /// The end of the grace or of the certificate.
        until: Timestamp,
    },
    /// `at_risk`: back, without its proof.
    Unproved {
        /// The end of the certificate.
        until: Timestamp,
    },
    /// `at_risk`: the certificate cannot be renewed.
    NoRenewal {
        /// Who may make certificates; none: nobody.
        allowed: Option<&'a str>,
        /// The end of the certificate.
        until: Timestamp,
    },
    /// `at_risk`: the record is gone that lets us make the padlock.
    Unprovable {
        /// The end of the certificate.
        until: Timestamp,
    },
    /// `moved`
    Moved {
        /// The end of the certificate.
        until: Timestamp,
    },
}

impl Message<'_> {
    /// Who acts.
    #[must_use]
    pub const fn who(&self) -> Actor {
        match self {
            Self::InvalidName
            | Self::ClaimedElsewhere { .. }
            | Self::ProveElsewhere { .. }
            | Self::Kept { .. }
            | Self::Lost
            | Self::Challenged { .. }
            | Self::Suspended
            | Self::Add { .. }
            | Self::Misplaced { .. }
            | Self::Prove { .. }
            | Self::Delegate { .. }
            | Self::Conflict { .. }
            | Self::Ending
            | Self::LeftOver { .. }
            | Self::WrongZone { .. }
            | Self::Silent { .. }
            | Self::Strangers { .. }
            | Self::BadSignature { .. }
            | Self::Circle
            | Self::Unregistered { .. }
            | Self::Proxied { .. }
            | Self::OthersOnly { .. }
            | Self::Prepared
            | Self::Changed { .. }
            | Self::Unproved { .. }
            | Self::NoRenewal { .. }
            | Self::Unprovable { .. }
            | Self::UploadEnds { .. }
            | Self::Moved { .. } => Actor::You,
            Self::OurProblem { .. } | Self::NotReady => Actor::Us,
            Self::Removed { .. }
            | Self::Moving { .. }
            | Self::MovingSoon
            | Self::Late { .. }
            | Self::Remembered { .. }
            | Self::Issuing
            | Self::Deploying
            | Self::Uploaded
            | Self::Live { .. } => Actor::Nobody,
        }
    }

    /// The sentence. `now` decides whether a moment is told as a time of day or as a date, `pace` when it is looked
    /// again.
    #[must_use]
    pub fn text(&self, now: Timestamp, pace: Pace) -> String {
        match self {
            Self::Add { .. }
            | Self::Misplaced { .. }
            | Self::Prove { .. }
            | Self::Delegate { .. }
            | Self::Conflict { .. }
            | Self::Ending
            | Self::LeftOver { .. }
            | Self::WrongZone { .. }
            | Self::Proxied { .. }
            | Self::Circle => self.records(pace),
            Self::Silent { .. }
            | Self::Strangers { .. }
            | Self::BadSignature { .. }
            | Self::Unregistered { .. } => self.faults(pace),
            Self::InvalidName | Self::ClaimedElsewhere { .. } | Self::Removed { .. } | Self::Suspended => {
                self.standing(now)
            }
            Self::ProveElsewhere { .. }
            | Self::Moving { .. }
            | Self::MovingSoon
            | Self::Kept { .. }
            | Self::Lost
            | Self::Challenged { .. } => self.contest(now, pace),
            _ => self.certificate(now, pace),
        }
    }

    /// What to do with the domain's records.
    fn records(&self, pace: Pace) -> String {
        let every = pace.words();
        match self {
            Self::Add { provider } => {
                format!("Add the record below {}. We look for it {every}.", place(*provider))
            }
            Self::Misplaced { entry } => format!(
                "The record is there, but its name has your domain twice. Enter \"{entry}\" as its name; we look \
                 {every}."
            ),
            Self::Prove { provider } => format!(
                "Your domain points here. Add the record below {} to prove that it is yours; we look {every}.",
                place(*provider)
            ),
            Self::Delegate { provider } => format!(
                "One more record lets us make the padlock for all names. Add the record below {}; we look {every}.",
                place(*provider)
            ),
            Self::Conflict { found, provider } => {
                let place = provider.map_or_else(String::new, |name| format!(" at {name}"));
                format!(
                    "An old record is in the way. Replace \"{found}\" with the record below{place}; we look {every}."
                )
            }
            Self::Ending => format!(
                "The record's value has your domain added at its end. Write it as below, dot included; we look {every}."
            ),
            Self::LeftOver { found } => format!(
                "One record is right, but an old one is left over. Delete \"{found}\"; we look {every}."
            ),
            Self::WrongZone { zone, stale, runs } => format!(
                "Records made at {stale} have no effect: {zone} is run by {runs}. Add the record there; we \
                 look {every}."
            ),
            Self::Proxied { by } => format!(
                "The proxy of {by} hides your record. Set the record below to \"DNS only\" there; we look {every}."
            ),
            _ => format!(
                "The records of this domain lead in a circle. Replace them with the record below; we look {every}."
            ),
        }
    }

    /// What is wrong with the domain's own name servers.
    fn faults(&self, pace: Pace) -> String {
        let every = pace.words();
        match self {
            Self::Silent { zone, provider } => format!(
                "The name servers of {zone} do not answer properly. Ask {} to mend them; we look {every}.",
                provider.unwrap_or(SELLER)
            ),
            Self::Strangers { zone } => format!(
                "The name servers named for {zone} do not know it. Ask {SELLER} to mend this; we look {every}."
            ),
            Self::BadSignature { zone } => format!(
                "The signatures of {zone} are wrong. Switch DNSSEC off and on again where you bought it; we look \
                 {every}."
            ),
            Self::Unregistered { zone } => format!(
                "No name servers are known for {zone}. Check where you bought it that it is paid; we look {every}."
            ),
            _ => String::new(),
        }
    }

    /// Two accounts want the name.
    fn contest(&self, now: Timestamp, pace: Pace) -> String {
        match self {
            Self::ProveElsewhere { provider } => format!(
                "Another account here uses this domain. Add the record below {} to prove it is yours; we look {}.",
                place(*provider),
                pace.words()
            ),
            Self::Moving { until } => format!(
                "Found it. The domain moves here by {}, unless the other account proves it as well. Nothing to do.",
                moment(*until, now)
            ),
            Self::Challenged { until } => format!(
                "Another account proved that this domain is theirs. Add the record below by {} to keep it, or remove \
                 it here.",
                moment(*until, now)
            ),
            Self::Lost => "This domain moved to another account, which proved it. Ask us if that is wrong; you can \
                           remove it here at any time."
                .to_owned(),
            Self::Kept { cause: Refusal::Decided } => {
                "We decided that this domain does not move here. Ask us if that is wrong; you can remove it here at \
                 any time."
                    .to_owned()
            }
            Self::Kept { cause: Refusal::Lapsed } => {
                "Three times we could not confirm your claim until its end, so the domain stays. Ask us for help, or remove \
                 it at any time."
                    .to_owned()
            }
            Self::Kept { cause: Refusal::Proved } => {
                "Its present owner has shown that this domain is theirs. Ask them to remove it there; you can remove \
                 it here at any time."
                    .to_owned()
            }
            _ => "Found it. The domain moves here as soon as all is ready, usually within an hour. Nothing to do."
                .to_owned(),
        }
    }

    /// Whose the domain is, and whether it may be served.
    fn standing(&self, now: Timestamp) -> String {
        match self {
            Self::ClaimedElsewhere { free_at: None } => {
                "Another account here uses this domain. Add it all the same to prove that it is yours; it moves after \
                 24 hours."
                    .to_owned()
            }
            Self::ClaimedElsewhere { free_at: Some(at) } => format!(
                "Another account here had this domain until lately. Add it again after {}.",
                moment(*at, now)
            ),
            Self::Removed { until: None } => {
                "Removed. You can add it again at any time. Nothing to do.".to_owned()
            }
            Self::Removed { until: Some(at) } => format!(
                "Removed. You can add it again at any time; until {} nobody else can. Nothing to do.",
                moment(*at, now)
            ),
            Self::Suspended => {
                "This account is paused, so its domains are not served. Contact the marketplace; \
                they come back at once afterwards."
                    .to_owned()
            }
            _ => {
                "This name cannot be connected. Enter a domain that you own, such as shop.example.com; it is \
                  checked at once."
                    .to_owned()
            }
        }
    }

    /// How far the padlock is.
    fn certificate(&self, now: Timestamp, pace: Pace) -> String {
        let every = pace.words();
        let only = |allowed: &Option<&str>| allowed.unwrap_or("nobody").to_owned();
        match self {
            Self::Late { holds } => format!(
                "Found it. Some of your name servers still show the old record, usually for less than {}. Nothing \
                 to do.",
                span(*holds)
            ),
            Self::Remembered { until } => format!(
                "Found it. The old record may still be remembered until {}; then we go on. Nothing to do.",
                moment(*until, now)
            ),
            Self::OthersOnly { allowed } => format!(
                "Your domain lets only {} make its padlock. Add the record below next to the old one; we look {every}.",
                only(allowed)
            ),
            Self::OurProblem { retry_at } => format!(
                "Everything is right on your side. Our certificate provider is busy; we try again by {}.",
                moment(*retry_at, now)
            ),
            Self::NotReady => format!(
                "Everything is right on your side. Something is not set up on ours, which we mend; we look {every}."
            ),
            Self::Prepared => {
                "Ready. Your old site still runs. Change to the record below when you like; visitors \
                move over without a pause."
                    .to_owned()
            }
            Self::Deploying => {
                "Almost there: your padlock is being installed, which takes a few seconds. Nothing to do."
                    .to_owned()
            }
            Self::Live { until } => format!(
                "Live and secure. Nothing to do; the padlock renews by itself before {}.",
                moment(*until, now)
            ),
            Self::Uploaded => {
                "Live and secure with the padlock that you uploaded. Nothing to do; we tell you 21 days before it ends."
                    .to_owned()
            }
            Self::UploadEnds { until } => format!(
                "Live, but the padlock that you uploaded ends by {}. Upload a new one before then, or we make one for \
                 you.",
                moment(*until, now)
            ),
            _ => self.ending(now),
        }
    }

    /// What a padlock that is there may be lost by; else that one is being made.
    fn ending(&self, now: Timestamp) -> String {
        let only = |allowed: &Option<&str>| allowed.unwrap_or("nobody").to_owned();
        match self {
            Self::Changed { until } => format!(
                "Still live, but its record changed. Put the record below back by {}, or visitors will lose this \
                 address.",
                moment(*until, now)
            ),
            Self::Unproved { until } => format!(
                "Still live, but we no longer see that it is yours. Add the record below by {}, or the padlock ends.",
                moment(*until, now)
            ),
            Self::NoRenewal { allowed, until } => format!(
                "Still live, but only {} may renew the padlock. Add the record below by {}, or the padlock ends.",
                only(allowed),
                moment(*until, now)
            ),
            Self::Unprovable { until } => format!(
                "Still live, but the record that renews the padlock is gone. Add the record below by {}, or the \
                 padlock ends.",
                moment(*until, now)
            ),
            Self::Moved { until } => format!(
                "This domain no longer points here. Put the record below back, or remove the domain; the padlock \
                 ends by {}.",
                moment(*until, now)
            ),
            _ => "Found it. Your padlock is being made, which takes about ten seconds. Nothing to do."
                .to_owned(),
        }
    }
}

/// What becomes of the mail of a domain that is connected.
#[must_use]
pub const fn mail(has_mail: bool) -> &'static str {
    if has_mail {
        "Your e-mail stays as it is: none of its records is touched."
    } else {
        "No records for e-mail were found, and none is touched."
    }
}

/// Whom a creator knows that we do not.
const SELLER: &str = "the company where you bought it";

fn place(provider: Option<&str>) -> String {
    provider.map_or_else(|| "where you manage your domain".to_owned(), |name| format!("at {name}"))
}

/// A time of day within the next 20 hours, else a date; both in UTC.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(at.unix_seconds()) else { return at.to_string() };
    if at.since(now) < Duration::from_secs(20 * 3600) {
        return format!("{:02}:{:02} UTC", time.hour(), time.minute());
    }
    format!("{} {} {}", time.day(), time.month(), time.year())
}

/// A length of time in its largest unit, rounded up.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=60 => "a minute".to_owned(),
        61..=5400 => format!("{} minutes", seconds.div_ceil(60)),
        5401..=129_600 => format!("{} hours", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests;
