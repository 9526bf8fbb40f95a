//! What a domain has today, and what would change if it were connected: asked before anything is done.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{PROOF_LABEL, RecordKind};
use crate::Host;

/// A domain's records as its own name servers have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The domain.
    pub host: Host,
    /// The zone that it lies in, if it was found.
    pub zone: Option<Host>,
    /// That zone's servers.
    pub servers: Vec<String>,
    /// Who runs them, if we know.
    pub provider: Option<String>,
    /// Whether the domain itself can be made an alias there.
    pub apex_alias: bool,
    /// Records of the domain, then those of its zone.
    pub records: Vec<Found>,
    /// Kinds of records of the domain that nobody could tell.
    pub unanswered: Vec<RecordKind>,
}

/// A record that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// Its full name.
    pub name: Host,
    /// Its value, as zone files have it.
    pub value: String,
}

/// Whose word is taken for what a domain has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Its own name servers', as everybody on the internet may ask them: for creators. The platform's resolver may
    /// know names of the platform's own networks, which are nobody else's business.
    Servers,
    /// The platform's resolver's as well: for the operator.
    Resolver,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is to be made.
    Add,
    /// It is to be deleted, or replaced.
    Remove,
    /// It stays as it is.
    Keep,
}

/// One line of what would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What becomes of it.
    pub change: Fate,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// Its full name.
    pub name: String,
    /// Its value; none: it is made for the domain when that is added.
    pub value: Option<String>,
}

impl Inspection {
    /// What would change if the domain were connected to edges at `addresses`.
    ///
    /// A name with an alias can have no other record (RFC 1034 §3.6.2). So where there is one that must stay, mail's
    /// above all, the addresses are asked for instead.
    #[must_use]
    pub fn changes(&self, addresses: &[IpAddr]) -> Vec<Change> {
        let is_apex = self.zone.as_ref() == Some(&self.host);
        let needs_own = (is_apex && !self.apex_alias) || self.own().any(|found| !leads(found.kind));
        let add: Vec<Change> = if needs_own && !addresses.is_empty() {
            let proof = format!("{PROOF_LABEL}.{}", self.host);
            let proof = Change { change: Fate::Add, kind: RecordKind::Txt, name: proof, value: None };
            addresses.iter().map(|address| self.address(*address)).chain([proof]).collect()
        } else {
            let name = self.host.to_string();
            vec![Change { change: Fate::Add, kind: RecordKind::Cname, name, value: None }]
        };
        let is_there = |wanted: &Change| self.own().any(|found| is_same(found, wanted));
        let stays = |found: &Found| {
            found.name != self.host || !leads(found.kind) || add.iter().any(|wanted| is_same(found, wanted))
        };
        let kept = self.records.iter().map(|found| Change {
            change: if stays(found) { Fate::Keep } else { Fate::Remove },
            kind: found.kind,
            name: found.name.to_string(),
            value: Some(found.value.clone()),
        });
        let mut changes: Vec<Change> = kept.collect();
        changes.extend(add.iter().filter(|wanted| !is_there(wanted)).cloned());
        changes.sort_by_key(|change| match change.change {
            Fate::Remove => 0,
            Fate::Add => 1,
            Fate::Keep => 2,
        });
        changes
    }

    /// Whether there are records for mail: who takes it, or who may send it.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        let sends = |found: &Found| {
            let text = found.value.trim_matches('"').to_ascii_lowercase();
            found.kind == RecordKind::Txt && text.starts_with("v=spf1")
        };
        self.records.iter().any(|found| found.kind == RecordKind::Mx || sends(found))
    }

    fn own(&self) -> impl Iterator<Item = &Found> {
        self.records.iter().filter(|found| found.name == self.host)
    }

    fn address(&self, address: IpAddr) -> Change {
        let kind = if address.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa };
        Change { change: Fate::Add, kind, name: self.host.to_string(), value: Some(address.to_string()) }
    }
}

/// Whether a record of this kind decides where visitors go.
const fn leads(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::A | RecordKind::Aaaa | RecordKind::Cname)
}

fn is_same(found: &Found, wanted: &Change) -> bool {
    found.kind == wanted.kind
        && found.name.as_str() == wanted.name
        && Some(&found.value) == wanted.value.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn inspection(name: &str, records: &[(RecordKind, &str, &str)]) -> Inspection {
        let found = |(kind, name, value): &(RecordKind, &str, &str)| Found {
            kind: *kind,
            name: host(name),
            value: (*value).to_owned(),
        };
        Inspection {
            host: host(name),
            zone: Some(host("example.com")),
            servers: vec!["ns1.example.net".to_owned()],
            provider: None,
            apex_alias: false,
            records: records.iter().map(found).collect(),
            unanswered: Vec::new(),
        }
    }

    fn lines(inspection: &Inspection) -> Vec<String> {
        let edges = ["203.0.113.7".parse().unwrap()];
        let line = |change: Change| {
            let value = change.value.unwrap_or_else(|| "?".to_owned());
            format!("{:?} {:?} {} {value}", change.change, change.kind, change.name)
        };
        inspection.changes(&edges).into_iter().map(line).collect()
    }

    #[test]
    fn a_name_of_its_own_becomes_an_alias() {
        let seen = inspection(
            "shop.example.com",
            &[
                (RecordKind::A, "shop.example.com", "192.0.2.1"),
                (RecordKind::Mx, "example.com", "10 mail.example.com"),
            ],
        );
        assert_eq!(
            lines(&seen),
            [
                "Remove A shop.example.com 192.0.2.1",
                "Add Cname shop.example.com ?",
                "Keep Mx example.com 10 mail.example.com",
            ]
        );
        assert!(seen.has_mail());
    }

    #[test]
    fn mail_of_the_name_itself_is_never_pushed_out_by_an_alias() {
        for name in ["example.com", "shop.example.com"] {
            let seen = inspection(
                name,
                &[
                    (RecordKind::A, name, "192.0.2.1"),
                    (RecordKind::Mx, name, "10 mail.example.com"),
                    (RecordKind::Txt, name, "v=spf1 -all"),
                ],
            );
            let lines = lines(&seen);
            assert!(lines.contains(&format!("Keep Mx {name} 10 mail.example.com")), "{lines:?}");
            assert!(lines.contains(&format!("Add A {name} 203.0.113.7")), "{lines:?}");
            assert!(lines.contains(&format!("Add Txt _stoa.{name} ?")), "{lines:?}");
            assert!(!lines.iter().any(|line| line.contains("Cname")), "{lines:?}");
        }
    }

    #[test]
    fn what_is_right_already_stays() {
        let seen = inspection("example.com", &[(RecordKind::A, "example.com", "203.0.113.7")]);
        assert_eq!(lines(&seen), ["Add Txt _stoa.example.com ?", "Keep A example.com 203.0.113.7"]);
        assert!(!seen.has_mail());
    }

    #[test]
    fn a_domain_that_can_be_an_alias_becomes_one() {
        let seen = Inspection { apex_alias: true, ..inspection("example.com", &[]) };
        assert_eq!(lines(&seen), ["Add Cname example.com ?"]);
    }
}
