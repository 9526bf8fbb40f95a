//! What creators wish for their records: one step at one provider, in the hands of one process at a time.
//!
//! What takes the records back is in the store before the first of them is set. So whoever goes on after a crash looks
//! at how much of it is in the zone, and sets the rest or takes it back; a key that is revoked half-way leaves nothing
//! behind that is not told. Only addresses and aliases are ever taken away, never what e-mail needs.

mod outcome;
mod records;

use std::sync::Arc;
use std::time::Duration;

use model::Host;
use model::clock::SystemClock;
use model::domain::connection::{
    ConnectionStatus, Connector, Findings, Step, Trouble, UNDO_WINDOW, credential_context,
};
use model::id::DomainId;
use model::seal::SealError;
use model::secret::Secret;
use store::{Access, Actor, Connection, ConnectionPatch, DomainRecord, Keep, StoreError};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Guard;
use crate::adapters::{self, Account, Algorithm, Applied, Extent, Fault, Interrupted, Plan, Zone};
use crate::guard::Forbidden;
use crate::work::Work;
use outcome::{Stop, ended, failed};

/// How long one attempt may take in all.
const ATTEMPT: Duration = Duration::from_secs(120);
/// The same where nothing is changed and somebody looks on.
const LOOK: Duration = Duration::from_secs(60);
/// Longest plan that is kept, in bytes: some hundred records at one name.
const MAX_KEPT: usize = 256 * 1024;

impl Work {
    /// Makes one attempt at what is wished for a domain. Leaves it to whoever comes next when `shutdown` becomes true.
    pub(crate) async fn work_off_connection(&self, id: DomainId, mut shutdown: watch::Receiver<bool>) {
        let held = match self.store.lease_connection(id, &self.owner, self.settings.lease).await {
            Ok(held) => held,
            // Somebody else was quicker, or the store is away: it stays due.
            Err(error) => return tracing::debug!(domain = %id, %error, "connection is not ours"),
        };
        let bound = if held.step == Step::Preview { LOOK } else { ATTEMPT };
        let ended = tokio::select! {
            ended = timeout(bound, self.attempt_connection(&held)) => Some(ended.ok()),
            _ = shutdown.wait_for(|stop| *stop) => None,
            () = self.keep_connection(&held) => return,
        };
        let now = self.store.now();
        let patch = match ended {
            Some(Some(patch)) => patch,
            Some(None) => self.stored(&held).await.map(|row| failed(&row, Stop::slow(bound), now)),
            None => self.stored(&held).await.map(|row| outcome::cut_off(&row, now)),
        };
        let written = match patch {
            Ok(patch) => self.store.update_connection(id, held.fence, patch).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(now) => self.conclude_connection(&now).await,
            Err(StoreError::Fenced { .. } | StoreError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(domain = %id, %error, "a connection could not be written down"),
        }
    }

    /// What an attempt that was cut off has written down: perhaps that it sets records.
    async fn stored(&self, held: &Connection) -> Result<Connection, StoreError> {
        let stored = self.store.connection(Access::Platform, held.domain).await?;
        let ours = stored.filter(|stored| stored.fence == held.fence);
        ours.ok_or_else(|| StoreError::Fenced { what: "connection", id: held.domain.to_string() })
    }

    /// Gives signs of life for as long as it is polled; ends when somebody else has taken over.
    async fn keep_connection(&self, held: &Connection) {
        let lease = self.settings.lease;
        loop {
            tokio::time::sleep(lease / 3).await;
            match self.store.extend_connection_lease(held.domain, held.fence, lease).await {
                Err(StoreError::Fenced { .. } | StoreError::NotFound { .. }) => return,
                Err(error) => tracing::debug!(domain = %held.domain, %error, "no sign of life was given"),
                Ok(()) => {}
            }
        }
    }

    /// Records that were changed are looked at without waiting for the domain's turn.
    async fn conclude_connection(&self, ended: &Connection) {
        let (step, status, trouble) = (ended.step, ended.status, ended.findings.trouble);
        tracing::info!(domain = %ended.domain, ?step, ?status, ?trouble, "creator's records");
        if matches!(status, ConnectionStatus::Applied | ConnectionStatus::Undone) {
            let actor = Actor::system("certd");
            let asked = self.store.request_domain_check(&actor, Access::Platform, ended.domain).await;
            if let Err(error) = asked {
                tracing::debug!(domain = %ended.domain, %error, "the domain waits for its turn");
            }
        }
    }

    async fn attempt_connection(&self, held: &Connection) -> Result<ConnectionPatch, StoreError> {
        let domain = self.store.domain(Access::Platform, held.domain).await?;
        let attempt = Attempt { work: self, held, domain: &domain };
        match attempt.go().await {
            Ok(patch) => Ok(patch),
            Err(Halt::Stopped(stop)) => Ok(failed(held, stop, self.store.now())),
            Err(Halt::Store(error)) => Err(error),
        }
    }
}

/// Why an attempt goes no further.
enum Halt {
    /// What the creator is told. This attempt changed nothing.
    Stopped(Stop),
    Store(StoreError),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One attempt at one step.
struct Attempt<'a> {
    work: &'a Work,
    held: &'a Connection,
    domain: &'a DomainRecord,
}

impl Attempt<'_> {
    async fn go(&self) -> Result<ConnectionPatch, Halt> {
        let done = self.held.applied.as_deref().map(read::<Applied>).transpose()?;
        let zone = self.open(done.as_ref()).await?;
        match (self.held.step, done) {
            (Step::Preview, _) => self.preview(zone.as_ref()).await,
            (Step::Apply, None) => self.apply(zone.as_ref()).await,
            (Step::Apply, Some(done)) => self.resume(zone.as_ref(), done).await,
            (Step::Undo, Some(done)) => self.undo(zone.as_ref(), &done).await,
            // The store takes no such wish.
            (Step::Undo, None) => Ok(ended(ConnectionStatus::Undone, Findings::default(), Keep::Not)),
        }
    }

    async fn plan(&self, zone: &dyn Zone) -> Result<Plan, Halt> {
        let missing = self.work.unprovable(self.domain).await?.and_then(|unprovable| unprovable.record);
        Ok(records::plan(zone, self.domain, missing.as_ref()).await.map_err(Stop::from)?)
    }

    async fn preview(&self, zone: &dyn Zone) -> Result<ConnectionPatch, Halt> {
        let plan = self.plan(zone).await?;
        let findings = records::findings(zone, &plan).await.map_err(Stop::from)?;
        if !plan.obstacles.is_empty() {
            return Err(Stop::in_the_way(&plan, findings).into());
        }
        let kept = if self.held.kept { Keep::AsItIs } else { Keep::Not };
        let patch = ended(ConnectionStatus::Previewed, findings, kept);
        Ok(ConnectionPatch { plan: Some(Some(write(&plan)?)), ..patch })
    }

    async fn apply(&self, zone: &dyn Zone) -> Result<ConnectionPatch, Halt> {
        let plan = match self.held.plan.as_deref() {
            Some(shown) => read::<Plan>(shown)?,
            None => self.plan(zone).await?,
        };
        self.carry_out(zone, &plan).await
    }

    async fn carry_out(&self, zone: &dyn Zone, plan: &Plan) -> Result<ConnectionPatch, Halt> {
        let findings = records::findings(zone, plan).await.map_err(Stop::from)?;
        if !plan.obstacles.is_empty() {
            return Err(Stop::in_the_way(plan, findings).into());
        }
        records::check(plan)?;
        let applied = plan.applied();
        let before = ConnectionPatch {
            applied: Some(Some(write(&applied)?)),
            findings: Some(findings.clone()),
            ..ConnectionPatch::default()
        };
        self.work.store.update_connection(self.held.domain, self.held.fence, before).await?;
        match zone.apply(plan).await {
            Ok(_) => Ok(self.applied(findings)),
            Err(stopped) => Ok(self.interrupted(zone, &applied, stopped).await),
        }
    }

    /// What takes the records back is forgotten only where the provider has said no: what it did not answer to, it may
    /// still do, also after a look that shows nothing. Then another look decides.
    async fn interrupted(&self, zone: &dyn Zone, applied: &Applied, stopped: Interrupted) -> ConnectionPatch {
        let now = self.work.store.now();
        let fault = &stopped.error.fault;
        // After an attempt of which nobody knows the end, the change may have been our own.
        let is_ours = matches!(fault, Fault::Changed { .. }) && self.held.applied.is_some();
        let is_settled = fault.is_refusal() && !is_ours;
        let stop = Stop::from(stopped.error);
        if is_settled && stopped.remains.is_empty() {
            return ConnectionPatch { applied: Some(None), ..outcome::unchanged(self.held, stop, now) };
        }
        if is_settled {
            return self.take_back(zone, applied, stop).await;
        }
        let stop = stop.unsettled();
        match outcome::again(self.held, &stop, now) {
            Some(again) => again,
            None => self.give_up(zone, applied, stop).await,
        }
    }

    /// What is there is taken back; what may come yet can still be.
    async fn give_up(&self, zone: &dyn Zone, applied: &Applied, stop: Stop) -> ConnectionPatch {
        let stop = match zone.undo(applied).await {
            Ok(left) => stop.with(&left),
            Err(stopped) => stop.with(&stopped.remains),
        };
        outcome::incomplete(self.held, stop)
    }

    fn applied(&self, findings: Findings) -> ConnectionPatch {
        let until = self.work.store.now().plus(UNDO_WINDOW);
        let keep = if self.held.kept { Keep::Until(until) } else { Keep::Not };
        let patch = ended(ConnectionStatus::Applied, findings, keep);
        ConnectionPatch { plan: Some(None), ..patch }
    }

    /// A part of the records is set: they are taken back with the same key, if it still opens.
    async fn take_back(&self, zone: &dyn Zone, applied: &Applied, stop: Stop) -> ConnectionPatch {
        let now = self.work.store.now();
        match zone.undo(applied).await {
            Ok(left) if left.is_empty() => {
                ConnectionPatch { applied: Some(None), ..outcome::unchanged(self.held, stop, now) }
            }
            Ok(left) => outcome::incomplete(self.held, stop.with(left.iter())),
            Err(stopped) => outcome::half_way(self.held, stop.with(&stopped.remains), now),
        }
    }

    /// An attempt broke off between setting records and writing down that they are set.
    async fn resume(&self, zone: &dyn Zone, applied: Applied) -> Result<ConnectionPatch, Halt> {
        match zone.extent(&applied).await.map_err(Stop::from)? {
            Extent::Whole => Ok(self.applied(self.held.findings.clone())),
            // The same once more, so that what was written down still takes all of it back.
            Extent::Nothing => self.carry_out(zone, &Plan::of(applied)).await,
            Extent::Part => match zone.undo(&applied).await {
                Ok(left) if left.is_empty() => self.apply(zone).await,
                Ok(left) => Ok(outcome::incomplete(self.held, Stop::others(&left))),
                Err(stopped) => {
                    let stop = Stop::from(stopped.error).with(&stopped.remains);
                    Ok(outcome::half_way(self.held, stop, self.work.store.now()))
                }
            },
        }
    }

    /// All or nothing: what others have changed since is theirs, and told.
    async fn undo(&self, zone: &dyn Zone, applied: &Applied) -> Result<ConnectionPatch, Halt> {
        let was_set = if self.held.findings.partial { Extent::Part } else { Extent::Whole };
        let left = zone.left_by_undo(applied, was_set).await.map_err(Stop::from)?;
        if !left.is_empty() {
            return Err(Stop::others(&left).into());
        }
        // From here on what is missing may be missing because of us.
        let begun = Findings { partial: true, ..self.held.findings.clone() };
        let begun = ConnectionPatch { findings: Some(begun), ..ConnectionPatch::default() };
        self.work.store.update_connection(self.held.domain, self.held.fence, begun).await?;
        match zone.undo(applied).await {
            Ok(left) if left.is_empty() => {
                let findings = Findings { zone: Some(applied.zone.clone()), ..Findings::default() };
                let patch = ended(ConnectionStatus::Undone, findings, Keep::Not);
                Ok(ConnectionPatch { plan: Some(None), applied: Some(None), ..patch })
            }
            Ok(left) => Ok(outcome::incomplete(self.held, Stop::others(&left))),
            Err(stopped) => {
                let now = self.work.store.now();
                let is_refused = was_set == Extent::Whole && stopped.error.fault.is_refusal();
                if is_refused && matches!(zone.extent(applied).await, Ok(Extent::Whole)) {
                    return Ok(outcome::unchanged(self.held, Stop::from(stopped.error), now));
                }
                let stop = Stop::from(stopped.error).with(&stopped.remains);
                Ok(outcome::half_way(self.held, stop, now))
            }
        }
    }

    /// The zone at the creator's provider; nothing but the address was looked up.
    async fn open(&self, done: Option<&Applied>) -> Result<Arc<dyn Zone>, Stop> {
        let zone = match done {
            Some(done) => done.zone.clone(),
            None => zone_of(self.held, self.domain)?,
        };
        let guard = Guard::new(Arc::clone(&self.work.lookup), self.work.settings.connect.networks.clone());
        self.check_address(&guard).await?;
        let account = self.account()?;
        // Signatures of updates carry the time of the wall, whatever the store goes by.
        adapters::open_guarded(zone, &account, Arc::new(SystemClock), &guard)
            .map_err(|error| Stop::new(Trouble::Key, error.to_string()))
    }

    /// So that somebody who gives an address of a private network is told so. What is connected to is checked again.
    async fn check_address(&self, guard: &Guard) -> Result<(), Stop> {
        let door = &self.held.door;
        let host = match (&door.url, &door.server) {
            (Some(url), _) => {
                let uri: Option<http::Uri> = url.parse().ok();
                let unusable =
                    || Stop::new(Trouble::Unreachable, "the address of the API is none".to_owned());
                let uri = uri.ok_or_else(unusable)?;
                let host = uri.host().ok_or_else(unusable)?.to_owned();
                let allowed = host.trim_matches(['[', ']']).parse().is_ok_and(|ip| guard.is_allowed(ip));
                if uri.scheme_str() != Some("https") && !allowed {
                    let text = "the address of the API must begin with https://".to_owned();
                    return Err(Stop::new(Trouble::Unreachable, text));
                }
                host
            }
            (None, Some(server)) => {
                server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host).to_owned()
            }
            (None, None) => return Ok(()),
        };
        let trouble = match guard.addresses(&host).await {
            Ok(_) => return Ok(()),
            Err(error @ Forbidden::Private(_)) => Stop::new(Trouble::Unreachable, error.to_string()),
            Err(error) => Stop::away(error.to_string()),
        };
        Err(trouble)
    }

    fn account(&self) -> Result<Account, Stop> {
        let (door, connect) = (&self.held.door, &self.work.settings.connect);
        let token = self.token()?;
        let given = |field: &Option<String>| field.clone().unwrap_or_default();
        Ok(match door.provider {
            Connector::PowerDns => Account::PowerDns { url: given(&door.url), key: token, ca_file: None },
            Connector::Rfc2136 => Account::Rfc2136 {
                server: given(&door.server),
                key_name: given(&door.key_name),
                algorithm: door.algorithm.as_deref().and_then(Algorithm::parse).unwrap_or_default(),
                secret: token,
            },
            Connector::Cloudflare => Account::Cloudflare { token, url: connect.cloudflare.clone() },
            Connector::DigitalOcean => Account::DigitalOcean { token, url: connect.digitalocean.clone() },
        })
    }

    fn token(&self) -> Result<Secret, Stop> {
        let unusable = |what: String| Stop::new(Trouble::Key, what);
        let sealed = self.held.credential.as_ref();
        let sealed = sealed.ok_or_else(|| unusable("the key was forgotten: give it again".to_owned()))?;
        let opened = self.work.sealing.open(&credential_context(self.held.domain), sealed);
        let opened = opened.map_err(|error| self.sealed_away(&error))?;
        let text = std::str::from_utf8(&opened).map_err(|error| unusable(error.to_string()))?;
        Ok(Secret::new(text.to_owned()))
    }

    /// A credential that does not open is no fault of the creator's: what is wrong with our keys is for the log.
    fn sealed_away(&self, error: &SealError) -> Stop {
        tracing::error!(domain = %self.held.domain, %error, "a creator's credential does not open");
        match error {
            SealError::Damaged(_) | SealError::Form => Stop::new(
                Trouble::Key,
                "what was kept of the key cannot be read any more: give it again".to_owned(),
            ),
            _ => Stop::away(
                "the key cannot be read at the moment, which is our fault: ask again later".to_owned(),
            ),
        }
    }
}

/// The zone that the domain lies in at its provider: as the creator says, as its name servers say, or as it was
/// registered.
fn zone_of(held: &Connection, domain: &DomainRecord) -> Result<Host, Stop> {
    let seen = domain.facts.authority.zone.as_ref().filter(|zone| domain.host.base().is_within(zone));
    let registered = || psl::domain_str(domain.host.base().as_str()).and_then(|name| Host::parse(name).ok());
    held.door.zone.clone().or_else(|| seen.cloned()).or_else(registered).ok_or_else(|| {
        let text = format!("nobody can tell which zone `{}` lies in: give `zone`", domain.host);
        Stop::new(Trouble::Zone, text)
    })
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt { what: format!("a connection's records: {error}") })
}

fn write<T: serde::Serialize>(value: &T) -> Result<String, Halt> {
    let text = serde_json::to_string(value)
        .map_err(|error| StoreError::Corrupt { what: format!("a connection's records: {error}") })?;
    if text.len() > MAX_KEPT {
        let what = format!("the records at these names have {} bytes, more than {MAX_KEPT}", text.len());
        return Err(Stop::new(Trouble::Refused, what).into());
    }
    Ok(text)
}
