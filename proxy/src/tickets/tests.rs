use std::time::Duration;

use model::clock::ManualClock;
use rustls::crypto::aws_lc_rs;

use super::*;

const SESSION: &[u8] = b"what a session remembers";

/// Edges that share keys, each with a sealing key of its own, and a clock for all.
struct Fleet {
    clock: Arc<ManualClock>,
    made: u32,
}

struct Edge {
    tickets: Tickets,
    key: SealingKey,
}

impl Fleet {
    fn new() -> Self {
        Self { clock: Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000))), made: 0 }
    }

    fn edge(&self) -> Edge {
        let key = SealingKey::generate();
        let local = aws_lc_rs::Ticketer::new().unwrap();
        Edge { tickets: Tickets::new(local, key.clone(), self.clock.clone()), key }
    }

    /// A new key for all `edges`.
    fn rotate(&mut self, edges: &[&Edge]) -> TicketKeyId {
        self.made += 1;
        let now = self.clock.now();
        let id = TicketKeyId::generate(now.plus(Duration::from_millis(self.made.into())));
        let secret: [u8; 32] = rand::random();
        for edge in edges {
            edge.tickets.put(&edge.sealed(id, &secret, now)).unwrap();
        }
        id
    }
}

impl Edge {
    fn sealed(&self, id: TicketKeyId, secret: &[u8], made_at: Timestamp) -> TicketKey {
        let key = self.key.seal(&TicketKey::key_context(id), secret).unwrap();
        TicketKey { id, key, made_at }
    }

    fn issue(&self) -> Vec<u8> {
        self.tickets.encrypt(SESSION).unwrap()
    }

    fn accepts(&self, ticket: &[u8]) -> bool {
        self.tickets.decrypt(ticket).is_some_and(|session| session == SESSION)
    }
}

#[test]
fn a_ticket_of_one_edge_is_good_at_another() {
    let mut fleet = Fleet::new();
    let (one, other, stranger) = (fleet.edge(), fleet.edge(), fleet.edge());
    fleet.rotate(&[&one, &other]);
    fleet.rotate(&[&stranger]);
    let ticket = one.issue();
    assert!(one.accepts(&ticket) && other.accepts(&ticket));
    assert!(!stranger.accepts(&ticket));
}

#[test]
fn the_newest_key_encrypts_and_three_are_accepted() {
    let mut fleet = Fleet::new();
    let edge = fleet.edge();
    let mut issued = Vec::new();
    for _ in 0..5 {
        fleet.rotate(&[&edge]);
        issued.push(edge.issue());
        assert_eq!(issued.last().unwrap()[..NAME_BYTES], edge.tickets.keys.load()[0].name);
    }
    let accepted: Vec<bool> = issued.iter().map(|ticket| edge.accepts(ticket)).collect();
    assert_eq!(accepted, [false, false, true, true, true]);
}

#[test]
fn a_key_that_the_feed_takes_away_is_refused_at_once() {
    let mut fleet = Fleet::new();
    let edge = fleet.edge();
    let old = fleet.rotate(&[&edge]);
    let ticket = edge.issue();
    fleet.rotate(&[&edge]);
    edge.tickets.remove(old);
    assert!(!edge.accepts(&ticket) && edge.accepts(&edge.issue()));
}

#[test]
fn a_key_that_is_told_again_changes_nothing() {
    let fleet = Fleet::new();
    let (edge, now) = (fleet.edge(), fleet.clock.now());
    let [old, new] = [1, 2].map(|at| TicketKeyId::generate(Timestamp::from_unix_millis(at)));
    for id in [old, new, old] {
        edge.tickets.put(&edge.sealed(id, &[7; 32], now)).unwrap();
    }
    assert_eq!(edge.tickets.ids(), [new, old]);
}

#[test]
fn a_flipped_bit_or_a_missing_byte_is_refused() {
    let mut fleet = Fleet::new();
    let edge = fleet.edge();
    fleet.rotate(&[&edge]);
    let ticket = edge.issue();
    for at in 0..ticket.len() {
        let mut damaged = ticket.clone();
        damaged[at] ^= 1;
        assert!(!edge.accepts(&damaged), "byte {at}");
        assert!(!edge.accepts(&ticket[..at]), "{at} bytes");
    }
    assert!(!edge.accepts(&[&ticket[..], &[0]].concat()));
}

#[test]
fn a_ticket_ends_with_its_lifetime_though_no_new_key_came() {
    let mut fleet = Fleet::new();
    let edge = fleet.edge();
    fleet.rotate(&[&edge]);
    let ticket = edge.issue();
    fleet.clock.advance(LIFETIME);
    assert!(edge.accepts(&ticket));
    fleet.clock.advance(Duration::from_secs(1));
    assert!(!edge.accepts(&ticket));
    assert!(edge.accepts(&edge.issue()), "an edge without its control plane goes on with what it has");
}

#[test]
fn before_the_first_key_tickets_are_the_processes_own() {
    let mut fleet = Fleet::new();
    let (one, other) = (fleet.edge(), fleet.edge());
    let early = one.issue();
    assert!(one.accepts(&early) && !other.accepts(&early));
    fleet.rotate(&[&one]);
    assert!(!one.accepts(&early) && one.accepts(&one.issue()));
    assert!(one.tickets.lifetime() <= 24 * 3600 && other.tickets.lifetime() <= 24 * 3600);
}

#[test]
fn the_same_session_never_looks_the_same_and_is_not_in_the_clear() {
    let mut fleet = Fleet::new();
    let edge = fleet.edge();
    fleet.rotate(&[&edge]);
    let (one, other) = (edge.issue(), edge.issue());
    assert_ne!(one, other);
    assert!(!one.windows(4).any(|part| part == &SESSION[..4]));
}

#[test]
fn a_key_that_does_not_open_is_refused_without_telling_it() {
    let fleet = Fleet::new();
    let (edge, other, now) = (fleet.edge(), fleet.edge(), fleet.clock.now());
    let id = TicketKeyId::generate(now);
    let error = edge.tickets.put(&other.sealed(id, &[7; 32], now)).unwrap_err().to_string();
    assert!(error.starts_with("its secret does not open: sealed with key"), "{error}");
    let error = edge.tickets.put(&edge.sealed(id, b"short", now)).unwrap_err().to_string();
    assert_eq!(error, "its secret is no AES-256 key");
    fleet.clock.advance(Duration::from_secs(1));
    edge.tickets.put(&edge.sealed(id, &[7; 32], now)).unwrap();
    assert_eq!(format!("{:?}", edge.tickets), format!("Tickets {{ keys: [{id}], .. }}"));
}

proptest::proptest! {
    #[test]
    fn whatever_a_visitor_sends_as_a_ticket_is_refused_quietly(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), named in proptest::bool::ANY,
    ) {
        let mut fleet = Fleet::new();
        let edge = fleet.edge();
        fleet.rotate(&[&edge]);
        let prefix = if named { edge.issue()[..NAME_BYTES].to_vec() } else { Vec::new() };
        assert!(edge.tickets.decrypt(&[prefix, bytes].concat()).is_none());
    }
}
