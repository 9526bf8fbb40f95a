//! What RFC 9113 and RFC 7541 demand of a server, section by section: what is sent, and what must come back.
//!
//! The sections are those that h2spec 2.6.0 walks through (its generic, http2 and hpack groups), by their numbers
//! in RFC 9113; the frames are our own. Each case has a connection of its own.

use std::fmt;

use testkit::edge::Edge;
use testkit::http2::{self, Client, Frame, flag, kind};
use testkit::origin::Origin;
use tokio::task::JoinSet;

use crate::market::{HOST, Market};

mod frames;
mod generic;
mod hpack;
mod messages;
mod pseudo;
mod states;

/// Cases at a time.
const AT_ONCE: usize = 8;

/// Error codes (RFC 9113 §7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

/// Settings (RFC 9113 §6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

/// One demand.
struct Case {
    section: &'static str,
    what: &'static str,
    steps: Vec<Step>,
    expected: Expected,
}

/// What a client does.
#[derive(Clone)]
enum Step {
    /// Sends the first words, and waits for the server's.
    Greet,
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until the server has ended its side of a stream.
    Answered(u32),
    /// Waits until so many bytes of DATA have come.
    Received(usize),
}

/// What must come back.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// GOAWAY with one of these codes, then the end.
    Connection(&'static [u32]),
    /// RST_STREAM with one of these codes; or the same as an error of the connection, which is stricter.
    Stream(&'static [u32]),
    /// The end, with or without a farewell.
    Closed,
    /// An answer with this status on this stream.
    Answer(u32, u16),
    /// An answer to PING: all that came before was taken.
    Pong,
    /// An answer to SETTINGS.
    Acknowledged,
    /// DATA of exactly this length.
    Data(usize),
}

/// What came back.
enum Outcome {
    Frame(Frame),
    Closed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the end"),
            Self::Frame(frame) => match (frame.status(), frame.code()) {
                (Ok(status), _) => write!(f, "{status} on {}", frame.stream),
                (_, Some(code)) => write!(f, "code {code} ({}) in {}", frame.debug(), frame.kind),
                _ => write!(f, "{frame:?}"),
            },
        }
    }
}

impl Expected {
    /// Whether this is what was expected; none: neither that nor its opposite.
    fn judge(self, outcome: &Outcome) -> Option<bool> {
        let Outcome::Frame(frame) = outcome else { return Some(matches!(self, Self::Closed)) };
        let has_code = |codes: &[u32]| frame.code().is_some_and(|code| codes.contains(&code));
        match (self, frame.kind) {
            (Self::Connection(codes) | Self::Stream(codes), kind::GOAWAY) => Some(has_code(codes)),
            (Self::Stream(codes), kind::RST_STREAM) => Some(has_code(codes)),
            (Self::Closed, kind::GOAWAY) => Some(true),
            (Self::Answer(stream, status), kind::HEADERS) if frame.stream == stream => {
                Some(frame.status().is_ok_and(|found| found == status))
            }
            (Self::Answer(stream, _), kind::RST_STREAM) => (frame.stream == stream).then_some(false),
            (Self::Pong, kind::PING) if frame.flags & flag::ACK != 0 => Some(frame.payload == PING),
            (Self::Acknowledged, kind::SETTINGS) if frame.flags & flag::ACK != 0 => Some(true),
            (Self::Data(length), kind::DATA) => Some(frame.payload.len() == length),
            (_, kind::GOAWAY) => Some(false),
            _ => None,
        }
    }
}

/// The text of a PING.
const PING: [u8; 8] = *b"are you?";

fn case<const N: usize>(
    section: &'static str,
    what: &'static str,
    bytes: [Vec<u8>; N],
    expected: Expected,
) -> Case {
    steps(section, what, vec![Step::Greet, Step::Send(bytes.concat())], expected)
}

fn steps(section: &'static str, what: &'static str, steps: Vec<Step>, expected: Expected) -> Case {
    Case { section, what, steps, expected }
}

/// Something harmless, and then a PING that must be answered.
fn harmless<const N: usize>(section: &'static str, what: &'static str, bytes: [Vec<u8>; N]) -> Case {
    case(section, what, [bytes.concat(), http2::ping(PING)], Expected::Pong)
}

/// The fields that a GET must have.
fn fields() -> Vec<u8> {
    http2::request("GET", HOST, "/", &[])
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    http2::frame(kind::HEADERS, flags, stream, block)
}

fn get(stream: u32) -> Vec<u8> {
    http2::get(stream, HOST, "/")
}

/// A whole request whose answer takes a while.
fn slow(stream: u32) -> Vec<u8> {
    http2::get(stream, HOST, "/slow/3000")
}

fn post(stream: u32) -> Vec<u8> {
    http2::post(stream, HOST, "/echo")
}

fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    http2::data(stream, bytes, true)
}

async fn run(edge: Edge, case: Case) -> Result<(), String> {
    let tell = |text: String| format!("{} {}: {text}", case.section, case.what);
    let mut client = Client::silent(&edge, HOST).await.map_err(|error| tell(format!("{error:#}")))?;
    let outcome = walk(&mut client, &case).await.map_err(|error| tell(format!("{error:#}")))?;
    match case.expected.judge(&outcome) {
        Some(true) => Ok(()),
        _ => Err(tell(format!("{:?} was expected, not {outcome}", case.expected))),
    }
}

/// The first frame that decides.
async fn walk(client: &mut Client, case: &Case) -> anyhow::Result<Outcome> {
    for step in &case.steps {
        match step {
            Step::Greet => {
                client.send(&[http2::PREFACE, &http2::settings(&[(HEADER_TABLE_SIZE, 0)])].concat()).await?;
                client.until(|frame| frame.kind == kind::SETTINGS && frame.flags & flag::ACK == 0).await?;
                client.send(&http2::frame(kind::SETTINGS, flag::ACK, 0, &[])).await?;
                client.until(|frame| frame.kind == kind::SETTINGS && frame.flags & flag::ACK != 0).await?;
            }
            // The end may be told while more is being sent.
            Step::Send(bytes) => drop(client.send(bytes).await),
            Step::Answered(stream) => {
                client.until(|frame| frame.stream == *stream && frame.ends_stream()).await?;
            }
            Step::Received(length) => {
                let mut left = *length;
                while left > 0 {
                    left -= client.until(|frame| frame.kind == kind::DATA).await?.payload.len();
                }
            }
        }
    }
    loop {
        let outcome = client.next().await?.map_or(Outcome::Closed, Outcome::Frame);
        if case.expected.judge(&outcome).is_some() {
            return Ok(outcome);
        }
    }
}

#[tokio::test]
async fn every_demand_that_h2spec_makes_is_met() {
    let all = [
        generic::cases(),
        states::cases(),
        frames::cases(),
        messages::cases(),
        pseudo::cases(),
        hpack::cases(),
    ];
    let cases: Vec<Case> = all.into_iter().flatten().collect();
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let (count, mut failures) = (cases.len(), Vec::new());
    let mut running: JoinSet<Result<(), String>> = JoinSet::new();
    for case in cases {
        if running.len() == AT_ONCE {
            failures.extend(running.join_next().await.unwrap().unwrap().err());
        }
        running.spawn(run(market.visitors.clone(), case));
    }
    failures.extend(running.join_all().await.into_iter().filter_map(Result::err));
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 146, "{count}");
}
