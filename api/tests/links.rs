//! Links to creators' own providers: what comes back is believed in nothing.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use model::domain::DomainStatus;
use serde_json::{Value, json};
use store::{Access, DomainRecord};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::desk::{self, Desk};

/// A provider for every domain below example.com.
#[derive(Debug, Default)]
pub(crate) struct Provider {
    states: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl api::Consent for Provider {
    async fn link(&self, domain: &DomainRecord, state: &str) -> Option<api::Link> {
        if !domain.host.to_string().ends_with(".example.com") {
            return None;
        }
        self.states.lock().unwrap().push(state.to_owned());
        Some(api::Link {
            url: format!("https://dc.example.net/apply?state={state}"),
            provider: "Gandi".to_owned(),
        })
    }
}

/// A router that has the provider, over the desk's store.
fn router(desk: &Desk, provider: &Arc<Provider>) -> axum::Router {
    let state = api::State::new(desk.store.clone(), desk.master.clone(), api::Settings::default());
    api::router(state.with_consent(Arc::clone(provider) as Arc<dyn api::Consent>))
}

async fn sent(router: &axum::Router, request: Request<axum::body::Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn asked(desk: &Desk, router: &axum::Router, id: &str) -> Value {
    let request = Request::post(format!("/v1/domains/{id}/connect/link"))
        .header("authorization", format!("Bearer {}", desk.operator.reveal()));
    let (status, text) = sent(router, request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn back(router: &axum::Router, query: &str) -> String {
    let request = Request::get(format!("/v1/connect/return{query}"));
    let (status, text) = sent(router, request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "{query}: {text}");
    text
}

async fn domain(desk: &Desk, host: &str) -> String {
    let tenant = desk.tenant("ann").await;
    desk.domain(&desk.app(&tenant, "hello").await, host).await
}

#[tokio::test]
async fn a_link_is_good_once_and_what_comes_back_only_has_the_domain_looked_at() {
    let (desk, provider) = (desk::open().await, Arc::new(Provider::default()));
    let (router, id) = (router(&desk, &provider), domain(&desk, "shop.example.com").await);
    let link = asked(&desk, &router, &id).await;
    assert_eq!((&link["provider"], &link["expires_at"]), (&json!("Gandi"), &json!("2026-11-22T18:45:00Z")));
    let state = provider.states.lock().unwrap()[0].clone();
    assert!(link["url"].as_str().unwrap().ends_with(&state) && state.len() >= 32);

    let forged = back(&router, "?state=made-up").await;
    assert!(forged.starts_with("This link is not good any more."), "{forged}");
    let first = back(&router, &format!("?state={state}&more=1")).await;
    assert!(first.starts_with("Thank you."), "{first}");
    assert_eq!(back(&router, &format!("?state={state}")).await, forged, "replayed");
    assert_eq!(back(&router, "").await, forged);
    assert_eq!(back(&router, "?state=%ff&state=2").await, forged);
    let after = desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
    assert_eq!(after.status, DomainStatus::NeedsDns, "coming back proves nothing");
}

/// A provider that answers nobody until it is let; counts who came.
#[derive(Debug)]
struct Waiting {
    gate: Semaphore,
    came: AtomicUsize,
}

#[async_trait::async_trait]
impl api::Consent for Waiting {
    async fn link(&self, _: &DomainRecord, _: &str) -> Option<api::Link> {
        self.came.fetch_add(1, SeqCst);
        self.gate.acquire().await.unwrap().forget();
        None
    }
}

#[tokio::test]
async fn few_links_are_looked_for_at_a_time_and_a_tenant_takes_no_place_of_others() {
    let desk = desk::open().await;
    let provider = Arc::new(Waiting { gate: Semaphore::new(0), came: AtomicUsize::new(0) });
    let state = api::State::new(desk.store.clone(), desk.master.clone(), api::Settings::default());
    let router = api::router(state.with_consent(Arc::clone(&provider) as Arc<dyn api::Consent>));
    let ask = |id: &str| {
        let request = Request::post(format!("/v1/domains/{id}/connect/link"))
            .header("authorization", format!("Bearer {}", desk.operator.reveal()));
        let (router, request) = (router.clone(), request.body(axum::body::Body::empty()).unwrap());
        async move { sent(&router, request).await }
    };
    let until = async |came: usize| {
        while provider.came.load(SeqCst) < came {
            tokio::task::yield_now().await;
        }
    };
    let mut ids = Vec::new();
    for number in 0..9 {
        let tenant = desk.tenant(&format!("t{number}")).await;
        let app = desk.app(&tenant, &format!("app{number}")).await;
        ids.push(desk.domain(&app, &format!("shop.example{number}.com")).await);
    }
    let mut under_way = vec![tokio::spawn(ask(&ids[0])), tokio::spawn(ask(&ids[0]))];
    until(2).await;
    let (status, text) = ask(&ids[0]).await;
    assert!(status == 429 && text.contains("too_many_links") && text.contains("Try again"), "{text}");
    for id in &ids[1..8] {
        under_way.extend([tokio::spawn(ask(id)), tokio::spawn(ask(id))]);
    }
    until(16).await;
    assert_eq!(ask(&ids[8]).await.0, 429, "there are too many in all");
    provider.gate.add_permits(17);
    for asked in under_way {
        assert_eq!(asked.await.unwrap().0, 200);
    }
    assert_eq!(ask(&ids[0]).await.0, 200, "places are free again");
    assert_eq!(provider.came.load(SeqCst), 17, "who is refused costs nothing");
}

#[tokio::test]
async fn a_creator_who_does_not_want_it_is_told_how_it_goes_on() {
    let (desk, provider) = (desk::open().await, Arc::new(Provider::default()));
    let (router, id) = (router(&desk, &provider), domain(&desk, "shop.example.com").await);
    asked(&desk, &router, &id).await;
    let state = provider.states.lock().unwrap()[0].clone();
    let told = back(&router, &format!("?error=access_denied&state={state}")).await;
    assert!(told.starts_with("Nothing was changed."), "{told}");
}

#[tokio::test]
async fn without_a_link_the_records_are_set_by_hand() {
    let (desk, provider) = (desk::open().await, Arc::new(Provider::default()));
    let router = router(&desk, &provider);
    let id = domain(&desk, "shop.example.org").await;
    let link = asked(&desk, &router, &id).await;
    assert_eq!((&link["url"], &link["expires_at"]), (&Value::Null, &Value::Null));
    assert!(link["text"].as_str().unwrap().contains("by hand"));
    // Also where nobody makes links at all.
    let none = desk.call(http::Method::POST, &format!("/v1/domains/{id}/connect/link")).send().await.of(200);
    assert_eq!(none, link);
}
