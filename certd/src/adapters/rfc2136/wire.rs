//! Messages to one server over TCP, one after the other. Updates are signed and so must be their answers; why a
//! key is refused is read from the answer itself (RFC 8945 §5.3), which then is not signed.

use std::fmt;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::tsig::TsigError;
use hickory_resolver::proto::rr::{DNSClass, Name, Record as Rr, RecordType};
use model::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use super::super::Fault;
use super::key::Key;
use crate::https::{CONNECT, TOTAL};

/// A connection to the server.
pub(super) struct Conversation<'a> {
    stream: TcpStream,
    key: &'a Key,
    clock: &'a dyn Clock,
}

impl<'a> Conversation<'a> {
    pub(super) async fn open(
        server: impl ToSocketAddrs + fmt::Debug,
        key: &'a Key,
        clock: &'a dyn Clock,
    ) -> Result<Self, Fault> {
        let named = format!("{server:?}");
        let away = |reason: String| Fault::Away { reason: format!("{}: {reason}", named.trim_matches('"')) };
        let stream = timeout(CONNECT, TcpStream::connect(server)).await;
        let stream = stream.map_err(|_| away(format!("no connection within {} s", CONNECT.as_secs())))?;
        let stream = stream.map_err(|error| away(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| away(error.to_string()))?;
        Ok(Self { stream, key, clock })
    }

    /// Asks the server itself: no recursion.
    pub(super) async fn ask(&mut self, name: &Name, kind: RecordType) -> Result<Message, Fault> {
        let mut question = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        question.add_query(Query::query(name.clone(), kind));
        let (answer, _) = self.send(&question).await?;
        Ok(answer)
    }

    /// Sends an update with our signature; gives what the server says to it, if the key is good.
    pub(super) async fn update(&mut self, mut update: Message) -> Result<ResponseCode, Fault> {
        let now = self.clock.now().unix_millis_unsigned() / 1000;
        let verifier = update.finalize(self.key.signer(), now).map_err(nonsense)?;
        let (answer, bytes) = self.send(&update).await?;
        if let Some(reason) = refused_key(&answer) {
            return Err(Fault::Credential { reason });
        }
        match (answer.signature(), verifier) {
            (Some(_), Some(mut verifier)) => {
                verifier.verify(&bytes).map_err(|error| Fault::Nonsense {
                    reason: format!("the signature of its answer is not right: {error}"),
                })?;
                Ok(answer.response_code)
            }
            // Servers that refuse a message before they look at its signature do not sign the answer.
            _ if answer.response_code == ResponseCode::NoError => {
                Err(Fault::Nonsense { reason: "its answer is not signed".to_owned() })
            }
            _ => Ok(answer.response_code),
        }
    }

    async fn send(&mut self, message: &Message) -> Result<(Message, Vec<u8>), Fault> {
        let bytes = message.to_vec().map_err(nonsense)?;
        let length = u16::try_from(bytes.len()).map_err(nonsense)?;
        let framed = [&length.to_be_bytes(), bytes.as_slice()].concat();
        self.stream.write_all(&framed).await.map_err(broken)?;
        let length = self.stream.read_u16().await.map_err(broken)?;
        let mut bytes = vec![0; usize::from(length)];
        self.stream.read_exact(&mut bytes).await.map_err(broken)?;
        let answer = Message::from_vec(&bytes).map_err(nonsense)?;
        if answer.id == message.id {
            Ok((answer, bytes))
        } else {
            Err(Fault::Nonsense { reason: "its answer is to another question".to_owned() })
        }
    }
}

/// Why the server does not take the key, if that is what it says.
fn refused_key(answer: &Message) -> Option<String> {
    let reason = match answer.signature()?.data.error? {
        TsigError::BadKey => "it does not know a key of this name and algorithm",
        TsigError::BadSig => "the secret is another one",
        TsigError::BadTime => "the clocks of both machines are more than 5 minutes apart",
        TsigError::BadTrunc | TsigError::Unknown(_) => "it does not take the signature",
    };
    Some(reason.to_owned())
}

/// An update of the zone that changes nothing yet (RFC 2136 §2.3).
pub(super) fn update(zone: &Name) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    message
}

/// A set without content: as a prerequisite, class ANY says that it exists and NONE that it does not (§2.4).
pub(super) fn set_marker(owner: &Name, kind: RecordType, class: DNSClass) -> Rr {
    let mut marker = Rr::update0(owner.clone(), 0, kind);
    marker.dns_class = class;
    marker
}

/// As an update: take this one record away (§2.5.4).
pub(super) fn removed(mut record: Rr) -> Rr {
    record.dns_class = DNSClass::NONE;
    record.ttl = 0;
    record
}

/// The server has taken too long.
pub(super) fn too_slow() -> Fault {
    Fault::Away { reason: format!("no answer within {} s", TOTAL.as_secs()) }
}

fn broken(error: std::io::Error) -> Fault {
    Fault::Away { reason: error.to_string() }
}

fn nonsense(error: impl fmt::Display) -> Fault {
    Fault::Nonsense { reason: error.to_string() }
}
