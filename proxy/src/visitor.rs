//! Whom one request is from, and whether it came over TLS.
//!
//! A connection's client is the answer, unless it is a proxy that the operator trusts: then its
//! `X-Forwarded-For` is read from the right, over trusted addresses, to the first that is not one. What stands
//! left of that was written by whoever sent it and is never read. `X-Forwarded-Proto` of a trusted proxy
//! counts if it is one field and says `https`, so that a balancer that ends TLS makes no redirect loop; it
//! never makes less of a TLS connection. Bounded, from memory, refuses nothing; without trusted proxies it
//! costs a branch.

use std::net::{IpAddr, SocketAddr};

use model::net::Networks;
use pingora_http::RequestHeader;

use crate::connection::Carrier;

/// Entries of `X-Forwarded-For` that are read: more proxies than that in a row are a mistake.
const MOST_ENTRIES: usize = 32;
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Whom a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// For limits, firewall, log and app; an IPv4 address in an IPv6 one is what it is.
    pub(crate) address: IpAddr,
    /// Whether it came over TLS, to this edge or to a trusted proxy.
    pub(crate) is_https: bool,
}

impl Visitor {
    /// The visitor behind a request that came over `connection`.
    pub(crate) fn of(head: &RequestHeader, connection: &Carrier, trusted: &Networks) -> Self {
        let (address, is_https) = (connection.ip(), connection.tls.is_some());
        if !connection.ends.is_trusted {
            return Self { address, is_https };
        }
        Self { address: behind(address, head, trusted), is_https: is_https || is_forwarded_https(head) }
    }
}

/// Walks from the trusted `address` to the left, as far as entries are addresses.
fn behind(address: IpAddr, head: &RequestHeader, trusted: &Networks) -> IpAddr {
    let fields = head.headers.get_all(FORWARDED_FOR).iter().rev();
    let entries = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    let mut found = address;
    for entry in entries.take(MOST_ENTRIES) {
        let Some(address) = read(entry) else { return found };
        found = address;
        if !trusted.contain(address) {
            return found;
        }
    }
    found
}

/// An address, alone or with a port as some balancers write it.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn is_forwarded_https(head: &RequestHeader) -> bool {
    let mut fields = head.headers.get_all(FORWARDED_PROTO).iter();
    fields.next().is_some_and(|field| field.as_bytes() == b"https") && fields.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::way::tests::connection;

    fn trusted() -> Networks {
        ["10.0.0.0/8", "2001:db8:ffff::/48"].iter().map(|text| text.parse().unwrap()).collect()
    }

    fn visitor(client: &str, fields: &[(&'static str, &str)]) -> Visitor {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        let mut connection = connection(client, None);
        connection.ends.is_trusted = trusted().contain(connection.ends.client.ip());
        Visitor::of(&head, &connection, &trusted())
    }

    fn address(client: &str, lists: &[&str]) -> String {
        let fields: Vec<_> = lists.iter().map(|list| ("X-Forwarded-For", *list)).collect();
        visitor(client, &fields).address.to_string()
    }

    #[test]
    fn a_stranger_is_who_the_connection_says_whatever_the_stranger_writes() {
        assert_eq!(address("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        let fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "10.0.0.1")];
        let expected = Visitor { address: "192.0.2.1".parse().unwrap(), is_https: false };
        assert_eq!(visitor("192.0.2.1", &fields), expected);
    }

    #[test]
    fn the_list_is_read_from_the_right_over_trusted_addresses_only() {
        for (lists, expected) in [
            (&["198.51.100.1"][..], "198.51.100.1"),
            (&["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            (&["6.6.6.6,198.51.100.1,10.0.0.2 ,\t10.0.0.3"], "198.51.100.1"),
            (&["6.6.6.6", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["2001:db8::1, 2001:db8:ffff::2"], "2001:db8::1"),
            (&["198.51.100.1:4711, [2001:db8:ffff::2]:80"], "198.51.100.1"),
            (&["::ffff:198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(address("10.0.0.1", lists), expected, "{lists:?}");
        }
        assert_eq!(address("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn the_walk_stops_at_the_last_good_entry() {
        for list in [
            "198.51.100.1, unknown",
            "6.6.6.6, ",
            "6.6.6.6,,",
            "6.6.6.6, _hidden",
            "1.2.3.4 5.6.7.8",
            "1.2.3.04",
        ] {
            assert_eq!(address("10.0.0.1", &[list]), "10.0.0.1", "{list}");
            assert_eq!(address("10.0.0.1", &[list, "10.0.0.2"]), "10.0.0.2", "{list}");
        }
        let many = format!("6.6.6.6{}", ", 10.0.0.9".repeat(MOST_ENTRIES));
        assert_eq!(address("10.0.0.1", &[&many]), "10.0.0.9");
    }

    #[test]
    fn https_is_believed_of_one_field_that_says_so_and_of_nothing_like_it() {
        let is_https = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("X-Forwarded-Proto", *value)).collect();
            visitor("10.0.0.1", &fields).is_https
        };
        assert!(is_https(&["https"]));
        for values in [
            &["http"][..],
            &["HTTPS"],
            &["https, http"],
            &["https,https"],
            &["https", "https"],
            &["wss"],
            &[],
        ] {
            assert!(!is_https(values), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_stranger_writes_left_of_a_proxys_entry_changes_nothing(written in "[ -~]{0,80}") {
            let list = format!("{written}, 198.51.100.1, 10.0.0.2");
            prop_assert_eq!(address("10.0.0.1", &[&list]), "198.51.100.1");
            prop_assert_eq!(address("10.0.0.1", &[&written, "198.51.100.1"]), "198.51.100.1");
        }
    }
}
