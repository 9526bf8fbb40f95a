//! A text that proves a name to an authority for as long as it stands (dns-persist-01, draft-ietf-acme-dns-persist).
//!
//! It names the authority and our account there, so that nobody else's order is proved by it, and needs no change for a
//! renewal. Whether it holds is the authority's to say; here it is only read to see whether it is worth asking that way.

use model::acme::STANDING_LABEL;
use model::{Host, Timestamp};
use tokio::time::Instant;

use super::authority::definitive;
use super::{Issuer, Kind, Lookup, Scope, TIMEOUT, Value};

/// What such a text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The authority, as in CAA records.
    authority: String,
    /// Address of the account that may order.
    account: String,
    /// Whether it also proves all names under it.
    is_for_all_below: bool,
    /// The first moment at which it proves nothing any more.
    until: Option<Timestamp>,
}

impl Standing {
    /// The text that proves a name, or all below it, to the authority of that name, for that account.
    #[must_use]
    pub fn text(authority: &str, account: &str, scope: Scope) -> String {
        let policy = if scope == Scope::Wildcard { "; policy=wildcard" } else { "" };
        format!("{authority}; accounturi={account}{policy}")
    }

    /// Reads a text: `<authority>; accounturi=<url>[; policy=wildcard][; persistUntil=<UNIX seconds>]`, the parameters
    /// in any order; those that are not known say nothing. None: it is no such text, or its end cannot be told.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let authority = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let mut account = None;
        let (mut is_for_all_below, mut until) = (false, None);
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "accounturi" => account = Some(value.to_owned()),
                "policy" => is_for_all_below = value.eq_ignore_ascii_case("wildcard"),
                "persistuntil" => until = Some(Timestamp::from_unix_seconds(value.parse().ok()?)),
                _ => {}
            }
        }
        Some(Self { authority, account: account?, is_for_all_below, until })
    }

    /// Whether it proves a name to `issuer` at `now`. An issuer whose names or account are not known is proved nothing.
    #[must_use]
    pub fn proves(&self, issuer: &Issuer, scope: Scope, now: Timestamp) -> bool {
        let is_named = issuer.identities.iter().any(|name| name.eq_ignore_ascii_case(&self.authority));
        let is_account = issuer.account.as_deref() == Some(self.account.as_str());
        let is_wide = self.is_for_all_below || scope == Scope::Exact;
        is_named && is_account && is_wide && self.until.is_none_or(|until| until > now)
    }
}

/// The texts that stand for `host`; none if they cannot be told: the name is proved in another way then.
pub async fn standing(lookup: &dyn Lookup, host: &Host) -> Vec<Standing> {
    let name = format!("{STANDING_LABEL}.{host}");
    let values = definitive(lookup, &name, Kind::Txt, Instant::now() + TIMEOUT).await.unwrap_or_default();
    let text = |value: &Value| match value {
        Value::Text(text) => Standing::parse(text),
        _ => None,
    };
    values.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.test/acct/1";

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn proves(text: &str, scope: Scope) -> bool {
        let issuer = Issuer {
            identities: vec!["ca.test".to_owned()],
            account: Some(ACCOUNT.to_owned()),
            method: "dns-persist-01".to_owned(),
        };
        Standing::parse(text).is_some_and(|standing| standing.proves(&issuer, scope, now()))
    }

    #[test]
    fn our_account_at_the_authority_is_proved_and_nobody_else() {
        assert!(proves(&Standing::text("ca.test", ACCOUNT, Scope::Exact), Scope::Exact));
        assert!(proves("CA.test ;AccountURI = https://ca.test/acct/1;x=y; flag", Scope::Exact));
        for text in [
            "",
            "ca.test",
            "ca.test; policy=wildcard",
            "; accounturi=https://ca.test/acct/1",
            "other.test; accounturi=https://ca.test/acct/1",
            "ca.test; accounturi=https://ca.test/acct/2",
            "ca.test; accounturi=https://ca.test/acct/1/",
        ] {
            assert!(!proves(text, Scope::Exact), "{text}");
        }
    }

    #[test]
    fn a_name_proves_what_is_below_it_only_if_it_says_so() {
        let text = format!("ca.test; accounturi={ACCOUNT}");
        assert!(!proves(&text, Scope::Wildcard));
        assert!(proves(&Standing::text("ca.test", ACCOUNT, Scope::Wildcard), Scope::Wildcard));
        assert!(proves(&format!("{text}; policy=Wildcard"), Scope::Wildcard));
        assert!(proves(&format!("{text}; policy=wildcard"), Scope::Exact));
        assert!(!proves(&format!("{text}; policy=all"), Scope::Wildcard));
    }

    #[test]
    fn a_text_ends_when_it_says_and_one_whose_end_cannot_be_told_proves_nothing() {
        let until =
            |text: &str| proves(&format!("ca.test; accounturi={ACCOUNT}; persistUntil={text}"), Scope::Exact);
        assert!(until("1795000001"));
        assert!(!until("1795000000") && !until("1"));
        assert!(!until("tomorrow") && !until("") && !until("99999999999999999999"));
    }

    #[test]
    fn whom_we_do_not_know_ourselves_to_be_is_proved_nothing() {
        let standing = Standing::parse(&Standing::text("ca.test", ACCOUNT, Scope::Exact)).unwrap();
        let nobody = Issuer { identities: Vec::new(), account: None, method: String::new() };
        assert!(!standing.proves(&nobody, Scope::Exact, now()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _read = Standing::parse(&text);
        }
    }
}
