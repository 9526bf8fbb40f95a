//! Bodies that nobody would send by accident: refused or taken, never a fault of ours.

use std::sync::OnceLock;

use http::Method;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::desk::{self, Desk, block_on};

struct Place {
    desk: Desk,
    app: String,
    tenant: String,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        block_on(async {
            let desk = desk::open().await;
            let tenant = desk.tenant("ann").await;
            let app = desk.app(&tenant, "hello").await;
            Place { desk, app, tenant }
        })
    })
}

/// Names that the API knows, among others that it does not.
fn field() -> impl Strategy<Value = String> {
    let known = [
        "name",
        "slug",
        "backends",
        "url",
        "weight",
        "headers",
        "content_security_policy",
        "img_src",
        "settings",
        "health_path",
        "connect_timeout_ms",
        "referrer_policy",
        "scope",
        "scopes",
        "tenant",
        "hostname",
        "reason",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        prop::sample::select(vec!["http://127.0.0.1:1", "'self'", "tenant", "a-b", "/up", "no-referrer"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let object = prop::collection::btree_map(field(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            object.prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_breaks_a_request(body in json()) {
        let Place { desk, app, tenant } = place();
        for (method, path) in [
            (Method::POST, "/v1/tenants".to_owned()),
            (Method::PATCH, format!("/v1/apps/{app}")),
            (Method::PATCH, format!("/v1/tenants/{tenant}")),
            (Method::POST, format!("/v1/apps/{app}/domains")),
            (Method::POST, "/v1/keys".to_owned()),
            (Method::PUT, format!("/v1/tenants/{tenant}/limits")),
        ] {
            let reply = block_on(desk.call(method.clone(), &path).json(&body).send());
            prop_assert!(reply.status.as_u16() < 500, "{} {}: {}", method, path, reply.body);
        }
    }

    #[test]
    fn no_bytes_break_a_request(body in prop::collection::vec(any::<u8>(), 0..200), query in "[ -~]{0,40}") {
        let Place { desk, .. } = place();
        let reply = block_on(desk.call(Method::POST, "/v1/tenants").text(body).send());
        prop_assert!(reply.status.is_client_error(), "{}", reply.body);
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let reply = block_on(desk.get(&format!("/v1/audit-events?target={encoded}&cursor={encoded}")).send());
        prop_assert!(reply.status.as_u16() < 500, "{}", reply.body);
    }
}
