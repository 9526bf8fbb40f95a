//! One question to one server, over UDP and, if the answer is cut, over TCP (RFC 1035 §4.2, RFC 7766).
//!
//! A resolver library hides what a creator must be told: who refused, who is no authority, what a zone's parent
//! says, and for how long an old answer holds. So a zone's own servers are asked with this, without recursion and
//! without a cache. The port is the kernel's choice and the id is random (RFC 5452); a server that is asked here can
//! lie only about zones that were delegated to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{Kind, LookupError, Value, authority};

/// How long one server may take to answer one datagram; a lost one is sent once more.
const ATTEMPT: Duration = Duration::from_millis(1200);
const ATTEMPTS: usize = 2;
/// Largest datagram that is not cut on its way (DNS flag day 2020).
const PAYLOAD_BYTES: u16 = 1232;

/// How a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// To an authority: what it knows itself.
    Direct,
    /// To a resolver, which is to find out and to check signatures.
    Recursive,
    /// To a resolver, which is not to check signatures (RFC 4035 §3.2.2).
    Unchecked,
}

/// What a server says of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The records of exactly this name: of the kind that was asked for, or the alias that stands in its place.
    pub values: Vec<Value>,
    /// How long the answer holds, also if it is "there is nothing" (RFC 2308 §5), in seconds.
    pub seconds: u32,
    /// Whether the server keeps the zone of the name.
    pub authoritative: bool,
    /// The servers that it sends to instead.
    pub referral: Vec<String>,
}

/// Asks `server` for the records of `name`.
///
/// # Errors
/// [`LookupError`] if it does not answer, or with a failure.
pub(super) async fn ask(
    server: SocketAddr,
    name: &str,
    kind: Kind,
    manner: Manner,
) -> Result<Reply, LookupError> {
    let name = Name::from_ascii(format!("{name}."))
        .map_err(|error| LookupError::Failure(format!("`{name}`: {error}")))?;
    let question = question(name.clone(), kind, manner);
    let answer = exchange(server, &question).await?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(reply(&answer, &name, kind)),
        ResponseCode::Refused | ResponseCode::NotAuth => Err(LookupError::Lame(server.ip().to_string())),
        code => Err(LookupError::Failure(code.to_string())),
    }
}

fn question(name: Name, kind: Kind, manner: Manner) -> Message {
    let mut message = Message::query();
    message.metadata.id = rand::random();
    message.metadata.recursion_desired = manner != Manner::Direct;
    message.metadata.checking_disabled = manner == Manner::Unchecked;
    message.add_query(Query::query(name, record_type(kind)));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD_BYTES);
    message.set_edns(edns);
    message
}

async fn exchange(server: SocketAddr, question: &Message) -> Result<Message, LookupError> {
    let bytes = question.to_vec().map_err(|error| LookupError::Failure(error.to_string()))?;
    for _ in 0..ATTEMPTS {
        match timeout(ATTEMPT, datagram(server, question, &bytes)).await {
            Ok(Ok(answer)) if answer.metadata.truncation => {
                let whole = timeout(ATTEMPT, stream(server, question, &bytes)).await;
                return whole.ok().and_then(Result::ok).ok_or(LookupError::Timeout);
            }
            Ok(Ok(answer)) => return Ok(answer),
            // Nobody listens there, or no way leads there.
            Ok(Err(_)) => return Err(LookupError::Timeout),
            Err(_) => {}
        }
    }
    Err(LookupError::Timeout)
}

async fn datagram(server: SocketAddr, question: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).and_then(|bytes| Message::from_vec(bytes).ok());
        // What does not fit was sent by somebody else, or long ago.
        if let Some(answer) = answer.filter(|answer| fits(answer, question)) {
            return Ok(answer);
        }
    }
}

async fn stream(server: SocketAddr, question: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(std::io::Error::other)?;
    if fits(&answer, question) { Ok(answer) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn fits(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

fn reply(answer: &Message, name: &Name, kind: Kind) -> Reply {
    let own = || answer.answers.iter().filter(|record| record.name == *name);
    let values: Vec<Value> = own()
        .filter_map(|record| value(&record.data, kind).or_else(|| value(&record.data, Kind::Cname)))
        .collect();
    let holds = own().map(|record| record.ttl).min();
    let nothing = answer.authorities.iter().find_map(negative_ttl);
    let servers = answer.authorities.iter().filter_map(|record| value(&record.data, Kind::Ns));
    let is_answer = !values.is_empty() || nothing.is_some();
    Reply {
        values,
        seconds: holds.or(nothing).unwrap_or(0),
        authoritative: answer.metadata.authoritative,
        referral: if is_answer {
            Vec::new()
        } else {
            servers.filter_map(Value::into_server).take(authority::MAX_SERVERS).collect()
        },
    }
}

fn negative_ttl(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    }
}

pub(super) fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Cname => RecordType::CNAME,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Txt => RecordType::TXT,
        Kind::Ns => RecordType::NS,
        Kind::Mx => RecordType::MX,
        Kind::Caa => RecordType::CAA,
    }
}

/// The content of a record of the wanted kind; answers carry the aliases on the way as well.
pub(super) fn value(data: &RData, kind: Kind) -> Option<Value> {
    match (data, kind) {
        (RData::CNAME(name), Kind::Cname) => Some(Value::Alias(plain(name))),
        (RData::A(address), Kind::A) => Some(Value::Address(address.0.into())),
        (RData::AAAA(address), Kind::Aaaa) => Some(Value::Address(address.0.into())),
        (RData::TXT(text), Kind::Txt) => {
            let joined: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            Some(Value::Text(String::from_utf8_lossy(&joined).into_owned()))
        }
        (RData::NS(name), Kind::Ns) => Some(Value::Server(plain(name))),
        (RData::MX(mail), Kind::Mx) => Some(Value::Mail(mail.preference, plain(&mail.exchange))),
        (RData::CAA(caa), Kind::Caa) => Some(Value::Permission {
            critical: caa.issuer_critical,
            tag: caa.tag.to_ascii_lowercase(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        }),
        _ => None,
    }
}

/// A name in lower case, without the last dot.
fn plain(name: &Name) -> String {
    name.to_ascii().to_ascii_lowercase().trim_end_matches('.').to_owned()
}
