//! What creators are told about records that are set for them.

use super::moment;
use crate::Timestamp;
use crate::domain::Actor;

/// One sentence with what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The provider is being asked.
    Working {
        /// Whom.
        provider: &'a str,
    },
    /// A preview that changes something.
    Ready,
    /// A preview that changes nothing.
    Complete,
    /// The records are set.
    Set {
        /// Where.
        provider: &'a str,
        /// Until when we take them back without being given the key again.
        until: Option<Timestamp>,
    },
    /// The records were taken back.
    TakenBack,
    /// The key is not accepted.
    BadKey {
        /// By whom.
        provider: &'a str,
    },
    /// The key is good, but not for this zone.
    NoZone {
        /// Where.
        provider: &'a str,
        /// Which one.
        zone: &'a str,
    },
    /// Somebody was quicker.
    Overtaken,
    /// Nobody answers.
    NoAnswer {
        /// Who.
        provider: &'a str,
    },
    /// The provider does not want the change.
    NotTaken {
        /// Who.
        provider: &'a str,
    },
    /// A record that is not ours to move.
    InTheWay {
        /// Where.
        provider: &'a str,
    },
    /// Records that others have changed after us.
    LeftAlone {
        /// Where.
        provider: &'a str,
    },
    /// An address of a private network.
    NotOnTheInternet,
    /// A link to the provider's own pages.
    Follow {
        /// Whose.
        provider: &'a str,
        /// Until when it is good.
        until: Timestamp,
    },
    /// There is no such link.
    ByHand,
    /// Somebody came back from one.
    Returned,
    /// Somebody came back and did not want it.
    NotWanted,
    /// It was used, or is too old.
    LinkIsUsed,
    /// A part is done.
    HalfWay {
        /// Where.
        provider: &'a str,
    },
}

impl Notice<'_> {
    /// Who acts.
    #[must_use]
    pub const fn who(&self) -> Actor {
        match self {
            Self::Working { .. } | Self::Complete | Self::Set { .. } | Self::TakenBack | Self::Returned => {
                Actor::Nobody
            }
            _ => Actor::You,
        }
    }

    /// The sentence.
    #[must_use]
    pub fn text(&self, now: Timestamp) -> String {
        match self {
            Self::Working { provider } => {
                format!("We are at work at {provider}, which takes some seconds. Nothing to do.")
            }
            Self::Ready => {
                "Check the changes below, and let us make them when you like. Until then nothing changes."
                    .to_owned()
            }
            Self::Complete => {
                "All records are there already. Nothing to do; we look again every few minutes.".to_owned()
            }
            Self::Set { provider, until: Some(until) } => format!(
                "The records are set at {provider}. Nothing to do; until {} we can take them back without your key.",
                moment(*until, now)
            ),
            Self::Set { provider, until: None } => format!(
                "The records are set at {provider}. Nothing to do; with your key we take them back at any time."
            ),
            Self::TakenBack => "All records are as they were before we came. Nothing to do.".to_owned(),
            Self::Follow { .. } | Self::ByHand | Self::Returned | Self::NotWanted | Self::LinkIsUsed => {
                self.link(now)
            }
            _ => self.trouble(),
        }
    }

    fn link(&self, now: Timestamp) -> String {
        match self {
            Self::Follow { provider, until } => format!(
                "Check and confirm the records on the pages of {provider}: the link is good until {}, once.",
                moment(*until, now)
            ),
            Self::Returned => {
                "Thank you. We look at your domain now, which takes some seconds. Nothing to do.".to_owned()
            }
            Self::NotWanted => {
                "Nothing was changed. Set the records by hand, or ask for another link at any time."
                    .to_owned()
            }
            Self::LinkIsUsed => {
                "This link is not good any more. Ask for another one at any time; your domain is as it was."
                    .to_owned()
            }
            _ => "Your provider has no pages for this. Set the records by hand; we look every few seconds."
                .to_owned(),
        }
    }

    fn trouble(&self) -> String {
        match self {
            Self::BadKey { provider } => {
                format!("This key is not accepted by {provider}. Enter another one at any time; nothing was changed.")
            }
            Self::NoZone { provider, zone } => format!(
                "This key does not open {zone} at {provider}. Check what it may do there, then enter it again at any \
                 time."
            ),
            Self::Overtaken => "Somebody changed the records meanwhile. Ask for a new preview at any time; we changed \
                                nothing."
                .to_owned(),
            Self::NoAnswer { provider } => format!(
                "There is no answer from {provider}. Ask us again after some minutes, or set the records by hand."
            ),
            Self::NotTaken { provider } => format!(
                "The change was not taken by {provider}. Set the records by hand when you like; nothing was changed."
            ),
            Self::InTheWay { provider } => format!(
                "A record that we never touch is in the way. Change it at {provider}, then ask us again at any time."
            ),
            Self::LeftAlone { provider } => format!(
                "Somebody changed the records after us, so we leave them. Change them at {provider} when you like."
            ),
            Self::HalfWay { provider } => format!(
                "We were stopped half-way at {provider}. Enter a key that works, and we take the rest back at once."
            ),
            _ => "This server is not on the public internet, so we do not ask it. Enter another address at any time."
                .to_owned(),
        }
    }
}

/// What is offered beside a record that is to be set.
#[must_use]
pub fn offer(provider: &str) -> String {
    format!("Or let us set it at {provider} for you: enter a key from there at any time.")
}
