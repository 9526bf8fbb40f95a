//! A domain as it changes, live (text/event-stream, HTML Living Standard §9.2). While somebody looks, its records are
//! looked up every few seconds, by whichever process does that: the wish is in the store, and runs out by itself.
//!
//! An event has the body of `GET /v1/domains/{d}`; its id is the version of the domain, so that who comes back with
//! `Last-Event-ID` is told only what is new. Streams are bounded by key, by tenant and in all, and end with the process,
//! with the key, after an hour, and when nobody reads any more. Each costs a read of its domain a second, and five while
//! the store changes.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::{Extension, RequestPartsExt as _};
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use model::change::Revision;
use model::id::{DomainId, KeyId, TenantId};
use store::{Access, DomainRecord, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Seen;
use super::domain::{DomainView, show};
use crate::caller::{Caller, Member};
use crate::places::{Place, Places};
use crate::problem::{Answer, Code, Problem};
use crate::serve::Closing;

/// Most streams of one key.
pub(crate) const MAX_OF_KEY: usize = 8;
/// Most streams of one tenant, of all its keys together.
const MAX_OF_TENANT: usize = 32;
/// Most streams in all.
const MAX_IN_ALL: usize = 256;
/// How often the row is read.
const TICK: Duration = Duration::from_secs(1);
/// Shortest time between two reads, however fast the store changes.
const BREATH: Duration = Duration::from_millis(200);
/// How often the wish to see is renewed, and the key looked up again.
const RENEW: Duration = Duration::from_secs(10);
/// How long the wish holds.
const WISH: Duration = Duration::from_secs(20);
/// How old the last look may be when a stream begins.
const FRESH: Duration = Duration::from_secs(5);
/// Longest stream; clients come back by themselves.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a client may take to read an event.
const STALLED: Duration = Duration::from_secs(60);
/// What a client sends when it comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whose a stream is: the tenant, unless it is an operator's, and the key.
pub(crate) type Owner = (Option<TenantId>, KeyId);

/// How many streams are open, by owner.
pub(crate) type Streams = Places<Owner>;

fn take(streams: &Streams, owner: Owner) -> Option<Place<Owner>> {
    streams.take(owner, |taken| {
        let own = taken.get(&owner).copied().unwrap_or(0);
        let of_tenant: usize = taken.iter().filter(|((of, _), _)| *of == owner.0).map(|(_, open)| open).sum();
        let tenant_is_full = owner.0.is_some() && of_tenant >= MAX_OF_TENANT;
        own < MAX_OF_KEY && !tenant_is_full && taken.values().sum::<usize>() < MAX_IN_ALL
    })
}

/// One stream.
struct Progress {
    state: crate::State,
    access: Access,
    caller: Caller,
    domain: DomainId,
    /// The body that was sent last.
    sent: Option<String>,
    /// The version that the client has from an earlier stream.
    known: Option<String>,
    news: watch::Receiver<Revision>,
    renew_at: Instant,
    _place: Place<Owner>,
}

/// Streams a domain as it changes: an event `domain` with the body of `GET /v1/domains/{d}` for each change, a comment
/// every 15 seconds. Meanwhile its records are looked up every 5 seconds.
#[utoipa::path(get, path = "/v1/domains/{d}/events",
    params(("d" = String, Path, description = "Id of the domain."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was read.")),
    responses((status = 200, description = "The stream.", body = DomainView, content_type = "text/event-stream")))]
pub(crate) async fn domain_events(
    State(state): State<crate::State>,
    member: Member,
    Seen(domain): Seen<DomainRecord>,
    Viewer { caller, closing, known }: Viewer,
) -> Answer<Response> {
    let tenant = match member.access {
        Access::Platform => None,
        Access::Tenant(tenant) => Some(tenant),
    };
    let Some(place) = take(state.streams(), (tenant, caller.key.id)) else {
        let detail = format!(
            "This key has {MAX_OF_KEY} streams open, or its tenant {MAX_OF_TENANT}, or there are too many in all. Close one."
        );
        return Err(Problem::new(Code::TooManyStreams, detail));
    };
    let heartbeat = state.settings().heartbeat;
    let progress = Progress {
        access: member.access,
        domain: domain.id,
        sent: None,
        known,
        news: state.store().watch(),
        renew_at: Instant::now(),
        state,
        caller,
        _place: place,
    };
    let looked = domain.facts.checked_at.is_some_and(|at| progress.state.now().since(at) < FRESH);
    let next = if looked { progress.state.now().plus(FRESH) } else { progress.state.now() };
    progress.state.store().watch_domain(domain.id, progress.state.now().plus(WISH), next).await?;
    // A task of its own: a client that does not read holds up its own body, and not the end of its stream.
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(progress.run(tell, closing));
    let events = stream::unfold(told, |mut told| async {
        let event = told.recv().await?;
        Some((Ok::<_, Infallible>(event), told))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(heartbeat)).into_response();
    // Proxies that collect answers would keep the events to themselves.
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    Ok(response)
}

impl Progress {
    /// Tells what changes until the stream is over.
    async fn run(mut self, tell: mpsc::Sender<Event>, closing: Option<Closing>) {
        let closing = async {
            match closing {
                Some(mut closing) => closing.told().await,
                None => std::future::pending().await,
            }
        };
        let all = async {
            while let Some(event) = self.next().await {
                if !matches!(timeout(STALLED, tell.send(event)).await, Ok(Ok(()))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = all => {}
            () = tell.closed() => {}
            () = closing => {}
            () = sleep(LONGEST) => {}
        }
    }

    /// The next event; none: the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            match self.look().await {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) if error.is_retryable() => tracing::debug!(%error, "a stream waits for the store"),
                // Gone, or not the caller's to see any more.
                Err(_) => return None,
            }
            self.wait().await;
        }
    }

    /// What is new, if anything.
    async fn look(&mut self) -> Result<Option<Event>, StoreError> {
        if Instant::now() >= self.renew_at {
            self.renew().await?;
        }
        let domain = self.state.store().domain(self.access, self.domain).await?;
        let version = domain.version.to_string();
        let view = show(&self.state, domain).await;
        let Some(body) = view.ok().and_then(|view| serde_json::to_string(&view).ok()) else {
            return Ok(None);
        };
        let is_known = self.known.take().is_some_and(|known| known == version);
        let is_news = self.sent.as_ref() != Some(&body) && !is_known;
        self.sent = Some(body.clone());
        Ok(is_news.then(|| Event::default().event("domain").id(version).data(body)))
    }

    /// Says that somebody still looks, and makes sure that they still may.
    async fn renew(&mut self) -> Result<(), StoreError> {
        let store = self.state.store();
        if !self.caller.is_valid(store).await? {
            return Err(StoreError::NotFound { what: "domain", id: self.domain.to_string() });
        }
        let now = store.now();
        store.watch_domain(self.domain, now.plus(WISH), now.plus(FRESH)).await?;
        self.renew_at = Instant::now() + RENEW;
        Ok(())
    }

    async fn wait(&mut self) {
        sleep(BREATH).await;
        tokio::select! {
            () = sleep(TICK - BREATH) => {}
            Ok(()) = self.news.changed() => {}
        }
    }
}

/// Who looks, and what they know.
#[derive(Debug)]
pub(crate) struct Viewer {
    caller: Caller,
    closing: Option<Closing>,
    known: Option<String>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let closing = parts.extract::<Option<Extension<Closing>>>().await;
        let closing = closing.ok().flatten().map(|Extension(closing)| closing);
        Ok(Self { caller: Caller::from_parts(parts)?.clone(), closing, known: last_event_id(&parts.headers) })
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(LAST_EVENT_ID)?.to_str().ok()?.to_owned())
}
