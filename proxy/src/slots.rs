//! Places for connections: how many there may be in all, of one address, and in a handshake at a time.
//!
//! Memory only. A place is taken before anything is read or spent, and given back when it is dropped. The
//! table of addresses has an entry for each address that has a connection now, so the cap on connections
//! bounds it. Over a cap a connection is reset: that frees everything at once, here and in the kernel.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use dashmap::DashMap;
use foldhash::quality::RandomState;
use model::net::VisitorKey;
use tokio::sync::Notify;

use crate::edge::Shared;
use crate::metrics::Turned;
use crate::settings::Settings;

/// How many connections there are, and how many there may be.
#[derive(Debug)]
pub(crate) struct Slots {
    open: AtomicUsize,
    most: usize,
    addresses: DashMap<VisitorKey, usize, RandomState>,
    most_per_address: usize,
    handshakes: AtomicUsize,
    most_handshakes: usize,
    made: AtomicU64,
    emptied: Notify,
}

/// A connection's place.
pub(crate) struct Slot {
    edge: Arc<Shared>,
    address: Option<VisitorKey>,
}

/// A handshake's place.
pub(crate) struct Handshaking<'s>(&'s Slots);

impl Slots {
    /// All free.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            open: AtomicUsize::new(0),
            most: settings.max_connections,
            addresses: DashMap::with_hasher(RandomState::default()),
            most_per_address: settings.max_connections_per_address,
            handshakes: AtomicUsize::new(0),
            most_handshakes: settings.max_handshakes,
            made: AtomicU64::new(0),
            emptied: Notify::new(),
        }
    }

    /// A place for one more connection.
    ///
    /// # Errors
    /// [`Turned::Connections`].
    pub(crate) fn take(edge: &Arc<Shared>) -> Result<Slot, Turned> {
        more(&edge.slots.open, edge.slots.most).ok_or(Turned::Connections)?;
        edge.state.metrics.connections.inc();
        Ok(Slot { edge: Arc::clone(edge), address: None })
    }

    /// A place for one more handshake.
    ///
    /// # Errors
    /// [`Turned::Handshakes`].
    pub(crate) fn shake(&self) -> Result<Handshaking<'_>, Turned> {
        more(&self.handshakes, self.most_handshakes).ok_or(Turned::Handshakes)?;
        Ok(Handshaking(self))
    }

    /// A number for a connection, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.made.fetch_add(1, Relaxed) + 1
    }

    /// Waits until no connection is left.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open.load(Relaxed) == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn add(&self, key: VisitorKey) -> Option<()> {
        let mut count = self.addresses.entry(key).or_insert(0);
        // An entry that is new has room: a cap is 1 at least.
        (*count < self.most_per_address.max(1)).then(|| *count += 1)
    }

    fn remove(&self, key: VisitorKey) {
        self.addresses.remove_if_mut(&key, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

/// One more, if there are fewer than `most`.
fn more(count: &AtomicUsize, most: usize) -> Option<usize> {
    count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)).ok()
}

impl Slot {
    /// Counts the connection as one of `address`.
    ///
    /// # Errors
    /// [`Turned::Address`].
    pub(crate) fn belong_to(&mut self, address: IpAddr) -> Result<(), Turned> {
        let key = VisitorKey::from(address);
        self.edge.slots.add(key).ok_or(Turned::Address)?;
        self.address = Some(key);
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let slots = &self.edge.slots;
        if let Some(key) = self.address {
            slots.remove(key);
        }
        self.edge.state.metrics.connections.dec();
        if slots.open.fetch_sub(1, Relaxed) == 1 {
            slots.emptied.notify_waiters();
        }
    }
}

impl Drop for Handshaking<'_> {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Slots {
        Slots::new(&Settings { max_connections_per_address: 2, max_handshakes: 1, ..Settings::default() })
    }

    fn key(text: &str) -> VisitorKey {
        VisitorKey::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn one_address_has_its_places_and_leaves_the_others_theirs() {
        let slots = slots();
        let (one, other) = (key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert!(slots.add(one).is_some() && slots.add(key("2001:db8::2")).is_some());
        assert_eq!(slots.add(one), None);
        assert!(slots.add(other).is_some());
        slots.remove(one);
        assert!(slots.add(one).is_some());
    }

    #[test]
    fn an_address_without_a_connection_leaves_nothing_behind() {
        let slots = slots();
        for number in 0..1_000_u32 {
            let key = VisitorKey::from(IpAddr::from(number.to_be_bytes()));
            assert!(slots.add(key).is_some());
            slots.remove(key);
            slots.remove(key);
        }
        assert!(slots.addresses.is_empty());
    }

    #[test]
    fn a_handshake_gives_its_place_back() {
        let slots = slots();
        let first = slots.shake().ok().unwrap();
        assert_eq!(slots.shake().err(), Some(Turned::Handshakes));
        drop(first);
        assert!(slots.shake().is_ok());
    }
}
