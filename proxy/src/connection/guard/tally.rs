//! What a visitor may do too much of, and how much is too much.
//!
//! Two measures. A [`Tally`] counts frames that cost us more than the visitor, in a window of time and in
//! relation to the work that they come with: a gRPC client that downloads sends many WINDOW_UPDATEs and PINGs,
//! and is no attacker. A [`Leak`] counts what honest clients hardly ever do.

use std::time::Duration;

use tokio::time::Instant;

/// How a connection is abused. The words are labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Requests that are taken back at once (CVE-2023-44487).
    RapidReset,
    /// Streams that the visitor makes us reset (MadeYouReset, CVE-2025-8671).
    ProvokedReset,
    /// Requests that are taken back, later or again and again.
    Reset,
    /// More streams than were offered.
    Streams,
    /// A header block of too many frames (CVE-2024-27316).
    Continuation,
    /// A header block of too many bytes.
    HeaderBlock,
    /// PING (CVE-2019-9512).
    Ping,
    /// SETTINGS (CVE-2019-9515).
    Settings,
    /// DATA without data (CVE-2019-9518).
    EmptyData,
    /// WINDOW_UPDATE.
    WindowUpdate,
    /// PRIORITY and PRIORITY_UPDATE (CVE-2019-9513).
    Priority,
    /// Frames of other types.
    Unknown,
}

impl Flood {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::RapidReset,
        Self::ProvokedReset,
        Self::Reset,
        Self::Streams,
        Self::Continuation,
        Self::HeaderBlock,
        Self::Ping,
        Self::Settings,
        Self::EmptyData,
        Self::WindowUpdate,
        Self::Priority,
        Self::Unknown,
    ];

    /// Stable word for metric, log, and the debug data of the GOAWAY frame.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid_reset",
            Self::ProvokedReset => "provoked_reset",
            Self::Reset => "reset",
            Self::Streams => "streams",
            Self::Continuation => "continuation",
            Self::HeaderBlock => "header_block",
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::EmptyData => "empty_data",
            Self::WindowUpdate => "window_update",
            Self::Priority => "priority",
            Self::Unknown => "unknown",
        }
    }

    /// What is free in a [`WINDOW`], and how much more for each unit of work in it.
    ///
    /// Far above what browsers, curl and gRPC libraries send. Some of them return credit for each piece they
    /// read, and measure the line with a PING for each piece they get.
    const fn limit(self) -> (u32, u32) {
        match self {
            Self::Reset => (300, 1),
            Self::Streams => (200, 0),
            Self::Ping => (100, 1),
            Self::Settings => (30, 0),
            Self::EmptyData => (50, 0),
            Self::WindowUpdate => (1_000, 8),
            Self::Priority => (300, 2),
            Self::Unknown => (200, 1),
            // Not counted by a tally.
            Self::RapidReset | Self::ProvokedReset | Self::Continuation | Self::HeaderBlock => (0, 0),
        }
    }
}

/// Time after which counting begins anew.
const WINDOW: Duration = Duration::from_secs(10);
/// Bytes of a body that are one more unit of work than the frame that holds them.
const WORK_BYTES: usize = 1 << 10;
/// Work of an answer.
const ANSWER_WORK: u32 = 4;

/// Counts of one connection.
#[derive(Debug)]
pub(super) struct Tally {
    since: Instant,
    work: u32,
    counts: [u32; Flood::ALL.len()],
}

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, work: 0, counts: Default::default() }
    }

    /// Counts `cost` of something that a visitor may do too much of.
    ///
    /// # Errors
    /// The kind, if it is too much.
    pub(super) fn note(&mut self, kind: Flood, cost: u32, now: Instant) -> Result<(), Flood> {
        if now.saturating_duration_since(self.since) >= WINDOW {
            *self = Self::new(now);
        }
        let Some(count) = self.counts.get_mut(kind as usize) else { return Ok(()) };
        *count = count.saturating_add(cost);
        let (free, by_work) = kind.limit();
        let limit = free.saturating_add(by_work.saturating_mul(self.work));
        if *count > limit { Err(kind) } else { Ok(()) }
    }

    /// A piece of a body went by, in or out.
    pub(super) fn work(&mut self, bytes: usize) {
        let units = u32::try_from(bytes / WORK_BYTES).unwrap_or(u32::MAX);
        self.work = self.work.saturating_add(units.saturating_add(1));
    }

    /// An answer was begun.
    pub(super) fn answer(&mut self) {
        self.work = self.work.saturating_add(ANSWER_WORK);
    }
}

/// A level that rises by one each time and falls by one each period.
#[derive(Debug)]
pub(super) struct Leak {
    level: u32,
    since: Instant,
    period: Duration,
}

impl Leak {
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        Self { level: 0, since: now, period }
    }

    /// The level now.
    pub(super) fn level(&mut self, now: Instant) -> u32 {
        if self.level == 0 {
            return 0;
        }
        while self.level > 0 && now.saturating_duration_since(self.since) >= self.period {
            self.level -= 1;
            self.since += self.period;
        }
        self.level
    }

    /// Raises it.
    pub(super) fn rise(&mut self, now: Instant) {
        if self.level(now) == 0 {
            self.since = now;
        }
        self.level += 1;
    }

    /// Lowers it by one.
    pub(super) fn fall(&mut self) {
        self.level = self.level.saturating_sub(1);
    }
}
