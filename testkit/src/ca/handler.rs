//! The authority without a socket: a request in, an answer out. What a request asks for is carried out at
//! once; names are checked after it is answered, as at a real authority.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, LINK, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use model::Timestamp;
use serde_json::{Map, Value, json};

use super::Options;
use super::answer::{Answer, put};
use super::caa::IDENTITY;
use super::counts::{Counts, Kind};
use super::faults::{Fault, Rule, Wait};
use super::jws::{Envelope, Jwk, Signer};
use super::limits::Limits;
use super::problem::Problem;
use super::renewal::Window;
use super::route::Route;
use super::state::State;
use super::validation::{Check, Validation, fetch};

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

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

/// A request whose signature was verified.
struct Signed {
    /// None: signed with a key that is written in it.
    account: Option<u64>,
    key: Jwk,
    /// Null: the request only asks.
    payload: Value,
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
        self.state().options.validation = validation;
    }

    /// The limits from now on; what was taken stays taken.
    pub fn set_limits(&self, limits: Limits) {
        self.state().buckets.limits = limits;
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
        let (checks, validation, caa) = {
            let mut state = self.state();
            if state.checks.is_empty() {
                return;
            }
            let (validation, caa) = (state.options.validation.clone(), state.options.caa.clone());
            (std::mem::take(&mut state.checks), validation, caa)
        };
        let judge = |check: &Check| {
            let refused = caa.as_ref().and_then(|records| records.allow(check).err());
            refused.map_or_else(|| validation.judge(check), |why| Some(Err(Problem::new("caa", why))))
        };
        let judged: Vec<_> = checks.into_iter().map(|check| (judge(&check), check)).collect();
        let mut state = self.state();
        for (outcome, check) in judged {
            match outcome {
                Some(outcome) => state.checked(&check, outcome),
                None => state.fetches.push(check),
            }
        }
    }

    fn fetch_answers(self: &Arc<Self>) {
        let (fetches, validation) = {
            let mut state = self.state();
            (std::mem::take(&mut state.fetches), state.options.validation.clone())
        };
        let Validation::Http { port } = validation else { return };
        for check in fetches {
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

impl State {
    fn handle(&mut self, request: &Request<Bytes>) -> Reply {
        self.forget();
        let route = Route::of(request.uri().path());
        let kind = route.kind();
        *self.counts.requests.entry(kind).or_default() += 1;
        let fault = self.faults.draw(kind, &mut self.chance);
        self.counts.faults += u64::from(fault.is_some());
        let outcome = match fault {
            Some(Fault::Hang) => return Reply::Hang,
            Some(Fault::Close) => return Reply::Close,
            Some(Fault::Unavailable(wait)) => Ok(self.away(wait)),
            Some(Fault::Limited(wait)) => Ok(self.limited(wait)),
            Some(Fault::BadNonce) => Err(bad_nonce()),
            other => self.carry_out(&route, request, other),
        };
        if fault == Some(Fault::LoseAnswer) {
            return Reply::Close;
        }
        let mut answer = outcome.unwrap_or_else(Answer::from);
        if kind.is_signed() || kind == Kind::NewNonce {
            let index = format!("<{}>;rel=\"index\"", self.url("dir"));
            answer = answer.with(REPLAY_NONCE, self.nonces.give(&mut self.chance)).with(LINK, index);
        }
        Reply::Answer(answer.with(CACHE_CONTROL, "no-store".to_owned()).into_response())
    }

    fn carry_out(
        &mut self,
        route: &Route<'_>,
        request: &Request<Bytes>,
        fault: Option<Fault>,
    ) -> Result<Answer, Problem> {
        match (route, request.method()) {
            (Route::Directory, &Method::GET) => return Ok(Answer::json(StatusCode::OK, self.directory())),
            (Route::NewNonce, &Method::HEAD) => return Ok(Answer::empty(StatusCode::OK)),
            (Route::NewNonce, &Method::GET) => return Ok(Answer::empty(StatusCode::NO_CONTENT)),
            (Route::RenewalInfo(id), &Method::GET) if self.options.renewal_info => {
                return self.renewal_info(id, fault);
            }
            (Route::Unknown | Route::RenewalInfo(_), _) => return Err(Problem::not_found("page")),
            (_, &Method::POST) => {}
            _ => {
                let problem = Problem::malformed("Method not allowed");
                return Err(Problem { status: StatusCode::METHOD_NOT_ALLOWED, ..problem });
            }
        }
        let signed = self.verify(route, request)?;
        let payload = &signed.payload;
        let account = match (route, signed.account) {
            (Route::NewAccount, _) => return self.new_account(signed.key, payload),
            (Route::RevokeCert, account) => return self.revoke_cert(account, &signed.key, payload),
            (_, account) => account.ok_or_else(|| Problem::malformed("`kid` must be given"))?,
        };
        match route {
            Route::Account(id) if *id == account => self.account(account, payload),
            Route::Account(_) => Err(Problem::unauthorized("the account is another one")),
            Route::KeyChange => self.key_change(account, payload),
            Route::NewOrder => self.new_order(account, payload),
            Route::Order(id) => self.order(account, *id),
            Route::Authorization(id) => self.authorization(account, *id, payload),
            Route::Challenge(place) => self.challenge(account, *place, payload),
            Route::Finalize(id) => self.finalize(account, *id, payload, fault),
            Route::Certificate(serial, chain) => self.certificate(account, (serial, *chain), fault),
            _ => Err(Problem::not_found("page")),
        }
    }

    /// RFC 8555 §6.2 to §6.5.
    fn verify(&mut self, route: &Route<'_>, request: &Request<Bytes>) -> Result<Signed, Problem> {
        let is_jose = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/jose+json");
        if !is_jose {
            let problem = Problem::malformed("Content-Type must be application/jose+json");
            return Err(Problem { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..problem });
        }
        let envelope = Envelope::parse(request.body())?;
        if !envelope.nonce.as_deref().is_some_and(|nonce| self.nonces.take(nonce)) {
            return Err(bad_nonce());
        }
        let asked = format!("{}{}", self.base, request.uri().path());
        if envelope.url != asked {
            let detail =
                format!("JWS header parameter `url` is {:?}, the request's is {asked:?}", envelope.url);
            return Err(Problem::unauthorized(detail));
        }
        let (account, key) = match &envelope.signer {
            Signer::Key(key) if matches!(route, Route::NewAccount | Route::RevokeCert) => (None, key.clone()),
            Signer::Key(_) => return Err(Problem::malformed("`kid` must be given, not `jwk`")),
            Signer::Id(_) if matches!(route, Route::NewAccount) => {
                return Err(Problem::malformed("`jwk` must be given, not `kid`"));
            }
            Signer::Id(kid) => {
                let (id, key) = self.account_at(kid)?;
                (Some(id), key)
            }
        };
        envelope.verify(&key)?;
        Ok(Signed { account, key, payload: envelope.json()? })
    }

    fn account_at(&self, url: &str) -> Result<(u64, Jwk), Problem> {
        let id = url.strip_prefix(&self.url("account/")).and_then(|id| id.parse().ok());
        let found = id.and_then(|id| self.accounts.get(id).map(|account| (id, account)));
        let (id, account) =
            found.ok_or_else(|| Problem::new("accountDoesNotExist", format!("Account {url:?} not found")))?;
        if account.is_active {
            Ok((id, account.key.clone()))
        } else {
            Err(Problem::unauthorized("account is deactivated"))
        }
    }

    fn directory(&self) -> Value {
        let profiles: Map<String, Value> = self
            .options
            .profiles
            .iter()
            .map(|profile| {
                (profile.name.clone(), format!("https://ca.test/profiles#{}", profile.name).into())
            })
            .collect();
        let mut directory = json!({
            "newNonce": self.url("new-nonce"),
            "newAccount": self.url("new-account"),
            "newOrder": self.url("new-order"),
            "revokeCert": self.url("revoke-cert"),
            "keyChange": self.url("key-change"),
            "meta": {
                "termsOfService": "https://ca.test/terms",
                "website": "https://ca.test",
                "caaIdentities": [IDENTITY],
                "externalAccountRequired": !self.options.external_accounts.is_empty(),
                "profiles": profiles,
            },
        });
        if self.options.renewal_info {
            put(&mut directory, "renewalInfo", self.url("renewal-info"));
        }
        directory
    }

    fn away(&self, wait: Option<Wait>) -> Answer {
        let page =
            "<html><head><title>503 Service Unavailable</title></head><body>Be back soon</body></html>";
        let answer = Answer::text(StatusCode::SERVICE_UNAVAILABLE, "text/html", page.to_owned());
        waiting(answer, wait, self.now())
    }

    fn limited(&self, wait: Option<Wait>) -> Answer {
        let problem = Problem::new("rateLimited", "Service busy; retry later.");
        waiting(Answer::from(problem), wait, self.now())
    }
}

fn bad_nonce() -> Problem {
    Problem::new("badNonce", "JWS has an invalid anti-replay nonce")
}

fn waiting(answer: Answer, wait: Option<Wait>, now: Timestamp) -> Answer {
    match wait {
        None => answer,
        Some(Wait::Seconds(seconds)) => answer.with(RETRY_AFTER, seconds.to_string()),
        Some(Wait::Date(after)) => {
            let since = std::time::Duration::from_millis(now.plus(after).unix_millis_unsigned());
            answer.with(RETRY_AFTER, httpdate::fmt_http_date(std::time::UNIX_EPOCH + since))
        }
    }
}

#[cfg(test)]
mod tests;
