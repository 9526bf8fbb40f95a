//! Authorizations and their challenges (RFC 8555 §7.5).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use http::StatusCode;
use http::header::LINK;
use model::Timestamp;
use rand::RngExt as _;
use serde_json::{Value, json};

use super::answer::{Answer, put};
use super::limits::Limit;
use super::orders::PENDING;
use super::problem::Problem;
use super::state::{End, State};
use super::validation::{ChallengeType, Check};

/// How far an authorization or a challenge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Pending,
    Processing,
    Valid,
    Invalid,
    Deactivated,
}

impl Progress {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Deactivated => "deactivated",
        }
    }
}

#[derive(Debug)]
pub(super) struct Authorization {
    pub(super) account: u64,
    /// Without a wildcard's star.
    pub(super) name: String,
    wildcard: bool,
    pub(super) progress: Progress,
    pub(super) expires: Timestamp,
    challenges: Vec<Challenge>,
}

#[derive(Debug)]
struct Challenge {
    kind: ChallengeType,
    token: String,
    progress: Progress,
    error: Option<Problem>,
}

impl State {
    /// The authorization that an order for a name needs: one that is valid, or a new one.
    pub(super) fn authorize(&mut self, account: u64, name: &str) -> u64 {
        let (bare, wildcard) = name.strip_prefix("*.").map_or((name, false), |bare| (bare, true));
        let known = self.proved.get(&(account, bare.to_owned())).filter(|_| !wildcard);
        if let Some(id) = known.copied()
            && self.authorizations.get(&id).is_some_and(|held| held.progress == Progress::Valid)
        {
            return id;
        }
        let (id, expires) = (self.next_id(), self.now().plus(PENDING));
        let persists = self.options.dns_persist;
        let offered = ChallengeType::ALL.into_iter().filter(|kind| {
            (persists || *kind != ChallengeType::DnsPersist01) && (!wildcard || kind.proves_wildcards())
        });
        let challenges = offered
            .map(|kind| {
                let token = BASE64URL.encode(self.chance.random::<[u8; 32]>());
                Challenge { kind, token, progress: Progress::Pending, error: None }
            })
            .collect();
        let name = bare.to_owned();
        let new = Authorization { account, name, wildcard, progress: Progress::Pending, expires, challenges };
        self.authorizations.insert(id, new);
        self.ends(expires, End::Authorization(id));
        id
    }

    pub(super) fn authorization(
        &mut self,
        account: u64,
        id: u64,
        payload: &Value,
    ) -> Result<Answer, Problem> {
        let held = self.authorizations.get_mut(&id).filter(|held| held.account == account);
        let held = held.ok_or_else(|| Problem::not_found("authorization"))?;
        if payload["status"] == "deactivated" {
            held.progress = Progress::Deactivated;
            let key = (held.account, held.name.clone());
            self.proved.remove(&key);
        }
        Ok(Answer::json(StatusCode::OK, self.shown_authorization(id)))
    }

    fn shown_authorization(&self, id: u64) -> Value {
        let Some(held) = self.authorizations.get(&id) else { return Value::Null };
        let challenges: Vec<Value> =
            held.challenges.iter().enumerate().map(|(at, one)| self.shown_challenge((id, at), one)).collect();
        let mut body = json!({
            "identifier": { "type": "dns", "value": held.name },
            "status": held.progress.as_str(),
            "expires": held.expires,
            "challenges": challenges,
        });
        if held.wildcard {
            put(&mut body, "wildcard", true);
        }
        body
    }

    fn shown_challenge(&self, (id, at): (u64, usize), challenge: &Challenge) -> Value {
        let mut body = json!({
            "type": challenge.kind.as_str(),
            "url": self.url(format_args!("challenge/{id}/{at}")),
            "status": challenge.progress.as_str(),
        });
        if challenge.kind == ChallengeType::DnsPersist01 {
            put(&mut body, "issuer-domain-names", json!([self.options.identity]));
        } else {
            put(&mut body, "token", challenge.token.as_str());
        }
        if let Some(error) = &challenge.error {
            put(&mut body, "error", error.to_json());
        }
        body
    }

    /// Reads a challenge, or has it checked.
    pub(super) fn challenge(
        &mut self,
        account: u64,
        place: (u64, usize),
        payload: &Value,
    ) -> Result<Answer, Problem> {
        let (id, at) = place;
        let account_url = self.account_url(account);
        let thumbprint = self.accounts.get(account).map(|account| account.key.thumbprint.clone());
        let held = self.authorizations.get_mut(&id).filter(|held| held.account == account);
        let held = held.ok_or_else(|| Problem::not_found("authorization"))?;
        let is_open = held.progress == Progress::Pending;
        let challenge = held.challenges.get_mut(at).ok_or_else(|| Problem::not_found("challenge"))?;
        if is_open && payload.is_object() && challenge.progress == Progress::Pending {
            challenge.progress = Progress::Processing;
            let key_authorization = format!("{}.{}", challenge.token, thumbprint.unwrap_or_default());
            self.checks.push(Check {
                name: held.name.clone(),
                wildcard: held.wildcard,
                kind: challenge.kind,
                token: challenge.token.clone(),
                key_authorization,
                account_url,
                place,
            });
        }
        let shown = self.authorizations.get(&id).and_then(|held| held.challenges.get(at));
        let shown = shown.map(|challenge| self.shown_challenge(place, challenge)).unwrap_or_default();
        let up = format!("<{}>;rel=\"up\"", self.url(format_args!("authorization/{id}")));
        Ok(Answer::json(StatusCode::OK, shown).with(LINK, up))
    }

    /// Writes down what came of a check.
    pub(super) fn checked(&mut self, check: &Check, outcome: Result<(), Problem>) {
        let (now, reuse, (id, at)) = (self.now(), self.options.reuse_authorizations, check.place);
        let Some(held) = self.authorizations.get_mut(&id) else { return };
        let Some(challenge) = held.challenges.get_mut(at) else { return };
        let owner = (held.account, held.name.clone());
        let is_valid = outcome.is_ok();
        let progress = if is_valid { Progress::Valid } else { Progress::Invalid };
        challenge.error = outcome.err();
        challenge.progress = progress;
        held.progress = progress;
        if !is_valid {
            self.counts.failed_checks += 1;
            self.quota.buckets.spend(Limit::FailedAuthorizations, owner.clone(), now);
            self.quota.buckets.spend(Limit::Pause, owner, now);
            return;
        }
        self.quota.buckets.refill(Limit::Pause, owner.clone());
        if let Some(reuse) = reuse.filter(|_| !check.wildcard) {
            let expires = now.plus(reuse);
            held.expires = expires;
            self.proved.insert(owner, id);
            self.ends(expires, End::Authorization(id));
        }
    }
}
