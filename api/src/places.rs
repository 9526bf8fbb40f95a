//! Places that are few: how many somebody has at a time of what costs more than an answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// How many places are taken, by owner. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Places<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One place, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Copy + Eq + Hash> {
    places: Places<K>,
    owner: K,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// A place for `owner`, if `has_room` says so of those that are taken.
    pub(crate) fn take(
        &self,
        owner: K,
        has_room: impl FnOnce(&HashMap<K, usize>) -> bool,
    ) -> Option<Place<K>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !has_room(&taken) {
            return None;
        }
        *taken.entry(owner).or_default() += 1;
        Some(Place { places: self.clone(), owner })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.owner)),
        }
    }
}
