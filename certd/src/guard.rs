//! Connections that strangers ask for: to the public internet, and to nothing of ours.
//!
//! Whoever gives a name decides where it leads, and may decide otherwise a moment later. So the addresses that were
//! checked are the ones that are connected to: nothing is looked up twice. Networks of our own are refused unless the
//! operator lets creators in. Redirects are not followed by any client here.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use model::net::Networks;
use tower::Service;

use crate::dns::{Kind, Lookup, Value, is_public};

/// Where strangers may have us connect to.
#[derive(Clone)]
pub struct Guard {
    lookup: Arc<dyn Lookup>,
    allowed: Networks,
}

/// Why a connection is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It would lead into a network of its own.
    #[error("`{0}` is no address on the public internet")]
    Private(String),
    /// The name leads nowhere.
    #[error("`{0}` has no address")]
    Nowhere(String),
    /// The name cannot be looked up.
    #[error("`{0}` cannot be looked up: {1}")]
    Unknown(String, String),
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Guard {
    /// One that looks names up with `lookup`, and lets through what is public or `allowed`.
    #[must_use]
    pub fn new(lookup: Arc<dyn Lookup>, allowed: Networks) -> Self {
        Self { lookup, allowed }
    }

    /// Whether `address` may be connected to.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        is_public(address) || self.is_allowed(address)
    }

    /// Whether the operator lets strangers in at `address`, public or not.
    #[must_use]
    pub fn is_allowed(&self, address: IpAddr) -> bool {
        self.allowed.contain(address)
    }

    /// The addresses of a host, or the address that it is, that may be connected to.
    ///
    /// # Errors
    /// [`Forbidden`] if there is none.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Forbidden> {
        let bare = host.trim_matches(['[', ']']);
        let found = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.find(bare).await?,
        };
        if found.is_empty() {
            return Err(Forbidden::Nowhere(bare.to_owned()));
        }
        let admitted: Vec<IpAddr> = found.into_iter().filter(|address| self.admits(*address)).collect();
        if admitted.is_empty() { Err(Forbidden::Private(bare.to_owned())) } else { Ok(admitted) }
    }

    async fn find(&self, name: &str) -> Result<Vec<IpAddr>, Forbidden> {
        let unknown = |error: crate::dns::LookupError| Forbidden::Unknown(name.to_owned(), error.to_string());
        let (v4, v6) =
            tokio::join!(self.lookup.records(name, Kind::A), self.lookup.records(name, Kind::Aaaa));
        let addresses = |values: Vec<Value>| {
            values.into_iter().filter_map(|value| if let Value::Address(a) = value { Some(a) } else { None })
        };
        match (v4, v6) {
            (Err(error), Err(_)) => Err(unknown(error)),
            (v4, v6) => Ok([v4, v6].into_iter().flatten().flat_map(addresses).collect()),
        }
    }
}

/// As hyper asks for the addresses that it then connects to. A host that is an address is not asked for: whoever makes
/// a client checks that one beforehand.
impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.addresses(name.as_str()).await;
            let found = found.map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
            let places: Vec<SocketAddr> = found.into_iter().map(|address| (address, 0).into()).collect();
            Ok(places.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use async_trait::async_trait;

    use super::*;
    use crate::dns::LookupError;

    /// Names and what they lead to.
    #[derive(Debug)]
    struct Book(HashMap<&'static str, Vec<&'static str>>);

    #[async_trait]
    impl Lookup for Book {
        async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
            let found = self.0.get(name).ok_or(LookupError::Timeout)?;
            let addresses = found.iter().map(|text| text.parse::<IpAddr>().unwrap());
            let of_kind = addresses.filter(|address| address.is_ipv4() == (kind == Kind::A));
            Ok(of_kind.map(Value::Address).collect())
        }
    }

    fn guard(allowed: &[&str]) -> Guard {
        let book = [
            ("public.test", vec!["1.1.1.1", "2606:4700:4700::1111"]),
            ("inside.test", vec!["10.0.0.1", "::1"]),
            ("both.test", vec!["169.254.169.254", "1.1.1.1"]),
            ("empty.test", vec![]),
        ];
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(Arc::new(Book(book.into())), allowed)
    }

    async fn told(guard: &Guard, host: &str) -> String {
        match guard.addresses(host).await {
            Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn only_what_is_public_is_let_through() {
        let guard = guard(&[]);
        assert_eq!(told(&guard, "public.test").await, "1.1.1.1 2606:4700:4700::1111");
        assert_eq!(told(&guard, "both.test").await, "1.1.1.1");
        assert_eq!(told(&guard, "inside.test").await, "`inside.test` is no address on the public internet");
        assert_eq!(told(&guard, "empty.test").await, "`empty.test` has no address");
        assert!(told(&guard, "nobody.test").await.contains("cannot be looked up"));
        for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0", "[fd00::1]"] {
            assert!(told(&guard, host).await.ends_with("is no address on the public internet"), "{host}");
        }
    }

    #[tokio::test]
    async fn an_operator_lets_creators_into_some_networks() {
        let guard = guard(&["10.0.0.0/8"]);
        assert_eq!(told(&guard, "inside.test").await, "10.0.0.1");
        assert!(told(&guard, "127.0.0.1").await.ends_with("is no address on the public internet"));
    }
}
