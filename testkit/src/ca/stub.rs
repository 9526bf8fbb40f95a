//! The authority's decisions without its wire, keys and certificates: for simulations of millions of orders.
//!
//! It has the same limits and the same windows as [`super::Ca`], one account, and one name an order.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;

use super::limits::{Limit, Limits};
use super::quota::Quota;
use super::renewal::{POLL, Window};

/// Whose orders all are.
const ACCOUNT: u64 = 1;
/// Certificates begin so long before the present.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate that was given out.
#[derive(Debug, Clone)]
struct Given {
    window: Window,
    is_revoked: bool,
    is_replaced: bool,
}

/// What an order is for that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    replaces: Option<usize>,
    is_inside: bool,
    is_renewal: bool,
}

/// A certificate, as far as it matters when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifespan {
    /// What the authority knows it by.
    pub serial: usize,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

/// What happened since the start; see [`super::Counts`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Orders that a limit refused.
    pub refused: BTreeMap<Limit, u64>,
    /// Certificates that were given out.
    pub issued: u64,
    /// Of these, those that replaced another and were ordered inside its window.
    pub renewals_inside: u64,
    /// Those for a name that had one before and were not ordered inside the window.
    pub renewals_outside: u64,
    /// Questions about renewal.
    pub questions: u64,
}

/// The authority.
#[derive(Debug)]
pub struct Stub {
    quota: Quota,
    lifetime: Duration,
    /// By serial number.
    given: Vec<Given>,
    /// Serial numbers of what was forgotten: given out again, so that years cost no more memory than days.
    free: Vec<usize>,
    tally: Tally,
}

impl Stub {
    /// One whose certificates are valid for `lifetime`.
    #[must_use]
    pub fn new(limits: Limits, lifetime: Duration) -> Self {
        Self {
            quota: Quota::new(limits),
            lifetime,
            given: Vec::new(),
            free: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Takes an order for `name`, which replaces the certificate `replaces`.
    ///
    /// # Errors
    /// Which limit refuses it, and for how long.
    pub fn place(
        &mut self,
        name: &str,
        replaces: Option<usize>,
        now: Timestamp,
    ) -> Result<Placed, (Limit, Duration)> {
        let old = replaces.and_then(|serial| self.given.get(serial)).filter(|old| !old.is_replaced);
        let is_inside = old.is_some_and(|old| old.window(now).holds(now));
        let is_renewal = self.quota.is_known(name);
        if !is_inside && let Err(refusal) = self.quota.admit(ACCOUNT, (&[name.to_owned()], name), now) {
            *self.tally.refused.entry(refusal.limit).or_default() += 1;
            return Err((refusal.limit, refusal.wait));
        }
        Ok(Placed { replaces: replaces.filter(|_| old.is_some()), is_inside, is_renewal })
    }

    /// Gives out the certificate of an order.
    pub fn issue(&mut self, name: &str, placed: Placed, now: Timestamp) -> Lifespan {
        self.quota.note_issued((&[name.to_owned()], name), placed.is_inside, now);
        self.tally.issued += 1;
        self.tally.renewals_inside += u64::from(placed.is_inside);
        self.tally.renewals_outside += u64::from(placed.is_renewal && !placed.is_inside);
        if let Some(old) = placed.replaces.and_then(|serial| self.given.get_mut(serial)) {
            old.is_replaced = true;
        }
        let not_before = now.minus(BACKDATED);
        let not_after = not_before.plus(self.lifetime).minus(Duration::from_secs(1));
        let given =
            Given { window: Window::of(not_before, not_after), is_revoked: false, is_replaced: false };
        let serial = self.free.pop().unwrap_or(self.given.len());
        match self.given.get_mut(serial) {
            Some(place) => *place = given,
            None => self.given.push(given),
        }
        Lifespan { serial, not_before, not_after }
    }

    /// When a certificate should be renewed, and how long until that may be asked again; none: there never was one.
    pub fn renewal_info(&mut self, serial: usize, now: Timestamp) -> Option<(Window, Duration)> {
        self.tally.questions += 1;
        self.given.get(serial).map(|given| (given.window(now), POLL))
    }

    /// Revokes a certificate.
    pub fn revoke(&mut self, serial: usize) {
        if let Some(given) = self.given.get_mut(serial) {
            given.is_revoked = true;
        }
    }

    /// Forgets a certificate that nobody will ask about any more.
    pub fn forget(&mut self, serial: usize) {
        self.free.push(serial);
    }

    /// What happened since the start.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Given {
    fn window(&self, now: Timestamp) -> Window {
        if self.is_revoked { Window::over(now) } else { self.window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn start() -> Timestamp {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn it_has_the_limits_and_windows_of_the_whole_authority() {
        let mut stub = Stub::new(Limits::lets_encrypt(), DAY * 45);
        let placed = stub.place("shop.test", None, start()).unwrap();
        let held = stub.issue("shop.test", placed, start());
        for number in 1..300 {
            stub.place(&format!("shop-{number}.test"), None, start()).unwrap();
        }
        let (limit, wait) = stub.place("late.test", None, start()).unwrap_err();
        assert_eq!((limit, wait), (Limit::OrdersPerAccount, Duration::from_secs(36)));

        let (window, _) = stub.renewal_info(held.serial, start()).unwrap();
        let placed = stub.place("shop.test", Some(held.serial), window.start).unwrap();
        stub.issue("shop.test", placed, window.start);
        // What is replaced is not replaced again, and costs what a renewal does.
        let again = stub.place("shop.test", Some(held.serial), window.start).unwrap();
        stub.issue("shop.test", again, window.start);
        let tally = stub.tally();
        assert_eq!((tally.renewals_inside, tally.renewals_outside, tally.issued), (1, 1, 3));
    }

    #[test]
    fn what_is_revoked_has_a_window_that_is_over() {
        let mut stub = Stub::new(Limits::default(), DAY * 45);
        let placed = stub.place("shop.test", None, start()).unwrap();
        let held = stub.issue("shop.test", placed, start());
        stub.revoke(held.serial);
        assert!(stub.renewal_info(held.serial, start()).is_some_and(|(window, _)| window.end < start()));
        stub.forget(held.serial);
        let placed = stub.place("other.test", None, start()).unwrap();
        let other = stub.issue("other.test", placed, start());
        assert!(stub.renewal_info(other.serial, start()).is_some_and(|(window, _)| window.start > start()));
    }
}
