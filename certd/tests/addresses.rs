//! Addresses of backends, from a real DNS server.

use std::net::IpAddr;
use std::time::Duration;

use certd::dns::{Addresses, LookupError};
use testkit::dns::ChallTestSrv;

#[tokio::test]
async fn a_name_has_all_its_addresses_and_says_how_long_they_hold() {
    let dns = ChallTestSrv::start().await.unwrap();
    let addresses: [IpAddr; 3] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|text| text.parse().unwrap());
    for address in addresses {
        dns.add_a("app.internal.test", address).await.unwrap();
    }
    dns.set_cname("alias.internal.test", "app.internal.test").await.unwrap();
    let lookup = Addresses::new(&[dns.resolver()]).unwrap();
    for name in ["app.internal.test", "alias.internal.test"] {
        let (mut found, holds) = lookup.of(name).await.unwrap();
        assert!(found[0].is_ipv4(), "IPv4 first: {found:?}");
        found.sort();
        assert_eq!(found, addresses, "{name}");
        assert!(holds <= Duration::from_secs(60), "{holds:?}");
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_told_from_a_server_that_fails() {
    let dns = ChallTestSrv::start().await.unwrap();
    dns.set_servfail("broken.internal.test").await.unwrap();
    let lookup = Addresses::new(&[dns.resolver()]).unwrap();
    let nothing = lookup.of("nobody.internal.test").await.unwrap_err();
    assert_eq!(nothing, LookupError::Failure("`nobody.internal.test` has no address".to_owned()));
    assert_ne!(lookup.of("broken.internal.test").await.unwrap_err(), nothing);
}

#[tokio::test]
async fn this_machine_needs_no_server_to_know_itself() {
    let nobody = "127.0.0.1:9".parse().unwrap();
    let (found, _) = Addresses::new(&[nobody]).unwrap().of("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}
