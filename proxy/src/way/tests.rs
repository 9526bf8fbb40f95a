use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use model::acme::{Challenge, ChallengeKind, Token};
use model::change::Object;
use model::limits::{Limits, Rate};
use model::tenant::{Standing, Tenant};
use waf::{Engine, Finding, NoRules, RuleId, Verdict};

use super::*;
use crate::access_log::Log;
use crate::client_hello::Ja4;
use crate::connection::{Ends, Gauge, Settled};
use crate::drain::Phase;
use crate::front::Front;
use crate::settings::{AccessLog, Deadlines, Settings};
use crate::slots::Slots;
use crate::state::State;
use crate::state::tests::{now, put, site, state, tenant};
use crate::tls::Tls;

fn edge(state: Arc<State>, firewall: Arc<dyn Engine>) -> Shared {
    Shared {
        tls: Tls::new(&state).unwrap(),
        log: Log::open(&AccessLog::Off).unwrap(),
        slots: Slots::new(&Settings::default()),
        front: Front::new(&Settings::default()),
        deadlines: Deadlines::default(),
        state,
        firewall,
        waits: crate::patience::Waits::default(),
        samples: crate::handshake::Samples::default(),
    }
}

/// An edge with one site at `a.test` whose tenant is `change`d.
pub(crate) fn edge_with(change: impl FnOnce(&mut Tenant)) -> Shared {
    let (state, mut tenant) = (state(), tenant());
    change(&mut tenant);
    put(&state, Object::Site(Box::new(site(tenant.id, &["a.test"]))));
    put(&state, Object::Tenant(tenant));
    edge(state, Arc::new(NoRules))
}

/// A connection straight from `client`.
pub(crate) fn connection(client: &str, sni: Option<&str>) -> Carrier {
    let client = SocketAddr::new(client.parse().unwrap(), 1);
    Carrier {
        id: 1,
        ends: Ends { peer: client, client, is_trusted: false },
        local: None,
        tls: sni.map(|sni| Settled {
            sni: Host::parse(sni).unwrap(),
            version: "TLSv1_3",
            client: None,
            ja4: None,
        }),
        gauge: Arc::new(Gauge::default()),
    }
}

fn request(method: &str, target: &str, host: &str) -> RequestHeader {
    let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
    head.append_header("Host", host).unwrap();
    head
}

/// `Ok` is the body of a challenge or "forward".
fn walk(edge: &Shared, head: &RequestHeader, connection: &Carrier) -> Result<String, Refusal> {
    let visitor = Visitor::of(head, connection, &edge.front.trusted);
    match admit(&Arrival { head, connection, visitor }, edge) {
        Ok(Passage::Challenge(body)) => Ok(String::from_utf8(body.to_vec()).unwrap()),
        Ok(Passage::Forward(_)) => Ok("forward".to_owned()),
        Err(stopped) => Err(stopped.refusal),
    }
}

fn get(edge: &Shared, client: &str) -> Result<String, Refusal> {
    walk(edge, &request("GET", "/", "a.test"), &connection(client, Some("a.test")))
}

#[test]
fn in_the_clear_a_get_is_redirected_and_a_post_refused() {
    let edge = edge_with(|_| ());
    let clear = connection("192.0.2.1", None);
    for method in ["GET", "HEAD"] {
        let location = "https://a.test/x?y".to_owned();
        assert_eq!(
            walk(&edge, &request(method, "/x?y", "A.test:80"), &clear),
            Err(Refusal::RedirectToHttps { location })
        );
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(walk(&edge, &request(method, "/", "a.test"), &clear), Err(Refusal::HttpsRequired));
    }
    assert_eq!(walk(&edge, &request("GET", "/", "b.test"), &clear), Err(Refusal::UnknownHost));
}

#[test]
fn over_tls_a_known_host_is_forwarded_and_another_one_misdirected() {
    let edge = edge_with(|_| ());
    let secure = connection("192.0.2.1", Some("a.test"));
    assert_eq!(walk(&edge, &request("POST", "/", "a.test:8443"), &secure), Ok("forward".to_owned()));
    assert_eq!(walk(&edge, &request("GET", "/", "b.test"), &secure), Err(Refusal::Misdirected));
    let other = connection("192.0.2.1", Some("b.test"));
    assert_eq!(walk(&edge, &request("GET", "/", "b.test"), &other), Err(Refusal::UnknownHost));
}

#[test]
fn a_challenge_is_answered_before_any_redirect_and_for_its_host_only() {
    let edge = edge_with(|tenant| tenant.standing = Standing::Suspended);
    let challenge = Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse("token").unwrap(),
        host: Host::parse("new.test").unwrap(),
        key_authorization: "token.print".to_owned(),
        expires_at: now().plus(Duration::from_secs(60)),
    };
    put(&edge.state, Object::Challenge(challenge));
    let clear = connection("192.0.2.1", None);
    let target = "/.well-known/acme-challenge/token";
    assert_eq!(walk(&edge, &request("GET", target, "new.test"), &clear), Ok("token.print".to_owned()));
    assert_eq!(walk(&edge, &request("GET", target, "b.test"), &clear), Err(Refusal::UnknownHost));
    let other = request("GET", "/.well-known/acme-challenge/other", "new.test");
    assert_eq!(walk(&edge, &other, &clear), Err(Refusal::UnknownHost));
}

#[test]
fn a_suspended_tenant_is_refused_with_its_site_named() {
    let edge = edge_with(|tenant| tenant.standing = Standing::Suspended);
    let (head, connection) = (request("GET", "/", "a.test"), connection("192.0.2.1", Some("a.test")));
    let visitor = Visitor::of(&head, &connection, &edge.front.trusted);
    let stopped = admit(&Arrival { head: &head, connection: &connection, visitor }, &edge).err().unwrap();
    assert_eq!(stopped.refusal, Refusal::Suspended);
    assert!(stopped.site.is_some());
}

#[test]
fn a_site_whose_tenant_has_not_come_is_not_served() {
    let state = state();
    put(&state, Object::Site(Box::new(site(tenant().id, &["a.test"]))));
    assert_eq!(get(&edge(state, Arc::new(NoRules)), "192.0.2.1"), Err(Refusal::UnknownHost));
}

#[test]
fn one_visitor_too_fast_leaves_the_others_alone() {
    let slow = Rate { requests_per_minute: 1, burst: 2 };
    let edge = edge_with(|tenant| tenant.limits = Limits { visitor: slow, ..Limits::default() });
    assert!(get(&edge, "192.0.2.1").is_ok() && get(&edge, "192.0.2.1").is_ok());
    let Err(Refusal::VisitorLimit { policy }) = get(&edge, "192.0.2.1") else { panic!("not limited") };
    assert_eq!((policy.limit, policy.remaining, policy.window_seconds), (2, 0, 120));
    assert!(get(&edge, "192.0.2.2").is_ok());
}

#[test]
fn what_the_visitors_limit_stops_does_not_use_the_tenants_up() {
    let (visitor, all) =
        (Rate { requests_per_minute: 1, burst: 1 }, Rate { requests_per_minute: 1, burst: 2 });
    let edge = edge_with(|tenant| tenant.limits = Limits { visitor, tenant: all });
    for _ in 0..10 {
        let _ = get(&edge, "192.0.2.1");
    }
    assert!(get(&edge, "192.0.2.2").is_ok());
    assert!(matches!(get(&edge, "192.0.2.3"), Err(Refusal::TenantLimit { .. })));
}

#[derive(Debug)]
struct BlockAll;

impl Engine for BlockAll {
    fn inspect(&self, _: &waf::Request<'_>) -> Verdict {
        Verdict::Block(Finding { rule: RuleId(1), reason: Cow::Borrowed("a test") })
    }
}

/// Blocks one program.
#[derive(Debug)]
struct BlockProgram;

impl Engine for BlockProgram {
    fn inspect(&self, request: &waf::Request<'_>) -> Verdict {
        match request.ja4 {
            Some("t13d1516h2_8daaf6152771_e5627efa2ab1") => BlockAll.inspect(request),
            _ => Verdict::Allow,
        }
    }
}

#[test]
fn the_firewall_sees_which_program_speaks() {
    let (state, tenant) = (state(), tenant());
    put(&state, Object::Site(Box::new(site(tenant.id, &["a.test"]))));
    put(&state, Object::Tenant(tenant));
    let edge = edge(state, Arc::new(BlockProgram));
    let mut connection = connection("192.0.2.1", Some("a.test"));
    let head = request("GET", "/", "a.test");
    assert!(walk(&edge, &head, &connection).is_ok());
    let ja4 = Ja4::written(b"t13d1516h2_8daaf6152771_e5627efa2ab1");
    connection.tls = connection.tls.map(|tls| Settled { ja4: Some(ja4), ..tls });
    assert!(matches!(walk(&edge, &head, &connection), Err(Refusal::Blocked { .. })));
}

#[test]
fn what_the_firewall_blocks_is_not_held_against_the_tenant() {
    let (state, mut tenant) = (state(), tenant());
    tenant.limits.tenant = Rate { requests_per_minute: 1, burst: 1 };
    put(&state, Object::Site(Box::new(site(tenant.id, &["a.test"]))));
    put(&state, Object::Tenant(tenant));
    let blocking = edge(Arc::clone(&state), Arc::new(BlockAll));
    for _ in 0..5 {
        assert!(matches!(get(&blocking, "192.0.2.1"), Err(Refusal::Blocked { .. })));
    }
    assert!(get(&edge(state, Arc::new(NoRules)), "192.0.2.1").is_ok());
}

#[test]
fn what_begins_at_the_very_end_is_told_to_come_again() {
    let edge = edge_with(|_| ());
    edge.state.course.advance(Phase::Closing);
    assert_eq!(get(&edge, "192.0.2.1"), Err(Refusal::ShuttingDown));
}

#[test]
fn the_way_of_an_admitted_request_asks_for_no_memory() {
    let edge = edge_with(|_| ());
    let (head, connection) = (request("GET", "/", "a.test:8443"), connection("192.0.2.1", Some("a.test")));
    let counts = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counts.count_total, 1, "the counter does not count");
    // What is made once is there after the first.
    assert_eq!(walk(&edge, &head, &connection), Ok("forward".to_owned()));
    let counted = allocation_counter::measure(|| {
        let visitor = Visitor::of(&head, &connection, &edge.front.trusted);
        let arrival = Arrival { head: &head, connection: &connection, visitor };
        assert!(matches!(admit(&arrival, &edge), Ok(Passage::Forward(_))));
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
