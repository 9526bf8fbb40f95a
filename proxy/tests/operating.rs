//! What an operator sees: start-up errors, probes, metrics, the access log.

use std::sync::Arc;

use model::clock::SystemClock;
use model::seal::SealingKey;
use proxy::{AccessLog, Edge, EdgeError, Parts, Settings, State, SystemResolver};
use testkit::origin::Origin;
use testkit::ports::Port;

use crate::market::{HOST, Market, Rows};

fn start(change: impl FnOnce(&mut Settings)) -> Option<EdgeError> {
    let mut settings = Settings { workers: 1, visitor_table_bytes: 1 << 16, ..Settings::default() };
    change(&mut settings);
    let state = match State::new(&settings, SealingKey::generate(), Arc::new(SystemClock)) {
        Ok(state) => state,
        Err(error) => return Some(error),
    };
    let parts = Parts {
        state,
        usage: Arc::new(Rows::default()),
        resolver: Arc::new(SystemResolver),
        firewall: Arc::new(waf::NoRules),
    };
    Edge::start(&settings, parts).err()
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_to_do() {
    let market = Market::open(&[]);
    let taken = market.visitors.https;
    let error = start(|settings| settings.http = vec![taken]).unwrap();
    assert_eq!(
        error.to_string(),
        format!("{taken} is in use by another program: stop that program or choose another address")
    );
}

#[test]
fn what_cannot_be_opened_is_named() {
    let error = start(|settings| settings.http = vec!["192.0.2.1:1".parse().unwrap()]).unwrap();
    assert!(error.to_string().starts_with("192.0.2.1:1 is not an address of this machine"), "{error}");
    let error =
        start(|settings| settings.access_log = AccessLog::File("/no/such/folder/log".into())).unwrap();
    assert_eq!(error.to_string(), "the access log /no/such/folder/log cannot be opened");
    let error = start(|settings| settings.backend_ca_file = Some("/no/such/ca.pem".into())).unwrap();
    assert!(error.to_string().starts_with("the trust anchors for backends in /no/such/ca.pem"), "{error}");
}

#[tokio::test]
async fn an_address_is_free_again_at_once_after_an_edge_is_dropped() {
    let port = Port::lease().unwrap();
    for _ in 0..3 {
        let mut market = Market::open_with(&[], |settings| settings.http = vec![port.address()]);
        market.visitors.get_cleartext(HOST, "/").send().await.unwrap();
        drop(market.running.take());
    }
}

#[tokio::test]
async fn ready_means_that_the_first_state_is_in() {
    let settings = Settings {
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        workers: 1,
        visitor_table_bytes: 1 << 16,
        ..Settings::default()
    };
    let state = State::new(&settings, SealingKey::generate(), Arc::new(SystemClock)).unwrap();
    let parts = Parts {
        state: Arc::clone(&state),
        usage: Arc::new(Rows::default()),
        resolver: Arc::new(SystemResolver),
        firewall: Arc::new(waf::NoRules),
    };
    let running = Edge::start(&settings, parts).unwrap();
    let address = running.metrics_address().unwrap();
    let status = async |path: &str| {
        testkit::curl::Curl::get(format!("http://{address}{path}")).send().await.unwrap().status
    };
    assert_eq!((status("/healthz").await, status("/readyz").await), (200, 503));
    state.set_ready();
    assert_eq!((status("/readyz").await, status("/other").await), (200, 404));
}

#[tokio::test]
async fn metrics_and_log_tell_a_served_request() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let answer = market.visitors.get(HOST, "/bytes/10?secret=1").http2().send().await.unwrap();
    let reference = answer.header("x-request-id").unwrap();
    let line = market.logged(|line| line["request_id"] == reference).await;
    for (field, value) in [
        ("client", "127.0.0.1"),
        ("scheme", "https"),
        ("method", "GET"),
        ("path", "/bytes/10"),
        ("protocol", "h2"),
        ("sni", HOST),
        ("tls_version", "TLSv1_3"),
        ("backend", &origin.url()),
        ("tenant", &market.tenant.id.to_string()),
        ("app", &market.site.app.to_string()),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((line["status"].as_u64(), line["bytes_out"].as_u64()), (Some(200), Some(10)));
    assert!(line["ttfb_ms"].as_f64().unwrap() <= line["total_ms"].as_f64().unwrap());
    let (_, metrics) = market.probe("/metrics").await;
    for wanted in [
        "stoa_requests_total{class=\"visitor\",status=\"2xx\",tenant=\"acme-inc\"} 1",
        "stoa_handshakes_total{result=\"ok\"} 1",
        "stoa_sites 1",
        "stoa_certificates 1",
        "stoa_certificates_expired 0",
        "stoa_body_bytes_total{direction=\"out\"} 10",
    ] {
        assert!(metrics.contains(wanted), "{wanted} not in {metrics}");
    }
}
