//! What an account is told about its domains without having asked: one sentence, in the words of the catalogue.

use serde::{Deserialize, Serialize};

use super::catalogue::moment;
use crate::{HostPattern, Timestamp};

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Another account proved that a domain of this one is theirs.
    Challenged,
    /// That claim has ended; the domain stays.
    ClaimEnded,
    /// This account's domain moved to another one.
    MovedAway,
    /// This account proved that a domain of another one is its own.
    ProofSeen,
    /// That proof was not confirmed until the end of the wait, which begins anew with it.
    ProofGone,
    /// The claim has ended; the domain shows why.
    ClaimRefused,
    /// The domain moved to this account.
    MovedHere,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Challenged,
        Self::ClaimEnded,
        Self::MovedAway,
        Self::ProofSeen,
        Self::ProofGone,
        Self::ClaimRefused,
        Self::MovedHere,
    ];

    /// The sentence about `host`; `until` is when the domain moves, where it is to.
    #[must_use]
    pub fn text(self, host: &HostPattern, until: Option<Timestamp>, now: Timestamp) -> String {
        let by = until.map_or_else(|| "soon".to_owned(), |until| moment(until, now));
        match self {
            Self::Challenged => format!(
                "Another account proved that {host} is theirs. It moves there by {by}, unless you add the record that \
                 the domain shows."
            ),
            Self::ClaimEnded => {
                format!("Another account's claim of {host} has ended. The domain stays yours; nothing to do.")
            }
            Self::MovedAway => {
                format!(
                    "{host} moved to another account, which proved that it is theirs. Ask us if that is wrong."
                )
            }
            Self::ProofSeen => format!(
                "You proved that {host} is yours. It moves here by {by}, unless the other account proves the same."
            ),
            Self::ProofGone => {
                format!(
                    "We could not confirm your claim of {host} until its end. Check the record that the domain shows; the \
                     wait begins anew."
                )
            }
            Self::ClaimRefused => {
                format!(
                    "Your claim of {host} has ended, and the domain does not move here. It shows you why."
                )
            }
            Self::MovedHere => {
                format!("{host} moved here from another account. It is served for you from now on.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    #[test]
    fn every_notice_is_short_and_plain() {
        let host = "a-very-long-name-of-a-shop.example.co.uk".parse().unwrap();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        for kind in NoticeKind::ALL {
            for until in [None, Some(now), Some(now.plus(std::time::Duration::from_secs(86_400)))] {
                assert_eq!(plain::check(&kind.text(&host, until, now)), Ok(()));
            }
        }
    }
}
