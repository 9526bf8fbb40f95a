//! A creator's own domain: the facts we know of it, and the one status and one next action they mean.
//!
//! Only [`derive`] speaks to creators, in the words of [`catalogue`]. It is pure and total: the same facts at the
//! same time give the same status. What is deliberately absent: how a fact was found (that is `certd`) and where
//! it is kept.

mod action;
pub mod catalogue;
pub mod connection;
mod derive;
mod facts;
mod inspection;
mod notice;
pub mod plain;
mod provider;
mod status;

pub use action::{Actor, NextAction, Offer, Record, RecordKind, Target};
pub use derive::{GRACE, derive};
pub use facts::{
    Authority, Certification, Claim, Contest, Facts, Forbidden, Health, Policy, Presence, Refusal, Routing,
    Unprovable,
};
pub use inspection::{Change, Fate, Found, Inspection, Witness};
pub use notice::NoticeKind;
pub use provider::{NameForm, Provider};
pub use status::DomainStatus;

/// Prefix of the label that proves ownership by a TXT record: `_stoa.<host>`.
pub const PROOF_LABEL: &str = "_stoa";
/// What the text of that record begins with.
pub const PROOF_PREFIX: &str = "stoa-proof=";
