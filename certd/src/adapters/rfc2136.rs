//! Dynamic updates (RFC 2136) signed with TSIG (RFC 8945): BIND, Knot, PowerDNS, Microsoft DNS and others.
//!
//! What is there is asked for type by type, which needs no right to transfer the zone; whether a name is really
//! there, and not made up from a wildcard, is told by an update that changes nothing (§2.4.4). A change is one
//! update with prerequisites, so that it is done at once or not at all, and only if the zone is as it was seen.
//! Deliberately absent: TKEY and GSS-TSIG.

mod key;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CAA, CNAME, TXT};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record as Rr, RecordType};
use model::{Clock, Host};
use serde_json::Value;
use tokio::time::timeout;

pub use key::{Algorithm, Key};

use super::plan::{Change, names};
use super::record::{Content, Record, RecordName};
use super::{AdapterError, Fault, Provider, Zone};
use crate::https::TOTAL;
use crate::{CertdError, Guard};
use wire::Conversation;

/// Every type that people write into zones: what is not here cannot be seen to be in the way.
const TYPES: [RecordType; 17] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::TXT,
    RecordType::CAA,
    RecordType::MX,
    RecordType::NS,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::HTTPS,
    RecordType::SVCB,
    RecordType::NAPTR,
    RecordType::TLSA,
    RecordType::SSHFP,
    RecordType::HINFO,
    RecordType::CERT,
    RecordType::SOA,
];
/// Longest part of a text in bytes (RFC 1035 §3.3.14).
const PART: usize = 255;

/// A zone at a server that takes dynamic updates.
#[derive(Debug)]
pub struct Rfc2136 {
    zone: Host,
    origin: Name,
    server: String,
    key: Key,
    clock: Arc<dyn Clock>,
    guard: Option<Guard>,
}

impl Rfc2136 {
    /// The zone at its primary `server`, `host:port`.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn new(zone: Host, server: &str, key: Key, clock: Arc<dyn Clock>) -> Result<Self, CertdError> {
        let port = server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            let text = format!("the DNS server `{server}` must be written as host:port, e.g. 192.0.2.53:53");
            return Err(CertdError::Settings(text));
        }
        let origin = Name::from_ascii(format!("{zone}."))
            .map_err(|error| CertdError::Settings(format!("the zone `{zone}`: {error}")))?;
        Ok(Self { zone, origin, server: server.to_owned(), key, clock, guard: None })
    }

    /// With a server that a stranger named: only what `guard` lets through is connected to.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    async fn connect(&self) -> Result<Conversation<'_>, AdapterError> {
        let (server, clock) = (self.server.as_str(), self.clock.as_ref());
        let opened = match &self.guard {
            None => Conversation::open(server, &self.key, clock).await,
            Some(guard) => match places(guard, server).await {
                Ok(places) => Conversation::open(places.as_slice(), &self.key, clock).await,
                Err(fault) => Err(fault),
            },
        };
        opened.map_err(|fault| self.fails(fault))
    }

    /// Everything at one name.
    async fn at(&self, server: &mut Conversation<'_>, name: &RecordName) -> Result<Vec<Record>, Fault> {
        let owner = owner(name)?;
        if !self.is_in_use(server, &owner).await? {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for kind in TYPES {
            let answer = server.ask(&owner, kind).await?;
            match answer.response_code {
                ResponseCode::NoError => {}
                ResponseCode::NXDomain => continue,
                ResponseCode::Refused | ResponseCode::NotAuth => return Err(Fault::ZoneMissing),
                code => return Err(Fault::Away { reason: format!("it answers {code}") }),
            }
            // Where another zone begins, its NS records are told as authorities (RFC 1034 §4.3.2).
            let all = answer.answers.iter().chain(&answer.authorities);
            let here = all.filter(|rr| rr.name == owner && rr.record_type() == kind);
            found.extend(here.map(|rr| read(name, rr)));
        }
        Ok(found)
    }

    /// Whether the name has records of its own. Asked by an update with a prerequisite only.
    async fn is_in_use(&self, server: &mut Conversation<'_>, owner: &Name) -> Result<bool, Fault> {
        let mut question = wire::update(&self.origin);
        question.answers.push(wire::set_marker(owner, RecordType::ANY, DNSClass::ANY));
        match server.update(question).await? {
            ResponseCode::NoError => Ok(true),
            ResponseCode::NXDomain => Ok(false),
            code => Err(refusal(code)),
        }
    }

    fn request(&self, changes: &[Change]) -> Result<Message, Fault> {
        let mut request = wire::update(&self.origin);
        for change in changes {
            request.answers.extend(prerequisites(change)?);
        }
        for name in names(changes) {
            let owner = owner(&name)?;
            let here: Vec<&Change> = changes.iter().filter(|change| change.name == name).collect();
            let absent = absent_beside(&here);
            request.answers.extend(absent.map(|kind| wire::set_marker(&owner, kind, DNSClass::NONE)));
        }
        for record in changes.iter().flat_map(Change::removed) {
            request.authorities.push(wire::removed(rr(record)?));
        }
        for record in changes.iter().flat_map(Change::added) {
            request.authorities.push(rr(record)?);
        }
        Ok(request)
    }
}

#[async_trait]
impl Zone for Rfc2136 {
    fn zone(&self) -> &Host {
        &self.zone
    }

    fn provider(&self) -> Provider {
        Provider::Rfc2136
    }

    async fn records(&self, names: &[RecordName]) -> Result<Vec<Record>, AdapterError> {
        let read = async {
            let (mut server, mut found) = (self.connect().await?, Vec::new());
            for name in names {
                found.extend(self.at(&mut server, name).await.map_err(|fault| self.fails(fault))?);
            }
            Ok(found)
        };
        timeout(TOTAL, read).await.unwrap_or_else(|_| Err(self.fails(wire::too_slow())))
    }

    async fn exchange(&self, changes: &[Change]) -> Result<(), AdapterError> {
        let request = self.request(changes).map_err(|fault| self.fails(fault))?;
        let exchange = async {
            let mut server = self.connect().await?;
            match server.update(request).await.map_err(|fault| self.fails(fault))? {
                ResponseCode::NoError => Ok(()),
                code => Err(self.fails(refusal(code))),
            }
        };
        timeout(TOTAL, exchange).await.unwrap_or_else(|_| Err(self.fails(wire::too_slow())))
    }
}

/// The set is as it was seen (§2.4.1, §2.4.2, §2.4.3). Sets with others' records are not asked about: single
/// records are added and removed there, whatever else they hold.
fn prerequisites(change: &Change) -> Result<Vec<Rr>, Fault> {
    if change.is_shared() {
        return Ok(Vec::new());
    }
    if change.before.is_empty() {
        return Ok(vec![wire::set_marker(&owner(&change.name)?, kind_of(&change.kind)?, DNSClass::NONE)]);
    }
    let without_ttl = |mut record: Rr| {
        record.ttl = 0;
        record
    };
    change.before.iter().map(|record| rr(record).map(without_ttl)).collect()
}

/// Types that must not be at the name: servers silently drop an alias beside others, and others beside an alias
/// (§3.4.2.2).
fn absent_beside(here: &[&Change]) -> impl Iterator<Item = RecordType> {
    let alias = here.iter().any(|change| change.kind == "CNAME" && !change.after.is_empty());
    let kinds: Vec<String> = here.iter().map(|change| change.kind.clone()).collect();
    TYPES.into_iter().filter(move |kind| {
        (alias || *kind == RecordType::CNAME) && !kinds.iter().any(|changed| *changed == kind.to_string())
    })
}

/// Where a server is that a stranger named.
async fn places(guard: &Guard, server: &str) -> Result<Vec<SocketAddr>, Fault> {
    let away = |reason: String| Fault::Away { reason };
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    let port: u16 = port.parse().map_err(|_| away(format!("`{server}` has no port")))?;
    let found = guard.addresses(host).await.map_err(|error| away(error.to_string()))?;
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

fn refusal(code: ResponseCode) -> Fault {
    match code {
        ResponseCode::NotAuth => Fault::ZoneMissing,
        ResponseCode::Refused => {
            Fault::Credential { reason: "it does not let this key update the zone".to_owned() }
        }
        ResponseCode::NXDomain | ResponseCode::YXDomain | ResponseCode::NXRRSet | ResponseCode::YXRRSet => {
            Fault::Changed { what: code.to_string() }
        }
        ResponseCode::NotImp => {
            Fault::Refused { reason: "it takes no dynamic updates (RFC 2136)".to_owned() }
        }
        ResponseCode::NotZone => Fault::Refused { reason: "a name lies outside of the zone".to_owned() },
        ResponseCode::FormErr => Fault::Refused { reason: "it does not understand the update".to_owned() },
        code => Fault::Away { reason: format!("it answers {code}") },
    }
}

fn owner(name: &RecordName) -> Result<Name, Fault> {
    Name::from_ascii(name.absolute()).map_err(|error| Fault::Refused { reason: format!("`{name}`: {error}") })
}

fn kind_of(kind: &str) -> Result<RecordType, Fault> {
    kind.parse().map_err(|_| Fault::Refused { reason: format!("it has no records of the type {kind}") })
}

/// A record as it was told; the spelling of an alias is kept, for names have upper and lower case.
fn read(name: &RecordName, rr: &Rr) -> Record {
    let text = rr.data.to_string();
    let content = match &rr.data {
        RData::A(address) => Content::A(address.0),
        RData::AAAA(address) => Content::Aaaa(address.0),
        RData::CNAME(target) => Content::alias(&target.to_ascii()),
        RData::TXT(parts) => {
            let joined: Vec<u8> = parts.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            Content::Txt(String::from_utf8_lossy(&joined).into_owned())
        }
        RData::CAA(caa) => Content::Caa {
            flags: caa.flags(),
            tag: caa.tag.to_ascii_lowercase(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        },
        _ => Content::Other { kind: rr.record_type().to_string(), text: text.clone() },
    };
    Record { raw: Value::String(text), ..Record::new(name.clone(), rr.ttl, content) }
}

fn rr(record: &Record) -> Result<Rr, Fault> {
    let refused = |error: &dyn std::fmt::Display| Fault::Refused { reason: format!("`{record}`: {error}") };
    let data = match &record.content {
        Content::A(address) => RData::A(A(*address)),
        Content::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Content::Cname(target) => {
            let spelled = record.raw.as_str().unwrap_or(target);
            let target = Name::from_ascii(format!("{}.", spelled.trim_end_matches('.')));
            RData::CNAME(CNAME(target.map_err(|error| refused(&error))?))
        }
        Content::Txt(text) if text.is_empty() => RData::TXT(TXT::from_bytes(vec![b""])),
        Content::Txt(text) => RData::TXT(TXT::from_bytes(text.as_bytes().chunks(PART).collect())),
        Content::Caa { flags, tag, value } => RData::CAA(caa(*flags, tag, value)),
        Content::Other { kind, .. } => return Err(refused(&format!("{kind} records are never written"))),
    };
    Ok(Rr::from_rdata(owner(&record.name)?, record.ttl, data))
}

fn caa(flags: u8, tag: &str, value: &str) -> CAA {
    let mut caa = CAA::new_issue(flags & 0x80 != 0, None, Vec::new());
    caa.reserved_flags = flags & 0x7f;
    tag.clone_into(&mut caa.tag);
    caa.value = value.as_bytes().to_vec();
    caa
}
