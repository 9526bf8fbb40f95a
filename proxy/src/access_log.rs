//! The access log: one JSON object a request, written by a thread of its own.
//!
//! A request never waits for a disk: if the writer is behind by [`QUEUE_BYTES`], lines are lost, and counted.
//! Deliberately absent: query strings and header fields other than `User-Agent`, which hold secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Timestamp;
use model::id::{AppId, RequestId, TenantId};

use crate::metrics::Metrics;
use crate::settings::AccessLog;

mod line;

/// Most bytes that may wait: some 8,000 lines.
const QUEUE_BYTES: usize = 4 << 20;
/// From so many waiting bytes on, the writer does not wait any longer.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest time that a line waits for the writer.
const PAUSE: Duration = Duration::from_millis(100);
/// A file is put aside at so many bytes.
const ROTATE_BYTES: u64 = 64 << 20;
/// Files put aside.
const KEPT_FILES: u32 = 4;
/// One request.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) time: Timestamp,
    pub(crate) request_id: RequestId,
    pub(crate) connection: u64,
    pub(crate) client: Option<IpAddr>,
    /// Who connected, if somebody else than the client.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) scheme: &'static str,
    pub(crate) host: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) refusal: Option<&'static str>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) app: Option<AppId>,
    pub(crate) backend: Option<&'a str>,
    /// How a second request to another backend ended; absent without one.
    pub(crate) hedged: Option<&'static str>,
    pub(crate) ttfb: Option<Duration>,
    pub(crate) total: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) protocol: &'static str,
    pub(crate) sni: Option<&'a str>,
    pub(crate) tls_version: Option<&'static str>,
    pub(crate) ja4: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
}

/// Lines on their way to the writer.
#[derive(Debug, Default)]
struct Pending {
    /// Whole lines.
    bytes: Vec<u8>,
    is_closed: bool,
}

/// What requests and the writer share. A request adds its line and goes on: it wakes the writer only when
/// much waits, because a wake-up costs more than the line.
#[derive(Debug, Default)]
struct Queue {
    pending: Mutex<Pending>,
    wake: Condvar,
    /// Lines that the writer could not write and no metric has yet.
    lost: AtomicU64,
}

impl Queue {
    /// A panic elsewhere leaves whole lines: each is added in one step.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; false if too much waits already.
    fn add(&self, line: &[u8]) -> bool {
        let mut pending = self.lock();
        let (before, after) = (pending.bytes.len(), pending.bytes.len() + line.len());
        if pending.is_closed || after > QUEUE_BYTES {
            return false;
        }
        pending.bytes.extend_from_slice(line);
        drop(pending);
        if before < CHUNK_BYTES && after >= CHUNK_BYTES {
            self.wake.notify_one();
        }
        true
    }

    /// Waits until much waits, or for [`PAUSE`], and takes what is there in exchange for `empty`.
    fn take(&self, empty: Vec<u8>) -> (Vec<u8>, bool) {
        let patient = |pending: &mut Pending| pending.bytes.len() < CHUNK_BYTES && !pending.is_closed;
        let waited = self.wake.wait_timeout_while(self.lock(), PAUSE, patient);
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::replace(&mut pending.bytes, empty), pending.is_closed)
    }
}

/// Where requests put their lines.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Option<Arc<Queue>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// If the file cannot be opened, or no thread can be started.
    pub(crate) fn open(target: &AccessLog) -> io::Result<Self> {
        let output = match target {
            AccessLog::Off => return Ok(Self { queue: None, writer: Mutex::new(None) }),
            AccessLog::Stdout => Output::Stdout,
            AccessLog::File(path) => Output::File(Rotated::open(path)?),
        };
        let queue = Arc::new(Queue::default());
        let lines = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("stoa-access-log".to_owned())
            .spawn(move || run(output, &lines))?;
        Ok(Self { queue: Some(queue), writer: Mutex::new(Some(writer)) })
    }

    /// Whether it goes anywhere.
    pub(crate) fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Puts a line into the queue, or counts it as lost.
    pub(crate) fn write(&self, entry: &Entry<'_>, metrics: &Metrics) {
        let Some(queue) = &self.queue else { return };
        let mut line = Vec::with_capacity(640);
        line::write(entry, &mut line);
        if !queue.add(&line) {
            metrics.log_dropped.inc();
        }
        if queue.lost.load(Relaxed) > 0 {
            metrics.log_dropped.inc_by(queue.lost.swap(0, Relaxed));
        }
    }

    /// Writes what is in the queue and ends the writer. Blocks for as long as the disk takes.
    pub(crate) fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(queue), Some(writer)) = (&self.queue, writer) {
            queue.lock().is_closed = true;
            queue.wake.notify_one();
            // An error means that the writer panicked; its last lines are lost with it.
            let _ended = writer.join();
        }
    }
}

enum Output {
    Stdout,
    File(Rotated),
}

impl Output {
    /// Writes whole lines. Tells how many bytes were written, and what kept the rest from it.
    fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        match self {
            Self::Stdout => {
                let mut output = io::stdout().lock();
                let (written, result) = write_all(&mut output, lines);
                (written, result.and_then(|()| output.flush()))
            }
            Self::File(file) => file.write(lines),
        }
    }
}

/// Writes until it is told to end.
fn run(mut output: Output, queue: &Queue) {
    let (mut lines, mut was_told) = (Vec::new(), false);
    loop {
        lines.clear();
        let is_closed;
        (lines, is_closed) = queue.take(lines);
        if !lines.is_empty() {
            let (written, result) = output.write(&lines);
            let unwritten = lines.get(written..).unwrap_or_default();
            queue.lost.fetch_add(count_lines(unwritten), Relaxed);
            note(result, &mut was_told);
        }
        if is_closed {
            return;
        }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Logs the first of several failures in a row, and their end.
fn note(result: io::Result<()>, was_told: &mut bool) {
    match result {
        Ok(()) => {
            if std::mem::take(was_told) {
                tracing::info!("access log is written again");
            }
        }
        Err(error) if !*was_told => {
            *was_told = true;
            tracing::error!(%error, "access log cannot be written: lines are lost");
        }
        Err(_) => {}
    }
}

/// As [`Write::write_all`], telling how far it came.
fn write_all(output: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match output.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// A file that is put aside when it is large. Two processes may append to it for a while, when one takes the place of
/// the other: each write is of whole lines, and only one of them puts it aside.
struct Rotated {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Whether the last line in it is not whole, as after a full disk.
    is_torn: bool,
}

impl Rotated {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, is_torn: false })
    }

    fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let is_large = self.bytes > 0 && self.bytes.saturating_add(length) > ROTATE_BYTES;
        if is_large && let Err(error) = self.put_aside() {
            return (0, Err(error));
        }
        if self.is_torn {
            if let Err(error) = self.file.write_all(b"\n") {
                return (0, Err(error));
            }
            self.is_torn = false;
        }
        let (written, result) = write_all(&mut self.file, lines);
        self.bytes = self.bytes.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        self.is_torn = lines.get(..written).and_then(<[u8]>::last).is_some_and(|last| *last != b'\n');
        (written, result)
    }

    /// Puts the file aside, unless another process has done so already.
    fn put_aside(&mut self) -> io::Result<()> {
        let own = self.file.try_clone()?;
        own.lock()?;
        let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
        let is_there = std::fs::metadata(&self.path)
            .is_ok_and(|found| own.metadata().is_ok_and(|own| identity(own) == identity(found)));
        // The lock goes with the last handle of the file.
        if is_there { self.rotate() } else { self.reopen() }
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..KEPT_FILES).rev() {
            let (from, to) = (self.aside(number), self.aside(number + 1));
            if from.exists() {
                std::fs::rename(from, to)?;
            }
        }
        std::fs::rename(&self.path, self.aside(1))?;
        self.reopen()
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user_agent: &str) -> Entry<'_> {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        Entry {
            time: now,
            request_id: RequestId::generate(now),
            connection: 1,
            client: Some(IpAddr::from([192, 0, 2, 1])),
            peer: None,
            scheme: "https",
            host: Some("a.test"),
            method: "GET",
            path: "/\"\n",
            status: 200,
            refusal: None,
            reason: None,
            tenant: None,
            app: None,
            backend: None,
            hedged: None,
            ttfb: Some(Duration::from_micros(1_500)),
            total: Duration::from_millis(2),
            bytes_in: 0,
            bytes_out: 5,
            protocol: "h2",
            sni: Some("a.test"),
            tls_version: Some("TLSv1_3"),
            ja4: None,
            user_agent: Some(user_agent),
        }
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_visitor_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = Log::open(&AccessLog::File(path.clone())).unwrap();
        log.write(&entry(&"\u{e9}".repeat(200)), &Metrics::new());
        log.write(&entry("curl"), &Metrics::new());
        log.close();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["user_agent"], "\u{e9}".repeat(128));
        assert_eq!(lines[1]["ttfb_ms"], 1.5);
        assert_eq!(lines[1]["path"], "/\"\n");
        assert_eq!(lines[1]["time"], "2027-01-15T08:00:00.000Z");
    }

    #[test]
    fn a_large_file_is_put_aside_and_four_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut file = Rotated::open(&path).unwrap();
        for number in 0..7 {
            file.write(format!("{number}\n").as_bytes()).1.unwrap();
            file.rotate().unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("access.log"), Some(String::new()));
        assert_eq!(read("access.log.1"), Some("6\n".to_owned()));
        assert_eq!(read("access.log.4"), Some("3\n".to_owned()));
        assert_eq!(read("access.log.5"), None);
    }

    #[test]
    fn two_processes_put_a_file_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (mut old, mut new) = (Rotated::open(&path).unwrap(), Rotated::open(&path).unwrap());
        old.write(b"one\n").1.unwrap();
        for writer in [&mut old, &mut new] {
            writer.bytes = ROTATE_BYTES;
            writer.write(b"two\n").1.unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("access.log").as_deref(), Some("two\ntwo\n"));
        assert_eq!(read("access.log.1").as_deref(), Some("one\n"));
        assert_eq!(read("access.log.2"), None);
    }

    #[test]
    fn a_full_disk_costs_lines_which_are_counted_and_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut file = Rotated::open(&path).unwrap();
        file.write(b"whole\n").1.unwrap();
        let disk =
            std::mem::replace(&mut file.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert_eq!(file.write(b"lost\n").0, 0);
        file.file = disk;
        // Half a line came through before the disk was full.
        assert_eq!(file.write(b"ha").0, 2);
        file.write(b"next\n").1.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nha\nnext\n");
        assert_eq!(count_lines(b"a\nb\nc"), 2);
    }

    #[test]
    fn lines_that_the_disk_did_not_take_are_in_the_metric() {
        let log = Log::open(&AccessLog::File("/dev/full".into())).unwrap();
        let metrics = Metrics::new();
        log.write(&entry("one"), &metrics);
        log.close();
        // This one is too late, and brings the other's number along.
        log.write(&entry("two"), &metrics);
        assert_eq!(metrics.log_dropped.get(), 2);
    }

    #[test]
    fn a_line_too_many_is_counted_not_waited_for() {
        let queue = Arc::new(Queue::default());
        let log = Log { queue: Some(Arc::clone(&queue)), writer: Mutex::new(None) };
        let metrics = Metrics::new();
        log.write(&entry("one"), &metrics);
        let one = queue.take(vec![b'x'; QUEUE_BYTES]).0;
        log.write(&entry("two"), &metrics);
        assert_eq!(metrics.log_dropped.get(), 1);
        assert!(one.ends_with(b"}\n"));
    }
}
