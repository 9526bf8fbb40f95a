//! The open streams of one connection, as the frames on the wire tell.
//!
//! In the order of their ids, which only rise (RFC 9113 §5.1.1): a stream is added at the end and found by
//! bisection. The protocol's own limit of concurrent streams bounds their number.

use tokio::time::Instant;

/// One stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    id: u32,
    /// When its HEADERS came.
    pub(super) since: Instant,
    /// Whether our HEADERS went out.
    pub(super) is_answered: bool,
    is_sent: bool,
    is_received: bool,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Visitor,
    Edge,
}

/// Those that are open.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Vec<Stream>,
    last: u32,
}

impl Streams {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The highest id so far; 0 if there was none.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Whether HEADERS with this id open a stream.
    pub(super) fn is_new(&self, id: u32) -> bool {
        id > self.last && id % 2 == 1
    }

    /// Opens a stream that [`Self::is_new`].
    pub(super) fn open(&mut self, id: u32, since: Instant) {
        self.last = id;
        self.open.push(Stream { id, since, is_answered: false, is_sent: false, is_received: false });
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    /// Our HEADERS for it go out. Whether they are the first.
    pub(super) fn answer(&mut self, id: u32) -> bool {
        let place = self.place(id);
        match place.and_then(|place| self.open.get_mut(place)) {
            Some(stream) => !std::mem::replace(&mut stream.is_answered, true),
            None => false,
        }
    }

    /// One side of it has ended. The stream goes when both have.
    pub(super) fn end(&mut self, id: u32, side: Side) {
        let Some(place) = self.place(id) else { return };
        let Some(stream) = self.open.get_mut(place) else { return };
        match side {
            Side::Visitor => stream.is_received = true,
            Side::Edge => stream.is_sent = true,
        }
        if stream.is_sent && stream.is_received {
            self.open.remove(place);
        }
    }

    /// It was reset.
    pub(super) fn reset(&mut self, id: u32) -> Option<Stream> {
        let place = self.place(id)?;
        Some(self.open.remove(place))
    }
}
