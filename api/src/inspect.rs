//! Looking at domains before they are connected: done by whoever owns lookups, shown here.

use std::fmt::Debug;

use async_trait::async_trait;
use model::domain::{Inspection, Witness};
use model::{Host, HostPattern};

/// Looks up everything that a domain has today.
#[async_trait]
pub trait Inspect: Debug + Send + Sync + 'static {
    /// Gives what was found, and which kinds of records nobody could tell. Ends within some 15 seconds.
    async fn inspect(&self, host: &Host, witness: Witness) -> Inspection;

    /// The text that proves a name to our authority for as long as it stands (dns-persist-01); none: that is switched
    /// off, or nobody knows our account there yet.
    async fn standing_proof(&self, name: &HostPattern) -> Option<String> {
        let _ = name;
        None
    }

    /// Whether certificates for all names below one can be made here.
    fn takes_wildcards(&self) -> bool {
        false
    }
}
