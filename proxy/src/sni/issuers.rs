//! The certificates between a leaf and its root, kept once for all leaves that they stand behind.
//!
//! A hundred thousand certificates come from a handful of issuers. Found by SHA-256, because creators upload
//! chains of their own choice. A chain that no certificate refers to any more is forgotten at the next sweep,
//! which comes when the table has doubled: so each certificate pays for a constant share of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use foldhash::fast::RandomState;
use rustls::pki_types::CertificateDer;

/// What follows the leaf, in its order.
pub(super) type Issuers = Arc<[CertificateDer<'static>]>;

/// Size below which the table is not swept.
const SWEEP_FROM: usize = 64;

/// Every chain of issuers that is in use.
#[derive(Default)]
pub(super) struct Interned(Mutex<Table>);

#[derive(Default)]
struct Table {
    chains: HashMap<[u8; 32], Weak<[CertificateDer<'static>]>, RandomState>,
    sweep_at: usize,
}

impl Interned {
    /// The one copy of `chain`.
    pub(super) fn share(&self, chain: Vec<CertificateDer<'static>>) -> Issuers {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name(&chain);
        if let Some(shared) = table.chains.get(&name).and_then(Weak::upgrade) {
            return shared;
        }
        let shared: Issuers = chain.into();
        table.chains.insert(name, Arc::downgrade(&shared));
        if table.chains.len() > table.sweep_at {
            table.chains.retain(|_, chain| chain.strong_count() > 0);
            table.sweep_at = SWEEP_FROM.max(table.chains.len() * 2);
        }
        shared
    }
}

fn name(chain: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    for certificate in chain {
        // The length keeps two chains apart that are the same bytes, cut elsewhere.
        hash.update(&certificate.len().to_be_bytes());
        hash.update(certificate);
    }
    let mut name = [0; 32];
    name.iter_mut().zip(hash.finish().as_ref()).for_each(|(place, byte)| *place = *byte);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(parts: &[&[u8]]) -> Vec<CertificateDer<'static>> {
        parts.iter().map(|part| CertificateDer::from(part.to_vec())).collect()
    }

    #[test]
    fn the_same_chain_is_kept_once_and_another_apart() {
        let interned = Interned::default();
        let one = interned.share(chain(&[b"ab", b"c"]));
        assert!(Arc::ptr_eq(&one, &interned.share(chain(&[b"ab", b"c"]))));
        assert!(!Arc::ptr_eq(&one, &interned.share(chain(&[b"a", b"bc"]))));
    }

    #[test]
    fn chains_that_nobody_has_are_forgotten() {
        let interned = Interned::default();
        for number in 0..10_000_u32 {
            interned.share(chain(&[&number.to_be_bytes()]));
        }
        assert!(interned.0.lock().unwrap().chains.len() <= SWEEP_FROM + 1);
    }
}
