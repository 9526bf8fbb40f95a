//! The batches in the journal that the control plane does not have, oldest first.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use model::clock::SystemClock;
use model::id::EdgeId;
use model::usage::{UsageBatch, UsageRow};
use model::{Clock as _, Timestamp};

use crate::disk;
use crate::journal::{Ending, Found, Journal, Magic, Place, Unsynced};
use crate::usage::record::{Record, decode, head, next_of};
use crate::usage::{BATCH_ROWS, OutboxError, merge};

const MAGIC: Magic = *b"STOAUSGE";
/// How many numbers one [`Record::Sending`] covers: one wait for the disk in so many batches.
const SENDING: u64 = 8;
/// With nothing left to send, a journal of more is emptied.
const CLEAR_FROM_BYTES: u64 = 64 << 10;

/// The batches not done yet, and the journal they stand in.
#[derive(Debug)]
pub(super) struct Queue {
    path: PathBuf,
    edge: EdgeId,
    journal: Journal,
    waiting: VecDeque<Waiting>,
    /// The number of the next batch.
    next: u64,
    /// The number in the newest [`Record::Sending`] that was written.
    announced: u64,
    /// The same of those that the disk has for certain.
    sending: u64,
    /// Journal length below which summing up is not tried again, because it would not help.
    merge_from: u64,
}

/// One batch in the journal.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    sequence: u64,
    place: Place,
    /// Whether it may have been sent before the start: it keeps number and content.
    doubtful: bool,
}

/// What must be on the disk before a batch is sent.
#[derive(Debug)]
pub(super) struct Fence {
    file: File,
    sending: u64,
}

impl Fence {
    /// Waits for the disk.
    pub(super) fn wait(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

impl Queue {
    /// Opens or begins a journal; the text is for the operator, if something was wrong with the file.
    pub(super) fn open(
        path: &Path,
        edge: EdgeId,
        now: Timestamp,
    ) -> Result<(Self, Option<String>), OutboxError> {
        disk::make_folder(path)?;
        let first = now.unix_millis_unsigned().max(1);
        let (journal, next) = match Journal::find(path, MAGIC)? {
            Found::Nothing => return Ok((Self::begin(path, edge, first)?, None)),
            Found::Unreadable(reason) => {
                let aside = disk::set_aside(path, SystemClock.now())?;
                let note = format!(
                    "the usage journal `{}` cannot be used: {reason}; it was kept as `{}`, and what it held is \
                     not sent",
                    path.display(),
                    aside.display()
                );
                return Ok((Self::begin(path, edge, first)?, Some(note)));
            }
            Found::Journal(journal, head) => (journal, first.max(next_of(&head))),
        };
        let mut queue = Self::empty(path, edge, journal, next);
        let note = queue.load()?;
        queue.clear_if_done()?;
        Ok((queue, note))
    }

    /// Writes rows down as one or more batches, in one write.
    pub(super) fn push(&mut self, rows: &[UsageRow], cap_bytes: u64) -> Result<(), OutboxError> {
        let batches: Vec<Record> = (self.next..)
            .zip(rows.chunks(BATCH_ROWS))
            .map(|(sequence, rows)| {
                Record::Batch(UsageBatch { edge: self.edge, sequence, rows: rows.to_vec() })
            })
            .collect();
        let encoded = encode(&batches)?;
        let more: u64 = encoded.iter().map(|record| record.len() as u64).sum();
        if self.journal.bytes().saturating_add(more) > cap_bytes {
            return self.merge_and_push(rows, more, cap_bytes);
        }
        self.append(&batches, &encoded)
    }

    /// The oldest batch that is not done, and what to [wait](Fence::wait) for before it is sent.
    pub(super) fn oldest(&mut self) -> Result<Option<(UsageBatch, Option<Fence>)>, OutboxError> {
        let Some(oldest) = self.waiting.front().copied() else { return Ok(None) };
        let batch = self.read(oldest)?;
        if oldest.sequence <= self.sending {
            return Ok(Some((batch, None)));
        }
        if oldest.sequence > self.announced {
            let announced = oldest.sequence.saturating_add(SENDING - 1);
            self.journal.append(&encode(&[Record::Sending(announced)])?)?;
            self.announced = announced;
        }
        Ok(Some((batch, Some(Fence { file: self.journal.handle()?, sending: self.announced }))))
    }

    /// Notes that a fence was waited for.
    pub(super) fn passed(&mut self, fence: &Fence) {
        self.sending = self.sending.max(fence.sending);
    }

    /// Notes that the oldest batch is done, if it is still the one of this number.
    pub(super) fn done(&mut self, sequence: u64) -> Result<(), OutboxError> {
        if self.waiting.front().is_none_or(|oldest| oldest.sequence != sequence) {
            return Ok(());
        }
        self.journal.append(&encode(&[Record::Done(sequence)])?)?;
        if let Some(done) = self.waiting.pop_front() {
            self.merge_from = self.merge_from.saturating_sub(done.place.bytes());
        }
        self.clear_if_done()
    }

    pub(super) fn pending(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// See [`Journal::unsynced`].
    pub(super) fn unsynced(&mut self) -> Option<Unsynced> {
        self.journal.unsynced()
    }

    /// Sums up what was never sent, as far as it takes, and pushes the rows.
    fn merge_and_push(&mut self, rows: &[UsageRow], more: u64, cap_bytes: u64) -> Result<(), OutboxError> {
        let full = OutboxError::Full { cap_bytes };
        if self.journal.bytes() < self.merge_from {
            return Err(full);
        }
        let before = self.journal.bytes();
        self.merge(cap_bytes / 2)?;
        let after = self.journal.bytes();
        tracing::warn!(before, after, cap_bytes, "usage journal was summed up: the control plane is away");
        self.merge_from = after.saturating_add(cap_bytes / 8);
        if after.saturating_add(more) > cap_bytes {
            return Err(full);
        }
        // The numbers have moved on.
        self.push(rows, u64::MAX)
    }

    /// Writes the journal anew with sums, of at most `goal_bytes` if that can be done.
    fn merge(&mut self, goal_bytes: u64) -> Result<(), OutboxError> {
        let mut kept = Vec::new();
        let mut sums = merge::Sums::default();
        for (at, waiting) in self.waiting.iter().enumerate() {
            let batch = self.read(*waiting)?;
            match waiting.doubtful {
                true => kept.push(Record::Doubtful(batch)),
                // The oldest may be on its way.
                false if at == 0 => kept.push(Record::Batch(batch)),
                false => sums.add(&batch.rows),
            }
        }
        let kept_bytes: usize = encode(&kept)?.iter().map(Vec::len).sum();
        let goal_bytes = usize::try_from(goal_bytes).unwrap_or(usize::MAX).saturating_sub(kept_bytes);
        let rows = sums.within(goal_bytes)?;
        let merged = (self.next..).zip(rows.chunks(BATCH_ROWS)).map(|(sequence, rows)| {
            Record::Batch(UsageBatch { edge: self.edge, sequence, rows: rows.to_vec() })
        });
        kept.extend(merged);
        self.rewrite(&kept)
    }

    /// Puts a journal with these records in the place of this one.
    fn rewrite(&mut self, records: &[Record]) -> Result<(), OutboxError> {
        let journal = Journal::draft(&self.path, MAGIC, &head(self.next))?;
        let mut fresh = Self::empty(&self.path, self.edge, journal, self.next);
        let announced = [Record::Sending(self.announced)];
        for records in std::iter::once(announced.as_slice()).chain(records.chunks(16)) {
            fresh.append(records, &encode(records)?)?;
        }
        fresh.journal.publish()?;
        fresh.sending = fresh.announced;
        *self = fresh;
        Ok(())
    }

    fn append(&mut self, records: &[Record], encoded: &[Vec<u8>]) -> Result<(), OutboxError> {
        let places = self.journal.append(encoded)?;
        for (record, place) in records.iter().zip(places) {
            self.note(record, place);
        }
        Ok(())
    }

    fn note(&mut self, record: &Record, place: Place) {
        let (batch, doubtful) = match record {
            Record::Batch(batch) => (batch, false),
            Record::Doubtful(batch) => (batch, true),
            Record::Sending(sending) => {
                self.announced = *sending;
                return;
            }
            Record::Done(sequence) => {
                if let Ok(at) = self.waiting.binary_search_by_key(sequence, |waiting| waiting.sequence) {
                    self.waiting.remove(at);
                }
                return;
            }
        };
        self.next = self.next.max(batch.sequence.saturating_add(1));
        self.waiting.push_back(Waiting { sequence: batch.sequence, place, doubtful });
    }

    fn read(&self, waiting: Waiting) -> Result<UsageBatch, OutboxError> {
        let bytes = self.journal.read(waiting.place)?;
        match serde_json::from_slice(&bytes)? {
            Record::Batch(batch) | Record::Doubtful(batch) => Ok(batch),
            // A place in `waiting` is that of a batch.
            Record::Done(sequence) | Record::Sending(sequence) => {
                Ok(UsageBatch { edge: self.edge, sequence, rows: Vec::new() })
            }
        }
    }

    fn load(&mut self) -> Result<Option<String>, OutboxError> {
        let mut records = Vec::new();
        let ending = self.journal.scan(|place, bytes| {
            records.push((place, without_rows(decode(bytes)?)));
            Ok(())
        })?;
        for (place, record) in records {
            self.note(&record, place);
        }
        for waiting in &mut self.waiting {
            waiting.doubtful |= waiting.sequence <= self.announced;
        }
        match ending {
            Ending::Whole => Ok(None),
            Ending::Torn => {
                self.journal.cut()?;
                Ok(Some(format!(
                    "the usage journal `{}` ended in the middle of a record, as after a kill or a full disk; the \
                     record was cut off",
                    self.path.display()
                )))
            }
            Ending::Damaged(reason) => {
                let aside = disk::set_aside(&self.path, SystemClock.now())?;
                let batches: Result<Vec<_>, _> =
                    self.waiting.iter().map(|waiting| self.read(*waiting)).collect();
                let records: Vec<Record> = batches?.into_iter().map(Record::Doubtful).collect();
                self.rewrite(&records)?;
                Ok(Some(format!(
                    "the usage journal `{}` is damaged: {reason}; it was kept as `{}`, and the {} batches from \
                     before the damage are sent",
                    self.path.display(),
                    aside.display(),
                    self.waiting.len()
                )))
            }
        }
    }

    fn clear_if_done(&mut self) -> Result<(), OutboxError> {
        if self.waiting.is_empty() && self.journal.bytes() > CLEAR_FROM_BYTES {
            self.journal.clear(&head(self.next))?;
            (self.announced, self.sending, self.merge_from) = (0, 0, 0);
        }
        Ok(())
    }

    fn begin(path: &Path, edge: EdgeId, next: u64) -> Result<Self, OutboxError> {
        let mut journal = Journal::draft(path, MAGIC, &head(next))?;
        journal.publish()?;
        Ok(Self::empty(path, edge, journal, next))
    }

    fn empty(path: &Path, edge: EdgeId, journal: Journal, next: u64) -> Self {
        Self {
            path: path.to_owned(),
            edge,
            journal,
            waiting: VecDeque::new(),
            next,
            announced: 0,
            sending: 0,
            merge_from: 0,
        }
    }
}

fn encode(records: &[Record]) -> Result<Vec<Vec<u8>>, OutboxError> {
    records.iter().map(|record| Ok(serde_json::to_vec(record)?)).collect()
}

/// What must be remembered of a record while the whole journal is read.
fn without_rows(record: Record) -> Record {
    let bare = |batch: UsageBatch| UsageBatch { rows: Vec::new(), ..batch };
    match record {
        Record::Batch(batch) => Record::Batch(bare(batch)),
        Record::Doubtful(batch) => Record::Doubtful(bare(batch)),
        Record::Sending(_) | Record::Done(_) => record,
    }
}
