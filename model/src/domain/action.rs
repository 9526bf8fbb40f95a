//! What a creator is told to do: one sentence, and the record that belongs to it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::PROOF_LABEL;
use super::connection::Connector;
use crate::host::{Host, HostPattern};

/// Who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The creator.
    You,
    /// The marketplace.
    Us,
    /// Nobody: time must pass.
    Nobody,
}

/// The one next step, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAction {
    /// Who acts.
    pub who: Actor,
    /// At most 25 words, without jargon: see [`super::catalogue`].
    pub text: String,
    /// The record to add or change, if that is the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// What often goes wrong at the creator's provider; one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// That we do it, where we can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Offer>,
}

/// An offer to set the record at the creator's provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// By which way.
    pub provider: Connector,
    /// One sentence.
    pub text: String,
}

/// A DNS record as a provider's form asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `CNAME`, `A`, `AAAA`, `TXT` or `CAA`.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// The full name.
    pub name: String,
    /// The name as the provider's form wants it, if the provider is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form_name: Option<String>,
    /// The value.
    pub value: String,
}

impl Record {
    /// A record for a provider that is not known.
    pub fn new(kind: RecordKind, name: impl ToString, value: impl ToString) -> Self {
        Self { kind, name: name.to_string(), form_name: None, value: value.to_string() }
    }
}

/// Types of records that we ask for, or look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// An alias.
    Cname,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A text.
    Txt,
    /// Which authority may make certificates.
    Caa,
    /// Who takes mail.
    Mx,
    /// A name server.
    Ns,
}

impl RecordKind {
    /// The word in zone files and forms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cname => "CNAME",
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Txt => "TXT",
            Self::Caa => "CAA",
            Self::Mx => "MX",
            Self::Ns => "NS",
        }
    }
}

/// What a creator may point a domain at, unique for each domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The domain itself.
    pub host: HostPattern,
    /// The CNAME target: nobody else's domain may point here to be served.
    pub cname: Host,
    /// The value of the TXT record at `_stoa.<host>`, of a wildcard at `_stoa.<base>`.
    pub proof: String,
    /// Addresses of the edges, for domains that cannot have a CNAME record.
    pub addresses: Vec<IpAddr>,
}

impl Target {
    /// Every record that connects the domain: the CNAME, or else the addresses with the TXT proof.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut records = vec![self.cname_record()];
        records.extend(self.address_records());
        if !self.addresses.is_empty() {
            records.push(self.text_record());
        }
        records
    }

    /// The record that we recommend.
    #[must_use]
    pub fn cname_record(&self) -> Record {
        Record::new(RecordKind::Cname, &self.host, &self.cname)
    }

    /// The addresses, for names that cannot be an alias.
    pub fn address_records(&self) -> impl Iterator<Item = Record> {
        self.addresses.iter().map(|address| {
            let kind = if address.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa };
            Record::new(kind, &self.host, address)
        })
    }

    /// Where that record stands.
    #[must_use]
    pub fn proof_name(&self) -> String {
        format!("{PROOF_LABEL}.{}", self.host.base())
    }

    /// The TXT record, which proves whose the name is and leads nobody anywhere.
    #[must_use]
    pub fn text_record(&self) -> Record {
        Record::new(RecordKind::Txt, self.proof_name(), &self.proof)
    }

    /// The TXT record, or the alias, which proves as well, where we have no addresses to point at.
    #[must_use]
    pub fn proof_record(&self) -> Record {
        if self.addresses.is_empty() { self.cname_record() } else { self.text_record() }
    }
}
