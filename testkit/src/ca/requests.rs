//! What is done with a request: a fault may befall it, its signature is looked at, and it goes to the part that
//! carries it out.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName, LINK, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use model::Timestamp;
use serde_json::{Map, Value, json};

use super::admission::bad_nonce;
use super::answer::{Answer, put};
use super::counts::Kind;
use super::faults::{Fault, Wait};
use super::handler::Reply;
use super::limits::Limit;
use super::problem::Problem;
use super::route::Route;
use super::state::State;

pub(super) const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

impl State {
    /// Carries a request out, unless a fault befalls it.
    pub(super) fn handle(&mut self, request: &Request<Bytes>) -> Reply {
        self.forget();
        let route = Route::of(request.uri().path());
        let kind = route.kind();
        *self.counts.requests.entry(kind).or_default() += 1;
        let fault = self.faults.draw(kind, &mut self.chance);
        self.counts.faults += u64::from(fault.is_some());
        let outcome = match fault {
            Some(Fault::Hang) => return Reply::Hang,
            Some(Fault::Close) => return Reply::Close,
            Some(Fault::Unavailable(wait)) => return Reply::Answer(self.away(wait).into_response()),
            Some(Fault::Limited(wait)) => Ok(self.limited(wait)),
            Some(Fault::Refused) => Err(Problem::unauthorized("scripted: refused".to_owned())),
            Some(Fault::BadNonce) => Err(bad_nonce()),
            other => self.keep_pace(kind).and_then(|()| self.carry_out(&route, request, other)),
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
                "caaIdentities": [self.options.identity],
                "externalAccountRequired": !self.options.external_accounts.is_empty(),
                "profiles": profiles,
            },
        });
        if self.options.renewal_info {
            put(&mut directory, "renewalInfo", self.url("renewal-info"));
        }
        directory
    }

    /// Refuses if there were too many requests of this kind.
    fn keep_pace(&mut self, kind: Kind) -> Result<(), Problem> {
        let (limit, owner) = (Limit::Requests(kind), (0, String::new()));
        self.within(limit, &owner)?;
        self.quota.buckets.spend(limit, owner, self.now());
        Ok(())
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
