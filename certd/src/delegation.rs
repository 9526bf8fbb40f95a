//! Where in our own zone the proofs of a name stand: our own names there themselves, a creator's where its alias leads.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::id::DomainId;
use model::{Host, HostPattern, Timestamp};
use store::{Access, Order, StoreError};

use crate::adapters::RecordName;
use crate::dns::LookupError;
use crate::work::Work;

/// For how long resolvers remember a text: its time to live (see [`crate::adapters`]), and a second for its way.
const REMEMBERED: Duration = Duration::from_secs(61);

/// Whether texts in a zone of ours prove a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delegation {
    /// They do, at that place.
    Here(RecordName),
    /// They do not.
    Elsewhere,
    /// Nobody can tell.
    Untold(LookupError),
}

/// The places of the names of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    found: Vec<(Host, RecordName)>,
    /// Why one of them is not known.
    pub(crate) untold: Option<LookupError>,
}

impl Places {
    /// Whether the name has one.
    pub(crate) fn has(&self, name: &HostPattern) -> bool {
        self.of(name.base()).is_some()
    }

    /// The place of the name, without a wildcard's star.
    pub(crate) fn of(&self, host: &Host) -> Option<&RecordName> {
        self.found.iter().find(|(name, _)| name == host).map(|(_, place)| place)
    }
}

/// For which order's name texts were written at which place by this process: resolvers remember them for a while, and an
/// authority that asks one for the texts of the other name that has the same alias would not see them.
#[derive(Debug, Default)]
pub(crate) struct PlaceTurns(Mutex<HashMap<RecordName, (HostPattern, Timestamp)>>);

impl PlaceTurns {
    /// Takes the place for an order of that name at `now`; else gives when the texts of another name are forgotten.
    pub(crate) fn take(
        &self,
        place: &RecordName,
        name: &HostPattern,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, (_, at)| at.plus(REMEMBERED) > now);
        match taken.get(place) {
            Some((other, at)) if other != name => Err(at.plus(REMEMBERED)),
            _ => {
                taken.insert(place.clone(), (name.clone(), now));
                Ok(())
            }
        }
    }
}

impl Work {
    /// Where the proofs of a name stand. The alias may be that of the name's wildcard, or of the wildcard's own name, where
    /// one tenant has both: there can be one alias at a place.
    pub(crate) async fn delegation(
        &self,
        name: &HostPattern,
        domain: Option<DomainId>,
    ) -> Result<Delegation, StoreError> {
        let Some(proofs) = &self.proofs else { return Ok(Delegation::Elsewhere) };
        let here = |place: Option<RecordName>| place.map_or(Delegation::Elsewhere, Delegation::Here);
        let Some(domain) = domain else {
            let own = proofs.covers(name.base()).then(|| proofs.own(name.base()).ok());
            return Ok(here(own.flatten()));
        };
        let alias = match proofs.alias(name.base()).await {
            Ok(Some(alias)) => alias,
            Ok(None) => return Ok(Delegation::Elsewhere),
            Err(error) => return Ok(Delegation::Untold(error)),
        };
        let leads_to = |id| proofs.delegate(id).ok().filter(|place| place.as_str() == alias);
        if let Some(place) = leads_to(domain) {
            return Ok(Delegation::Here(place));
        }
        let domain = self.store.domain(Access::Platform, domain).await?;
        let sibling = self.store.sibling_of(&domain).await?;
        Ok(here(sibling.and_then(|sibling| leads_to(sibling.id))))
    }

    /// Where the proofs of an order's names stand, as far as we can write there.
    pub(crate) async fn places(&self, order: &Order) -> Result<Places, StoreError> {
        let mut names = vec![(order.host.clone(), order.domain)];
        if let Some(beside) = order.beside() {
            let other = self.store.domain_by_host(beside).await?;
            names.push((beside.clone(), other.map(|other| other.id)));
        }
        let mut places = Places::default();
        for (name, domain) in names {
            match self.delegation(&name, domain).await? {
                Delegation::Here(place) => places.found.push((name.base().clone(), place)),
                Delegation::Elsewhere => {}
                Delegation::Untold(error) => places.untold = Some(error),
            }
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_two_names_stand_at_one_place_one_after_the_other() {
        let (turns, now) = (PlaceTurns::default(), Timestamp::from_unix_seconds(1_795_000_000));
        let [one, two] = ["example.com", "*.example.com"].map(|name| name.parse::<HostPattern>().unwrap());
        let [place, other] = ["a.acme.test", "b.acme.test"].map(|name| RecordName::parse(name).unwrap());
        assert_eq!(turns.take(&place, &one, now), Ok(()));
        assert_eq!(turns.take(&place, &one, now), Ok(()), "an order goes on");
        assert_eq!(turns.take(&other, &two, now), Ok(()));
        let free = now.plus(REMEMBERED);
        assert_eq!(turns.take(&place, &two, now), Err(free));
        assert_eq!(turns.take(&place, &two, free), Ok(()));
    }
}
