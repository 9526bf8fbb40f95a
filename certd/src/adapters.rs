//! "Connect for me": records that Stoa sets at a DNS provider itself, shown before, and taken back on request.
//!
//! A [`Zone`] is one zone at one provider. Each adapter knows how its provider is asked to read some names and
//! to exchange some record sets; what that means for a domain, what must never be touched and how it is taken
//! back is decided in one place for all of them (`plan`, `undo`). Addresses and aliases at a wanted name are replaced,
//! texts are added beside those of others, everything else is left alone. dns-01 (RFC 8555 §8.4) writes and
//! takes away its texts by the same adapters. Deliberately absent: storing credentials.

mod account;
mod api;
mod challenge;
mod cloudflare;
mod digitalocean;
mod error;
mod plan;
mod powerdns;
mod record;
mod rfc2136;
mod text;
mod undo;

use async_trait::async_trait;
use model::Host;

pub use account::{Account, open, open_guarded};
pub use challenge::{Proof, ProofError, Proofs, WAIT, text_of};
pub use cloudflare::Cloudflare;
pub use digitalocean::DigitalOcean;
pub use error::{AdapterError, Fault, Interrupted, Provider};
pub use plan::{Apex, Change, Obstacle, Plan};
pub use powerdns::PowerDns;
pub use record::{Content, NameError, Record, RecordName};
pub use rfc2136::{Algorithm, Key, Rfc2136};
pub use undo::{Applied, Extent, Left};

/// How often a text is added or taken away anew when others write at the same name at the same time.
const TRIES: usize = 8;

/// One zone at one provider.
#[async_trait]
pub trait Zone: Send + Sync + std::fmt::Debug + 'static {
    /// The zone's own name.
    fn zone(&self) -> &Host;

    /// Who runs it.
    fn provider(&self) -> Provider;

    /// Whether an alias may stand at the zone's own name.
    fn apex(&self) -> Apex {
        Apex::Plain
    }

    /// Every record at these names, of whatever type.
    ///
    /// # Errors
    /// [`AdapterError`] tells what to do.
    async fn records(&self, names: &[RecordName]) -> Result<Vec<Record>, AdapterError>;

    /// Brings each record set from what it was to what it shall be. In one step where the provider has such a
    /// thing; else what is taken away goes first.
    ///
    /// # Errors
    /// [`AdapterError`]; a provider without transactions may have done a part.
    async fn exchange(&self, changes: &[Change]) -> Result<(), AdapterError>;

    /// What the zone must be changed by so that `wanted` is there. Changes nothing.
    ///
    /// # Errors
    /// [`AdapterError`] if the zone cannot be read.
    async fn preview(&self, wanted: &[Record]) -> Result<Plan, AdapterError> {
        let found = self.records(&plan::read_for(self.zone(), wanted)).await?;
        Ok(plan::make(self.zone(), self.apex(), wanted, &found))
    }

    /// Does what a preview has shown, if the zone still is as it was then. Providers without a way to say so in
    /// the same step leave a moment between the look and the change.
    ///
    /// # Errors
    /// [`Interrupted`]; [`Fault::Changed`] and [`Fault::Blocked`] mean that nothing was done.
    async fn apply(&self, plan: &Plan) -> Result<Applied, Interrupted> {
        let nothing_done = |error| Interrupted { error, remains: Vec::new() };
        if let Some(obstacle) = plan.obstacles.first() {
            return Err(nothing_done(self.fails(Fault::Blocked(Box::new(obstacle.clone())))));
        }
        let found = self.records(&plan.names()).await.map_err(nothing_done)?;
        if let Some(what) = plan.overtaken_by(&found) {
            return Err(nothing_done(self.fails(Fault::Changed { what })));
        }
        let applied = plan.applied();
        match self.exchange(&plan.changes).await {
            Ok(()) => Ok(applied),
            Err(error) => Err(Interrupted { remains: self.remains(&applied).await, error }),
        }
    }

    /// Takes back what was applied, in whole or in part; doing it twice does no harm. Gives what was left alone
    /// because others have changed it since.
    ///
    /// # Errors
    /// [`Interrupted`] says what remains; the same call goes on from there.
    async fn undo(&self, applied: &Applied) -> Result<Vec<Left>, Interrupted> {
        let unknown = |error| Interrupted { error, remains: applied.changes.clone() };
        let found = self.records(&plan::names(&applied.changes)).await.map_err(unknown)?;
        let (back, left) = undo::reverse(applied, self.apex(), &found);
        if back.is_empty() {
            return Ok(left);
        }
        match self.exchange(&back).await {
            Ok(()) => Ok(left),
            Err(error) => Err(Interrupted { remains: self.remains(applied).await, error }),
        }
    }

    /// What an undo should leave alone because others have changed it since. Changes nothing. Where the whole of the
    /// change was set, what is missing of it was taken away by somebody on purpose.
    ///
    /// # Errors
    /// [`AdapterError`] if the zone cannot be read.
    async fn left_by_undo(&self, applied: &Applied, was_set: Extent) -> Result<Vec<Left>, AdapterError> {
        let found = self.records(&plan::names(&applied.changes)).await?;
        let mut left = undo::reverse(applied, self.apex(), &found).1;
        if was_set == Extent::Whole {
            let new = undo::given_up(applied, &found).into_iter();
            let new: Vec<Left> = new.filter(|new| !left.iter().any(|old| old.change == new.change)).collect();
            left.extend(new);
        }
        Ok(left)
    }

    /// How much of what was to be applied is in the zone.
    ///
    /// # Errors
    /// [`AdapterError`] if the zone cannot be read.
    async fn extent(&self, applied: &Applied) -> Result<Extent, AdapterError> {
        Ok(applied.extent_in(&self.records(&plan::names(&applied.changes)).await?))
    }

    /// Adds a text at a name beside those that are there. There already: nothing is done.
    ///
    /// # Errors
    /// [`AdapterError`]; [`Fault::Changed`] if others write there all the time.
    async fn append_text(&self, name: &RecordName, text: &str, ttl: u32) -> Result<(), AdapterError> {
        let wanted = [Record::new(name.clone(), ttl, Content::Txt(text.to_owned()))];
        for _ in 0..TRIES {
            let plan = self.preview(&wanted).await?;
            if let Some(obstacle) = plan.obstacles.into_iter().next() {
                return Err(self.fails(Fault::Blocked(Box::new(obstacle))));
            }
            if plan.changes.is_empty() {
                return Ok(());
            }
            settled(self.exchange(&plan.changes).await)?;
        }
        Err(self.fails(Fault::Changed { what: format!("TXT at {name}") }))
    }

    /// Takes a text away from a name and leaves the others. Not there: nothing is done.
    ///
    /// # Errors
    /// As [`Self::append_text`].
    async fn remove_text(&self, name: &RecordName, text: &str) -> Result<(), AdapterError> {
        let gone = Content::Txt(text.to_owned());
        for _ in 0..TRIES {
            let found = self.records(std::slice::from_ref(name)).await?;
            let before: Vec<Record> =
                found.into_iter().filter(|record| record.content.kind() == gone.kind()).collect();
            let after: Vec<Record> = before.iter().filter(|record| record.content != gone).cloned().collect();
            if after.len() == before.len() {
                return Ok(());
            }
            let kind = gone.kind().to_owned();
            settled(self.exchange(&[Change { name: name.clone(), kind, before, after }]).await)?;
        }
        Err(self.fails(Fault::Changed { what: format!("TXT at {name}") }))
    }

    /// This fault, of this provider and zone.
    fn fails(&self, fault: Fault) -> AdapterError {
        AdapterError { provider: self.provider(), zone: self.zone().clone(), fault }
    }

    /// What of a change is in the zone; all of it if nobody can tell.
    async fn remains(&self, applied: &Applied) -> Vec<Change> {
        match self.records(&plan::names(&applied.changes)).await {
            Ok(found) => applied.remains_in(&found),
            Err(_) => applied.changes.clone(),
        }
    }
}

/// An exchange that somebody else was quicker than is tried again.
fn settled(exchanged: Result<(), AdapterError>) -> Result<(), AdapterError> {
    match exchanged {
        Err(AdapterError { fault: Fault::Changed { .. }, .. }) => Ok(()),
        other => other,
    }
}
