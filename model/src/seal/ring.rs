//! The keys that an installation holds: one seals, all open.
//!
//! All clones are one ring: a key that one of them is given is there for all, so a key can be taken into use while
//! everything runs. Keys stand in the order of their age, the oldest first.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::{SealError, Sealed, SealingKey};

/// Keys by age, and which of them seals.
#[derive(Clone)]
pub struct KeyRing {
    held: Arc<RwLock<Arc<Held>>>,
}

struct Held {
    /// Each with its fingerprint.
    keys: Vec<(String, SealingKey)>,
    /// Place of the one that seals.
    seals: usize,
}

impl KeyRing {
    /// A ring of `keys`, of which the first seals; a key that is there twice counts once.
    ///
    /// # Errors
    /// [`SealError::NoKey`] if there is none.
    pub fn new(keys: impl IntoIterator<Item = SealingKey>) -> Result<Self, SealError> {
        let mut held: Vec<(String, SealingKey)> = Vec::new();
        for key in keys {
            let fingerprint = key.fingerprint();
            if held.iter().all(|(known, _)| *known != fingerprint) {
                held.push((fingerprint, key));
            }
        }
        if held.is_empty() {
            return Err(SealError::NoKey);
        }
        Ok(Self { held: Arc::new(RwLock::new(Arc::new(Held { keys: held, seals: 0 }))) })
    }

    /// A ring from text: keys of 64 hexadecimal digits with white space or commas between them, the oldest first.
    ///
    /// # Errors
    /// [`SealError::KeyForm`] or [`SealError::NoKey`]; never tells the text.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        Self::new(words.map(SealingKey::from_hex).collect::<Result<Vec<_>, _>>()?)
    }

    /// The keys as [`Self::parse`] reads them, one a line.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for (_, key) in &self.held().keys {
            text.push_str(&key.to_hex());
            text.push('\n');
        }
        text
    }

    /// Seals `plaintext` with the key that seals, so that it opens in `context` only.
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library refuses.
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> Result<Sealed, SealError> {
        let held = self.held();
        let (_, key) = held.keys.get(held.seals).ok_or(SealError::NoKey)?;
        key.seal(context, plaintext)
    }

    /// Opens what any key of the ring sealed in the same context.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] names the key that is missing, [`SealError::Damaged`].
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let held = self.held();
        match held.keys.iter().find(|(fingerprint, _)| *fingerprint == sealed.fingerprint) {
            Some((_, key)) => key.open_bytes(context, &sealed.body),
            None => Err(SealError::OtherKey {
                sealed_with: sealed.fingerprint.clone(),
                at_hand: self.fingerprints().join(", "),
            }),
        }
    }

    /// Fingerprint of the key that seals.
    #[must_use]
    pub fn seals(&self) -> String {
        let held = self.held();
        held.keys.get(held.seals).map(|(fingerprint, _)| fingerprint.clone()).unwrap_or_default()
    }

    /// Fingerprints of all keys, the oldest first.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.held().keys.iter().map(|(fingerprint, _)| fingerprint.clone()).collect()
    }

    /// The keys themselves, the oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<SealingKey> {
        self.held().keys.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Seals with the key of that fingerprint from now on; false if it is not on the ring, which stays as it is.
    pub fn seal_with(&self, fingerprint: &str) -> bool {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let Some(seals) = held.keys.iter().position(|(known, _)| known == fingerprint) else { return false };
        *held = Arc::new(Held { keys: held.keys.clone(), seals });
        true
    }

    /// Takes the keys of `other` in place of its own. What seals is kept as long as it is among them.
    pub fn replace(&self, other: &Self) {
        let sealed = self.seals();
        let keys = other.held().keys.clone();
        let seals = keys.iter().position(|(known, _)| *known == sealed).unwrap_or(0);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Held { keys, seals });
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<SealingKey> for KeyRing {
    fn from(key: SealingKey) -> Self {
        let keys = vec![(key.fingerprint(), key)];
        Self { held: Arc::new(RwLock::new(Arc::new(Held { keys, seals: 0 }))) }
    }
}

impl From<&SealingKey> for KeyRing {
    fn from(key: &SealingKey) -> Self {
        key.clone().into()
    }
}

impl From<&KeyRing> for KeyRing {
    fn from(ring: &KeyRing) -> Self {
        ring.clone()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({}, seals with {})", self.fingerprints().join(" "), self.seals())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_seals_and_all_open() -> Result<(), SealError> {
        let (old, new) = (SealingKey::generate(), SealingKey::generate());
        let ring = KeyRing::new([old.clone(), new.clone()])?;
        let before = ring.seal("x", b"secret")?;
        assert_eq!(before.fingerprint(), old.fingerprint());
        assert!(ring.clone().seal_with(&new.fingerprint()), "a clone is the same ring");
        let after = ring.seal("x", b"secret")?;
        assert_eq!(after.fingerprint(), new.fingerprint());
        for sealed in [&before, &after] {
            assert_eq!(ring.open("x", sealed)?.as_slice(), b"secret");
            assert_eq!(ring.open("y", sealed), Err(SealError::Damaged("y".to_owned())));
        }
        ring.replace(&KeyRing::from(&new));
        assert!(matches!(ring.open("x", &before), Err(SealError::OtherKey { .. })));
        assert!(!ring.seal_with(&old.fingerprint()) && ring.seals() == new.fingerprint());
        Ok(())
    }

    #[test]
    fn a_ring_is_read_as_it_was_written_and_never_printed() -> Result<(), SealError> {
        let (one, other) = (SealingKey::generate(), SealingKey::generate());
        let ring = KeyRing::new([one.clone(), other.clone(), one.clone()])?;
        let read = KeyRing::parse(&ring.to_text())?;
        assert_eq!(read.fingerprints(), [one.fingerprint(), other.fingerprint()]);
        let commas = KeyRing::parse(&format!("{},{}", one.to_hex().as_str(), other.to_hex().as_str()))?;
        assert_eq!(commas.fingerprints(), read.fingerprints());
        assert!(!format!("{ring:?}").contains(one.to_hex().as_str()));
        assert!(matches!(KeyRing::parse(" \n"), Err(SealError::NoKey)));
        assert!(matches!(KeyRing::parse("abc"), Err(SealError::KeyForm(3))));
        Ok(())
    }
}
