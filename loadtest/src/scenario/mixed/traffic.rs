//! Who is asked, and for what.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::open_loop::{Ask, Destination, On, Script, Wanted};
use crate::stoa::ZONE;

/// Requests that make a connection.
const NEW: f64 = 0.2;
/// Connections for a host that nobody has.
const UNKNOWN: f64 = 0.02;
/// Every tenant of that number, counted from the end of each hundred, has a backend that refuses.
const REFUSES: usize = 99;
/// What is asked most.
const PAGE: (&str, Wanted) = ("/", Wanted { statuses: &[200], bytes: Some(1024) });
/// What else is asked, and which share of the requests it has.
const OTHERS: [(f64, &str, Wanted); 3] = [
    (0.05, "/100k", Wanted { statuses: &[200], bytes: Some(100 << 10) }),
    (0.025, "/missing", Wanted { statuses: &[404], bytes: None }),
    (0.025, "/broken", Wanted { statuses: &[500], bytes: None }),
];

/// Tenants by a Zipf law: of the one at rank n there are 1/n as many visitors as of the first.
#[derive(Debug, Clone)]
pub(super) struct Tenants {
    /// Visitors of each and of all before it; none is greater than 1.
    sums: Arc<[f64]>,
}

impl Tenants {
    /// So many.
    pub(super) fn new(count: usize) -> Self {
        let weights = (1_u32..).take(count).map(|rank| 1.0 / f64::from(rank));
        let all: f64 = weights.clone().sum();
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// The host of each, and whether its backend serves.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (String, bool)> {
        (0..self.sums.len()).map(|rank| (host(rank), serves(rank)))
    }

    /// One of them whose backend serves.
    pub(super) fn draw_serving(&self, chance: &mut StdRng) -> String {
        let rank = self.draw(chance);
        host(if serves(rank) { rank } else { 0 })
    }

    fn draw(&self, chance: &mut StdRng) -> usize {
        let at = chance.random::<f64>();
        // The last sum may be less than 1 by a rounding.
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

fn host(rank: usize) -> String {
    format!("tenant-{rank}.{ZONE}")
}

fn serves(rank: usize) -> bool {
    rank % 100 != REFUSES
}

/// Visitors of all tenants.
pub(super) struct Traffic {
    tenants: Tenants,
    asks: StdRng,
    /// Apart: when connections are made depends on the answers, and what is asked must not.
    destinations: StdRng,
}

impl Traffic {
    /// The same seed gives the same requests in the same order, and the same destinations.
    pub(super) fn new(tenants: Tenants, seed: u64) -> Self {
        let of = |part| StdRng::seed_from_u64(seed * 2 + part);
        Self { tenants, asks: of(0), destinations: of(1) }
    }
}

impl Script for Traffic {
    fn ask(&mut self) -> Ask {
        let on = if self.asks.random::<f64>() < NEW { On::New } else { On::Kept };
        let mut at = self.asks.random::<f64>();
        let other = OTHERS.iter().find(|(share, ..)| {
            at -= share;
            at < 0.0
        });
        let (path, wanted) = other.map_or(PAGE, |(_, path, wanted)| (*path, *wanted));
        Ask { path, wanted, on }
    }

    fn destination(&mut self) -> Destination {
        if self.destinations.random::<f64>() < UNKNOWN {
            let number: u32 = self.destinations.random();
            let wanted = Some(Wanted { statuses: &[404], bytes: None });
            return Destination { host: format!("nobody-{number}.{ZONE}").into(), wanted };
        }
        let rank = self.tenants.draw(&mut self.destinations);
        let refused = Wanted { statuses: &[502, 503], bytes: None };
        Destination { host: host(rank).into(), wanted: (!serves(rank)).then_some(refused) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_tenant_has_half_as_many_visitors_as_the_first() {
        let (tenants, mut chance) = (Tenants::new(10_000), StdRng::seed_from_u64(1));
        let mut visitors = vec![0_u32; 10_000];
        (0..200_000).for_each(|_| visitors[tenants.draw(&mut chance)] += 1);
        let to_first = |rank: usize| f64::from(visitors[rank]) / f64::from(visitors[0]);
        assert!((to_first(1) - 0.5).abs() < 0.03, "{}", to_first(1));
        assert!((to_first(9) - 0.1).abs() < 0.01, "{}", to_first(9));
        // The half that is visited least has 7 % of all visitors.
        let tail: u32 = visitors[5_000..].iter().sum();
        assert!((12_000..17_000).contains(&tail), "{tail}");
    }

    #[test]
    fn four_of_five_requests_go_on_kept_connections_and_one_of_twenty_is_an_error() {
        let mut traffic = Traffic::new(Tenants::new(10), 1);
        let asks: Vec<Ask> = (0..20_000).map(|_| traffic.ask()).collect();
        let kept = asks.iter().filter(|ask| ask.on == On::Kept).count();
        assert!((15_700..16_300).contains(&kept), "{kept}");
        let errors = asks.iter().filter(|ask| ask.wanted.statuses != [200]).count();
        assert!((900..1_100).contains(&errors), "{errors}");
    }

    #[test]
    fn a_destination_tells_what_it_must_answer() {
        let mut traffic = Traffic::new(Tenants::new(1_000), 1);
        let all: Vec<Destination> = (0..5_000).map(|_| traffic.destination()).collect();
        let refuses = all.iter().find(|to| &*to.host == "tenant-99.apps.localhost").unwrap();
        assert_eq!(refuses.wanted.unwrap().statuses, [502, 503]);
        assert!(all.iter().any(|to| to.host.starts_with("nobody-") && to.wanted.is_some()));
        assert!(all.iter().any(|to| &*to.host == "tenant-0.apps.localhost" && to.wanted.is_none()));
    }
}
