//! One order from "this host needs a certificate" to the certificate in the store.
//!
//! Linear and resumable: what must outlive a crash is written before the step that needs it (the order's
//! address before its challenges, the private key before the request that is signed with it), and after a
//! crash the authority's own status tells where to go on. A crash costs at most one order that nobody asks
//! for again: when the authority has made one and its address was not written yet. It counts there, and so it does here.

use std::time::Duration;

use instant_acme::{
    AuthorizationState, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier, NewOrder,
    Order, OrderStatus,
};
use model::acme::{Challenge, ChallengeKind, Token};
use model::chain::{self, Inspected};
use model::{Host, HostPattern, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::account::{Authority, Session};
use super::error::{is_about_replacement, reason_of};
use super::journal::Journal;
use super::{AcmeError, window};

/// First and longest wait between two looks at an order.
const POLL_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Why a check failed, if the authority does not say.
const NO_REASON: &str = "it gives no reason";
/// How long an answer to a challenge is kept if nobody takes it away.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(3600);

/// Brings the order of `journal` to its certificate, from wherever it stands.
///
/// # Errors
/// [`AcmeError`] tells what to do; the journal stays as far as it came.
pub(crate) async fn complete(
    authority: &Authority,
    journal: &mut dyn Journal,
) -> Result<Inspected, AcmeError> {
    let session = authority.session().await?;
    match go_on(&session, journal).await {
        // What was signed with the old key is refused; the next attempt signs with the new one.
        Err(AcmeError::Refused(_)) if authority.has_other_key(&session).await? => Err(AcmeError::KeyChanged),
        outcome => outcome,
    }
}

async fn go_on(session: &Session, journal: &mut dyn Journal) -> Result<Inspected, AcmeError> {
    let resumed = journal.url();
    let mut order = open(session, journal).await?;
    if resumed.as_deref() == Some(order.url()) {
        recall(session, journal, &mut order).await?;
    }
    let start = Instant::now();
    let mut wait = POLL_WAITS.0;
    let mut answered = false;
    loop {
        match order.state().status {
            OrderStatus::Pending if !answered => {
                answer(session, journal, &mut order).await?;
                answered = true;
            }
            OrderStatus::Ready => {
                finalize(session, journal, &mut order).await?;
                wait = POLL_WAITS.0;
            }
            OrderStatus::Valid => return fetch(session, journal, &mut order).await,
            // The journal keeps its address until the failed check was counted.
            OrderStatus::Invalid => {
                let names = (journal.host(), journal.names().len());
                return Err(why_invalid(session, names, &mut order).await?);
            }
            OrderStatus::Pending | OrderStatus::Processing => {}
        }
        let status = order.state().status;
        if start.elapsed() > journal.patience() || (status == OrderStatus::Processing && journal.is_overdue())
        {
            let reason = format!("it leaves the order in the state {status:?}");
            return Err(AcmeError::Unfinished { reason });
        }
        if !matches!(order.state().status, OrderStatus::Valid | OrderStatus::Invalid) {
            sleep(wait).await;
            journal.alive().await?;
            wait = (wait * 2).min(POLL_WAITS.1);
            step!(session, order.refresh())?;
        }
    }
}

/// The order that the journal names, or a new one, whose address is written at once.
async fn open(session: &Session, journal: &mut dyn Journal) -> Result<Order, AcmeError> {
    if let Some(url) = journal.url() {
        match step!(session, session.account.order(url.clone())) {
            // One that fell while nobody looked is still to be counted; one that was only left for too long is not.
            Ok(mut order) => {
                let is_over = order.state().status == OrderStatus::Invalid;
                let names = (journal.host(), journal.names().len());
                if !is_over || fell(session, names, &mut order).await?.is_some() {
                    return Ok(order);
                }
            }
            // Gone, or another account's: ours was lost and made anew.
            Err(_) if session.heard_gone() => {}
            Err(AcmeError::Refused(reason)) => tracing::warn!(url, reason, "order is begun anew"),
            Err(error) => return Err(error),
        }
        journal.forget().await?;
    }
    journal.confirm_here().await?;
    journal.take_turn().await?;
    let names: Vec<Identifier> =
        journal.names().iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let predecessor = journal.predecessor().map(str::to_owned);
    let order = match place(session, journal, (&names, predecessor.as_deref())).await {
        // Replaced by an order that we do not know of, another account's, or none that the authority remembers: what
        // is lost is the word about it, never the renewal.
        Err(AcmeError::Replaced(reason)) if predecessor.is_some() => {
            place_unlinked(session, journal, (&names, &reason)).await?
        }
        Err(AcmeError::Refused(reason)) if predecessor.is_some() && is_about_replacement(&reason) => {
            place_unlinked(session, journal, (&names, &reason)).await?
        }
        placed => placed?,
    };
    journal.opened(order.url()).await?;
    Ok(order)
}

/// Asks for an order that replaces nothing, because the authority refused one that did, for that reason.
async fn place_unlinked(
    session: &Session,
    journal: &mut dyn Journal,
    (names, reason): (&[Identifier], &str),
) -> Result<Order, AcmeError> {
    tracing::info!(host = %journal.host(), reason, "the order does not say what it replaces");
    journal.take_turn_without_predecessor().await?;
    place(session, journal, (names, None)).await
}

/// Asks for an order, saying which certificate it replaces if the authority wants to know.
async fn place(
    session: &Session,
    journal: &mut dyn Journal,
    (names, predecessor): (&[Identifier], Option<&str>),
) -> Result<Order, AcmeError> {
    let mut order = NewOrder::new(names);
    if let Some(profile) = &session.profile {
        order = order.profile(profile);
    }
    if let Some(chain) = predecessor.filter(|_| session.advises) {
        match window::identifier(chain) {
            Ok(identifier) => order = order.replaces(identifier),
            Err(error) => tracing::debug!(%error, "the order does not say what it replaces"),
        }
    }
    journal.sending().await?;
    let placed = step!(session, session.account.new_order(&order));
    if placed.is_err() && !session.may_have_acted() {
        journal.not_taken().await?;
    }
    placed
}

/// Puts the answers to all challenges on the edges, then tells the authority to look.
async fn answer(session: &Session, journal: &mut dyn Journal, order: &mut Order) -> Result<(), AcmeError> {
    step!(session, load(order))?;
    let mut kind = journal.challenge(session.challenge).await;
    if kind == ChallengeKind::DnsPersist01 {
        if offers_everywhere(order, &word(kind)).await? {
            return step!(session, set_ready(order, word(kind)));
        }
        // It would be enough for it; the authority does not know this way yet.
        journal.lacks(kind);
        if let Some(name) = journal.names().iter().find(|name| name.is_wildcard()) {
            let reason = "the authority takes no text that stands for good".to_owned();
            return Err(AcmeError::NotHere { host: name.to_string(), reason });
        }
        kind = session.challenge;
    }
    let challenges = challenges(session, (kind, Which::Open), journal.now(), order).await?;
    for challenge in &challenges {
        journal.put_challenge(challenge).await?;
    }
    journal.wait_for_edges().await?;
    step!(session, set_ready(order, word(kind)))
}

/// What an earlier attempt has written into the DNS must not stay there for ever. Edges forget by themselves.
async fn recall(session: &Session, journal: &mut dyn Journal, order: &mut Order) -> Result<(), AcmeError> {
    if journal.challenge(session.challenge).await != ChallengeKind::Dns01 {
        return Ok(());
    }
    step!(session, load(order))?;
    let all = (ChallengeKind::Dns01, Which::All);
    for challenge in challenges(session, all, journal.now(), order).await? {
        journal.recall(&challenge);
    }
    Ok(())
}

/// Fetches the authorizations; the order keeps them, so that later walks send nothing.
async fn load(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

/// The kind of challenge in the authority's words.
fn word(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
        ChallengeKind::DnsPersist01 => ChallengeType::Unknown("dns-persist-01".to_owned()),
    }
}

/// Whether each authorization that waits for a proof can be proved so.
async fn offers_everywhere(order: &mut Order, kind: &ChallengeType) -> Result<bool, AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(|error| AcmeError::Refused(error.to_string()))?;
        let is_open = authorization.status == AuthorizationStatus::Pending;
        if is_open && !authorization.challenges.iter().any(|offered| offered.r#type == *kind) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn set_ready(order: &mut Order, kind: ChallengeType) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let challenge = authorization.challenge(kind.clone());
        if let Some(mut challenge) = challenge.filter(|found| found.status == ChallengeStatus::Pending) {
            challenge.set_ready().await?;
        }
    }
    Ok(())
}

/// Which of an order's authorizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those that wait for a proof.
    Open,
    /// Also those that had one, or failed.
    All,
}

/// The answers that the order's authorizations ask for, or have asked for.
async fn challenges(
    session: &Session,
    (kind, which): (ChallengeKind, Which),
    now: Timestamp,
    order: &mut Order,
) -> Result<Vec<Challenge>, AcmeError> {
    let wanted = word(kind);
    let mut challenges = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(|error| AcmeError::Refused(error.to_string()))?;
        if which == Which::Open && authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let host = host_of(&authorization)?;
        let offered = authorization.challenges.iter().find(|offered| offered.r#type == wanted);
        let Some(offered) = offered else {
            if which == Which::All {
                continue;
            }
            let reason = format!("it offers no challenge of the kind {wanted:?} for `{host}`");
            return Err(AcmeError::Refused(reason));
        };
        let token = Token::parse(&offered.token).map_err(|error| AcmeError::Refused(error.to_string()))?;
        let key_authorization = format!("{token}.{}", session.account.key_thumbprint());
        let expires_at = now.plus(CHALLENGE_LIFETIME);
        challenges.push(Challenge { kind, token, host, key_authorization, expires_at });
    }
    Ok(challenges)
}

/// The name that an authorization is about, without a wildcard's star.
fn host_of(authorization: &AuthorizationState) -> Result<Host, AcmeError> {
    match authorization.identifier().identifier {
        Identifier::Dns(name) => Host::parse(name).map_err(|error| AcmeError::Refused(error.to_string())),
        other => {
            Err(AcmeError::Refused(format!("it asks for the proof of {other:?}, which was not ordered")))
        }
    }
}

/// Asks for the certificate with a key that was written first.
async fn finalize(session: &Session, journal: &mut dyn Journal, order: &mut Order) -> Result<(), AcmeError> {
    let key = match journal.key()? {
        Some(der) => KeyPair::try_from(der.as_slice())?,
        None => {
            let key = KeyPair::generate()?;
            journal.keep_key(key.serialized_der()).await?;
            key
        }
    };
    let names: Vec<String> = journal.names().iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    step!(session, order.finalize_csr(request.der()))
}

/// Fetches the certificate and checks it before anybody can be served with it.
async fn fetch(
    session: &Session,
    journal: &mut dyn Journal,
    order: &mut Order,
) -> Result<Inspected, AcmeError> {
    let Some(key) = journal.key()? else {
        // Made with a key that we no longer have: of no use to anybody.
        journal.forget().await?;
        return Err(AcmeError::OrderGone);
    };
    let chain = step!(session, order.certificate())?.unwrap_or_default();
    match check(&chain, &key, &journal.names(), journal.now()) {
        Ok(inspected) => Ok(inspected),
        Err(error) => {
            journal.forget().await?;
            Err(error)
        }
    }
}

fn check(
    chain: &str,
    key: &Zeroizing<Vec<u8>>,
    wanted: &[HostPattern],
    now: Timestamp,
) -> Result<Inspected, AcmeError> {
    let inspected = chain::inspect(chain, key, now)?;
    let Some(missing) = wanted.iter().find(|name| !inspected.names.contains(name)) else {
        return Ok(inspected);
    };
    let names: Vec<String> = inspected.names.iter().map(ToString::to_string).collect();
    Err(AcmeError::Unusable(format!("it is for `{}`, not for `{missing}`", names.join("`, `"))))
}

async fn why_invalid(
    session: &Session,
    (host, names): (&HostPattern, usize),
    order: &mut Order,
) -> Result<AcmeError, AcmeError> {
    let unknown = || AcmeError::Validation { host: host.to_string(), reason: NO_REASON.to_owned() };
    Ok(fell(session, (host, names), order).await?.unwrap_or_else(unknown))
}

/// Which check an order that is invalid fell with; none: nobody says that one failed. The reason may stand in the order,
/// in an authorization or in its challenge, depending on the authority; of several names only the authorization tells
/// which one failed.
async fn fell(
    session: &Session,
    (host, names): (&HostPattern, usize),
    order: &mut Order,
) -> Result<Option<AcmeError>, AcmeError> {
    let told = order.state().error.as_ref().map(reason_of);
    let failed = match &told {
        Some(_) if names == 1 => Vec::new(),
        _ => step!(session, failures(order))?,
    };
    // With its own name failed, the other one's failure says nothing more.
    let failed = failed.iter().find(|(name, _)| name == host.base().as_str()).or(failed.first()).cloned();
    Ok(match (failed, told) {
        (Some((name, reason)), told) => {
            let reason = reason.or(told).unwrap_or_else(|| NO_REASON.to_owned());
            Some(AcmeError::Validation { host: name, reason })
        }
        (None, told) => told.map(|reason| AcmeError::Validation { host: host.to_string(), reason }),
    })
}

/// The names whose authorizations failed, each with the reason that its challenge tells.
async fn failures(order: &mut Order) -> Result<Vec<(String, Option<String>)>, Error> {
    let mut failed = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if problem.is_some() || state.status == AuthorizationStatus::Invalid {
            let reason = problem.map(reason_of);
            if let Identifier::Dns(name) = authorization.identifier().identifier {
                failed.push((name.clone(), reason));
            }
        }
    }
    Ok(failed)
}
