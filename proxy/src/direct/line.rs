//! A connection to a backend.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::protocols::http::ServerSession;
use pingora_core::{Error, ErrorType, Result, RetryType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::backends::LineKey;
use crate::connection::Alarm;
use crate::queue::left;

/// Room for what is read at once. Most answers are smaller.
const READ_BYTES: usize = 8 << 10;
/// The same once more than that has come.
const MOST_READ_BYTES: usize = 64 << 10;
/// How long a backend may take to take a request's head.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection with what has been read of it.
#[derive(Debug)]
pub(super) struct Line {
    key: LineKey,
    tcp: TcpStream,
    unread: BytesMut,
    draft: Vec<u8>,
    /// Stays armed from one request to the next: most answers come before it goes off.
    alarm: Alarm,
    /// How much the last read left free.
    is_flooded: bool,
}

impl Line {
    /// A new connection.
    pub(super) fn new(key: LineKey, tcp: TcpStream) -> Self {
        let (unread, draft, alarm) = (BytesMut::new(), Vec::new(), Alarm::default());
        Self { key, tcp, unread, draft, alarm, is_flooded: false }
    }

    /// Whose requests it can serve.
    pub(super) const fn key(&self) -> LineKey {
        self.key
    }

    /// What has come and was not taken.
    pub(super) const fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Where the next request is written; empty.
    pub(super) fn draft(&mut self) -> &mut Vec<u8> {
        self.draft.clear();
        &mut self.draft
    }

    /// Sends what was drafted.
    ///
    /// # Errors
    /// The backend's, to be tried again if it is no news that the connection has ended.
    pub(super) async fn send(&mut self) -> Result<()> {
        let sent = match self.tcp.try_write(&self.draft) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(failed(ErrorType::WriteError, error)),
        };
        let Some(rest) = self.draft.get(sent..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
        match timeout(SEND_TIMEOUT, self.tcp.write_all(rest)).await {
            Ok(result) => result.map_err(|error| failed(ErrorType::WriteError, error)),
            Err(_) => Err(Error::explain(ErrorType::WriteTimedout, "the backend takes no request").into_up()),
        }
    }

    /// Reads more. 0 at the end.
    ///
    /// # Errors
    /// The backend's if it fails, or says nothing until `due`; the visitor's if that one leaves.
    pub(super) async fn fill(&mut self, due: Instant, visitor: &mut ServerSession) -> Result<usize> {
        let room = if self.is_flooded { MOST_READ_BYTES } else { READ_BYTES };
        self.unread.reserve(room);
        let Self { tcp, unread, alarm, .. } = self;
        let count = tokio::select! {
            biased;
            read = tcp.read_buf(unread) => read.map_err(|error| failed(ErrorType::ReadError, error))?,
            () = poll_fn(|cx| alarm.poll(due, cx)) => {
                return Err(Error::explain(ErrorType::ReadTimedout, "the backend keeps silent").into_up());
            }
            error = left(visitor) => return Err(error.into_down()),
        };
        self.is_flooded = count >= READ_BYTES;
        Ok(count)
    }

    /// Whether it can carry another request: nothing has come that nobody asked for, and no end.
    pub(super) fn is_quiet(&self) -> bool {
        let nothing = self.tcp.try_read(&mut [0]);
        matches!(nothing, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives back the memory that only a large answer needs.
    pub(super) fn rest(&mut self) {
        self.is_flooded = false;
        if self.unread.capacity() > READ_BYTES {
            self.unread = BytesMut::new();
        }
        if self.draft.capacity() > READ_BYTES {
            self.draft = Vec::new();
        }
    }
}

/// A backend's failure. That a kept connection has ended meanwhile says nothing about the backend.
fn failed(kind: ErrorType, cause: io::Error) -> Box<Error> {
    let mut error = Error::because(kind, "the connection to the backend failed", cause).into_up();
    error.retry = RetryType::ReusedOnly;
    error
}
