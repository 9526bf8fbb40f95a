//! What plain words are: the rules that every sentence for creators keeps, checked by tests over all of them.
//!
//! A creator may be a florist. A sentence is short, has none of our trade's words, says who acts, and by when.
//! Labels that a provider's form shows (`CNAME`, `DNSSEC`) are not ours to rename; what stands in quotation marks is
//! quoted, not said.

use super::Actor;

/// Most words of a sentence.
pub const MAX_WORDS: usize = 25;

/// Words, or beginnings of words, that belong into `details` only.
const JARGON: [&str; 29] = [
    "acme",
    "alias",
    "api",
    "apex",
    "authorit",
    "caa",
    "cache",
    "challenge",
    "delegat",
    "domain name system",
    "edge",
    "flatten",
    "fqdn",
    "http",
    "lame",
    "lookup",
    "nameserver",
    "nodata",
    "nxdomain",
    "propagat",
    "query",
    "recurs",
    "refused",
    "resolv",
    "rrset",
    "servfail",
    "soa",
    "tls",
    "ttl",
];

/// How a sentence says when something happens.
const WHEN: [&str; 14] = [
    " after ",
    " at 0",
    " at 1",
    " at 2",
    " at any time",
    " at once",
    " before ",
    " by ",
    " days",
    " hour",
    " minute",
    " second",
    " until ",
    " when you like",
];

/// How a sentence tells a creator to act.
const ORDERS: [&str; 13] = [
    "Add", "Ask", "Change", "Check", "Contact", "Delete", "Enter", "Put", "Replace", "Set", "Switch",
    "Write", "Upload",
];

/// Why a sentence is not plain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than [`MAX_WORDS`].
    #[error("`{0}` has {1} words, more than 25")]
    Long(String, usize),
    /// A word of our trade.
    #[error("`{0}` says `{1}`, which is jargon")]
    Jargon(String, &'static str),
    /// It does not end as a sentence does.
    #[error("`{0}` does not end with a full stop")]
    Unended(String),
    /// It does not say who acts.
    #[error("`{0}` does not say that {1:?} must act")]
    NoActor(String, Actor),
    /// It does not say when.
    #[error("`{0}` does not say when")]
    NoTime(String),
}

/// Checks words and length.
///
/// # Errors
/// The first [`Fault`].
pub fn check(text: &str) -> Result<(), Fault> {
    let words = text.split_whitespace().count();
    if words > MAX_WORDS {
        return Err(Fault::Long(text.to_owned(), words));
    }
    if !text.ends_with('.') {
        return Err(Fault::Unended(text.to_owned()));
    }
    let lower = text.split('"').step_by(2).collect::<Vec<_>>().join(" ").to_lowercase();
    let begins = |word: &str| {
        lower.match_indices(word).any(|(at, _)| {
            let before = lower.get(..at).and_then(|text| text.chars().next_back());
            before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '.' && letter != '-')
        })
    };
    match JARGON.iter().find(|word| begins(word)) {
        Some(word) => Err(Fault::Jargon(text.to_owned(), word)),
        None => Ok(()),
    }
}

/// Checks a next step: also who acts, and when.
///
/// # Errors
/// The first [`Fault`].
pub fn check_step(who: Actor, text: &str) -> Result<(), Fault> {
    check(text)?;
    let says_who = match who {
        Actor::You => text.split_whitespace().any(|word| ORDERS.contains(&word)),
        Actor::Us => text.split_whitespace().any(|word| word == "we"),
        Actor::Nobody => text.contains("Nothing to do"),
    };
    if !says_who {
        return Err(Fault::NoActor(text.to_owned(), who));
    }
    if !WHEN.iter().any(|word| text.contains(word)) {
        return Err(Fault::NoTime(text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_florist_would_not_understand_is_found() {
        assert_eq!(check("Add the record below at Gandi."), Ok(()));
        assert!(matches!(check("The name does not resolve."), Err(Fault::Jargon(_, "resolv"))));
        assert!(matches!(check("It will propagate soon."), Err(Fault::Jargon(_, "propagat"))));
        assert!(matches!(check(&format!("{}end.", "word ".repeat(25))), Err(Fault::Long(_, 26))));
        assert!(matches!(check("No end"), Err(Fault::Unended(_))));
        assert_eq!(check("Ask the owner of my-tls.example.test."), Ok(()));
        assert_eq!(check("Choose \"ALIAS\" there."), Ok(()));
    }

    #[test]
    fn a_step_says_who_and_when() {
        assert!(matches!(check_step(Actor::You, "It is broken."), Err(Fault::NoActor(..))));
        assert!(matches!(check_step(Actor::You, "Add it."), Err(Fault::NoTime(_))));
        assert_eq!(check_step(Actor::You, "Add it; we look every few seconds."), Ok(()));
        assert!(matches!(check_step(Actor::Us, "Please wait a minute."), Err(Fault::NoActor(..))));
        assert_eq!(check_step(Actor::Nobody, "Ready in 3 minutes. Nothing to do."), Ok(()));
    }
}
