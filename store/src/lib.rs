//! The source of truth: SQLite and Postgres behind one API.
//!
//! Every change of a tenant, an app, a domain, a certificate or a key is one transaction: the row, an audit
//! event in a hash chain, and a pointer in the log that edges follow. One set of SQL serves both engines.
//! What a caller may not see is [`StoreError::NotFound`], the same as what is not there. Deliberately
//! absent: sealing and opening of secrets (they arrive sealed; only a change of keys opens them), HTTP, ACME, DNS.

mod account;
mod app;
mod audit;
mod authority;
mod budget;
mod caller;
mod certificate;
mod challenge;
mod changes;
mod circuit;
mod connection;
mod consent;
mod custody;
mod domain;
mod edge;
mod engine;
mod error;
mod idempotency;
mod key;
mod notice;
mod open;
mod order;
mod page;
mod random;
mod rebuild;
mod released;
mod row;
mod schema;
mod sealed;
mod standing;
mod tenant;
mod text;
mod ticket;
mod tombstone;
mod turn;
mod usage;
mod write;

use std::net::IpAddr;
use std::sync::Arc;

use model::change::Revision;
use model::{Clock, Host, Timestamp};
use sqlx::AnyPool;
use tokio::sync::watch;

pub use account::AccountRecord;
pub use app::{App, AppPatch, MAX_APPS_PER_TENANT, NewApp};
pub use audit::{AuditEvent, AuditFilter, AuditVerdict};
pub use authority::LocalCa;
pub use budget::{Bucket, BudgetLine, Draw, Limit, draw_all, is_shared};
pub use caller::{Access, Actor, Version};
pub use certificate::{CertificateFilter, CertificateRecord, Hastened, NewCertificate, RenewalAdvice, Term};
pub use changes::MAX_CHANGES;
pub use circuit::Circuit;
pub use connection::{Connection, ConnectionPatch, Keep, Wish};
pub use consent::{CONSENT_LIFE, Return};
pub use custody::{HOLDER_LIFE, Holder};
pub use domain::{
    Decision, DomainRecord, HOLD, MAX_CONTESTS_OF_NAME, MAX_CONTESTS_OF_TENANT, MAX_DOMAINS_PER_APP,
    MAX_TRIES, SLACK, Shown, Sight, TimelineEntry, UNPROVED_CLAIM,
};
pub use edge::EdgeRecord;
pub use error::{Result, StoreError};
pub use idempotency::{Answer, Idempotency};
pub use key::{Key, NewKey, Scope};
pub use notice::{MAX_NOTICES, NoticeRecord};
pub use open::Options;
pub use order::{NewOrder, Order, OrderInHand, OrderPatch, OrderState, Urgency};
pub use page::{Page, Paged};
pub use rebuild::Salvage;
pub use released::QUARANTINE;
pub use sealed::Resealed;
pub use standing::Standing;
pub use tenant::{LimitsView, NewTenant, TenantPatch, TenantRecord};
pub use text::ZoneText;
pub use turn::{deal, is_told_anew};
pub use usage::{UsageGroup, UsageLine, UsageQuery};

use engine::Engine;
use write::Writer;

/// The store. Cheap to clone; all clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: AnyPool,
    engine: Engine,
    clock: Arc<dyn Clock>,
    zones: Vec<Host>,
    edge_addresses: Vec<IpAddr>,
    was_created: bool,
    /// SQLite has one writer at a time: ours wait here, in order, instead of in its busy loop.
    writer: Writer,
    scribe: domain::Scribe,
    revision: watch::Sender<Revision>,
}

impl Store {
    /// The marketplace's zones; the first one gives an app its `hostname`.
    #[must_use]
    pub fn zones(&self) -> &[Host] {
        &self.inner.zones
    }

    /// Where domains that cannot be an alias are to point: the edges' public addresses.
    #[must_use]
    pub fn edge_addresses(&self) -> &[IpAddr] {
        &self.inner.edge_addresses
    }

    /// The present, by the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Whether [`Store::open`] found nothing and made the store anew.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.inner.was_created
    }

    /// The newest revision that this process knows of. It moves after each commit of this process and, on
    /// Postgres, at most 250 ms after a commit of another one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.inner.revision.subscribe()
    }

    /// Looks whether another process committed, and moves [`Store::watch`] if so.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn refresh(&self) -> Result<()> {
        self.note_revision(self.head().await?);
        Ok(())
    }

    /// Waits for what is under way and lets go of the database. Calls after this fail.
    pub async fn close(&self) {
        if let Some(writer) = self.inner.writer.lock().await.take() {
            writer.close().await;
        }
        self.inner.pool.close().await;
    }

    fn pool(&self) -> &AnyPool {
        &self.inner.pool
    }
}
