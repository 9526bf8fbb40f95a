//! All that the authority knows. Orders and authorizations are forgotten when they expire, certificates when
//! they end, so that a simulated year stays small; accounts and the sets of names that had a certificate stay.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use anyhow::Result;
use model::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::Options;
use super::accounts::Accounts;
use super::certificates::Issued;
use super::challenges::Authorization;
use super::counts::Counts;
use super::faults::Faults;
use super::nonces::Nonces;
use super::orders::Order;
use super::quota::Quota;
use super::signer::Signer;
use super::validation::{Check, Validation};

pub(super) struct State {
    /// `https://…` without a path.
    pub(super) base: String,
    pub(super) options: Options,
    /// How names are checked; of its own, because it may hold many names and leaves the lock for each check.
    pub(super) validation: Arc<Validation>,
    pub(super) chance: StdRng,
    pub(super) signer: Signer,
    pub(super) nonces: Nonces,
    pub(super) accounts: Accounts,
    pub(super) orders: HashMap<u64, Order>,
    /// The newest order of an account, a set of names and a profile, if orders are given again.
    pub(super) reusable: HashMap<(u64, String, usize), u64>,
    /// Orders that are held in `processing`.
    pub(super) stuck: Vec<u64>,
    pub(super) authorizations: HashMap<u64, Authorization>,
    /// The valid authorization of an account and a name, if authorizations are given again.
    pub(super) proved: HashMap<(u64, String), u64>,
    /// By serial number, base64url.
    pub(super) issued: HashMap<String, Issued>,
    pub(super) quota: Quota,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
    /// Names that are to be checked once this is unlocked.
    pub(super) checks: Vec<Check>,
    /// Those of them whose answers are to be fetched, and the port.
    pub(super) fetches: Vec<(Check, u16)>,
    ends: BinaryHeap<Reverse<(Timestamp, End)>>,
    last_id: u64,
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Order(u64),
    Authorization(u64),
    Certificate(String),
}

impl State {
    pub(super) fn new(base: String, options: Options) -> Result<Self> {
        Ok(Self {
            base,
            validation: Arc::new(options.validation.clone()),
            chance: StdRng::seed_from_u64(options.seed),
            signer: Signer::new()?,
            nonces: Nonces::default(),
            accounts: Accounts::default(),
            orders: HashMap::new(),
            reusable: HashMap::new(),
            stuck: Vec::new(),
            authorizations: HashMap::new(),
            proved: HashMap::new(),
            issued: HashMap::new(),
            quota: Quota::new(options.limits.clone()),
            faults: Faults::default(),
            counts: Counts::default(),
            checks: Vec::new(),
            fetches: Vec::new(),
            ends: BinaryHeap::new(),
            last_id: 0,
            options,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn url(&self, path: impl std::fmt::Display) -> String {
        format!("{}/{path}", self.base)
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn ends(&mut self, at: Timestamp, what: End) {
        self.ends.push(Reverse((at, what)));
    }

    /// Forgets what has ended.
    pub(super) fn forget(&mut self) {
        let now = self.now();
        while let Some(Reverse((at, _))) = self.ends.peek()
            && *at <= now
        {
            let Some(Reverse((_, what))) = self.ends.pop() else { return };
            match what {
                End::Order(id) => self.forget_order(id),
                End::Authorization(id) => self.forget_authorization(id, now),
                End::Certificate(serial) => drop(self.issued.remove(&serial)),
            }
        }
    }

    fn forget_order(&mut self, id: u64) {
        let Some(order) = self.orders.remove(&id) else { return };
        let key = (order.account, order.set, order.profile);
        if self.reusable.get(&key) == Some(&id) {
            self.reusable.remove(&key);
        }
    }

    fn forget_authorization(&mut self, id: u64, now: Timestamp) {
        // One that was valid meanwhile ends later, and is on the list once more.
        if self.authorizations.get(&id).is_none_or(|held| held.expires > now) {
            return;
        }
        let Some(held) = self.authorizations.remove(&id) else { return };
        let key = (held.account, held.name);
        if self.proved.get(&key) == Some(&id) {
            self.proved.remove(&key);
        }
    }
}
