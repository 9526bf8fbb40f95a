//! Session tickets over several edges.

use model::change::ObjectId;
use model::id::TicketKeyId;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use testkit::origin::Origin;
use testkit::tls::Tls;

use crate::market::{HOST, Market, now};

/// A visitor of both edges, who trusts the authorities of both.
fn visitor(edges: [&Market; 2], version: &'static rustls::SupportedProtocolVersion) -> Tls {
    let roots = edges.map(|edge| edge.visitors.roots_pem().unwrap()).concat();
    Tls::trusting_in(&roots, &[version]).unwrap().remembering()
}

async fn handshake(visitor: &Tls, edge: &Market) -> HandshakeKind {
    let (kind, answer) = visitor.ask(edge.visitors.https, HOST, HOST).await.unwrap();
    assert!(answer.ends_with("one"), "{answer}");
    kind
}

fn is_resumed(kind: HandshakeKind) -> bool {
    kind == HandshakeKind::Resumed
}

#[tokio::test]
async fn a_ticket_of_one_edge_resumes_at_another() {
    let origin = Origin::start("one").await.unwrap();
    let (one, other) = (Market::open(&[origin.url()]), Market::open(&[origin.url()]));
    let id = TicketKeyId::generate(now());
    for edge in [&one, &other] {
        edge.share_tickets(id, &[7; 32]);
    }
    for version in [&TLS12, &TLS13] {
        let visitor = visitor([&one, &other], version);
        assert!(!is_resumed(handshake(&visitor, &one).await));
        assert!(is_resumed(handshake(&visitor, &other).await), "{version:?}");
        assert!(is_resumed(handshake(&visitor, &one).await), "{version:?}");
    }
}

#[tokio::test]
async fn a_ticket_whose_key_is_gone_costs_a_full_handshake() {
    let origin = Origin::start("one").await.unwrap();
    let (one, other) = (Market::open(&[origin.url()]), Market::open(&[origin.url()]));
    let [old, new] = [1, 2].map(|at| TicketKeyId::generate(model::Timestamp::from_unix_millis(at)));
    one.share_tickets(old, &[7; 32]);
    other.share_tickets(new, &[8; 32]);
    let visitor = visitor([&one, &other], &TLS13);
    assert!(!is_resumed(handshake(&visitor, &one).await));
    assert!(!is_resumed(handshake(&visitor, &other).await), "another key");
    one.share_tickets(new, &[8; 32]);
    assert!(is_resumed(handshake(&visitor, &one).await));
    one.remove(ObjectId::TicketKey(new));
    assert!(!is_resumed(handshake(&visitor, &one).await), "the feed took it away");
}
