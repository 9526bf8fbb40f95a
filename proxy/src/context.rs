//! How far a request came: `Arrived`, `Challenged`, `Refused` or `Admitted`, each with what is known there.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::id::RequestId;
use tokio::time::Instant;

use crate::backends::{Lease, Place};
use crate::connection::Carrier;
use crate::hedge::{Hedge, HedgeEnd};
use crate::patience::Patience;
use crate::refusal::Refusal;
use crate::state::SiteEntry;
use crate::visitor::Visitor;
use crate::way::{Admitted, Stopped};

/// One request.
pub(crate) struct Context {
    /// Its reference code.
    pub(crate) id: RequestId,
    /// When its header section had arrived.
    pub(crate) arrived: Instant,
    /// The connection that it came over; none until the first hook.
    pub(crate) connection: Option<Arc<Carrier>>,
    /// Whom it is from; none until the first hook.
    pub(crate) visitor: Option<Visitor>,
    /// Time until its response began; none before that.
    pub(crate) first_byte: Option<Duration>,
    /// Body bytes, in and out, that the meter has.
    pub(crate) metered: (u64, u64),
    /// When the meter got them.
    pub(crate) metered_at: Instant,
    /// How far it came.
    pub(crate) progress: Progress,
}

/// How far a request came.
pub(crate) enum Progress {
    /// It is there.
    Arrived,
    /// It got an http-01 answer.
    Challenged,
    /// It got a page.
    Refused(Refused),
    /// It goes to its app.
    Admitted(Exchange),
}

/// A refused request.
pub(crate) struct Refused {
    /// Why.
    pub(crate) refusal: Refusal,
    /// The site, if it came so far.
    pub(crate) site: Option<Arc<SiteEntry>>,
    /// The backend that failed last, if it came so far.
    pub(crate) backend: Option<String>,
    /// How a second request for it ended, if one was sent.
    pub(crate) hedged: Option<HedgeEnd>,
}

/// A request between a visitor and an app.
pub(crate) struct Exchange {
    /// What it proved.
    pub(crate) admitted: Admitted,
    /// Its place among the requests that the app works on.
    pub(crate) place: Option<Place>,
    /// The backend that it is at.
    pub(crate) lease: Option<Lease>,
    /// The backend that is tried next. Boxed, because hardly a request has one.
    pub(crate) next: Option<Box<Lease>>,
    /// The race against a second request, if there is one.
    pub(crate) hedge: Option<Hedge>,
    /// Places in the pool of the backends that were tried.
    pub(crate) tried: Vec<usize>,
    /// How long the backend that it is at may keep it waiting; none before it is at one.
    pub(crate) patience: Option<Patience>,
    /// Whether it is a gRPC call on a connection that it may share with others.
    pub(crate) is_call: bool,
    /// Informational responses so far, of all attempts.
    pub(crate) interim: u8,
    /// When it must be over; none for a stream.
    pub(crate) deadline: Option<Instant>,
    /// What went wrong after the response had begun.
    pub(crate) broken: Option<Refusal>,
}

impl Context {
    /// A request that arrives now.
    pub(crate) fn new(now: Timestamp) -> Self {
        let arrived = Instant::now();
        Self {
            id: RequestId::generate(now),
            arrived,
            connection: None,
            visitor: None,
            first_byte: None,
            metered: (0, 0),
            metered_at: arrived,
            progress: Progress::Arrived,
        }
    }

    /// The site that it is for, if it came so far.
    pub(crate) fn site(&self) -> Option<&Arc<SiteEntry>> {
        match &self.progress {
            Progress::Arrived | Progress::Challenged => None,
            Progress::Refused(refused) => refused.site.as_ref(),
            Progress::Admitted(exchange) => Some(&exchange.admitted.site),
        }
    }

    /// Why it was not served, or not to the end.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match &self.progress {
            Progress::Arrived | Progress::Challenged => None,
            Progress::Refused(refused) => Some(&refused.refusal),
            Progress::Admitted(exchange) => exchange.broken.as_ref(),
        }
    }

    /// URL of the backend that it was at last.
    pub(crate) fn backend(&self) -> Option<&str> {
        match &self.progress {
            Progress::Arrived | Progress::Challenged => None,
            Progress::Refused(refused) => refused.backend.as_deref(),
            Progress::Admitted(exchange) => exchange.lease.as_ref().map(Lease::label),
        }
    }

    /// How a second request for it ended, if one was sent.
    pub(crate) fn hedged(&self) -> Option<HedgeEnd> {
        match &self.progress {
            Progress::Arrived | Progress::Challenged => None,
            Progress::Refused(refused) => refused.hedged,
            Progress::Admitted(exchange) => exchange.hedge.as_ref().and_then(Hedge::end),
        }
    }

    /// Between a visitor and an app, if it came so far.
    pub(crate) fn exchange(&mut self) -> Option<&mut Exchange> {
        match &mut self.progress {
            Progress::Admitted(exchange) => Some(exchange),
            _ => None,
        }
    }

    /// Its way ended before the app.
    pub(crate) fn stop(&mut self, stopped: Stopped) {
        let Stopped { refusal, site } = stopped;
        self.progress = Progress::Refused(Refused { refusal, site, backend: None, hedged: None });
    }

    /// The app did not answer. Gives the backend free.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        let site = self.site().cloned();
        let backend = self.backend().map(str::to_owned);
        let hedged = self.hedged();
        self.progress = Progress::Refused(Refused { refusal, site, backend, hedged });
    }
}

impl Exchange {
    /// One that has tried no backend yet.
    pub(crate) fn new(admitted: Admitted, arrived: Instant) -> Self {
        let deadline = Some(arrived + admitted.site.pool.settings().total_timeout());
        Self {
            admitted,
            place: None,
            lease: None,
            next: None,
            hedge: None,
            tried: Vec::new(),
            patience: None,
            is_call: false,
            interim: 0,
            deadline,
            broken: None,
        }
    }

    /// When the next piece of the request's body must have come, if each may take so long; at the latest when
    /// everything must be over.
    pub(crate) fn body_due(&self, limit: Duration) -> Instant {
        let due = Instant::now() + limit;
        self.deadline.map_or(due, |deadline| deadline.min(due))
    }

    /// When the backend must have begun its answer, if the whole request has been sent by now; else when
    /// everything must be over.
    pub(crate) fn answer_due(&self, is_sent: bool) -> Option<Instant> {
        let begun = Instant::now() + self.admitted.site.pool.settings().first_byte_timeout();
        match self.deadline {
            Some(deadline) if is_sent => Some(deadline.min(begun)),
            None if is_sent => Some(begun),
            deadline => deadline,
        }
    }
}
