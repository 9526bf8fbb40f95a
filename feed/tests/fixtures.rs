//! A control plane and an edge's memory, both in memory, with faults on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use feed::{ApplyError, Origin, OriginError, Sink};
use model::Timestamp;
use model::acme::{Challenge, ChallengeKind, Token};
use model::change::{Batch, Change, Lineage, Object, ObjectId, Revision};
use model::edge::EdgeReport;
use model::usage::{Counters, UsageBatch, UsageKey};
use tokio::sync::Notify;

/// Name of the `n`-th object.
pub(crate) fn id(n: u8) -> ObjectId {
    ObjectId::Challenge(token(n))
}

/// The `n`-th object with some content.
pub(crate) fn object(n: u8, content: &str) -> Object {
    Object::Challenge(Challenge {
        kind: ChallengeKind::Http01,
        token: token(n),
        host: model::Host::parse("a.example").unwrap(),
        key_authorization: content.to_owned(),
        expires_at: Timestamp::from_unix_millis(0),
    })
}

fn token(n: u8) -> Token {
    Token::parse(&format!("object-{n}")).unwrap()
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, and an error comes back.
    Lost,
    /// It is done, but an error comes back.
    AnswerLost,
    /// It is refused.
    Refused,
}

/// A control plane.
#[derive(Debug, Default)]
pub(crate) struct MemoryOrigin {
    state: Mutex<Plane>,
    changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Plane {
    pub(crate) generation: u32,
    pub(crate) head: u64,
    /// An edge that is behind this must begin anew.
    pub(crate) horizon: u64,
    pub(crate) log: BTreeMap<ObjectId, (u64, Option<Object>)>,
    /// Changes of one answer.
    pub(crate) page: usize,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) reports: Vec<EdgeReport>,
    pub(crate) taken: BTreeSet<(String, u64)>,
    pub(crate) usage: BTreeMap<UsageKey, Counters>,
    /// Where an edge stands that is in the middle of a reset.
    reset_at: Option<u64>,
}

impl MemoryOrigin {
    pub(crate) fn new(page: usize) -> Self {
        let origin = Self::default();
        origin.plane().page = page;
        origin
    }

    pub(crate) fn plane(&self) -> MutexGuard<'_, Plane> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, n: u8, content: Option<&str>) {
        let mut plane = self.plane();
        plane.head += 1;
        let entry = (plane.head, content.map(|content| object(n, content)));
        plane.log.insert(id(n), entry);
        self.changed.notify_one();
    }

    /// Restored from a backup, as it were: the same objects under other revisions.
    pub(crate) fn begin_anew(&self) {
        let mut plane = self.plane();
        plane.generation += 1;
        let objects: Vec<_> = std::mem::take(&mut plane.log).into_iter().collect();
        (plane.head, plane.horizon, plane.reset_at) = (0, 0, None);
        for (id, (_, object)) in objects.into_iter().filter(|(_, (_, object))| object.is_some()) {
            plane.head += 1;
            let revision = plane.head;
            plane.log.insert(id, (revision, object));
        }
    }

    /// Forgets what is gone. An edge in the middle of a reset begins it anew: it may have been told of what went since.
    pub(crate) fn purge(&self) {
        let mut plane = self.plane();
        (plane.horizon, plane.reset_at) = (plane.head, None);
        plane.log.retain(|_, (_, object)| object.is_some());
    }

    pub(crate) fn objects(&self) -> BTreeMap<ObjectId, Object> {
        let plane = self.plane();
        let live = plane.log.iter().filter_map(|(id, (_, object))| Some((id.clone(), object.clone()?)));
        live.collect()
    }

    fn fault(&self) -> Option<Fault> {
        self.plane().faults.pop_front()
    }
}

impl Plane {
    fn lineage(&self) -> Lineage {
        Lineage(format!("generation-{}", self.generation))
    }

    fn answer(&mut self, lineage: &Lineage, after: u64) -> Batch {
        let goes_on = *lineage == self.lineage() && after <= self.head;
        let in_reset = goes_on && self.reset_at == Some(after);
        let reset = in_reset || !goes_on || after < self.horizon;
        let after = if reset && !in_reset { 0 } else { after };
        let mut changes: Vec<Change> = self
            .log
            .iter()
            .filter(|(_, (revision, _))| *revision > after)
            .map(|(id, (revision, object))| Change {
                revision: Revision(*revision),
                id: id.clone(),
                object: object.clone(),
            })
            .collect();
        changes.sort_by_key(|change| change.revision);
        let more = changes.len() > self.page;
        changes.truncate(self.page);
        let last = changes.last().map_or(after, |change| change.revision.0);
        let next = if more { last } else { self.head };
        self.reset_at = (reset && more).then_some(next);
        Batch { lineage: self.lineage(), reset, more, next: Revision(next), changes }
    }
}

fn lost() -> OriginError {
    OriginError::Unavailable("the cable was cut".to_owned())
}

#[async_trait]
impl Origin for MemoryOrigin {
    async fn changes(
        &self,
        lineage: &Lineage,
        after: Revision,
        wait: Duration,
    ) -> Result<Batch, OriginError> {
        match self.fault() {
            Some(Fault::Lost | Fault::AnswerLost) => return Err(lost()),
            Some(Fault::Refused) => return Err(OriginError::Refused("the key was revoked".to_owned())),
            None => {}
        }
        let answer = self.plane().answer(lineage, after.0);
        if !answer.changes.is_empty() || answer.reset || answer.more {
            return Ok(answer);
        }
        let _ = tokio::time::timeout(wait, self.changed.notified()).await;
        Ok(self.plane().answer(lineage, after.0))
    }

    async fn usage(&self, batch: &UsageBatch) -> Result<(), OriginError> {
        let fault = self.fault();
        match fault {
            Some(Fault::Lost) => return Err(lost()),
            Some(Fault::Refused) => return Err(OriginError::Refused("no such tenant".to_owned())),
            Some(Fault::AnswerLost) | None => {}
        }
        let mut plane = self.plane();
        if plane.taken.insert((batch.edge.to_string(), batch.sequence)) {
            for row in &batch.rows {
                plane.usage.entry(row.key).or_default().add(row.counters);
            }
        }
        if fault.is_some() { Err(lost()) } else { Ok(()) }
    }

    async fn report(&self, report: &EdgeReport) -> Result<(), OriginError> {
        self.plane().reports.push(report.clone());
        Ok(())
    }
}

/// An edge's memory.
#[derive(Debug, Default)]
pub(crate) struct MemorySink {
    objects: Mutex<BTreeMap<ObjectId, Object>>,
    /// An object that is never taken.
    refuses: Option<ObjectId>,
}

impl MemorySink {
    pub(crate) fn that_refuses(id: ObjectId) -> Self {
        Self { refuses: Some(id), ..Self::default() }
    }

    pub(crate) fn objects(&self) -> BTreeMap<ObjectId, Object> {
        self.objects.lock().unwrap().clone()
    }
}

impl Sink for MemorySink {
    fn apply(&self, change: &Change) -> Result<(), ApplyError> {
        let id = change.id.clone();
        if self.refuses.as_ref() == Some(&id) {
            return Err(ApplyError { id, revision: change.revision, reason: "no".to_owned() });
        }
        let mut objects = self.objects.lock().unwrap();
        match &change.object {
            Some(object) => objects.insert(id, object.clone()),
            None => objects.remove(&id),
        };
        Ok(())
    }

    fn retain(&self, known: &BTreeSet<ObjectId>) {
        self.objects.lock().unwrap().retain(|id, _| known.contains(id));
    }
}
