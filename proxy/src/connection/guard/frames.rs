//! Cuts a byte stream into HTTP/2 frames (RFC 9113 §4.1), wherever the pieces of it begin and end.
//!
//! Reads the nine bytes before each payload, and of payloads only the code of RST_STREAM and the length of DATA's
//! padding. It decodes no header block, keeps no payload and allocates nothing: about ten nanoseconds a frame.

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes before a payload.
pub(super) const HEAD_BYTES: usize = 9;

/// END_STREAM of DATA and HEADERS.
const END_STREAM: u8 = 1;
/// ACK of SETTINGS and PING.
const ACK: u8 = 1;
/// END_HEADERS of HEADERS and CONTINUATION.
const END_HEADERS: u8 = 4;
/// PADDED of DATA and HEADERS.
const PADDED: u8 = 8;

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    /// PRIORITY, and PRIORITY_UPDATE (RFC 9218 §7.1).
    Priority,
    Reset,
    Settings,
    Ping,
    WindowUpdate,
    Continuation,
    /// PUSH_PROMISE, GOAWAY, and what the standard tells to ignore.
    Other,
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: Kind,
    flags: u8,
    /// 0 for the connection.
    pub(super) stream: u32,
}

impl Head {
    fn read(bytes: [u8; HEAD_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 | 0x10 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            6 => Kind::Ping,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Self { length, kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]) }
    }

    /// Whether it is the last one of its side of a stream.
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags & END_STREAM != 0
    }

    /// Whether a header block ends with it.
    pub(super) fn ends_block(&self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::Continuation) && self.flags & END_HEADERS != 0
    }

    /// Whether it answers one of ours.
    pub(super) fn is_ack(&self) -> bool {
        matches!(self.kind, Kind::Settings | Kind::Ping) && self.flags & ACK != 0
    }

    fn is_padded(&self) -> bool {
        self.kind == Kind::Data && self.flags & PADDED != 0
    }
}

/// What the bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame begins. One without a payload has ended by that, and no end is told.
    Began(Head),
    /// A frame has ended. With it the error code of an RST_STREAM, or the length of the padding of DATA.
    Ended(Head, u32),
}

/// The state between two pieces.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// Bytes of the preface that are to come.
    greeting: usize,
    is_foreign: bool,
    head: [u8; HEAD_BYTES],
    filled: usize,
    /// The frame whose payload is being read, and how much of it is to come.
    current: Option<(Head, usize)>,
    code: u32,
}

impl Cutter {
    /// The stream of a client, which begins with [`PREFACE`].
    pub(super) fn of_client() -> Self {
        Self { greeting: PREFACE.len(), ..Self::default() }
    }

    /// The stream of a server.
    pub(super) fn of_server() -> Self {
        Self::default()
    }

    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.greeting == 0 && self.current.is_none() && self.filled == 0
    }

    /// How many bytes were taken, and what they came to. Call it until all are.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        if self.is_foreign {
            return (bytes.len(), None);
        }
        if self.greeting > 0 {
            return (self.greet(bytes), None);
        }
        match self.current {
            Some((head, left)) => self.follow(head, left, bytes),
            None => self.begin(bytes),
        }
    }

    /// Takes the last byte of the head back with which a frame has just begun.
    pub(super) fn put_back(&mut self) {
        self.current = None;
        self.filled = HEAD_BYTES - 1;
    }

    /// What is no HTTP/2 is passed on as it is: whoever reads it ends the connection.
    fn greet(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.greeting);
        let expected = PREFACE.get(PREFACE.len() - self.greeting..).unwrap_or_default();
        self.is_foreign = bytes.iter().zip(expected).any(|(byte, wanted)| byte != wanted);
        self.greeting -= taken;
        taken
    }

    fn begin(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        let free = self.head.iter_mut().skip(self.filled);
        let taken = free.zip(bytes).map(|(place, byte)| *place = *byte).count();
        self.filled += taken;
        if self.filled < HEAD_BYTES {
            return (taken, None);
        }
        self.filled = 0;
        let head = Head::read(self.head);
        self.code = 0;
        self.current = (head.length > 0).then_some((head, head.length));
        (taken, Some(Event::Began(head)))
    }

    fn follow(&mut self, head: Head, left: usize, bytes: &[u8]) -> (usize, Option<Event>) {
        let taken = bytes.len().min(left);
        if head.kind == Kind::Reset {
            let code = bytes.iter().take(taken);
            self.code = code.fold(self.code, |code, byte| (code << 8) | u32::from(*byte));
        } else if head.is_padded() && left == head.length {
            self.code = bytes.first().copied().map_or(0, |padding| 1 + u32::from(padding));
        }
        if taken < left {
            self.current = Some((head, left - taken));
            return (taken, None);
        }
        self.current = None;
        (taken, Some(Event::Ended(head, self.code)))
    }
}
