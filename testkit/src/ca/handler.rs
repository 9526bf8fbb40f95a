//! The authority without a socket: a request in, an answer out. What a request asks for is carried out at
//! once; names are checked after it is answered, as at a real authority.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response};

use super::Options;
use super::counts::Counts;
use super::faults::Rule;
use super::limits::Limits;
use super::problem::Problem;
use super::renewal::Window;
use super::state::State;
use super::validation::{Check, Validation, fetch};

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    /// It is answered.
    Answer(Response<Bytes>),
    /// It is not answered until the client gives up.
    Hang,
    /// The connection is closed.
    Close,
}

/// An authority without a socket. All methods may be called at any time from anywhere.
pub struct Handler {
    state: Mutex<State>,
    http: reqwest::Client,
}

impl Handler {
    /// An authority whose addresses begin with `base`, `https://…` without a path. Its directory is `/dir`.
    ///
    /// # Errors
    /// If no key can be made, or there is no profile.
    pub fn new(base: impl Into<String>, options: Options) -> Result<Self> {
        options.profiles.first().context("an authority needs a profile")?;
        let http = crate::client::plain()?;
        Ok(Self { state: Mutex::new(State::new(base.into(), options)?), http })
    }

    /// Answers; checks of names are done when this returns, except those of [`Validation::Http`], which wait
    /// for [`Self::answer`].
    pub fn handle(&self, request: &Request<Bytes>) -> Reply {
        let reply = self.state().handle(request);
        self.judge();
        reply
    }

    /// As [`Self::handle`], with hanging carried out and http-01 answers fetched in the background; none:
    /// the connection is to be closed.
    pub async fn answer(self: &Arc<Self>, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let reply = self.handle(&request);
        self.fetch_answers();
        match reply {
            Reply::Answer(response) => Some(response),
            Reply::Close => None,
            Reply::Hang => std::future::pending().await,
        }
    }

    /// Adds a rule about what goes wrong, behind those that are there.
    pub fn script(&self, rule: Rule) {
        self.state().faults.add(rule);
    }

    /// Takes all rules away; orders that are held in `processing` stay so.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Gives out the certificates of orders that are held in `processing`.
    pub fn finish_orders(&self) {
        self.state().finish_orders();
    }

    /// What it was asked for since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// How names are checked from now on.
    pub fn set_validation(&self, validation: Validation) {
        self.state().validation = Arc::new(validation);
    }

    /// Refuses a name from now on.
    pub fn block(&self, name: &str) {
        self.state().options.blocked.insert(name.to_owned());
    }

    /// The limits from now on; what was taken stays taken.
    pub fn set_limits(&self, limits: Limits) {
        self.state().quota.buckets.limits = limits;
    }

    /// Moves the windows of certificates into the past, as before a mass revocation; tells of how many.
    /// `chosen` is asked with the names of each; it must not call the authority.
    pub fn hurry(&self, chosen: impl Fn(&[String]) -> bool) -> usize {
        let mut state = self.state();
        let window = Window::over(state.now());
        let those = state.issued.values_mut().filter(|issued| chosen(&issued.names));
        those.map(|issued| issued.window = Some(window)).count()
    }

    /// Revokes certificates as the authority may; tells how many. As [`Self::hurry`] else.
    pub fn revoke(&self, chosen: impl Fn(&[String]) -> bool) -> usize {
        let mut state = self.state();
        let those = state.issued.values_mut().filter(|issued| !issued.is_revoked && chosen(&issued.names));
        let revoked = those.map(|issued| issued.is_revoked = true).count();
        state.counts.revoked += u64::try_from(revoked).unwrap_or(u64::MAX);
        revoked
    }

    /// Gives certificates another window; tells how many. As [`Self::hurry`] else.
    pub fn set_window(&self, chosen: impl Fn(&[String]) -> bool, window: Window) -> usize {
        let mut state = self.state();
        let those = state.issued.values_mut().filter(|issued| chosen(&issued.names));
        those.map(|issued| issued.window = Some(window)).count()
    }

    /// The root of the default chains, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.state().signer.root_pem(0).unwrap_or_default()
    }

    /// The root of the alternate chains, PEM.
    #[must_use]
    pub fn alternate_root_pem(&self) -> String {
        self.state().signer.root_pem(1).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the checks that need no network, without holding the lock.
    fn judge(&self) {
        let (checks, validation, caa, identity) = {
            let mut state = self.state();
            if state.checks.is_empty() {
                return;
            }
            let (validation, caa) = (Arc::clone(&state.validation), state.options.caa.clone());
            (std::mem::take(&mut state.checks), validation, caa, state.options.identity.clone())
        };
        let judge = |check: &Check| {
            let refused = caa.as_ref().and_then(|records| records.allow(&identity, check).err());
            refused.map_or_else(|| validation.judge(check), |why| Some(Err(Problem::new("caa", why))))
        };
        let judged: Vec<_> = checks.into_iter().map(|check| (judge(&check), check)).collect();
        let mut state = self.state();
        for (outcome, check) in judged {
            match (outcome, validation.as_ref()) {
                (Some(outcome), _) => state.checked(&check, outcome),
                (None, Validation::Http { port }) => state.fetches.push((check, *port)),
                (None, _) => {}
            }
        }
    }

    fn fetch_answers(self: &Arc<Self>) {
        let fetches = std::mem::take(&mut self.state().fetches);
        for (check, port) in fetches {
            let authority = Arc::clone(self);
            tokio::spawn(async move {
                let outcome = fetch(&authority.http, port, &check).await;
                authority.state().checked(&check, outcome);
            });
        }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler")
    }
}

#[cfg(test)]
mod tests;
