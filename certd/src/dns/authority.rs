//! Who keeps a name's records: the zone that it lies in, and that zone's own servers.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Kind, Lookup, LookupError, Reply, Signatures, Value, ask};

/// Most servers of a zone that are asked; a zone has two to four, seldom more.
pub(super) const MAX_SERVERS: usize = 6;
/// Most names above a name that are tried as its zone.
const MAX_LEVELS: usize = 8;

/// How long a resolver may look for a zone's servers; some hang over zones whose signatures are wrong.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most of a registry's servers that are asked: they are many, and seldom silent.
const REGISTRY_SERVERS: usize = 2;
/// How long a server is waited for before the next one is asked as well: most answer in a tenth of it, and two
/// that are dead must not use a look up.
const HEAD_START: Duration = Duration::from_millis(500);

/// A server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Where it is; none: its name has no address.
    pub address: Option<IpAddr>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, e.g. `example.com`.
    pub name: String,
    /// Its servers. None: the name is not registered.
    pub servers: Vec<Server>,
    /// Servers that the zone names as its own, though the registry names others.
    pub stale: Vec<Server>,
}

/// The zone that `name` lies in, with the servers that its registry names; none: the resolver does not tell.
///
/// A name may fail although its zone is sound: its alias may lead in a circle.
///
/// # Errors
/// [`LookupError`] if the resolver fails at every name: the zone's servers may be the reason.
pub(super) async fn find(
    lookup: &dyn Lookup,
    name: &str,
    deadline: Instant,
) -> Result<Option<Zone>, LookupError> {
    let mut failure = None;
    for (zone, _) in suffixes(name).zip(0..MAX_LEVELS) {
        let servers = match servers_of(lookup, zone, deadline).await {
            Ok(servers) => servers,
            // The name of a zone is not an alias: it fails because its servers do.
            Err(error) if failure.is_some() || zone != name => return Err(failure.unwrap_or(error)),
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        if !servers.is_empty() && is_registry(zone) {
            // What would lie in a registry's own zone is not registered.
            let name = psl::domain_str(name).unwrap_or(name).to_owned();
            return Ok(Some(Zone { name, servers: Vec::new(), stale: Vec::new() }));
        }
        if !servers.is_empty() {
            let servers = located(lookup, servers, deadline).await;
            return Ok(Some(Zone { name: zone.to_owned(), servers, stale: Vec::new() }));
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Whether names below `zone` are registered there: `com`, `co.uk`. Those of a private list (`github.io`) are zones of
/// somebody who can be asked.
fn is_registry(zone: &str) -> bool {
    psl::suffix(zone.as_bytes()).is_some_and(|suffix| {
        suffix.as_bytes() == zone.as_bytes() && suffix.typ() != Some(psl::Type::Private)
    })
}

/// `name` and every name above it: `a.b.c`, `b.c`, `c`.
pub(super) fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

async fn servers_of(lookup: &dyn Lookup, zone: &str, deadline: Instant) -> Result<Vec<String>, LookupError> {
    match ask(lookup, zone, Kind::Ns, deadline.min(Instant::now() + PATIENCE)).await {
        Ok(values) => Ok(values.into_iter().filter_map(Value::into_server).collect()),
        Err(error @ LookupError::Failure(_)) => Err(if is_unsigned(lookup, zone, Kind::Ns, deadline).await {
            LookupError::Unsigned(zone.to_owned())
        } else {
            error
        }),
        Err(error) => Err(error),
    }
}

/// Whether a resolver that failed answers as soon as it does not have to check signatures, and fails again as soon
/// as it has to: one that failed in passing says nothing of them.
pub(super) async fn is_unsigned(lookup: &dyn Lookup, name: &str, kind: Kind, deadline: Instant) -> bool {
    let told = async |signatures| timeout_at(deadline, lookup.held(name, kind, signatures)).await;
    matches!(told(Signatures::Unchecked).await, Ok(Ok(_)))
        && matches!(told(Signatures::Checked).await, Ok(Err(LookupError::Failure(_))))
}

/// The servers with their addresses; IPv4 first, since not every network has a way out for IPv6.
async fn located(lookup: &dyn Lookup, mut names: Vec<String>, deadline: Instant) -> Vec<Server> {
    names.sort_unstable();
    names.truncate(MAX_SERVERS);
    let locate = async |name: String| {
        let of = async |kind| {
            let found = ask(lookup, &name, kind, deadline).await.unwrap_or_default();
            found.into_iter().find_map(Value::into_address)
        };
        let (v4, v6) = tokio::join!(of(Kind::A), of(Kind::Aaaa));
        Server { name, address: v4.or(v6) }
    };
    join_all(names.into_iter().map(locate)).await
}

/// One question to one server, within the deadline. A server that keeps another zone is lame.
pub(super) async fn question(
    lookup: &dyn Lookup,
    server: &Server,
    name: &str,
    kind: Kind,
    deadline: Instant,
) -> Result<Reply, LookupError> {
    let address = server.address.ok_or(LookupError::Timeout)?;
    let reply = timeout_at(deadline, lookup.ask(address, name, kind)).await;
    match reply.unwrap_or(Err(LookupError::Timeout)) {
        Ok(reply) if !reply.authoritative && reply.values.is_empty() && reply.referral.is_empty() => {
            Err(LookupError::Lame(server.name.clone()))
        }
        Err(LookupError::Lame(_)) => Err(LookupError::Lame(server.name.clone())),
        other => other,
    }
}

/// The first answer of any of a zone's servers; each has a head start before the next.
async fn first_answer(
    lookup: &dyn Lookup,
    servers: &[Server],
    (name, kind): (&str, Kind),
    deadline: Instant,
) -> Option<Reply> {
    let mut waiting = servers.iter();
    let mut asked = FuturesUnordered::new();
    loop {
        let next = waiting.next();
        asked.extend(next.map(|server| question(lookup, server, name, kind, deadline)));
        tokio::select! {
            reply = asked.next() => match reply {
                Some(Ok(reply)) => return Some(reply),
                Some(Err(_)) => {}
                None => return None,
            },
            () = sleep(HEAD_START), if next.is_some() => {}
        }
    }
}

/// Records of a name at the servers of its zone; none: none of them answers for it.
///
/// # Errors
/// [`LookupError`] if the zone cannot be found.
pub(super) async fn at_servers(
    lookup: &dyn Lookup,
    name: &str,
    kind: Kind,
    deadline: Instant,
) -> Result<Option<Vec<Value>>, LookupError> {
    let Some(zone) = find(lookup, name, deadline).await? else { return Ok(None) };
    let reply = first_answer(lookup, &zone.servers, (name, kind), deadline).await;
    Ok(reply.filter(|reply| reply.referral.is_empty()).map(|reply| reply.values))
}

/// Records of a name at the servers of its zone; else what the resolver says.
pub(super) async fn definitive(
    lookup: &dyn Lookup,
    name: &str,
    kind: Kind,
    deadline: Instant,
) -> Result<Vec<Value>, LookupError> {
    // Where the zone cannot be found, the resolver may still know the record.
    match at_servers(lookup, name, kind, deadline).await {
        Ok(Some(values)) => Ok(values),
        Ok(None) | Err(_) => ask(lookup, name, kind, deadline).await,
    }
}

/// As [`definitive`], at the servers of `host`'s zone for a name below it, which no resolver hears of unless they do not
/// answer: what it cannot be told yet it would remember.
pub(super) async fn definitive_below(
    lookup: &dyn Lookup,
    host: &str,
    (name, kind): (&str, Kind),
    deadline: Instant,
) -> Result<Vec<Value>, LookupError> {
    let reply = match find(lookup, host, deadline).await {
        Ok(Some(zone)) => first_answer(lookup, &zone.servers, (name, kind), deadline).await,
        Ok(None) | Err(_) => None,
    };
    match reply.filter(|reply| reply.referral.is_empty()) {
        Some(reply) => Ok(reply.values),
        None => ask(lookup, name, kind, deadline).await,
    }
}

/// Puts right whom to ask where the registry names other servers than the zone itself (RFC 1034 §4.2.2 wants both
/// to be the same): the registry's are those that visitors are sent to.
pub(super) async fn compare(lookup: &dyn Lookup, zone: Zone, deadline: Instant) -> Zone {
    let Some(delegated) = delegated(lookup, &zone.name, deadline).await else { return zone };
    let is_other = |servers: &[Server]| !servers.iter().any(|server| delegated.contains(&server.name));
    if is_other(&zone.servers) {
        let servers = located(lookup, delegated, deadline).await;
        let stale = if are_one(&servers, &zone.servers) { Vec::new() } else { zone.servers };
        return Zone { name: zone.name, servers, stale };
    }
    let own = first_answer(lookup, &zone.servers, (&zone.name, Kind::Ns), deadline).await;
    let values = own.map(|reply| reply.values).unwrap_or_default();
    let names: Vec<String> = values.into_iter().filter_map(Value::into_server).collect();
    if names.is_empty() || zone.servers.iter().any(|server| names.contains(&server.name)) {
        return zone;
    }
    let others = located(lookup, names, deadline).await;
    if are_one(&zone.servers, &others) { zone } else { Zone { stale: others, ..zone } }
}

/// Whether these are the same servers under other names: providers let their customers give them names of their own,
/// and what is edited there counts.
fn are_one(servers: &[Server], others: &[Server]) -> bool {
    let has = |address: Option<IpAddr>| others.iter().any(|other| other.address == address);
    servers.iter().any(|server| server.address.is_some() && has(server.address))
}

/// The servers that the zone above names for `zone`.
async fn delegated(lookup: &dyn Lookup, zone: &str, deadline: Instant) -> Option<Vec<String>> {
    let (_, parent) = zone.split_once('.')?;
    let names = servers_of(lookup, parent, deadline).await.ok()?;
    let mut servers = located(lookup, names, deadline).await;
    servers.truncate(REGISTRY_SERVERS);
    // One server may keep both zones: it answers for the lower one, and there is nothing to compare.
    let reply = first_answer(lookup, &servers, (zone, Kind::Ns), deadline).await?;
    (!reply.referral.is_empty()).then_some(reply.referral)
}
