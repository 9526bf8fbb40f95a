//! One look at a domain: what each of its zone's servers says, or else what the resolver says.

use std::net::IpAddr;

use futures_util::future::join_all;
use model::domain::Target;
use model::{Host, HostPattern};
use tokio::time::{Instant, timeout_at};

use super::authority::{compare, definitive, find, is_unsigned, question};
use super::{Kind, Lookup, LookupError, MAX_HOPS, Reply, Server, Signatures, TIMEOUT, Value, Zone, ask};

/// What one server, or the resolver, says of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Who says so; none: the resolver.
    pub server: Option<String>,
    /// The names that the domain is an alias of, nearest first; as far as they could be followed.
    pub aliases: Vec<String>,
    /// Why the aliases could not be followed further.
    pub alias_error: Option<LookupError>,
    /// IPv4 addresses at the end of the aliases.
    pub v4: Result<Vec<IpAddr>, LookupError>,
    /// IPv6 addresses at the end of the aliases.
    pub v6: Result<Vec<IpAddr>, LookupError>,
    /// The texts at `_stoa.<host>`.
    pub texts: Result<Vec<String>, LookupError>,
    /// How long this answer holds, in seconds.
    pub seconds: u32,
}

impl View {
    /// Why this view shows nothing at all.
    #[must_use]
    pub fn failure(&self) -> Option<&LookupError> {
        match (&self.alias_error, &self.v4, &self.v6) {
            _ if !self.aliases.is_empty() => None,
            (Some(error), ..) => Some(error),
            (None, Err(error), Err(_)) => Some(error),
            _ => None,
        }
    }
}

/// What one look at a domain saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// One for each server that was asked.
    pub views: Vec<View>,
    /// The zone that the domain lies in; none: it was not found, and the view is the resolver's.
    pub zone: Option<Zone>,
    /// Why the zone could not be found.
    pub zone_error: Option<LookupError>,
    /// A name that nobody asks for, at which the right record stands.
    pub misplaced: Option<String>,
    /// For how long the resolver remembers another answer than the servers give now, in seconds.
    pub remembered_seconds: Option<u32>,
    /// Why the resolver refuses what the servers say: the answer does not fit its signatures.
    pub unsigned: bool,
}

/// The name itself; of a wildcard one of its names that nobody knows, so that nobody can have made records for it alone.
pub(crate) fn sample(pattern: &HostPattern) -> Host {
    let label = format!("stoa-{:016x}", rand::random::<u64>());
    // Whoever connects a wildcard was told if its names cannot be so long.
    pattern.sample(&label).unwrap_or_else(|_| pattern.base().clone())
}

/// What is asked for to see where a domain leads.
struct Asked<'a> {
    /// As [`sample`] gives it.
    host: Host,
    /// Where the proof stands.
    proof: String,
    target: &'a Target,
}

impl<'a> Asked<'a> {
    fn of(target: &'a Target) -> Self {
        Self { host: sample(&target.host), proof: target.proof_name(), target }
    }

    fn name(&self) -> &str {
        self.host.as_str()
    }
}

/// Looks at a domain, at most [`TIMEOUT`] long; what was not answered by then counts as a timeout.
pub async fn observe(lookup: &dyn Lookup, target: &Target) -> Observation {
    let deadline = Instant::now() + TIMEOUT;
    let asked = &Asked::of(target);
    let (zone, zone_error) = match find(lookup, target.host.base().as_str(), deadline).await {
        Ok(zone) => (zone, None),
        Err(error) => (None, Some(error)),
    };
    let mut seen = Observation {
        views: Vec::new(),
        zone,
        zone_error,
        misplaced: None,
        remembered_seconds: None,
        unsigned: false,
    };
    if let Some(zone) = seen.zone.take() {
        let zone = compare(lookup, zone, deadline).await;
        seen.views = views(lookup, &zone, asked, deadline).await;
        if seen.views.iter().any(has_nothing) {
            seen.misplaced = misplaced(lookup, &zone, asked, deadline).await;
        }
        seen.zone = Some(zone);
    }
    // Servers that are silent to us, or refuse us, may answer the rest of the world.
    let silent = seen.views.iter().all(|view| view.failure().is_some());
    if silent {
        let view = resolved(lookup, asked, deadline).await;
        // Servers that are silent to everybody are told as such, with their zone.
        if view.failure().is_none() || seen.views.is_empty() {
            seen.views = vec![view];
        }
    } else if seen.views.iter().any(|view| leads_here(view, target)) {
        remember(lookup, &mut seen, asked, deadline).await;
    }
    seen
}

fn has_nothing(view: &View) -> bool {
    view.aliases.is_empty() && view.v4 == Ok(Vec::new()) && view.v6 == Ok(Vec::new())
}

/// Whether a view has our alias, or an address of ours.
fn leads_here(view: &View, target: &Target) -> bool {
    let ours = |found: &Result<Vec<IpAddr>, LookupError>| {
        found.as_ref().is_ok_and(|found| found.iter().any(|address| target.addresses.contains(address)))
    };
    view.aliases.iter().any(|alias| alias == target.cname.as_str()) || ours(&view.v4) || ours(&view.v6)
}

/// What every server of the zone says.
async fn views(lookup: &dyn Lookup, zone: &Zone, asked: &Asked<'_>, deadline: Instant) -> Vec<View> {
    let mut views = join_all(zone.servers.iter().map(|server| view(lookup, server, asked, deadline))).await;
    let mut firsts: Vec<String> = views.iter().filter_map(|view| view.aliases.first().cloned()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    for first in firsts {
        let tail = tail(lookup, asked, &first, deadline).await;
        for view in views.iter_mut().filter(|view| view.aliases.first() == Some(&first)) {
            (view.aliases, view.alias_error) = (tail.aliases.clone(), tail.alias_error.clone());
            (view.v4, view.v6) = (tail.v4.clone(), tail.v6.clone());
        }
    }
    views
}

/// What one server says of the domain itself; where an alias leads, it need not know.
async fn view(lookup: &dyn Lookup, server: &Server, asked: &Asked<'_>, deadline: Instant) -> View {
    let (host, proof) = (asked.name(), asked.proof.as_str());
    let (v4, v6, texts) = tokio::join!(
        question(lookup, server, host, Kind::A, deadline),
        question(lookup, server, host, Kind::Aaaa, deadline),
        question(lookup, server, proof, Kind::Txt, deadline),
    );
    let (v4, v6) = (own(v4), own(v6));
    let mut alias =
        [&v4, &v6].into_iter().flatten().find_map(|reply| reply.values.iter().find_map(Value::alias));
    // Some servers follow aliases themselves, and fail when these go on and on.
    let first;
    if let (Err(LookupError::Failure(_)), Err(LookupError::Failure(_))) = (&v4, &v6) {
        first = question(lookup, server, host, Kind::Cname, deadline).await.unwrap_or_default();
        alias = first.values.iter().find_map(Value::alias);
    }
    let texts = match texts {
        // The proof may itself be an alias, or lie in a zone of its own.
        Ok(reply)
            if !reply.referral.is_empty() || reply.values.iter().any(|value| value.alias().is_some()) =>
        {
            ask(lookup, proof, Kind::Txt, deadline).await
        }
        Ok(reply) => Ok(reply.values),
        Err(error) => Err(error),
    };
    View {
        server: Some(server.name.clone()),
        aliases: alias.map(str::to_owned).into_iter().collect(),
        alias_error: None,
        seconds: [&v4, &v6].into_iter().flatten().map(|reply| reply.seconds).max().unwrap_or(0),
        v4: v4.map(|reply| addresses(reply.values)),
        v6: v6.map(|reply| addresses(reply.values)),
        texts: texts.map(strings),
    }
}

/// An answer that sends on to other servers is none: those servers were tried first, and failed.
fn own(reply: Result<Reply, LookupError>) -> Result<Reply, LookupError> {
    match reply {
        Ok(reply) if !reply.referral.is_empty() => {
            Err(LookupError::Failure(format!("{} do not answer", reply.referral.join(", "))))
        }
        other => other,
    }
}

/// Where a domain's alias `first` leads: each hop is asked for at the servers of its own zone.
async fn tail(lookup: &dyn Lookup, asked: &Asked<'_>, first: &str, deadline: Instant) -> View {
    let target = asked.target;
    let mut aliases = vec![first.to_owned()];
    let alias_error = loop {
        let name = aliases.last().map_or(first, String::as_str);
        if name == target.cname.as_str() {
            break None;
        }
        let next = match definitive(lookup, name, Kind::Cname, deadline).await {
            Ok(values) => values.iter().find_map(Value::alias).map(str::to_owned),
            Err(error) => break Some(error),
        };
        match follow_on(&aliases, next, asked) {
            Ok(Some(next)) => aliases.push(next),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let last = aliases.last().map_or(first, String::as_str).to_owned();
    let arrived = last == target.cname.as_str() || alias_error.is_some();
    let end = async |kind| {
        if arrived { Ok(Vec::new()) } else { definitive(lookup, &last, kind, deadline).await.map(addresses) }
    };
    let (v4, v6) = tokio::join!(end(Kind::A), end(Kind::Aaaa));
    View { server: None, aliases, alias_error, v4, v6, texts: Ok(Vec::new()), seconds: 0 }
}

/// The next alias to go to, if there is one and it leads on.
fn follow_on(
    aliases: &[String],
    next: Option<String>,
    asked: &Asked<'_>,
) -> Result<Option<String>, LookupError> {
    let domain = || asked.target.host.to_string();
    match next {
        None => Ok(None),
        Some(next) if next == asked.name() || aliases.contains(&next) => Err(LookupError::Circle(domain())),
        Some(_) if aliases.len() == MAX_HOPS => Err(LookupError::TooLong(domain())),
        Some(next) => Ok(Some(next)),
    }
}

/// What the resolver says, for domains whose servers cannot be asked.
async fn resolved(lookup: &dyn Lookup, asked: &Asked<'_>, deadline: Instant) -> View {
    let host = asked.name();
    let (chain, v4, v6, texts) = tokio::join!(
        follow(lookup, asked, deadline),
        ask(lookup, host, Kind::A, deadline),
        ask(lookup, host, Kind::Aaaa, deadline),
        ask(lookup, &asked.proof, Kind::Txt, deadline),
    );
    let (aliases, alias_error) = chain;
    View {
        server: None,
        aliases,
        alias_error,
        v4: v4.map(addresses),
        v6: v6.map(addresses),
        texts: texts.map(strings),
        seconds: 0,
    }
}

/// Follows aliases from the domain on until there is none, or until ours.
async fn follow(
    lookup: &dyn Lookup,
    asked: &Asked<'_>,
    deadline: Instant,
) -> (Vec<String>, Option<LookupError>) {
    let mut aliases: Vec<String> = Vec::new();
    loop {
        let name = aliases.last().map_or(asked.name(), String::as_str);
        if name == asked.target.cname.as_str() {
            return (aliases, None);
        }
        let next = match ask(lookup, name, Kind::Cname, deadline).await {
            Ok(values) => values.iter().find_map(Value::alias).map(str::to_owned),
            Err(error) => return (aliases, Some(error)),
        };
        match follow_on(&aliases, next, asked) {
            Ok(Some(next)) => aliases.push(next),
            Ok(None) => return (aliases, None),
            Err(error) => return (aliases, Some(error)),
        }
    }
}

/// The name under which a form that completes names has put the record of somebody who gave the whole name.
async fn misplaced(lookup: &dyn Lookup, zone: &Zone, asked: &Asked<'_>, deadline: Instant) -> Option<String> {
    let (target, server) = (asked.target, zone.servers.first()?);
    let name = format!("{}.{}", asked.host, zone.name);
    let reply = question(lookup, server, &name, Kind::A, deadline).await.ok()?;
    let ours = |value: &Value| match value {
        Value::Alias(alias) => alias
            .strip_prefix(target.cname.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        Value::Address(address) => target.addresses.contains(address),
        _ => false,
    };
    reply.values.iter().any(ours).then(|| format!("{}.{}", target.host, zone.name))
}

/// Notes what the resolver makes of an answer that is right at the servers: whether it refuses it for its
/// signatures, and whether it still remembers another one.
async fn remember(lookup: &dyn Lookup, seen: &mut Observation, asked: &Asked<'_>, deadline: Instant) {
    let host = asked.name();
    match timeout_at(deadline, lookup.held(host, Kind::A, Signatures::Checked)).await {
        Ok(Ok(reply)) => {
            let same = seen.views.iter().any(|view| is_same(view, &reply));
            seen.remembered_seconds = (!same && reply.seconds > 0).then_some(reply.seconds);
        }
        Ok(Err(LookupError::Failure(_))) => {
            seen.unsigned = is_unsigned(lookup, host, Kind::A, deadline).await;
        }
        Ok(Err(_)) | Err(_) => {}
    }
}

fn is_same(view: &View, reply: &Reply) -> bool {
    match reply.values.iter().find_map(Value::alias) {
        Some(alias) => view.aliases.first().is_some_and(|first| first == alias),
        None => {
            let held = addresses(reply.values.clone());
            let own = view.v4.clone().unwrap_or_default();
            view.aliases.is_empty() && held.len() == own.len() && held.iter().all(|one| own.contains(one))
        }
    }
}

fn addresses(values: Vec<Value>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = values.into_iter().filter_map(Value::into_address).collect();
    found.truncate(super::MAX_RECORDS);
    found
}

fn strings(values: Vec<Value>) -> Vec<String> {
    let mut found: Vec<String> = values.into_iter().filter_map(Value::into_text).collect();
    found.truncate(super::MAX_RECORDS);
    found
}
