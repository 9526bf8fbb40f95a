//! `[connect]`: how records are set at creators' own providers.

use model::net::Network;

use crate::document::Section;
use crate::edge::networks;
use crate::error::Faults;

pub(crate) const KEYS: [&str; 1] = ["networks"];

/// Creators' own providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Networks of the operator's own that creators' servers may be in; else they must be on the internet.
    pub networks: Vec<Network>,
}

pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Connect {
    Connect { networks: networks(section, "networks", faults) }
}
