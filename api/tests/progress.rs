//! A domain as it changes, over a stream.

use std::time::Duration;

use api::Settings;
use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::Request;
use model::Timestamp;
use model::domain::{Facts, Routing};
use model::secret::Secret;
use serde_json::Value;
use store::Access;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::desk::{self, Desk};
use crate::domains::prove;

/// What is promised is two seconds; a loaded machine may take longer to wake up.
const SOON: Duration = Duration::from_secs(10);

/// A stream that is being read.
struct Events {
    status: u16,
    body: BodyDataStream,
    text: String,
}

async fn open(desk: &Desk, id: &str, key: &Secret, last: Option<&str>) -> Events {
    let mut request = Request::get(format!("/v1/domains/{id}/events"))
        .header("authorization", format!("Bearer {}", key.reveal()));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = desk.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    if status == 200 {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
    }
    Events { status, body: response.into_body().into_data_stream(), text: String::new() }
}

impl Events {
    /// The next block of lines; none: the stream is over.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let bytes = timeout(SOON, self.body.next()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        }
    }

    /// Id and body of the next event.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            if let Some(data) = field("data: ") {
                assert_eq!(field("event: ").as_deref(), Some("domain"));
                return Some((field("id: ").unwrap(), serde_json::from_str(&data).unwrap()));
            }
        }
    }
}

async fn scene(settings: Settings) -> (Desk, String) {
    let desk = desk::open_with(settings).await;
    let app = desk.app(&desk.tenant("ann").await, "hello").await;
    let id = desk.domain(&app, "shop.example.com").await;
    (desk, id)
}

#[tokio::test]
async fn each_change_is_told_with_the_body_of_the_get_and_who_comes_back_hears_what_is_new() {
    let (desk, id) = scene(Settings::default()).await;
    let mut events = open(&desk, &id, &desk.operator, None).await;
    let (first, body) = events.event().await.unwrap();
    assert_eq!(body, desk.get(&format!("/v1/domains/{id}")).send().await.of(200));
    prove(&desk, &id).await;
    let (second, body) = events.event().await.unwrap();
    assert_eq!(body["status"], "issuing");
    assert!(second != first, "{first} {second}");
    drop(events);

    let mut again = open(&desk, &id, &desk.operator, Some(&second)).await;
    let check = async {
        let domain = desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
        let next = Timestamp::from_unix_millis(desk::NOW + 1);
        desk.store.record_domain_check(domain.id, domain.version, domain.facts, next).await.unwrap();
    };
    let ((), next) = tokio::join!(check, again.event());
    assert!(next.unwrap().0 != second, "what was known is not told again");
    let (_, missed) = open(&desk, &id, &desk.operator, Some(&first)).await.event().await.unwrap();
    assert_eq!(missed["status"], "issuing");
}

#[tokio::test]
async fn while_somebody_looks_the_domain_is_looked_up_every_few_seconds() {
    let (desk, id) = scene(Settings::default()).await;
    let record = async || desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
    let domain = record().await;
    let later = Timestamp::from_unix_millis(desk::NOW + 3_600_000);
    desk.store.record_domain_check(domain.id, domain.version, domain.facts, later).await.unwrap();
    let _events = open(&desk, &id, &desk.operator, None).await;
    let domain = record().await;
    let ahead = |at: Timestamp| at.unix_millis() - desk::NOW;
    assert!(ahead(domain.next_check_at) <= 5_000, "{}", domain.next_check_at);
    assert_eq!(ahead(domain.watched_until.unwrap()), 20_000, "it runs out by itself");
}

#[tokio::test]
async fn a_key_has_eight_streams_at_most_and_a_stream_ends_with_its_domain_or_its_key() {
    let (desk, id) = scene(Settings::default()).await;
    let tenant = desk.get(&format!("/v1/domains/{id}")).send().await.of(200)["tenant_id"].clone();
    let key = desk.tenant_key(tenant.as_str().unwrap()).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(open(&desk, &id, &key, None).await);
    }
    let refused = desk.get(&format!("/v1/domains/{id}/events")).send_as(&key).await;
    assert_eq!(refused.refusal(), (429, "too_many_streams"));
    assert_eq!(open(&desk, &id, &desk.operator, None).await.status, 200, "another key has its own");
    let mut last = streams.pop().unwrap();
    drop(streams);
    let again = async { while open(&desk, &id, &key, None).await.status != 200 {} };
    timeout(SOON, again).await.expect("places are free again");
    last.event().await.unwrap();
    desk.delete(&format!("/v1/domains/{id}")).send().await.of(204);
    assert!(last.event().await.is_none());
    let stranger = desk.tenant_key(&desk.tenant("eve").await).await;
    assert_eq!(open(&desk, &id, &stranger, None).await.status, 404);
}

#[tokio::test]
async fn the_keys_of_a_tenant_have_no_more_streams_together_than_a_tenant_may() {
    let (desk, id) = scene(Settings::default()).await;
    let tenant = desk.get(&format!("/v1/domains/{id}")).send().await.of(200)["tenant_id"].clone();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let key = desk.tenant_key(tenant.as_str().unwrap()).await;
        for _ in 0..8 {
            streams.push(open(&desk, &id, &key, None).await);
        }
    }
    assert!(streams.iter().all(|stream| stream.status == 200));
    let key = desk.tenant_key(tenant.as_str().unwrap()).await;
    assert_eq!(open(&desk, &id, &key, None).await.status, 429);
    assert_eq!(open(&desk, &id, &desk.operator, None).await.status, 200);
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_taken_away() {
    let (desk, id) = scene(Settings::default()).await;
    let tenant = desk.get(&format!("/v1/domains/{id}")).send().await.of(200)["tenant_id"].clone();
    let key = desk.tenant_key(tenant.as_str().unwrap()).await;
    let mut stream = open(&desk, &id, &key, None).await;
    stream.event().await.unwrap();
    let keys = desk.get("/v1/keys").send().await.of(200);
    let items = keys["data"].as_array().unwrap();
    let of_tenant = items.iter().find(|key| key["tenant"] == tenant).unwrap_or_else(|| panic!("{keys}"));
    desk.delete(&format!("/v1/keys/{}", of_tenant["id"].as_str().unwrap())).send().await.of(204);
    let rest = async { while stream.body.next().await.is_some() {} };
    timeout(SOON * 3, rest).await.expect("the key is looked up again every ten seconds");
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_lives() {
    let settings = Settings { heartbeat: Duration::from_millis(100), ..Settings::default() };
    let (desk, id) = scene(settings).await;
    let mut events = open(&desk, &id, &desk.operator, None).await;
    events.event().await.unwrap();
    assert_eq!(events.block().await.as_deref(), Some(":"));
    assert_eq!(Settings::default().heartbeat, Duration::from_secs(15));
}

#[tokio::test]
async fn a_stream_ends_as_soon_as_the_process_is_told_to() {
    let (desk, id) = scene(Settings::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(api::serve(listener, desk.router.clone(), async {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let key = desk.operator.reveal();
    let request =
        format!("GET /v1/domains/{id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("event: domain") {
        let count = timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    stop.send(()).unwrap();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(4), stream.read_to_end(&mut rest)).await.expect("not only cut off").unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "it ended, it was not cut");
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}

/// A change that every stream tells in a large event.
async fn change(desk: &Desk, id: &str, round: usize) {
    let domain = desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
    let reason = format!("{round}{}", "x".repeat(1 << 20));
    let facts = Facts { routing: Routing::Broken { reason }, ..domain.facts };
    let next = Timestamp::from_unix_millis(desk::NOW + 3_600_000);
    desk.store.record_domain_check(domain.id, domain.version, facts, next).await.unwrap();
}

/// What it was sent lies in buffers, its own and ours, and more is waiting.
#[tokio::test]
async fn the_stream_of_a_client_that_does_not_read_ends_as_soon_as_the_process_is_told_to() {
    let (desk, id) = scene(Settings::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(api::serve(listener, desk.router.clone(), async {
        let _ = stopped.await;
    }));
    let key = desk.operator.reveal();
    let request =
        format!("GET /v1/domains/{id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n");
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        deaf.push(stream);
    }
    // One event is being written, one lies ready, and one waits for its place.
    for round in 0..4 {
        change(&desk, &id, round).await;
        sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(open(&desk, &id, &desk.operator, None).await.status, 429, "all places are taken");
    stop.send(()).unwrap();
    let free = async { while open(&desk, &id, &desk.operator, None).await.status != 200 {} };
    timeout(Duration::from_secs(3), free).await.expect("their streams have ended");
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}
