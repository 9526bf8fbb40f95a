//! `stoa store rebuild`: an empty store is filled with what the edges' replicas hold.
//!
//! What an edge was never told cannot come back: API keys (those of the edges and the operator's first are taken from
//! their files), names of tenants for people, domains that were not proved, names that are kept for who gave them up,
//! claims of names that two accounts want, usage that was counted, the audit log, accounts with certificate authorities,
//! the local authority. Those are made anew, or are gone: a name is had by who proves it, quarantine or not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use feed::Replica;
use feed::replica::Loaded;
use model::certificate::{Certificate, CertificateSource};
use model::chain;
use model::change::Object;
use model::clock::SystemClock;
use model::id::{AppId, TenantId};
use model::seal::{EDGE_FEED_PURPOSE, KeyRing, SealingKey};
use model::secret::Secret;
use model::ticket::TicketKey;
use model::{HostPattern, Timestamp};
use store::{Access, Actor, NewCertificate, NewKey, Salvage, Scope, Store};

use crate::command::{Place, StoreVerb};
use crate::custody;
use crate::data::DataDirectory;

/// What the local authority calls itself; see `certd`.
const LOCAL_ISSUER: &str = "Stoa local authority";

/// Most reasons of one kind that are told.
const TOLD: usize = 20;

/// Carries out a command.
///
/// # Errors
/// What stands in the way, and what to do about it.
pub(crate) async fn run(verb: StoreVerb) -> anyhow::Result<()> {
    let StoreVerb::Rebuild { from, edge_key_file, leave_out, place } = verb;
    rebuild(&from, &edge_key_file, leave_out, &place).await
}

async fn rebuild(
    from: &[PathBuf],
    edge_key_files: &[PathBuf],
    leave_out: bool,
    place: &Place,
) -> anyhow::Result<()> {
    let settings = crate::settings::checked(place)?;
    ensure!(settings.control.is_none(), "this is the configuration of an edge: name the control plane's");
    let data = DataDirectory::hold(&settings.data, None)?;
    let keys = match data.master_key(config::environment::master_key())? {
        Some(keys) => keys,
        None => data.new_master_key()?,
    };
    let edge_keys = edge_key_files.iter().map(|path| read_key(path)).collect::<Result<Vec<_>, _>>()?;
    let (loaded, seal) = furthest(from, &keys, &edge_keys)?;
    let store = Store::open(crate::settings::store(&settings), Arc::new(SystemClock)).await?;
    custody::agree(&store, &keys).await?;
    let (found, revision) = (loaded.objects.len(), loaded.revision);
    let found_by =
        Finder { seal: &seal, keys: &keys, now: store.now(), authority: only_authority(&settings) };
    let (salvage, left_out) = sort(loaded, &found_by);
    println!("{found} objects up to revision {revision}");
    left_out.tell();
    ensure!(
        leave_out || left_out.valid.is_empty(),
        "{} certificates that are still valid cannot be taken in, and edges would drop them: nothing was written; \
         mend what is named above, or go on without them with --leave-out",
        left_out.valid.len()
    );
    let summary = format!(
        "{} tenants, {} apps, {} certificates, {} ticket keys",
        salvage.tenants.len(),
        salvage.sites.len(),
        salvage.certificates.len(),
        salvage.ticket_keys.len()
    );
    store.rebuild(&operator(), salvage).await?;
    println!("taken in: {summary}");
    let platform_key = data.file("platform-key");
    if platform_key.exists() {
        keep_key(&store, Scope::Platform, &read_key(&platform_key)?).await?;
    }
    for key in &edge_keys {
        keep_key(&store, Scope::Edge, key).await?;
    }
    println!(
        "lost: API keys but {} of edges and the one in `platform-key`, names of tenants, domains that were not proved, \
         names kept for who gave them up, claims of names that two accounts want, notices, since when a domain has not \
         pointed here, usage, audit log, accounts with certificate authorities, local authority (`ca.pem` is another \
         one)",
        edge_keys.len()
    );
    store.close().await;
    Ok(())
}

/// The replica that is furthest, with the key that seals what is in it.
fn furthest(from: &[PathBuf], keys: &KeyRing, edge_keys: &[Secret]) -> anyhow::Result<(Loaded, SealingKey)> {
    let mut best: Option<(Loaded, SealingKey)> = None;
    for path in from {
        let path = if path.is_dir() { path.join("edge.replica") } else { path.clone() };
        let (loaded, key) = open(&path, keys, edge_keys)?;
        println!("{}: revision {}, {} objects", path.display(), loaded.revision, loaded.objects.len());
        if let Some((held, _)) = &best {
            let lineage = |loaded: &Loaded| loaded.lineage.0.split('.').next().map(str::to_owned);
            ensure!(
                lineage(held) == lineage(&loaded),
                "`{}` followed another store than the replicas before it: name those of one store",
                path.display()
            );
        }
        if best.as_ref().is_none_or(|(held, _)| held.revision < loaded.revision) {
            best = Some((loaded, key));
        }
    }
    best.context("no replica was named")
}

/// Opens a replica with whichever key fits: the edge's own beside it, one derived from an edge's API key, or a master key.
fn open(path: &Path, keys: &KeyRing, edge_keys: &[Secret]) -> anyhow::Result<(Loaded, SealingKey)> {
    ensure!(path.is_file(), "there is no replica at `{}`", path.display());
    let mut candidates = keys.keys();
    let beside = path.with_file_name("edge.key");
    if beside.is_file() {
        candidates.extend(custody::edge_key(&beside, keys));
    }
    for key in edge_keys {
        candidates.push(SealingKey::derive(key.reveal().as_bytes(), EDGE_FEED_PURPOSE)?);
    }
    for key in candidates {
        let loaded = Replica::look(path, &key)?;
        if !loaded.objects.is_empty() {
            return Ok((loaded, key));
        }
    }
    bail!(
        "none of the keys at hand opens `{}`: of an edge apart, name the file of its API key with --edge-key-file; of one \
         beside the control plane, `edge.key` must lie beside it and the master key be the one of then",
        path.display()
    )
}

/// Why some objects are left out.
#[derive(Debug, Default)]
struct LeftOut {
    /// Certificates that edges serve and that are not over.
    valid: Vec<String>,
    /// What nobody will miss.
    other: Vec<String>,
}

impl LeftOut {
    fn tell(&self) {
        for (what, reasons) in [("valid, left out", &self.valid), ("left out", &self.other)] {
            for reason in reasons.iter().take(TOLD) {
                println!("{what}: {reason}");
            }
            if let Some(more) = reasons.len().checked_sub(TOLD).filter(|more| *more > 0) {
                println!("{what}: {more} more");
            }
        }
    }
}

/// What is known beside the replica.
struct Finder<'a> {
    /// What its secrets are sealed with.
    seal: &'a SealingKey,
    /// What the store's are to be sealed with.
    keys: &'a KeyRing,
    now: Timestamp,
    /// Whom certificates were ordered from of which the edge was never told.
    authority: Option<String>,
}

impl Finder<'_> {
    /// From whom a certificate was ordered, by what the edge was told of that.
    fn authority_of(&self, source: CertificateSource, told: Option<String>) -> Option<String> {
        told.or_else(|| self.authority.clone().filter(|_| source == CertificateSource::Acme))
    }
}

/// The directory of the one authority that is configured; of several it may have been any.
fn only_authority(settings: &config::Settings) -> Option<String> {
    let acme = settings.acme.as_ref().filter(|acme| acme.fallbacks.is_empty());
    acme.map(|acme| acme.directory.clone())
}

/// Sorts objects into what a store keeps, and reasons why some are left out.
fn sort(loaded: Loaded, by: &Finder<'_>) -> (Salvage, LeftOut) {
    let (mut salvage, mut certificates, mut left_out) = (Salvage::default(), Vec::new(), LeftOut::default());
    for object in loaded.objects.into_iter().filter_map(|change| change.object) {
        match object {
            Object::Tenant(tenant) => salvage.tenants.push(tenant),
            Object::Site(site) => salvage.sites.push(*site),
            Object::Certificate(certificate) => certificates.push(certificate),
            Object::TicketKey(key) => match anew(&TicketKey::key_context(key.id), &key.key, by) {
                Ok(sealed) => salvage.ticket_keys.push(TicketKey { key: sealed, ..key }),
                Err(error) => left_out.other.push(format!("ticket key {}: {error:#}", key.id)),
            },
            // Good for minutes: an order that goes on gives a new one.
            Object::Challenge(_) => {}
        }
    }
    salvage.ticket_keys.sort_by_key(|key| key.made_at);
    let owners: BTreeMap<&HostPattern, (TenantId, AppId)> = salvage
        .sites
        .iter()
        .flat_map(|site| site.hosts.iter().map(move |host| (&host.host, (site.tenant, site.app))))
        .collect();
    let mut kept = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        let (id, names) = (certificate.id, names(&certificate));
        let is_over = certificate.not_after <= by.now;
        match take(certificate, &owners, by) {
            Ok(new) => kept.push(new),
            Err(error) => {
                let list = if is_over { &mut left_out.other } else { &mut left_out.valid };
                list.push(format!("certificate {id} for {names}: {error:#}"));
            }
        }
    }
    salvage.certificates = kept;
    (salvage, left_out)
}

/// One certificate, checked as if it were uploaded.
fn take(
    certificate: Certificate,
    owners: &BTreeMap<&HostPattern, (TenantId, AppId)>,
    by: &Finder<'_>,
) -> anyhow::Result<NewCertificate> {
    let context = Certificate::key_context(certificate.id);
    let clear = by.seal.open(&context, &certificate.key)?;
    let found = chain::inspect(&certificate.chain_pem, &clear, by.now)?;
    let owner = certificate.names.iter().find_map(|name| owners.get(name));
    let app = owner.filter(|(tenant, _)| Some(*tenant) == certificate.tenant).map(|(_, app)| *app);
    ensure!(certificate.tenant.is_none() || app.is_some(), "its tenant has no app of that name");
    let is_local = found.issuer.contains(LOCAL_ISSUER);
    let guess = if is_local { CertificateSource::LocalCa } else { CertificateSource::Acme };
    let source = certificate.source.unwrap_or(guess);
    Ok(NewCertificate {
        id: certificate.id,
        tenant: certificate.tenant,
        app,
        source,
        authority: by.authority_of(source, certificate.authority),
        issuer: found.issuer,
        serial: found.serial,
        names: certificate.names,
        chain_pem: certificate.chain_pem,
        key: by.keys.seal(&context, &clear)?,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
    })
}

fn anew(context: &str, sealed: &model::seal::Sealed, by: &Finder<'_>) -> anyhow::Result<model::seal::Sealed> {
    Ok(by.keys.seal(context, &by.seal.open(context, sealed)?)?)
}

fn names(certificate: &Certificate) -> String {
    certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn read_key(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// Makes a key valid again whose text is still there.
async fn keep_key(store: &Store, scope: Scope, text: &Secret) -> anyhow::Result<()> {
    let parsed =
        api::keys::parse(text.reveal()).context("an API key is damaged: it has the form sk_live_…")?;
    let new = NewKey { tenant: None, scope, name: None, lookup: parsed.lookup, hash: parsed.hash };
    store.create_key(&operator(), Access::Platform, new).await?;
    Ok(())
}

fn operator() -> Actor {
    Actor::system("stoa store rebuild")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_ordered_is_taken_to_be_the_configured_authoritys() {
        let seal = SealingKey::generate();
        let keys = KeyRing::from(seal.clone());
        let by = Finder {
            seal: &seal,
            keys: &keys,
            now: Timestamp::from_unix_seconds(1_795_000_000),
            authority: Some("https://ca.test".to_owned()),
        };
        let told = Some("https://told.test".to_owned());
        assert_eq!(by.authority_of(CertificateSource::Acme, told.clone()), told);
        assert_eq!(by.authority_of(CertificateSource::Acme, None), by.authority);
        for source in [CertificateSource::Upload, CertificateSource::LocalCa] {
            assert_eq!(by.authority_of(source, None), None);
        }
        let by = Finder { authority: None, ..by };
        assert_eq!(by.authority_of(CertificateSource::Acme, None), None, "it may be any of several");
    }
}
