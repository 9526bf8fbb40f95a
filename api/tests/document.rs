//! The OpenAPI document is the router, and the router is the document.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::desk;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// The endpoints of the design that this version has.
const PROMISED: [(&str, &str); 38] = [
    ("/v1/tenants", "get post"),
    ("/v1/tenants/{t}", "get patch delete"),
    ("/v1/tenants/{t}/suspend", "post"),
    ("/v1/tenants/{t}/resume", "post"),
    ("/v1/tenants/{t}/limits", "get put"),
    ("/v1/tenants/{t}/usage", "get"),
    ("/v1/tenants/{t}/apps", "get post"),
    ("/v1/apps/{a}", "get patch delete"),
    ("/v1/apps/{a}/domains", "get post"),
    ("/v1/apps/{a}/certificates", "post"),
    ("/v1/domains/inspect", "get"),
    ("/v1/domains/{d}", "get delete"),
    ("/v1/domains/{d}/check", "post"),
    ("/v1/domains/{d}/connect", "get post delete"),
    ("/v1/domains", "get"),
    ("/v1/domains/{d}/events", "get"),
    ("/v1/domains/{d}/transfer", "post"),
    ("/v1/notices", "get"),
    ("/v1/notices/{n}", "delete"),
    ("/v1/domains/{d}/connect/link", "post"),
    ("/v1/connect/return", "get"),
    ("/v1/domains/{d}/client-ca", "put delete"),
    ("/v1/certificates", "get"),
    ("/v1/certificates/{c}", "get"),
    ("/v1/certificates/{c}/renew", "post"),
    ("/v1/certificates/{c}/roll-back", "post"),
    ("/v1/keys", "get post"),
    ("/v1/keys/{k}", "delete"),
    ("/v1/audit-events", "get"),
    ("/v1/platform/edges", "get"),
    ("/v1/platform/ca-budget", "get"),
    ("/v1/platform/ca-budget/change-key", "post"),
    ("/v1/edge/changes", "get"),
    ("/v1/edge/usage", "post"),
    ("/v1/edge/report", "post"),
    ("/v1/openapi.json", "get"),
    ("/healthz", "get"),
    ("/readyz", "get"),
];

#[tokio::test]
async fn every_promised_endpoint_is_documented_and_no_other() {
    let desk = desk::open().await;
    let promised: BTreeSet<(String, String)> = PROMISED
        .iter()
        .flat_map(|(path, methods)| {
            methods.split(' ').map(move |method| ((*path).to_owned(), method.to_owned()))
        })
        .collect();
    let paths = desk.document["paths"].as_object().unwrap();
    let documented: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(documented, promised);
}

#[tokio::test]
async fn what_is_documented_is_routed_and_what_is_not_is_405() {
    let desk = desk::open().await;
    for (path, item) in desk.document["paths"].as_object().unwrap() {
        for method in METHODS {
            let name: Method = method.to_uppercase().parse().unwrap();
            let concrete = path.replace(['{', '}'], "");
            let reply = desk.call(name, &concrete).send_bare().await;
            match item.get(method) {
                None => assert_eq!(reply.refusal(), (405, "method_not_allowed"), "{method} {path}"),
                Some(operation) if operation["security"].is_array() => {
                    assert_eq!(reply.refusal(), (401, "key_missing"), "{method} {path}");
                }
                Some(_) => assert_eq!(reply.status.as_u16(), 200, "{method} {path}"),
            }
        }
        let reply = desk.call(Method::OPTIONS, &path.replace(['{', '}'], "")).send_bare().await;
        assert_eq!(reply.refusal(), (405, "method_not_allowed"), "{path}");
    }
}

#[tokio::test]
async fn the_served_document_says_who_and_how() {
    let desk = desk::open().await;
    let document = desk.get("/v1/openapi.json").send_bare().await.of(200);
    assert_eq!(document, desk.document);
    assert_eq!(
        (&document["openapi"], &document["info"]["title"]),
        (&json!("3.1.0"), &json!("Stoa admin API"))
    );
    assert_eq!(document["info"]["license"], json!({"name": "Apache-2.0", "identifier": "Apache-2.0"}));
    let scheme = &document["components"]["securitySchemes"]["key"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    let post = &document["paths"]["/v1/tenants"]["post"];
    assert_eq!(post["security"], json!([{"key": []}]));
    assert!(post["parameters"].to_string().contains("Idempotency-Key"));
    for (path, method) in [
        ("/v1/apps/{a}", "patch"),
        ("/v1/apps/{a}", "delete"),
        ("/v1/tenants/{t}", "patch"),
        ("/v1/tenants/{t}", "delete"),
    ] {
        let operation = &document["paths"][path][method];
        assert!(operation["parameters"].to_string().contains("If-Match"), "{method} {path}");
        assert!(operation["responses"]["412"].is_object(), "{method} {path}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let desk = desk::open().await;
    let mut references = BTreeSet::new();
    collect(&desk.document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(desk.document.pointer(pointer).is_some(), "{reference}");
    }
    let mut names = BTreeSet::new();
    for item in desk.document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()));
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{operation}");
            assert!(operation["responses"].get("500").is_some(), "{operation}");
        }
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                references.insert(reference.clone());
            }
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[tokio::test]
async fn every_schema_and_every_field_is_described() {
    let desk = desk::open().await;
    let mut bare = Vec::new();
    for (name, schema) in desk.document["components"]["schemas"].as_object().unwrap() {
        if !name.starts_with("List_") && !is_described(schema) {
            bare.push(name.clone());
        }
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            if !is_described(schema) {
                bare.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(bare.is_empty(), "{bare:?}");
}

fn is_described(schema: &Value) -> bool {
    let own = schema["description"].as_str().is_some_and(|text| !text.is_empty());
    own || schema["oneOf"].as_array().is_some_and(|parts| parts.iter().any(is_described))
}
