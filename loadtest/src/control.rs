//! The control plane as an edge sees it, told by hand: the feed over HTTP, as `GET /v1/edge/changes` serves it from
//! the store. Of each object the newest change alone is told. Usage and reports are taken and forgotten.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::change::{Batch, Change, Lineage, Object, ObjectId, Revision};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Changes in one answer, as the store's.
const PAGE: usize = 500;
/// Longest that an edge may have it wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A control plane that listens; ended when dropped.
#[derive(Debug)]
pub(crate) struct Control {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    feed: Arc<Feed>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Feed {
    lineage: Lineage,
    log: Mutex<Log>,
    head: watch::Sender<Revision>,
}

/// The newest change of each object, by revision.
#[derive(Debug, Default)]
struct Log {
    head: u64,
    changes: BTreeMap<u64, Change>,
    newest: HashMap<ObjectId, u64>,
}

impl Control {
    /// One that goes on behind `head` of a log that its edge has in its replica.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) async fn start(lineage: &str, head: Revision) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let log = Mutex::new(Log { head: head.0, ..Log::default() });
        let feed =
            Arc::new(Feed { lineage: Lineage(lineage.to_owned()), log, head: watch::Sender::new(head) });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&feed)));
        Ok(Self { port, feed, _server: server })
    }

    /// Says that an object is now so.
    pub(crate) fn put(&self, object: Object) {
        self.feed.tell(object.id(), Some(object));
    }

    /// Says that an object is gone.
    pub(crate) fn remove(&self, id: ObjectId) {
        self.feed.tell(id, None);
    }
}

impl Feed {
    fn tell(&self, id: ObjectId, object: Option<Object>) {
        let head = self.log().add(id, object);
        self.head.send_replace(head);
    }

    /// What is newer than `after`; waits for it if there is nothing.
    async fn changes(&self, after: u64, wait: Duration) -> Batch {
        let mut head = self.head.subscribe();
        let is_newer = head.wait_for(|head| head.0 > after);
        // Late or not: what there is, is told.
        let _waited = tokio::time::timeout(wait.min(LONGEST_WAIT), is_newer).await;
        let (changes, more) = self.log().after(after);
        let next = changes.last().map_or(Revision(after), |change| change.revision);
        Batch { lineage: self.lineage.clone(), reset: false, more, next, changes }
    }

    /// A panic elsewhere leaves it whole enough to end the run.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn add(&mut self, id: ObjectId, object: Option<Object>) -> Revision {
        self.head += 1;
        if let Some(before) = self.newest.insert(id.clone(), self.head) {
            self.changes.remove(&before);
        }
        self.changes.insert(self.head, Change { revision: Revision(self.head), id, object });
        Revision(self.head)
    }

    /// A page, and whether another one follows.
    fn after(&self, revision: u64) -> (Vec<Change>, bool) {
        let mut newer = self.changes.range(revision + 1..);
        let page = newer.by_ref().take(PAGE).map(|(_, change)| change.clone()).collect();
        (page, newer.next().is_some())
    }
}

async fn accept(listener: TcpListener, feed: Arc<Feed>) {
    let mut edges = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        edges.spawn(serve(stream, Arc::clone(&feed)));
    }
}

async fn serve(stream: TcpStream, feed: Arc<Feed>) {
    // Else answers wait for the edge's acknowledgement.
    let _set = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&feed)));
    // How a connection ends is the edge's affair.
    let _ended =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, feed: Arc<Feed>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/v1/edge/changes" {
        // Taken: usage and reports.
        return Ok(status(StatusCode::NO_CONTENT));
    }
    let query = request.uri().query().unwrap_or_default();
    let batch = feed.changes(number(query, "after"), Duration::from_millis(number(query, "wait_ms"))).await;
    let body = serde_json::to_vec(&batch);
    Ok(body.map_or_else(
        |_| status(StatusCode::INTERNAL_SERVER_ERROR),
        |body| Response::new(Full::new(Bytes::from(body))),
    ))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A number of a query; 0 if there is none.
fn number(query: &str, name: &str) -> u64 {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    values.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use model::acme::Token;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId::Challenge(Token::parse(name).unwrap())
    }

    #[test]
    fn of_each_object_the_newest_change_is_told() {
        let mut log = Log { head: 7, ..Log::default() };
        for name in ["one", "two", "one"] {
            log.add(id(name), None);
        }
        let revisions = |after| log.after(after).0.iter().map(|change| change.revision.0).collect::<Vec<_>>();
        assert_eq!((revisions(7), revisions(9), revisions(10)), (vec![9, 10], vec![10], vec![]));
    }

    #[test]
    fn a_long_log_comes_in_pages() {
        let mut log = Log::default();
        for number in 0..=PAGE {
            log.add(id(&format!("token-{number}")), None);
        }
        let (page, more) = log.after(0);
        assert!(page.len() == PAGE && more && !log.after(1).1);
    }

    #[test]
    fn a_query_is_read_by_name() {
        let query = "lineage=a.0&after=17&wait_ms=5000";
        assert_eq!((number(query, "after"), number(query, "wait_ms"), number(query, "a")), (17, 5000, 0));
    }

    #[tokio::test]
    async fn an_edge_follows_it() {
        use feed::Origin as _;
        testkit::tls::install_provider();
        let control = Control::start("log.0", Revision(3)).await.unwrap();
        let key = model::secret::Secret::new("sk_live_1".to_owned());
        let edge =
            feed::http::HttpOrigin::new(&format!("http://127.0.0.1:{}", control.port), key, None).unwrap();
        let lineage = Lineage("log.0".to_owned());
        let asked = edge.changes(&lineage, Revision(3), Duration::from_secs(5));
        let told = async { control.remove(id("one")) };
        let (batch, ()) = tokio::join!(asked, told);
        let batch = batch.unwrap();
        assert!(!batch.reset && !batch.more && batch.changes.len() == 1);
        assert_eq!(batch.next, Revision(4));
    }
}
