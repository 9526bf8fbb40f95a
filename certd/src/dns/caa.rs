//! Whether a domain lets our authority make its certificate (RFC 8659, with the parameters of RFC 8657).
//!
//! Asked before an order, so that a creator hears of it from us, with the record to add, and not as a failed order
//! that counts against a limit.

use model::domain::Forbidden;
use model::{Host, HostPattern};
use tokio::time::Instant;

use super::authority::{definitive, suffixes};
use super::{Kind, Lookup, LookupError, MAX_HOPS, TIMEOUT, Value};

/// Who wants to make a certificate, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The names by which the authority knows itself in CAA records (`caaIdentities`, RFC 8555 §9.7.6); none: they are
    /// not known, and not compared.
    pub identities: Vec<String>,
    /// The address of our account there; none: it is not known, and not compared.
    pub account: Option<String>,
    /// How the name is proved, e.g. `http-01`.
    pub method: String,
}

/// For what a certificate is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A name.
    Exact,
    /// All names under it.
    Wildcard,
}

/// The CAA records that count for a name, and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    at: Host,
    records: Vec<Value>,
}

impl Scope {
    /// What a certificate for `name` is for.
    #[must_use]
    pub const fn of(name: &HostPattern) -> Self {
        if name.is_wildcard() { Self::Wildcard } else { Self::Exact }
    }
}

impl Policy {
    /// Whether there are any records.
    pub(crate) fn says_anything(&self) -> bool {
        !self.records.is_empty()
    }

    /// Whether `issuer` may make a certificate.
    #[must_use]
    pub fn allows(&self, issuer: &Issuer, scope: Scope) -> bool {
        issuer.identities.is_empty() || verdict(&self.records, issuer, scope) == Verdict::Allowed
    }

    /// What to tell about records that do not allow `issuer` a certificate; none: they do.
    #[must_use]
    pub fn forbidden(&self, issuer: &Issuer, scope: Scope) -> Option<Forbidden> {
        let identity = issuer.identities.first()?;
        match verdict(&self.records, issuer, scope) {
            Verdict::Allowed => None,
            Verdict::OnlyFor(allowed) => {
                let add = format!("0 {} \"{identity}\"", deciding(&self.records, scope));
                Some(Forbidden { allowed, name: self.at.clone(), add })
            }
        }
    }
}

/// The CAA records that count for `host`; without any, everybody may.
///
/// # Errors
/// [`LookupError`] if a name's records cannot be told: an authority refuses then as well (RFC 8659 §3).
pub async fn policy(lookup: &dyn Lookup, host: &Host) -> Result<Policy, LookupError> {
    let deadline = Instant::now() + TIMEOUT;
    for name in suffixes(host.as_str()) {
        if let Some((at, records)) = relevant(lookup, name, deadline).await? {
            return Ok(Policy { at: Host::parse(&at).unwrap_or_else(|_| host.clone()), records });
        }
    }
    Ok(Policy { at: host.clone(), records: Vec::new() })
}

/// Whether the records allow a certificate for `name`; none: they do, or there are none.
///
/// # Errors
/// As [`policy`].
pub async fn permission(
    lookup: &dyn Lookup,
    name: &HostPattern,
    issuer: &Issuer,
) -> Result<Option<Forbidden>, LookupError> {
    if issuer.identities.is_empty() {
        return Ok(None);
    }
    Ok(policy(lookup, name.base()).await?.forbidden(issuer, Scope::of(name)))
}

/// The CAA records of one name, or of the name that it is an alias of, and where they are.
async fn relevant(
    lookup: &dyn Lookup,
    name: &str,
    deadline: Instant,
) -> Result<Option<(String, Vec<Value>)>, LookupError> {
    let mut at = name.to_owned();
    for _ in 0..=MAX_HOPS {
        let values = definitive(lookup, &at, Kind::Caa, deadline).await?;
        if values.iter().any(|value| matches!(value, Value::Permission { .. })) {
            return Ok(Some((at, values)));
        }
        match values.iter().find_map(Value::alias) {
            Some(alias) => alias.clone_into(&mut at),
            None => return Ok(None),
        }
    }
    Err(LookupError::TooLong(name.to_owned()))
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    /// Only this authority may; none: nobody.
    OnlyFor(Option<String>),
}

/// The tag that decides: certificates for all names under one go by their own, if it is there (RFC 8659 §4.3).
fn deciding(records: &[Value], scope: Scope) -> &'static str {
    let wild = |record: &Value| matches!(record, Value::Permission { tag, .. } if tag == "issuewild");
    if scope == Scope::Wildcard && records.iter().any(wild) { "issuewild" } else { "issue" }
}

fn verdict(records: &[Value], issuer: &Issuer, scope: Scope) -> Verdict {
    let mut issues = Vec::new();
    let decides = deciding(records, scope);
    for record in records {
        let Value::Permission { critical, tag, value } = record else { continue };
        match tag.as_str() {
            tag if tag == decides => issues.push(value.as_str()),
            "issue" | "issuewild" | "iodef" | "issuemail" | "issuevmc" | "contactemail" | "contactphone" => {}
            // Who does not know what is critical must not issue.
            _ if *critical => return Verdict::OnlyFor(None),
            _ => {}
        }
    }
    if issues.is_empty() || issues.iter().any(|value| allows(value, issuer)) {
        return Verdict::Allowed;
    }
    let others = issues.iter().map(|value| domain(value)).find(|name| !name.is_empty());
    Verdict::OnlyFor(others.map(|name| name.chars().filter(|letter| !letter.is_control()).take(60).collect()))
}

/// The authority's name in `ca.example; accounturi=…`.
fn domain(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

fn allows(value: &str, issuer: &Issuer) -> bool {
    let named = issuer.identities.iter().any(|identity| identity.eq_ignore_ascii_case(domain(value)));
    named && value.split(';').skip(1).all(|parameter| fits(parameter, issuer))
}

fn fits(parameter: &str, issuer: &Issuer) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return true };
    let value = value.trim();
    match name.trim().to_ascii_lowercase().as_str() {
        "accounturi" => issuer.account.as_deref().is_none_or(|account| account == value),
        "validationmethods" => value.split(',').any(|method| method.trim() == issuer.method),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer {
            identities: vec!["letsencrypt.org".to_owned(), "le.test".to_owned()],
            account: Some("https://ca.test/acct/1".to_owned()),
            method: "http-01".to_owned(),
        }
    }

    fn record(flag: bool, tag: &str, value: &str) -> Value {
        Value::Permission { critical: flag, tag: tag.to_owned(), value: value.to_owned() }
    }

    fn allowed(records: &[Value]) -> bool {
        verdict(records, &issuer(), Scope::Exact) == Verdict::Allowed
    }

    #[test]
    fn one_record_that_names_us_is_enough() {
        assert!(allowed(&[record(false, "issue", "letsencrypt.org")]));
        assert!(allowed(&[record(false, "issue", "pki.goog"), record(false, "issue", " LE.test ")]));
        assert!(allowed(&[record(true, "issue", "letsencrypt.org; validationmethods=dns-01,http-01")]));
        assert!(allowed(&[record(false, "issue", "le.test; accounturi=https://ca.test/acct/1; x=y")]));
    }

    #[test]
    fn records_that_say_nothing_of_issuing_forbid_nothing() {
        assert!(allowed(&[record(false, "iodef", "mailto:a@example.com")]));
        assert!(allowed(&[record(false, "issuewild", ";")]));
        assert!(allowed(&[record(false, "unknown", "x"), record(true, "iodef", "mailto:a@example.com")]));
    }

    #[test]
    fn a_wildcard_goes_by_its_own_records_if_there_are_any() {
        let records = [record(false, "issue", "le.test"), record(false, "issuewild", "pki.goog")];
        let policy =
            |records: &[Value]| Policy { at: Host::parse("example.com").unwrap(), records: records.to_vec() };
        assert!(policy(&records).allows(&issuer(), Scope::Exact));
        assert!(!policy(&records).allows(&issuer(), Scope::Wildcard));
        let add = policy(&records).forbidden(&issuer(), Scope::Wildcard).unwrap().add;
        assert_eq!(add, "0 issuewild \"letsencrypt.org\"");
        assert!(policy(&records[..1]).allows(&issuer(), Scope::Wildcard), "by the other tag else");
        let unknown = Issuer { identities: Vec::new(), ..issuer() };
        assert!(policy(&records).allows(&unknown, Scope::Wildcard), "who it is, is not known");
    }

    #[test]
    fn who_is_allowed_instead_is_told() {
        let only = |records: &[Value]| match verdict(records, &issuer(), Scope::Exact) {
            Verdict::OnlyFor(name) => name,
            Verdict::Allowed => panic!("allowed"),
        };
        assert_eq!(only(&[record(false, "issue", ";")]), None);
        assert_eq!(
            only(&[record(false, "issue", "pki.goog; cansignhttpexchanges=yes")]),
            Some("pki.goog".to_owned())
        );
        let mine = "letsencrypt.org; accounturi=https://ca.test/acct/2";
        assert_eq!(only(&[record(false, "issue", mine)]), Some("letsencrypt.org".to_owned()));
        let by_dns = "letsencrypt.org; validationmethods=dns-01";
        assert_eq!(only(&[record(false, "issue", by_dns)]), Some("letsencrypt.org".to_owned()));
        let critical = [record(false, "issue", "le.test"), record(true, "future", "x")];
        assert_eq!(only(&critical), None);
    }
}
