//! A second request for one whose answer is late (hedging, Dean and Barroso 2013), for apps that ask for it.
//!
//! The first goes as every request does. When its backend has not begun to answer after the app's
//! `hedge_after_ms`, a task sends the same head to another backend, beside pingora. Whoever answers first wins.
//! If it is the second, the connection of the first is cut; pingora meets a failed exchange, asks for another
//! backend, and is given the connection on which the second has answered ([`Adopted`]). What lost is dropped
//! with its connection, and its backend is not blamed for having been slow. A second that fails, or answers
//! 5xx, never wins: a backend that fails fast must not win races. If the first fails meanwhile, it is tried
//! again as if there were no second.
//!
//! Only for GET and HEAD without a body that ask for no stream. The second goes in HTTP/1.1, and to no backend that
//! must be spoken to in HTTP/2: pingora 0.9.1 takes no exchange over that was begun elsewhere, so this one is handed
//! over as bytes. It takes a retry of the app's budget and a place at the app, and waits for neither.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, UPGRADE};
use http::{HeaderValue, Method, Version};
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_http::RequestHeader;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::backends::{Adopted, AskError, Caller, Lease, Line, Pool};
use crate::context::Exchange;
use crate::state::State;

/// How a second request ended, or why there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HedgeEnd {
    /// It was answered before the first.
    Won,
    /// The first was answered before it, or the request ended.
    Lost,
    /// Its backend failed, or answered 5xx.
    Failed,
    /// It was not sent: no other backend, no place at the app, or nothing left of the retry budget.
    Refused,
}

impl HedgeEnd {
    /// Its word in metric and log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The race of one request. Dropped, its second runner stops.
pub(crate) struct Hedge {
    race: Arc<Race>,
    second: AbortHandle,
}

/// What the second runner won.
pub(crate) struct Prize {
    /// Its backend.
    pub(crate) lease: Lease,
    /// Its connection, on which the answer has begun.
    pub(crate) connection: Adopted,
}

struct Race {
    state: Arc<State>,
    /// The first runner's connection.
    line: Line,
    stage: Mutex<Stage>,
}

enum Stage {
    /// The first has time left.
    Early,
    /// Both run.
    Running,
    /// The second has answered; the prize until it is fetched.
    Won(Option<Box<Prize>>),
    /// The second cannot win any more; how it ended, if it was sent.
    Over(Option<HedgeEnd>),
}

/// What the second runner takes along.
struct Runner {
    race: Arc<Race>,
    pool: Arc<Pool>,
    after: Duration,
    first: usize,
    head: Bytes,
    caller: Option<Caller>,
}

/// Starts the race if the app wants one and `request`, as it goes to the backend over `line`, may be sent twice.
/// `caller` is whom it is from, for apps that want backends to be told.
pub(crate) fn begin(
    request: &RequestHeader,
    exchange: &Exchange,
    caller: Option<Caller>,
    state: &Arc<State>,
) -> Option<Hedge> {
    let pool = &exchange.admitted.site.pool;
    let [first] = exchange.tried.as_slice() else { return None };
    if !may_be_sent_twice(request) || !pool.has_pair(*first) {
        return None;
    }
    let line = exchange.patience.as_ref()?.line();
    let head = head(request)?;
    let race = Arc::new(Race { state: Arc::clone(state), line, stage: Mutex::new(Stage::Early) });
    let runner = Runner {
        race: Arc::clone(&race),
        pool: Arc::clone(pool),
        after: pool.settings().hedge_after(),
        first: *first,
        head,
        caller: caller.filter(|_| pool.settings().send_proxy_protocol),
    };
    Some(Hedge { race, second: tokio::spawn(runner.run()).abort_handle() })
}

/// The request in HTTP/1.1; it has a `Host` in HTTP/2 too.
fn head(request: &RequestHeader) -> Option<Bytes> {
    let wire = if request.version == Version::HTTP_2 {
        let mut request = request.clone();
        request.set_version(Version::HTTP_11);
        http_req_header_to_wire(&request)
    } else {
        http_req_header_to_wire(request)
    };
    wire.map(BytesMut::freeze)
}

fn may_be_sent_twice(request: &RequestHeader) -> bool {
    const STREAM: &[u8] = b"text/event-stream";
    let asks_for_stream = |value: &HeaderValue| {
        value.as_bytes().windows(STREAM.len()).any(|part| part.eq_ignore_ascii_case(STREAM))
    };
    matches!(request.method, Method::GET | Method::HEAD)
        && !request.headers.contains_key(UPGRADE)
        && !request.headers.get_all(ACCEPT).iter().any(asks_for_stream)
}

impl Runner {
    async fn run(self) {
        sleep(self.after).await;
        let Some(place) = self.pool.gate().try_enter() else { return self.race.refuse() };
        let Some(lease) = self.pool.pick_beside(self.first).filter(|_| self.pool.may_retry()) else {
            return self.race.refuse();
        };
        if !self.race.run() {
            return;
        }
        let asked = lease.ask(&self.head, self.caller).await;
        // From here on the place of the first is the request's.
        drop(place);
        match asked {
            Ok(connection) => self.race.win(Prize { lease, connection }),
            Err(error) => {
                tracing::debug!(backend = lease.label(), %error, "a hedge failed");
                match error {
                    AskError::Status(_) => lease.succeeded(),
                    _ => lease.failed(),
                }
                self.race.fail();
            }
        }
    }
}

impl Race {
    /// A panic elsewhere leaves the stage whole: it is replaced in one step.
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, end: HedgeEnd) {
        self.state.metrics.count_hedge(end);
    }

    fn refuse(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Early) {
            *stage = Stage::Over(None);
            self.count(HedgeEnd::Refused);
        }
    }

    /// The second sets off; false if it is too late for that.
    fn run(&self) -> bool {
        let mut stage = self.stage();
        let is_early = matches!(*stage, Stage::Early);
        if is_early {
            *stage = Stage::Running;
        }
        is_early
    }

    fn fail(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Running) {
            *stage = Stage::Over(Some(HedgeEnd::Failed));
            self.count(HedgeEnd::Failed);
        }
    }

    /// The second has answered. The line is cut under the lock: once the first has settled the race, its
    /// connection may be another request's.
    fn win(&self, prize: Prize) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Running) {
            *stage = Stage::Won(Some(Box::new(prize)));
            self.count(HedgeEnd::Won);
            self.line.cut();
        }
    }
}

impl Hedge {
    /// The request goes on without its second, or ends; false if it cannot, because the second has answered and its
    /// answer waits.
    pub(crate) fn settle(&self) -> bool {
        let mut stage = self.race.stage();
        match *stage {
            Stage::Early => *stage = Stage::Over(None),
            Stage::Running => {
                *stage = Stage::Over(Some(HedgeEnd::Lost));
                self.race.count(HedgeEnd::Lost);
            }
            Stage::Won(Some(_)) => return false,
            Stage::Won(None) | Stage::Over(_) => {}
        }
        self.second.abort();
        true
    }

    /// What the second has won, once.
    pub(crate) fn prize(&self) -> Option<Prize> {
        match &mut *self.race.stage() {
            Stage::Won(prize) => prize.take().map(|prize| *prize),
            _ => None,
        }
    }

    /// How the second ended, if one was sent.
    pub(crate) fn end(&self) -> Option<HedgeEnd> {
        match *self.race.stage() {
            Stage::Early | Stage::Running => None,
            Stage::Won(_) => Some(HedgeEnd::Won),
            Stage::Over(end) => end,
        }
    }
}

impl Drop for Hedge {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        headers.iter().for_each(|(name, value)| _ = request.append_header(*name, *value).unwrap());
        request
    }

    #[test]
    fn only_what_changes_nothing_and_asks_for_no_stream_is_sent_twice() {
        for method in ["GET", "HEAD"] {
            assert!(may_be_sent_twice(&request(method, &[("accept", "text/html")])), "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] {
            assert!(!may_be_sent_twice(&request(method, &[])), "{method}");
        }
        assert!(!may_be_sent_twice(&request("GET", &[("upgrade", "websocket")])));
        assert!(!may_be_sent_twice(&request(
            "GET",
            &[("accept", "*/*"), ("accept", "a/b, text/Event-Stream")]
        )));
    }
}
