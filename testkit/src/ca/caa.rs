//! Whether the CAA records of a name let this authority sign (RFC 8659), by this account and this method
//! (RFC 8657).

use std::fmt;
use std::sync::Arc;

use super::validation::Check;

/// The name that an authority goes by in CAA records unless it is told another.
pub const IDENTITY: &str = "ca.test";

/// A CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// Whether who does not understand the tag must not sign.
    pub critical: bool,
    /// `issue`, `issuewild`, …
    pub tag: String,
    /// The authority with parameters: `ca.test; accounturi=https://…`.
    pub value: String,
}

impl CaaRecord {
    /// A record that is not critical.
    #[must_use]
    pub fn new(tag: &str, value: &str) -> Self {
        Self { critical: false, tag: tag.to_owned(), value: value.to_owned() }
    }
}

/// The CAA records at exactly a name, aliases followed; or why they cannot be had.
#[derive(Clone)]
pub struct CaaRecords(Arc<Lookup>);

type Lookup = dyn Fn(&str) -> Result<Vec<CaaRecord>, String> + Send + Sync;

impl CaaRecords {
    /// From a function of the name.
    pub fn by(lookup: impl Fn(&str) -> Result<Vec<CaaRecord>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// Refuses with the reason unless the closest records allow it; names without records are free.
    pub(super) fn allow(&self, identity: &str, check: &Check) -> Result<(), String> {
        let closest = climb(&check.name).find_map(|name| match (self.0)(name) {
            Ok(records) if records.is_empty() => None,
            found => Some((name, found)),
        });
        let Some((at, found)) = closest else { return Ok(()) };
        let records = found.map_err(|error| format!("CAA records of {at} cannot be had: {error}"))?;
        let refused = || format!("CAA record for {at} prevents issuance");
        let known = |tag: &str| ["issue", "issuewild", "iodef"].iter().any(|it| tag.eq_ignore_ascii_case(it));
        if records.iter().any(|record| record.critical && !known(&record.tag)) {
            return Err(refused());
        }
        let tagged = |tag: &str| {
            let fits = |record: &&CaaRecord| record.tag.eq_ignore_ascii_case(tag);
            records.iter().filter(fits).collect::<Vec<_>>()
        };
        let wild = if check.wildcard { tagged("issuewild") } else { Vec::new() };
        let deciding = if wild.is_empty() { tagged("issue") } else { wild };
        let allowed =
            deciding.is_empty() || deciding.iter().any(|record| names_us(&record.value, identity, check));
        if allowed { Ok(()) } else { Err(refused()) }
    }
}

/// The name and its ancestors, the name first.
fn climb(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

fn names_us(value: &str, identity: &str, check: &Check) -> bool {
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|name| name.eq_ignore_ascii_case(identity))
        && parts.filter(|part| !part.is_empty()).all(|part| match part.split_once('=') {
            Some((name, uri)) if name.trim() == "accounturi" => uri.trim() == check.account_url,
            Some((name, methods)) if name.trim() == "validationmethods" => {
                methods.split(',').any(|method| method.trim() == check.kind.as_str())
            }
            Some(_) => true,
            None => false,
        })
}

impl fmt::Debug for CaaRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaaRecords")
    }
}

#[cfg(test)]
mod tests {
    use super::super::validation::ChallengeType;
    use super::*;

    fn check(name: &str, wildcard: bool) -> Check {
        Check {
            name: name.to_owned(),
            wildcard,
            kind: ChallengeType::Http01,
            token: String::new(),
            key_authorization: String::new(),
            account_url: "https://ca.test/account/1".to_owned(),
            place: (0, 0),
        }
    }

    /// What is said about `shop.example.com` when its parent has these records.
    fn allowed(records: &[(&str, &str)], wildcard: bool) -> bool {
        let records: Vec<CaaRecord> = records.iter().map(|(tag, value)| CaaRecord::new(tag, value)).collect();
        let zone = move |name: &str| Ok(if name == "example.com" { records.clone() } else { Vec::new() });
        CaaRecords::by(zone).allow(IDENTITY, &check("shop.example.com", wildcard)).is_ok()
    }

    #[test]
    fn the_closest_records_decide_and_none_let_everybody() {
        assert!(allowed(&[], false));
        assert!(allowed(&[("issue", "ca.test")], false));
        assert!(allowed(&[("issue", "other.test"), ("issue", "CA.test; policy=ev")], false));
        assert!(!allowed(&[("issue", "other.test")], false));
        assert!(!allowed(&[("issue", ";")], false));
        assert!(allowed(&[("iodef", "mailto:ops@example.com")], false));
        let nearer = |name: &str| {
            Ok(match name {
                "shop.example.com" => vec![CaaRecord::new("issue", "ca.test")],
                _ => vec![CaaRecord::new("issue", ";")],
            })
        };
        assert_eq!(CaaRecords::by(nearer).allow(IDENTITY, &check("shop.example.com", false)), Ok(()));
    }

    #[test]
    fn wildcards_go_by_their_own_tag_if_there_is_one() {
        let records = [("issue", "ca.test"), ("issuewild", ";")];
        assert!(allowed(&records, false));
        assert!(!allowed(&records, true));
        assert!(allowed(&[("issue", "ca.test")], true));
    }

    #[test]
    fn account_and_method_are_looked_at() {
        assert!(allowed(&[("issue", "ca.test; accounturi=https://ca.test/account/1")], false));
        assert!(!allowed(&[("issue", "ca.test; accounturi=https://ca.test/account/2")], false));
        assert!(allowed(&[("issue", "ca.test; validationmethods=dns-01,http-01")], false));
        assert!(!allowed(&[("issue", "ca.test; validationmethods=dns-01")], false));
    }

    #[test]
    fn silence_and_unknown_critical_tags_forbid() {
        let silent = CaaRecords::by(|_| Err("SERVFAIL".to_owned()));
        assert!(silent.allow(IDENTITY, &check("shop.example.com", false)).unwrap_err().contains("SERVFAIL"));
        let critical = CaaRecord { critical: true, ..CaaRecord::new("tomorrow", "x") };
        let strange = CaaRecords::by(move |_| Ok(vec![critical.clone()]));
        assert!(strange.allow(IDENTITY, &check("shop.example.com", false)).is_err());
    }
}
