//! What a new order asks for: names, a profile, and the certificate that it replaces (RFC 9773 §5).

use model::Host;
use serde_json::Value;

use super::problem::Problem;
use super::state::State;

/// Most names of an order.
const MAX_NAMES: usize = 100;

/// What an order is asked for with.
pub(super) struct Wish {
    pub(super) names: Vec<String>,
    pub(super) profile: usize,
    pub(super) asked_profile: Option<String>,
    pub(super) replaces: Option<Replaces>,
}

/// The certificate that an order's is to replace.
#[derive(Debug, Clone)]
pub(super) struct Replaces {
    /// As the client wrote it.
    pub(super) id: String,
    pub(super) serial: String,
    /// Whether the order was opened inside the certificate's window.
    pub(super) inside: bool,
}

impl State {
    /// Reads what a new order is asked for with, and refuses what nobody can have.
    pub(super) fn wish(&self, account: u64, payload: &Value) -> Result<Wish, Problem> {
        let names = self.names(payload)?;
        let asked_profile = payload["profile"].as_str().map(str::to_owned);
        let profile = match &asked_profile {
            None => 0,
            Some(asked) => {
                let found = self.options.profiles.iter().position(|profile| profile.name == *asked);
                found.ok_or_else(|| {
                    Problem::new("invalidProfile", format!("profile {asked:?} is not offered"))
                })?
            }
        };
        let replaces = match payload["replaces"].as_str() {
            None => None,
            Some(id) => Some(self.replaces(account, id, &names)?),
        };
        Ok(Wish { names, profile, asked_profile, replaces })
    }

    fn names(&self, payload: &Value) -> Result<Vec<String>, Problem> {
        let identifiers = payload["identifiers"].as_array().map(Vec::as_slice).unwrap_or_default();
        if identifiers.is_empty() || identifiers.len() > MAX_NAMES {
            return Err(Problem::malformed("an order has 1 to 100 identifiers"));
        }
        let name = |identifier: &Value| {
            if identifier["type"] != "dns" {
                let detail = format!("identifiers of type {} are not certified", identifier["type"]);
                return Err(Problem::new("unsupportedIdentifier", detail));
            }
            let name = identifier["value"].as_str().unwrap_or_default().to_ascii_lowercase();
            let rejected =
                |why: &str| Problem::new("rejectedIdentifier", format!("Cannot issue for {name:?}: {why}"));
            let bare = name.strip_prefix("*.").unwrap_or(&name);
            Host::parse(bare).map_err(|error| rejected(&error.to_string()))?;
            if !bare.contains('.') {
                return Err(rejected("Domain name needs at least one dot"));
            }
            if self.options.blocked.contains(bare) {
                return Err(rejected("The ACME server refuses to issue a certificate for this domain name"));
            }
            Ok(name)
        };
        let mut names = identifiers.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// RFC 9773 §5: of the same account, with a name in common, and not replaced yet.
    fn replaces(&self, account: u64, id: &str, names: &[String]) -> Result<Replaces, Problem> {
        if !self.options.renewal_info {
            return Err(Problem::malformed("`replaces` needs renewal information, which is not offered"));
        }
        let serial = self.serial_of_ari_id(id)?;
        let old = self.issued.get(&serial).ok_or_else(|| Problem::not_found("certificate to replace"))?;
        let by = old.replaced_by.map(|order| self.status(order));
        if old.is_replaced || by.is_some_and(|status| !matches!(status, "invalid" | "")) {
            let detail = format!(
                "cannot indicate an order replaces certificate with serial {serial:?}, which already has a \
                 replacement order"
            );
            return Err(Problem::new("alreadyReplaced", detail));
        }
        if old.account != account {
            let detail = "requester account did not request the certificate being replaced by this order";
            return Err(Problem::unauthorized(detail));
        }
        if !old.names.iter().any(|name| names.contains(name)) {
            let detail =
                "identifiers in this order do not match identifiers in the certificate being replaced";
            return Err(Problem::malformed(detail));
        }
        let now = self.now();
        Ok(Replaces { id: id.to_owned(), serial, inside: old.window(now).holds(now) })
    }
}
