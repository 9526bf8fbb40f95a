//! Whether a domain lets our authority make its certificate (RFC 8659, with the parameters of RFC 8657).
//!
//! Asked before an order, so that a creator hears of it from us, with the record to add, and not as a failed order
//! that counts against a limit.

use model::Host;
use model::domain::Forbidden;
use tokio::time::Instant;

use super::authority::{definitive, suffixes};
use super::{Kind, Lookup, LookupError, MAX_HOPS, TIMEOUT, Value};

/// Who wants to make a certificate, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The names by which the authority knows itself in CAA records (`caaIdentities`, RFC 8555 §9.7.6).
    pub identities: Vec<String>,
    /// The address of our account there; none: it is not known, and not compared.
    pub account: Option<String>,
    /// How the name is proved, e.g. `http-01`.
    pub method: String,
}

/// Whether the records allow a certificate for exactly `host`; none: they do, or there are none.
///
/// # Errors
/// [`LookupError`] if a name's records cannot be told: an authority refuses then as well (RFC 8659 §3).
pub async fn permission(
    lookup: &dyn Lookup,
    host: &Host,
    issuer: &Issuer,
) -> Result<Option<Forbidden>, LookupError> {
    let Some(identity) = issuer.identities.first() else { return Ok(None) };
    let deadline = Instant::now() + TIMEOUT;
    for name in suffixes(host.as_str()) {
        let Some((at, records)) = relevant(lookup, name, deadline).await? else { continue };
        let at = Host::parse(&at).unwrap_or_else(|_| host.clone());
        let add = format!("0 issue \"{identity}\"");
        return Ok(match verdict(&records, issuer) {
            Verdict::Allowed => None,
            Verdict::OnlyFor(allowed) => Some(Forbidden { allowed, name: at, add }),
        });
    }
    Ok(None)
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

fn verdict(records: &[Value], issuer: &Issuer) -> Verdict {
    let mut issues = Vec::new();
    for record in records {
        let Value::Permission { critical, tag, value } = record else { continue };
        match tag.as_str() {
            "issue" => issues.push(value.as_str()),
            "issuewild" | "iodef" | "issuemail" | "issuevmc" | "contactemail" | "contactphone" => {}
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
        verdict(records, &issuer()) == Verdict::Allowed
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
    fn who_is_allowed_instead_is_told() {
        let only = |records: &[Value]| match verdict(records, &issuer()) {
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
