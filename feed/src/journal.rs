//! A file of numbered, checksummed records behind a head of 64 bytes; replica and outbox are written in it.
//!
//! Records are only ever appended, each append in one `write`, so a kill at any moment leaves whole records
//! and at most one torn tail. A write that failed is cut off again. What a record says is the business of
//! the caller; so is when the disk must have it ([`Journal::unsynced`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError};

pub(crate) mod frame;
mod fuzzing;

pub(crate) use fuzzing::check_walk;

/// Bytes of the head that are the caller's.
pub(crate) const CALLER_BYTES: usize = 48;
/// Eight bytes that name the kind of file.
pub(crate) type Magic = [u8; 8];

/// Magic, format, the caller's bytes and a sum.
const HEAD_BYTES: usize = 64;
/// Where records begin.
const FIRST: u64 = HEAD_BYTES as u64;
/// Version of head and frame.
const FORMAT: u32 = 1;
/// Longest record: an HTTP answer of 64 MiB and its framing always fit.
const MAX_RECORD_BYTES: u32 = 80 * 1024 * 1024;

/// An open journal, locked for this process.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    magic: Magic,
    /// First byte after the last whole record.
    end: u64,
    /// How many records there are, hence the number of the next.
    count: u64,
    /// Whether a failed write may have left bytes beyond `end`.
    ragged: bool,
    unsynced: bool,
    /// Whether its name may be lost in a power cut.
    is_renamed: bool,
    /// Whether it is not in its place yet.
    is_draft: bool,
}

/// What the disk need not have yet of a journal: so that nobody waits for the disk while holding the journal.
#[derive(Debug)]
pub struct Unsynced {
    file: File,
    path: PathBuf,
    is_renamed: bool,
}

impl Unsynced {
    /// Waits until what was written outlives a power cut.
    ///
    /// # Errors
    /// [`DiskError`] names the file.
    pub fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(DiskError::io("sync", &self.path))?;
        if self.is_renamed {
            disk::sync_folder(&self.path);
        }
        Ok(())
    }
}

/// Reads records beside the journal that appends them.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    file: File,
}

/// A draft that failed gives its room on the disk back.
impl Drop for Journal {
    fn drop(&mut self) {
        if self.is_draft {
            let _ = std::fs::remove_file(draft_path(&self.path));
        }
    }
}

/// What lies at a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// No file, or one without a byte.
    Nothing,
    /// A file whose head cannot be read, and why.
    Unreadable(String),
    /// A journal, not scanned yet, and the caller's bytes of its head.
    Journal(Journal, [u8; CALLER_BYTES]),
}

/// How a scan ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After the last record.
    Whole,
    /// In the middle of the last record.
    Torn,
    /// At a record that is damaged, or that the caller refused: where and why.
    Damaged(String),
}

/// Where one record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    at: u64,
    number: u64,
    body: u32,
}

impl Place {
    /// The record's number in its file.
    pub(crate) fn number(self) -> u64 {
        self.number
    }

    /// Bytes that the record takes in the file.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.body) + frame::HEAD_BYTES as u64
    }
}

impl Journal {
    /// Opens and locks the journal at `path`. Nothing can be appended or read before [`Self::scan`].
    pub(crate) fn find(path: &Path, magic: Magic) -> Result<Found, DiskError> {
        let Some(file) = disk::open(path)? else { return Ok(Found::Nothing) };
        disk::lock(&file, path)?;
        Self::found(path, file, magic)
    }

    /// As [`Self::find`] without the lock, only to be scanned: another process may be appending, which looks
    /// like a torn tail.
    pub(crate) fn look(path: &Path, magic: Magic) -> Result<Found, DiskError> {
        let Some(file) = disk::open(path)? else { return Ok(Found::Nothing) };
        Self::found(path, file, magic)
    }

    fn found(path: &Path, file: File, magic: Magic) -> Result<Found, DiskError> {
        let length = file.metadata().map_err(DiskError::io("read", path))?.len();
        if length == 0 {
            return Ok(Found::Nothing);
        }
        if length < FIRST {
            return Ok(Found::Unreadable(format!("it has only {length} bytes")));
        }
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0).map_err(DiskError::io("read", path))?;
        Ok(match read_head(&head, magic) {
            Err(reason) => Found::Unreadable(reason),
            Ok(caller) => Found::Journal(Self::at(path, file, magic), caller),
        })
    }

    /// A new journal that takes the place of whatever is at `path` once it is [published](Self::publish).
    pub(crate) fn draft(path: &Path, magic: Magic, caller: &[u8; CALLER_BYTES]) -> Result<Self, DiskError> {
        let draft = draft_path(path);
        let file = disk::create(&draft)?;
        disk::lock(&file, &draft)?;
        let mut journal = Self::at(path, file, magic);
        journal.is_draft = true;
        journal.write_head(caller)?;
        Ok(journal)
    }

    /// Puts a finished draft in its place.
    pub(crate) fn publish(&mut self) -> Result<(), DiskError> {
        disk::replace(&self.file, &draft_path(&self.path), &self.path)?;
        (self.unsynced, self.is_draft) = (false, false);
        Ok(())
    }

    /// As [`Self::publish`] without waiting for the disk: [`Self::unsynced`] has the rest of it.
    pub(crate) fn publish_unsynced(&mut self) -> Result<(), DiskError> {
        disk::rename(&draft_path(&self.path), &self.path)?;
        (self.unsynced, self.is_renamed, self.is_draft) = (true, true, false);
        Ok(())
    }

    /// Reads every record in order and leaves the journal at the end of the last good one. `visit` may refuse
    /// a record by saying what is wrong with it.
    pub(crate) fn scan(
        &mut self,
        visit: impl FnMut(Place, &[u8]) -> Result<(), String>,
    ) -> Result<Ending, DiskError> {
        let failed = || DiskError::io("read", &self.path);
        let length = self.file.metadata().map_err(failed())?.len();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(FIRST)).map_err(failed())?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let walked = walk(&mut reader, length, visit).map_err(failed())?;
        (self.end, self.count) = (walked.end, walked.count);
        Ok(walked.ending)
    }

    /// Cuts off everything after the last good record.
    pub(crate) fn cut(&mut self) -> Result<(), DiskError> {
        self.file.set_len(self.end).map_err(DiskError::io("shorten", &self.path))?;
        self.ragged = false;
        Ok(())
    }

    /// Appends records in one write and tells where they lie. On an error none of them is in the journal.
    pub(crate) fn append<B: AsRef<[u8]>>(&mut self, bodies: &[B]) -> Result<Vec<Place>, DiskError> {
        if self.ragged {
            self.cut()?;
        }
        let mut places = Vec::with_capacity(bodies.len());
        let mut bytes = Vec::new();
        for (number, body) in (self.count..).zip(bodies) {
            let body = body.as_ref();
            let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_RECORD_BYTES);
            let at = self.end + bytes.len() as u64;
            match length {
                Some(length) if frame::write(number, body, &mut bytes) => {
                    places.push(Place { at, number, body: length });
                }
                _ => return Err(DiskError::io("write", &self.path)(io::ErrorKind::FileTooLarge.into())),
            }
        }
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            self.ragged = self.file.set_len(self.end).is_err();
            return Err(DiskError::io("write", &self.path)(error));
        }
        self.end += bytes.len() as u64;
        self.count += places.len() as u64;
        self.unsynced = true;
        Ok(places)
    }

    /// The body of a record.
    pub(crate) fn read(&self, place: Place) -> Result<Vec<u8>, DiskError> {
        read_at(&self.file, &self.path, place)
    }

    /// Reads beside this journal. It holds the lock with it.
    pub(crate) fn reader(&self) -> Result<Reader, DiskError> {
        Ok(Reader { path: self.path.clone(), file: self.handle()? })
    }

    /// Drops all records and notes the caller's bytes. The head reaches the disk before the records go.
    pub(crate) fn clear(&mut self, caller: &[u8; CALLER_BYTES]) -> Result<(), DiskError> {
        self.write_head(caller)?;
        self.file.sync_data().map_err(DiskError::io("sync", &self.path))?;
        (self.end, self.count, self.unsynced) = (FIRST, 0, true);
        self.ragged = true;
        self.cut()
    }

    /// What the disk need not have, if something was appended since the last call.
    pub(crate) fn unsynced(&mut self) -> Option<Unsynced> {
        if !self.unsynced {
            return None;
        }
        let file = self.file.try_clone().ok()?;
        self.unsynced = false;
        let is_renamed = std::mem::take(&mut self.is_renamed);
        Some(Unsynced { file, path: self.path.clone(), is_renamed })
    }

    /// A handle to sync.
    pub(crate) fn handle(&self) -> Result<File, DiskError> {
        self.file.try_clone().map_err(DiskError::io("open", &self.path))
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// How many records there are, hence the number of the next.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn at(path: &Path, file: File, magic: Magic) -> Self {
        let path = path.to_owned();
        Self {
            path,
            file,
            magic,
            end: FIRST,
            count: 0,
            ragged: false,
            unsynced: false,
            is_renamed: false,
            is_draft: false,
        }
    }

    fn write_head(&self, caller: &[u8; CALLER_BYTES]) -> Result<(), DiskError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&self.magic);
        head.extend_from_slice(&FORMAT.to_le_bytes());
        head.extend_from_slice(caller);
        head.extend_from_slice(&frame::sum(&[&head]).to_le_bytes());
        self.file.write_all_at(&head, 0).map_err(DiskError::io("write", &self.path))
    }
}

impl Reader {
    /// The body of a record.
    pub(crate) fn read(&self, place: Place) -> Result<Vec<u8>, DiskError> {
        read_at(&self.file, &self.path, place)
    }
}

fn read_at(file: &File, path: &Path, place: Place) -> Result<Vec<u8>, DiskError> {
    let failed = || DiskError::io("read", path);
    let mut head = [0; frame::HEAD_BYTES];
    file.read_exact_at(&mut head, place.at).map_err(failed())?;
    let mut body = vec![0; usize::try_from(place.body).unwrap_or_default()];
    file.read_exact_at(&mut body, place.at + head.len() as u64).map_err(failed())?;
    match frame::Head::read(place.number, &head) {
        Some(head) if head.length == place.body && head.fits(&body) => Ok(body),
        _ => Err(failed()(io::Error::new(io::ErrorKind::InvalidData, "it changed on the disk"))),
    }
}

/// What a walk over the records of a file found.
struct Walked {
    /// First byte after the last good record.
    end: u64,
    /// How many good records there are.
    count: u64,
    ending: Ending,
}

/// Reads records, from the first on, out of a file of `length` bytes whose head was read already.
fn walk(
    reader: &mut impl BufRead,
    length: u64,
    mut visit: impl FnMut(Place, &[u8]) -> Result<(), String>,
) -> io::Result<Walked> {
    let (mut end, mut count) = (FIRST, 0);
    let mut body = Vec::new();
    let ending = loop {
        let left = length.saturating_sub(end);
        if left == 0 {
            break Ending::Whole;
        }
        match read_record(reader, count, left, &mut body)? {
            Step::Torn => break Ending::Torn,
            Step::Damaged => break Ending::Damaged(format!("byte {end} is damaged")),
            Step::Record(length) => {
                let place = Place { at: end, number: count, body: length };
                if let Err(reason) = visit(place, &body) {
                    break Ending::Damaged(format!("the record at byte {end}: {reason}"));
                }
                end += place.bytes();
                count += 1;
            }
        }
    };
    Ok(Walked { end, count, ending })
}

enum Step {
    Record(u32),
    Torn,
    Damaged,
}

/// Reads the next record of at most `left` bytes into `body`.
fn read_record(reader: &mut impl BufRead, number: u64, left: u64, body: &mut Vec<u8>) -> io::Result<Step> {
    let mut head = [0; frame::HEAD_BYTES];
    let Some(left_after_head) = left.checked_sub(head.len() as u64) else { return Ok(Step::Torn) };
    reader.read_exact(&mut head)?;
    let Some(head) = frame::Head::read(number, &head).filter(|head| head.length <= MAX_RECORD_BYTES) else {
        // After a power cut a file may have grown without its bytes: a tail of zeros is a torn one.
        let zeros = head == [0; frame::HEAD_BYTES] && reader.bytes().all(|byte| matches!(byte, Ok(0)));
        return Ok(if zeros { Step::Torn } else { Step::Damaged });
    };
    if u64::from(head.length) > left_after_head {
        return Ok(Step::Torn);
    }
    body.resize(usize::try_from(head.length).unwrap_or_default(), 0);
    reader.read_exact(body)?;
    let is_last = u64::from(head.length) == left_after_head;
    Ok(match (head.fits(body), is_last) {
        (true, _) => Step::Record(head.length),
        (false, true) => Step::Torn,
        (false, false) => Step::Damaged,
    })
}

fn read_head(head: &[u8; HEAD_BYTES], magic: Magic) -> Result<[u8; CALLER_BYTES], String> {
    let damaged = || "its head is damaged".to_owned();
    let (kind, rest) = head.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (caller, rest) = rest.split_first_chunk::<CALLER_BYTES>().ok_or_else(damaged)?;
    if *kind != magic {
        return Err("it is not a file of this kind".to_owned());
    }
    let format = u32::from_le_bytes(*format);
    let summed =
        head.split_last_chunk::<4>().is_some_and(|(all, _)| frame::sum(&[all]).to_le_bytes() == *rest);
    if !summed {
        return Err(damaged());
    }
    if format != FORMAT {
        return Err(format!("it has format {format}, this stoa writes format {FORMAT}"));
    }
    Ok(*caller)
}

fn draft_path(path: &Path) -> PathBuf {
    disk::with_suffix(path, ".new")
}

#[cfg(test)]
mod tests;
