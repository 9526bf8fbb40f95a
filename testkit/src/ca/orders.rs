//! Orders (RFC 8555 §7.4): opened within the limits, and finalized.

use std::time::Duration;

use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER};
use model::Timestamp;
use serde_json::{Value, json};

use super::answer::{Answer, put};
use super::challenges::Progress;
use super::faults::Fault;
use super::limits::{Limit, Owner, Refusal};
use super::problem::Problem;
use super::state::{End, State};
use super::wishes::{Replaces, Wish};

/// How long orders and authorizations that nothing becomes of are kept; ended orders as well.
pub(super) const PENDING: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Order {
    pub(super) account: u64,
    /// In order, without repetition.
    pub(super) names: Vec<String>,
    /// The names as one text.
    pub(super) set: String,
    /// Place in [`super::Options::profiles`].
    pub(super) profile: usize,
    asked_profile: Option<String>,
    pub(super) replaces: Option<Replaces>,
    /// Whether the same names had a certificate before.
    pub(super) is_renewal: bool,
    authorizations: Vec<u64>,
    pub(super) stage: Stage,
    expires: Timestamp,
}

/// How far an order is, beyond its authorizations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// The certificate is made and held back.
    Processing(String),
    /// With the serial number of its certificate.
    Valid(String),
}

impl State {
    pub(super) fn new_order(&mut self, account: u64, payload: &Value) -> Result<Answer, Problem> {
        let wish = self.wish(account, payload)?;
        let set = wish.names.join(",");
        let known = self.reusable.get(&(account, set.clone(), wish.profile)).copied();
        if let Some(id) = known.filter(|id| matches!(self.status(*id), "pending" | "ready")) {
            return self.order_answer(StatusCode::CREATED, id);
        }
        let is_renewal = self.quota.is_known(&set);
        if !wish.replaces.as_ref().is_some_and(|replaces| replaces.inside) {
            let now = self.now();
            let admitted = self.quota.admit(account, (&wish.names, &set), now);
            admitted.map_err(|refusal| self.refused(&refusal))?;
        }
        let authorizations = wish.names.iter().map(|name| self.authorize(account, name)).collect();
        let (id, expires) = (self.next_id(), self.now().plus(PENDING));
        if self.options.reuse_orders {
            self.reusable.insert((account, set.clone(), wish.profile), id);
        }
        if let Some(replaces) = &wish.replaces
            && let Some(old) = self.issued.get_mut(&replaces.serial)
        {
            old.replaced_by = Some(id);
        }
        let Wish { names, profile, asked_profile, replaces } = wish;
        let order = Order {
            account,
            names,
            set,
            profile,
            asked_profile,
            replaces,
            is_renewal,
            authorizations,
            stage: Stage::Open,
            expires,
        };
        self.orders.insert(id, order);
        self.ends(expires, End::Order(id));
        self.counts.orders += 1;
        self.order_answer(StatusCode::CREATED, id)
    }

    /// Refuses, and counts that, if a limit is reached.
    pub(super) fn within(&mut self, limit: Limit, owner: &Owner) -> Result<(), Problem> {
        let now = self.now();
        let checked = self.quota.buckets.check(limit, owner, now);
        checked.map_err(|refusal| self.refused(&refusal))
    }

    fn refused(&mut self, refusal: &Refusal) -> Problem {
        *self.counts.refused.entry(refusal.limit).or_default() += 1;
        refusal.problem(self.now())
    }

    pub(super) fn order(&self, account: u64, id: u64) -> Result<Answer, Problem> {
        self.order_of(account, id)?;
        self.order_answer(StatusCode::OK, id)
    }

    fn order_of(&self, account: u64, id: u64) -> Result<&Order, Problem> {
        let order = self.orders.get(&id).filter(|order| order.account == account);
        order.ok_or_else(|| Problem::not_found("order"))
    }

    /// The status of an order; empty: there is none.
    pub(super) fn status(&self, id: u64) -> &'static str {
        let Some(order) = self.orders.get(&id) else { return "" };
        match order.stage {
            Stage::Processing(_) => return "processing",
            Stage::Valid(_) => return "valid",
            Stage::Open => {}
        }
        let progress = |id: &u64| {
            let held = self.authorizations.get(id);
            held.map_or(Progress::Invalid, |held| held.progress)
        };
        if order
            .authorizations
            .iter()
            .any(|id| matches!(progress(id), Progress::Invalid | Progress::Deactivated))
        {
            "invalid"
        } else if order.authorizations.iter().all(|id| progress(id) == Progress::Valid) {
            "ready"
        } else {
            "pending"
        }
    }

    fn order_answer(&self, status: StatusCode, id: u64) -> Result<Answer, Problem> {
        let order = self.orders.get(&id).ok_or_else(|| Problem::not_found("order"))?;
        let identifiers: Vec<Value> =
            order.names.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let authorizations: Vec<String> =
            order.authorizations.iter().map(|id| self.url(format_args!("authorization/{id}"))).collect();
        let mut body = json!({
            "status": self.status(id),
            "expires": order.expires,
            "identifiers": identifiers,
            "authorizations": authorizations,
            "finalize": self.url(format_args!("finalize/{id}")),
        });
        if let Stage::Valid(serial) = &order.stage {
            put(&mut body, "certificate", self.url(format_args!("certificate/{serial}")));
        }
        if let Some(replaces) = &order.replaces {
            put(&mut body, "replaces", replaces.id.as_str());
        }
        if let Some(profile) = &order.asked_profile {
            put(&mut body, "profile", profile.as_str());
        }
        let answer = Answer::json(status, body).with(LOCATION, self.url(format_args!("order/{id}")));
        Ok(match order.stage {
            Stage::Processing(_) => answer.with(RETRY_AFTER, "3".to_owned()),
            _ => answer,
        })
    }

    pub(super) fn finalize(
        &mut self,
        account: u64,
        id: u64,
        payload: &Value,
        fault: Option<Fault>,
    ) -> Result<Answer, Problem> {
        self.order_of(account, id)?;
        let status = self.status(id);
        if status != "ready" {
            let detail = format!("Order's status ({status:?}) is not acceptable for finalization");
            return Err(Problem::new("orderNotReady", detail));
        }
        let serial = self.issue(id, payload["csr"].as_str().unwrap_or_default())?;
        let is_stuck = fault == Some(Fault::Processing);
        if is_stuck {
            self.stuck.push(id);
        }
        if let Some(order) = self.orders.get_mut(&id) {
            order.stage = if is_stuck { Stage::Processing(serial) } else { Stage::Valid(serial) };
        }
        self.order_answer(StatusCode::OK, id)
    }

    /// Gives out what was held back by [`Fault::Processing`].
    pub(super) fn finish_orders(&mut self) {
        for id in std::mem::take(&mut self.stuck) {
            if let Some(order) = self.orders.get_mut(&id)
                && let Stage::Processing(serial) = &order.stage
            {
                order.stage = Stage::Valid(serial.clone());
            }
        }
    }
}
