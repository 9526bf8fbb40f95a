//! Where no backend may be, whatever a name resolves to: addresses of no app, and Stoa's own listeners, or
//! an app could reach the admin API from behind its own front.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use model::backend::is_allowed;

/// The addresses that are kept from apps.
pub(super) struct Fence {
    forbidden: Vec<SocketAddr>,
}

impl Fence {
    /// Keeps `forbidden` from apps. An unspecified address (`0.0.0.0`, `[::]`) stands for every address of
    /// this machine.
    pub(super) fn new(forbidden: Vec<SocketAddr>) -> Self {
        Self { forbidden: forbidden.into_iter().map(canonical).collect() }
    }

    /// Whether a backend may be at `address`.
    pub(super) fn permits(&self, address: SocketAddr) -> bool {
        let address = canonical(address);
        let meets = |forbidden: &SocketAddr| {
            forbidden.port() == address.port()
                && (forbidden.ip() == address.ip()
                    || forbidden.ip().is_unspecified() && is_local(address.ip()))
        };
        is_allowed(address.ip()) && !self.forbidden.iter().any(meets)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether this machine has `address`: only then can a socket be bound to it. One system call, no packet.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(forbidden: &[&str], address: &str) -> bool {
        let forbidden = forbidden.iter().map(|address| address.parse().unwrap()).collect();
        Fence::new(forbidden).permits(address.parse().unwrap())
    }

    #[test]
    fn the_admin_api_is_no_backend_however_it_is_written() {
        let api = ["127.0.0.1:8090"];
        assert!(!permits(&api, "127.0.0.1:8090"));
        assert!(!permits(&api, "[::ffff:127.0.0.1]:8090"));
        assert!(permits(&api, "127.0.0.1:8091"));
    }

    #[test]
    fn a_listener_on_all_addresses_forbids_each_of_this_machine_and_no_other() {
        for all in ["0.0.0.0:8090", "[::]:8090"] {
            for local in ["127.0.0.1:8090", "127.9.9.9:8090", "[::1]:8090"] {
                assert!(!permits(&[all], local), "{all} {local}");
            }
            assert!(permits(&[all], "192.0.2.7:8090"));
            assert!(permits(&[all], "127.0.0.1:8091"));
        }
    }

    #[test]
    fn addresses_of_no_app_are_no_backends() {
        for address in ["169.254.169.254:80", "0.0.0.0:80", "[fe80::1]:80", "[::ffff:169.254.169.254]:80"] {
            assert!(!permits(&[], address), "{address}");
        }
    }
}
