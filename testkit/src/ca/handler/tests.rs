use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use bytes::Bytes;
use http::{Method, Request};
use model::Timestamp;
use model::clock::Clock as _;
use serde_json::{Value, json};

use self::client::{BASE, Client, DAY, HOUR, Scene, ari_id, not_after, start};
use super::super::{
    CaaRecord, CaaRecords, Fault, Kind, Limit, Limits, Options, Rate, Rule, Validation, Wait,
};
use super::Reply;

mod client;

#[test]
fn an_order_comes_to_its_certificate() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    let order = client.order_with(&["shop.example.com"], Value::Null);
    assert_eq!((order.status, order.body["status"].as_str()), (201, Some("pending")));
    let early = client.finalize(&order, &["shop.example.com"]);
    assert_eq!((early.status, early.problem()), (403, "orderNotReady"));
    let ready = client.prove(&order);
    assert_eq!(ready.body["status"], "ready");
    let other = client.finalize(&ready, &["other.example.com"]);
    assert_eq!((other.status, other.problem()), (400, "badCSR"));
    let done = client.finalize(&ready, &["shop.example.com"]);
    assert_eq!(done.body["status"], "valid");
    let chain = client.ask(done.url("certificate")).text;
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    let lifetime = DAY * 90 - HOUR - Duration::from_secs(1);
    assert_eq!(not_after(&chain), start().plus(lifetime));
    let alternate = client.ask(&format!("{}/1", done.url("certificate"))).text;
    assert_ne!(alternate, chain);
    let counts = scene.authority.counts();
    assert_eq!((counts.orders, counts.finalized, counts.of(Kind::Finalize)), (1, 1, 3));
}

#[test]
fn profiles_set_the_lifetime() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    let chain = client.certify(&["a.example.com"], json!({ "profile": "shortlived" })).unwrap();
    assert_eq!(not_after(&chain), start().plus(HOUR * 159 - Duration::from_secs(1)));
    let unknown = client.certify(&["a.example.com"], json!({ "profile": "eternal" })).unwrap_err();
    assert_eq!((unknown.status, unknown.problem()), (400, "invalidProfile"));
    assert!(client.get("dir").body["meta"]["profiles"]["tlsserver"].is_string());
}

#[test]
fn what_is_not_signed_as_it_must_be_is_refused() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    let path = "new-order";
    let refusal = |header: Value| client.post_as(&header, path, "{}").unwrap();
    let changed = |name: &str, value: Value| {
        let mut header = client.header(path);
        header[name] = value;
        refusal(header)
    };
    let header = client.header(path);
    assert_eq!(refusal(header.clone()).problem(), "malformed");
    let replayed = refusal(header);
    assert_eq!((replayed.status, replayed.problem()), (400, "badNonce"));
    assert_eq!(changed("nonce", "AAAA".into()).problem(), "badNonce");
    let elsewhere = changed("url", "https://ca.test/new-account".into());
    assert_eq!((elsewhere.status, elsewhere.problem()), (403, "unauthorized"));
    assert_eq!(changed("alg", "none".into()).problem(), "badSignatureAlgorithm");
    assert_eq!(changed("kid", "https://ca.test/account/9".into()).problem(), "accountDoesNotExist");
    assert_eq!(changed("jwk", client.jwk()).problem(), "malformed");
    let thief = Client { kid: client.kid.clone(), ..Client::stranger(&scene) };
    let forged = thief.post(path, &json!({}));
    assert_eq!(
        (forged.problem(), forged.body["detail"].as_str()),
        ("malformed", Some("JWS verification error"))
    );
    assert_eq!(client.send(Method::GET, path, Bytes::new()).unwrap().status, 405);
    assert_eq!(client.get("nowhere").status, 404);
}

#[test]
fn an_account_is_found_by_its_key_and_gone_when_given_up() {
    let scene = Scene::new(Options::default());
    let existing = json!({ "onlyReturnExisting": true });
    assert_eq!(Client::stranger(&scene).post("new-account", &existing).problem(), "accountDoesNotExist");
    let mut client = scene.client();
    let kid = client.kid.take();
    let found = client.post("new-account", &existing);
    assert_eq!((found.status, &found.location), (200, &kid));
    client.kid = kid;
    let changed = client.post("account/1", &json!({ "contact": ["mailto:ops@example.com"] }));
    assert_eq!(changed.body["contact"][0], "mailto:ops@example.com");
    assert_eq!(client.post("account/1", &json!({ "contact": ["tel:1"] })).problem(), "unsupportedContact");
    assert_eq!(client.post("account/1", &json!({ "status": "deactivated" })).body["status"], "deactivated");
    assert_eq!(client.ask("account/1").status, 403);
}

#[test]
fn an_external_account_must_be_shown_with_its_key() {
    let secret = b"an hour of secrets".to_vec();
    let external_accounts = HashMap::from([("kid-1".to_owned(), secret.clone())]);
    let scene = Scene::new(Options { external_accounts, ..Options::default() });
    let client = Client::stranger(&scene);
    let bound = |kid: &str, secret: &[u8]| {
        let header = json!({ "alg": "HS256", "kid": kid, "url": format!("{BASE}/new-account") });
        let (header, payload) =
            (BASE64URL.encode(header.to_string()), BASE64URL.encode(client.jwk().to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = BASE64URL.encode(hmac::sign(&key, format!("{header}.{payload}").as_bytes()));
        let binding = json!({ "protected": header, "payload": payload, "signature": signature });
        let payload = json!({ "termsOfServiceAgreed": true, "externalAccountBinding": binding });
        client.post("new-account", &payload)
    };
    let bare = client.post("new-account", &json!({ "termsOfServiceAgreed": true }));
    assert_eq!((bare.status, bare.problem()), (403, "externalAccountRequired"));
    assert_eq!(bound("kid-2", &secret).problem(), "unauthorized");
    assert_eq!(bound("kid-1", b"guessed").problem(), "unauthorized");
    assert_eq!(bound("kid-1", &secret).status, 201);
}

#[test]
fn a_key_is_changed_even_if_the_answer_is_lost() {
    let scene = Scene::new(Options::default());
    let mut client = scene.client();
    let change = |client: &Client<'_>, new: &Client<'_>| {
        let said = json!({ "account": client.kid, "oldKey": client.jwk() });
        let header = json!({ "alg": "ES256", "jwk": new.jwk(), "url": format!("{BASE}/key-change") });
        let inner = new.sign(&header, &said.to_string()).to_string();
        client.post_as(&client.header("key-change"), "key-change", &inner)
    };
    let new = Client::stranger(&scene);
    assert_eq!(change(&client, &new).unwrap().status, 200);
    assert_eq!(client.ask("account/1").problem(), "malformed");
    client.key = new.key;
    assert_eq!(client.ask("account/1").status, 200);
    let taken = change(&client, &scene.client()).unwrap();
    assert_eq!((taken.status, taken.location.as_deref()), (409, Some("https://ca.test/account/2")));

    scene.authority.script(Rule::next(1, Fault::LoseAnswer).on(Kind::KeyChange));
    let new = Client::stranger(&scene);
    assert!(change(&client, &new).is_none());
    client.key = new.key;
    assert_eq!(client.ask("account/1").status, 200);
}

#[test]
fn a_renewal_is_free_of_limits_inside_its_window_only() {
    let five_a_week = Limits { certificates_per_set: Some(Rate::new(1, DAY * 365)), ..Limits::default() };
    let scene = Scene::new(Options { limits: five_a_week, ..Options::default() });
    let client = scene.client();
    let names = ["shop.example.com"];
    let chain = client.certify(&names, Value::Null).unwrap();
    let (id, marked) = (ari_id(&chain), json!({ "replaces": ari_id(&chain) }));
    let refused = client.certify(&names, marked.clone()).unwrap_err();
    assert_eq!((refused.status, refused.problem()), (429, "rateLimited"));
    assert_eq!(scene.authority.counts().refused[&Limit::CertificatesPerSet], 1);

    let info = client.get(&format!("renewal-info/{id}"));
    assert_eq!(info.retry_after.as_deref(), Some("21600"));
    let opens: Timestamp = info.body["suggestedWindow"]["start"].as_str().unwrap().parse().unwrap();
    scene.clock.advance(opens.since(start()));
    let stranger = scene.client().certify(&names, marked.clone()).unwrap_err();
    assert_eq!((stranger.status, stranger.problem()), (403, "unauthorized"));
    assert_eq!(client.certify(&["b.example.com"], marked.clone()).unwrap_err().problem(), "malformed");
    client.certify(&names, marked.clone()).unwrap();
    let again = client.certify(&names, marked).unwrap_err();
    assert_eq!((again.status, again.problem()), (409, "alreadyReplaced"));
    let counts = scene.authority.counts();
    assert_eq!((counts.renewals_inside, counts.renewals_outside), (1, 0));
    assert_eq!(client.get("renewal-info/AAAA.AAAA").status, 404);
}

#[test]
fn a_year_of_renewals_inside_their_windows_meets_no_limit_and_leaves_little_behind() {
    const NAMES: usize = 30;
    let scene = Scene::new(Options { limits: Limits::lets_encrypt(), ..Options::default() });
    let client = scene.client();
    let names: Vec<String> = (0..NAMES).map(|at| format!("{at}.example.com")).collect();
    let profile = json!({ "profile": "tlsserver" });
    let certify = |name: &String, more: Value| ari_id(&client.certify(&[name], more).unwrap());
    let mut held: Vec<String> = names.iter().map(|name| certify(name, profile.clone())).collect();
    let mut rounds = 0;
    while scene.clock.now() < start().plus(DAY * 365) {
        let window = client.get(&format!("renewal-info/{}", held[0])).body["suggestedWindow"].clone();
        let opens: Timestamp = window["start"].as_str().unwrap().parse().unwrap();
        scene.clock.advance(opens.since(scene.clock.now()) + HOUR);
        for (name, id) in names.iter().zip(&mut held) {
            *id = certify(name, json!({ "profile": "tlsserver", "replaces": id }));
        }
        rounds += 1;
    }
    let counts = scene.authority.counts();
    let renewals = u64::try_from(NAMES * rounds).unwrap();
    assert_eq!((counts.renewals_inside, counts.renewals_outside, counts.limited()), (renewals, 0, 0));
    let state = scene.authority.state();
    assert!(rounds >= 12 && state.issued.len() <= 2 * NAMES, "{rounds}, {}", state.issued.len());
}

#[test]
fn what_is_revoked_should_be_renewed_at_once() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    let chain = client.certify(&["shop.example.com"], Value::Null).unwrap();
    let end = |client: &Client<'_>| -> Timestamp {
        let info = client.get(&format!("renewal-info/{}", ari_id(&chain))).body;
        assert!(info["explanationURL"].is_string());
        info["suggestedWindow"]["end"].as_str().unwrap().parse().unwrap()
    };
    assert_eq!(scene.authority.hurry(|names| names.contains(&"shop.example.com".to_owned())), 1);
    assert_eq!(end(&client), start().minus(HOUR / 2));
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
    let revocation = json!({ "certificate": BASE64URL.encode(&pem.contents), "reason": 4 });
    assert_eq!(scene.client().post("revoke-cert", &revocation).problem(), "unauthorized");
    assert_eq!(client.post("revoke-cert", &revocation).status, 200);
    assert_eq!(client.post("revoke-cert", &revocation).problem(), "alreadyRevoked");
    scene.clock.advance(HOUR);
    assert_eq!(end(&client), start().plus(HOUR / 2));
}

#[test]
fn limits_are_told_with_their_retry_after() {
    let scene = Scene::new(Options { limits: Limits::lets_encrypt(), ..Options::default() });
    let client = scene.client();
    for _ in 0..5 {
        client.certify(&["a.example.com"], Value::Null).unwrap();
    }
    let refused = client.certify(&["a.example.com"], Value::Null).unwrap_err();
    assert_eq!((refused.status, refused.problem()), (429, "rateLimited"));
    assert_eq!(refused.retry_after.as_deref(), Some("120960"));
    scene.clock.advance(Duration::from_secs(120_960));
    client.certify(&["a.example.com"], Value::Null).unwrap();
}

#[test]
fn names_that_fail_again_and_again_are_refused_for_a_while() {
    let names = ["bad.example.com".to_owned()].into();
    let validation = Validation::Failing { names };
    let scene = Scene::new(Options { limits: Limits::lets_encrypt(), validation, ..Options::default() });
    let client = scene.client();
    for _ in 0..5 {
        let order = client.order_with(&["bad.example.com"], Value::Null);
        assert_eq!(client.prove(&order).body["status"], "invalid");
    }
    let refused = client.order_with(&["bad.example.com"], Value::Null);
    assert_eq!((refused.problem(), refused.retry_after.as_deref()), ("rateLimited", Some("720")));
    assert_eq!(scene.authority.counts().failed_checks, 5);
    client.certify(&["good.example.com"], Value::Null).unwrap();
    scene.clock.advance(HOUR / 5);
    assert_eq!(client.order_with(&["bad.example.com"], Value::Null).status, 201);
}

#[test]
fn caa_that_forbids_fails_the_check() {
    let caa = CaaRecords::by(|_| Ok(vec![CaaRecord::new("issue", "other.test")]));
    let scene = Scene::new(Options { caa: Some(caa), ..Options::default() });
    let client = scene.client();
    let order = client.prove(&client.order_with(&["shop.example.com"], Value::Null));
    assert_eq!(order.body["status"], "invalid");
    let authorization = client.ask(order.body["authorizations"][0].as_str().unwrap().split_at(16).1);
    let error = &authorization.body["challenges"][0]["error"];
    assert_eq!(error["type"], "urn:ietf:params:acme:error:caa");
}

#[test]
fn unfinished_orders_and_proved_names_are_given_again_if_it_is_wished() {
    let options = Options { reuse_authorizations: Some(HOUR), ..Options::default() };
    let scene = Scene::new(options);
    let client = scene.client();
    let order = || client.order_with(&["a.example.com"], Value::Null);
    let (first, second) = (order(), order());
    assert_eq!(first.location, second.location);
    let ready = client.prove(&first);
    client.finalize(&ready, &["a.example.com"]);
    let third = order();
    assert_ne!(third.location, first.location);
    assert_eq!(third.body["status"], "ready");
    scene.clock.advance(HOUR);
    assert_eq!(
        client.order_with(&["a.example.com"], json!({ "profile": "tlsserver" })).body["status"],
        "pending"
    );
}

#[test]
fn requests_too_fast_are_refused_for_a_moment() {
    let limits = Limits::default().with_request_rates();
    let scene = Scene::new(Options { limits, ..Options::default() });
    let client = Client::stranger(&scene);
    let refused = (0..30).map(|_| client.get("new-nonce")).filter(|said| said.status == 503).count();
    assert_eq!(refused, 10);
    let busy = client.get("new-nonce");
    assert_eq!((busy.problem(), busy.retry_after.as_deref()), ("rateLimited", Some("1")));
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(client.get("new-nonce").status, 204);
}

#[test]
fn names_that_nobody_may_have_are_refused() {
    let blocked = ["bank.example.com".to_owned()].into();
    let scene = Scene::new(Options { blocked, ..Options::default() });
    let client = scene.client();
    for name in ["bank.example.com", "*.bank.example.com", "localhost", "a b.example.com", ""] {
        let refused = client.order_with(&[name], Value::Null);
        assert_eq!(refused.problem(), "rejectedIdentifier", "{name}");
    }
    assert_eq!(client.order_with(&[], Value::Null).problem(), "malformed");
}

#[test]
fn what_has_ended_is_forgotten() {
    let scene = Scene::new(Options { reuse_authorizations: Some(DAY), ..Options::default() });
    let client = scene.client();
    for at in 0..20 {
        client.certify(&[&format!("{at}.example.com")], json!({ "profile": "shortlived" })).unwrap();
    }
    scene.clock.advance(DAY * 8);
    client.get("dir");
    let state = scene.authority.state();
    assert!(state.orders.is_empty() && state.reusable.is_empty());
    assert!(state.authorizations.is_empty() && state.proved.is_empty());
    assert!(state.issued.is_empty());
}

#[test]
fn faults_come_as_they_are_scripted() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    let sent = |rule: Rule| {
        scene.authority.script(rule);
        let request = Request::get("/dir").body(Bytes::new()).unwrap();
        scene.authority.handle(&request)
    };
    assert!(matches!(sent(Rule::next(1, Fault::Hang)), Reply::Hang));
    assert!(matches!(sent(Rule::next(1, Fault::Close).on(Kind::Directory)), Reply::Close));
    scene.authority.script(Rule::next(1, Fault::Limited(Some(Wait::Seconds(60)))));
    let limited = client.get("dir");
    assert_eq!((limited.status, limited.retry_after.as_deref()), (429, Some("60")));
    scene.authority.script(Rule::next(2, Fault::Unavailable(Some(Wait::Date(HOUR)))));
    for _ in 0..2 {
        let away = client.get("dir");
        assert_eq!((away.status, away.retry_after.as_deref()), (503, Some("Mon, 23 Nov 2026 13:00:00 GMT")));
        assert!(away.text.starts_with("<html>"));
    }
    assert_eq!(client.get("dir").status, 200);
    scene.authority.script(Rule::share(0.3, Fault::BadNonce));
    let bad = (0..1000).filter(|_| client.ask("account/1").problem() == "badNonce").count();
    assert!((250..350).contains(&bad), "{bad}");
    scene.authority.clear_faults();
    assert_eq!(client.ask("account/1").status, 200);
}

#[test]
fn bad_renewal_information_comes_as_it_is_scripted() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    let path = format!("renewal-info/{}", ari_id(&client.certify(&["a.example.com"], Value::Null).unwrap()));
    scene.authority.script(Rule::next(1, Fault::NoRetryAfter));
    scene.authority.script(Rule::next(1, Fault::EndBeforeStart));
    assert_eq!(client.get(&path).retry_after, None);
    let window = client.get(&path).body["suggestedWindow"].clone();
    assert!(window["end"].as_str() < window["start"].as_str(), "{window}");
}

#[test]
fn an_order_is_held_in_processing_until_it_is_let_go() {
    let scene = Scene::new(Options::default());
    let client = scene.client();
    scene.authority.script(Rule::next(1, Fault::Processing));
    let order = client.prove(&client.order_with(&["a.example.com"], Value::Null));
    let held = client.finalize(&order, &["a.example.com"]);
    assert_eq!((held.body["status"].as_str(), held.body["certificate"].as_str()), (Some("processing"), None));
    scene.authority.finish_orders();
    let path = order.location.as_deref().unwrap().split_at(16).1;
    assert_eq!(client.ask(path).body["status"], "valid");
}
