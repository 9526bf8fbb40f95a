//! How fast strangers' name servers are asked: many domains share the servers of one provider, which limits or blocks
//! who floods them.
//!
//! Only looks that nobody waits for are held back. Each process keeps its own pace.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::id::DomainId;

/// Questions of one look to each server of the domain's zone.
const QUESTIONS: u32 = 5;
/// Time between two looks at domains of one server in the long run: 20 questions a second.
const INTERVAL: Duration = Duration::from_millis(50 * QUESTIONS as u64);
/// Looks that may be taken at once after a pause.
const BURST: u32 = 20;
/// Most servers, and most domains, that are kept. Beyond it looks are not held back.
const MAX: usize = 100_000;
/// A turn further away was given before the clock was put back.
const FARTHEST: Duration = Duration::from_secs(6 * 3600);

/// The turns of all servers (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Default)]
pub(crate) struct Pace {
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// When each server would have had all looks so far, one each [`INTERVAL`].
    full: HashMap<String, Timestamp>,
    /// Turns that were given and have not come.
    given: HashMap<DomainId, Timestamp>,
}

impl Pace {
    /// When a domain of these servers may be looked at: `now` or later, and then not before.
    pub(crate) fn turn(&self, domain: DomainId, servers: &[String], now: Timestamp) -> Timestamp {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        match turns.given.remove(&domain) {
            Some(given) if given > now && given <= now.plus(FARTHEST) => {
                turns.given.insert(domain, given);
                return given;
            }
            Some(_) => return now,
            None => {}
        }
        turns.forget(now);
        let turn = servers.iter().map(|server| turns.next(server, now)).max().unwrap_or(now);
        if turn > now && turns.given.len() < MAX {
            turns.given.insert(domain, turn);
            return turn;
        }
        now
    }
}

impl Turns {
    fn next(&mut self, server: &str, now: Timestamp) -> Timestamp {
        if self.full.len() >= MAX && !self.full.contains_key(server) {
            return now;
        }
        let full = self.full.entry(server.to_owned()).or_insert(now);
        let before = (*full).clamp(now, now.plus(FARTHEST));
        *full = before.plus(INTERVAL);
        before.minus(INTERVAL * BURST).max(now)
    }

    /// Makes room if there is none.
    fn forget(&mut self, now: Timestamp) {
        if self.full.len() >= MAX {
            self.full.retain(|_, full| *full > now);
        }
        if self.given.len() >= MAX {
            self.given.retain(|_, given| *given > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Timestamp {
        Timestamp::from_unix_millis(1_790_000_000_000)
    }

    fn domain() -> DomainId {
        DomainId::generate(now())
    }

    fn servers() -> Vec<String> {
        vec!["ns1.provider.test".to_owned(), "ns2.provider.test".to_owned()]
    }

    #[test]
    fn a_server_has_a_burst_and_then_four_looks_a_second() {
        let pace = Pace::default();
        let turns: Vec<Duration> =
            (0..100).map(|_| pace.turn(domain(), &servers(), now()).since(now())).collect();
        assert_eq!(turns.iter().filter(|wait| wait.is_zero()).count(), 21);
        assert!(turns.is_sorted());
        assert_eq!(turns.iter().filter(|wait| **wait > SECOND && **wait <= SECOND * 2).count(), 4);
        assert_eq!(pace.turn(domain(), &["other.test".to_owned()], now()), now(), "each for itself");
        assert_eq!(pace.turn(domain(), &[], now()), now(), "an unknown server is nobody's");
    }

    #[test]
    fn a_turn_that_was_given_comes_and_is_used_once() {
        let pace = Pace::default();
        while pace.turn(domain(), &servers(), now()) == now() {}
        let held = domain();
        let turn = pace.turn(held, &servers(), now());
        assert!(turn > now());
        assert_eq!(pace.turn(held, &servers(), now()), turn, "who asks again moves nothing");
        assert_eq!(pace.turn(held, &servers(), turn), turn, "it has come");
        assert!(pace.turn(held, &servers(), turn) > turn, "and gone");
    }

    #[test]
    fn a_clock_that_is_put_back_holds_nobody_up() {
        let pace = Pace::default();
        let held = domain();
        while pace.turn(held, &servers(), now()) == now() {}
        let before = now().minus(Duration::from_secs(10 * 24 * 3600));
        assert_eq!(pace.turn(held, &servers(), before), before);
    }
}
