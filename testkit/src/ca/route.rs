//! Addresses of the authority.

use super::counts::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Directory,
    NewNonce,
    NewAccount,
    Account(u64),
    KeyChange,
    NewOrder,
    Order(u64),
    Authorization(u64),
    /// Authorization, and challenge in it.
    Challenge((u64, usize)),
    Finalize(u64),
    /// Serial number, and which chain.
    Certificate(&'a str, usize),
    RevokeCert,
    RenewalInfo(&'a str),
    Unknown,
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let (page, first, second) = (parts.next(), parts.next(), parts.next());
        let id = || first.and_then(|id| id.parse().ok());
        let found = match (page.unwrap_or_default(), first, second) {
            ("dir", None, _) => Some(Self::Directory),
            ("new-nonce", None, _) => Some(Self::NewNonce),
            ("new-account", None, _) => Some(Self::NewAccount),
            ("key-change", None, _) => Some(Self::KeyChange),
            ("new-order", None, _) => Some(Self::NewOrder),
            ("revoke-cert", None, _) => Some(Self::RevokeCert),
            ("account", _, None) => id().map(Self::Account),
            ("order", _, None) => id().map(Self::Order),
            ("finalize", _, None) => id().map(Self::Finalize),
            ("authorization", _, None) => id().map(Self::Authorization),
            ("challenge", _, Some(at)) => id().zip(at.parse().ok()).map(|(id, at)| Self::Challenge((id, at))),
            ("certificate", Some(serial), None) => Some(Self::Certificate(serial, 0)),
            ("certificate", Some(serial), Some("0")) => Some(Self::Certificate(serial, 0)),
            ("certificate", Some(serial), Some("1")) => Some(Self::Certificate(serial, 1)),
            ("renewal-info", Some(id), None) => Some(Self::RenewalInfo(id)),
            _ => None,
        };
        found.unwrap_or(Self::Unknown)
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Directory => Kind::Directory,
            Self::NewNonce => Kind::NewNonce,
            Self::NewAccount => Kind::NewAccount,
            Self::Account(_) => Kind::Account,
            Self::KeyChange => Kind::KeyChange,
            Self::NewOrder => Kind::NewOrder,
            Self::Order(_) => Kind::Order,
            Self::Authorization(_) => Kind::Authorization,
            Self::Challenge(_) => Kind::Challenge,
            Self::Finalize(_) => Kind::Finalize,
            Self::Certificate(..) => Kind::Certificate,
            Self::RevokeCert => Kind::RevokeCert,
            Self::RenewalInfo(_) => Kind::RenewalInfo,
            Self::Unknown => Kind::Unknown,
        }
    }
}
