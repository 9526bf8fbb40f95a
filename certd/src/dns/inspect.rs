//! Everything that a domain has today, at its zone's own servers, for whoever thinks of connecting it.

use std::sync::Arc;

use model::Host;
use model::domain::{Found, Inspection, RecordKind, Witness};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::authority::{at_servers, compare, definitive, find};
use super::{Kind, Lookup, LookupError, MAX_RECORDS, Providers, TIMEOUT, Value, Zone};

/// Most domains that are looked at at a time: each costs some twenty questions, and anybody with a key may ask.
const AT_A_TIME: usize = 8;
/// Longest value that is shown, in characters; keys for signing mail have some 400.
const MAX_VALUE: usize = 600;

/// Looks at domains that are nobody's yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inspector {
    lookup: Arc<dyn Lookup>,
    providers: Providers,
    places: Arc<Semaphore>,
}

impl Inspector {
    /// Asks with `lookup`.
    #[must_use]
    pub fn new(lookup: Arc<dyn Lookup>, providers: Providers) -> Self {
        Self { lookup, providers, places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Looks at a domain, at most [`TIMEOUT`] long from when it has its turn, and believes `witness`.
    pub async fn inspect(&self, host: &Host, witness: Witness) -> Inspection {
        let _place = self.places.acquire().await;
        let deadline = Instant::now() + TIMEOUT;
        let zone = match find(self.lookup.as_ref(), host.as_str(), deadline).await {
            Ok(Some(zone)) => Some(compare(self.lookup.as_ref(), zone, deadline).await),
            _ => None,
        };
        let own = [Kind::Cname, Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Caa, Kind::Ns];
        let (mut records, unanswered) = self.records(host, &own, (witness, deadline)).await;
        let apex = zone.as_ref().and_then(|zone| Host::parse(&zone.name).ok());
        if let Some(apex) = apex.as_ref().filter(|apex| *apex != host) {
            let shared = [Kind::Mx, Kind::Txt, Kind::Caa, Kind::Ns];
            records.extend(self.records(apex, &shared, (witness, deadline)).await.0);
        }
        let is_told = witness == Witness::Resolver || !records.is_empty() || unanswered.len() < own.len();
        let apex = apex.filter(|_| is_told);
        let servers = zone.filter(|_| is_told).map(|Zone { servers, .. }| servers).unwrap_or_default();
        let provider = self.providers.find(&servers);
        Inspection {
            host: host.clone(),
            zone: apex,
            provider: provider.map(|provider| provider.name.clone()),
            apex_alias: provider.is_some_and(|provider| provider.apex_alias),
            servers: servers.into_iter().map(|server| server.name).collect(),
            records,
            unanswered,
        }
    }

    async fn records(
        &self,
        name: &Host,
        kinds: &[Kind],
        (witness, deadline): (Witness, Instant),
    ) -> (Vec<Found>, Vec<RecordKind>) {
        let lookup = self.lookup.as_ref();
        let ask = async |kind: Kind| match witness {
            Witness::Resolver => definitive(lookup, name.as_str(), kind, deadline).await,
            Witness::Servers => {
                let told = at_servers(lookup, name.as_str(), kind, deadline).await?;
                told.ok_or(LookupError::Timeout)
            }
        };
        let answers = futures_util::future::join_all(kinds.iter().map(|kind| ask(*kind))).await;
        let (mut records, mut unanswered) = (Vec::new(), Vec::new());
        for (kind, answer) in kinds.iter().zip(answers) {
            match answer {
                Ok(values) => records
                    .extend(values.iter().filter_map(|value| found(name, *kind, value)).take(MAX_RECORDS)),
                Err(error) => unanswered.extend(untold(*kind, &error)),
            }
        }
        (records, unanswered)
    }
}

fn untold(kind: Kind, error: &LookupError) -> Option<RecordKind> {
    tracing::debug!(?kind, %error, "records could not be told");
    Some(word(kind))
}

const fn word(kind: Kind) -> RecordKind {
    match kind {
        Kind::Cname => RecordKind::Cname,
        Kind::A => RecordKind::A,
        Kind::Aaaa => RecordKind::Aaaa,
        Kind::Txt => RecordKind::Txt,
        Kind::Ns => RecordKind::Ns,
        Kind::Mx => RecordKind::Mx,
        Kind::Caa => RecordKind::Caa,
    }
}

/// A record of the kind that was asked for; an alias stands in place of every other.
fn found(name: &Host, kind: Kind, value: &Value) -> Option<Found> {
    let text = match (kind, value) {
        (Kind::Cname, Value::Alias(name)) | (Kind::Ns, Value::Server(name)) => name.clone(),
        (Kind::A | Kind::Aaaa, Value::Address(address)) => address.to_string(),
        (Kind::Txt, Value::Text(text)) => text.clone(),
        (Kind::Mx, Value::Mail(preference, host)) => format!("{preference} {host}"),
        (Kind::Caa, Value::Permission { critical, tag, value }) => {
            format!("{} {tag} \"{value}\"", if *critical { 128 } else { 0 })
        }
        _ => return None,
    };
    // A stranger wrote it, and it is shown on somebody's terminal.
    let value = text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(MAX_VALUE);
    Some(Found { kind: word(kind), name: name.clone(), value: value.collect() })
}
