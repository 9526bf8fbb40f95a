//! The stories: what an operator, a creator and a visitor can rely on, told on the real binary with real
//! servers around it, all on loopback. One file a story; the words they use are `testkit`'s.

#![expect(clippy::indexing_slicing, reason = "an answer of another form should stop the story")]

mod bad_input;
mod certificate_kills;
mod command_line;
mod connect_for_me;
mod control_plane_down;
mod crash;
mod crowd;
mod custody;
mod diff;
mod faults;
mod first_start;
mod installation;
mod isolation;
mod key_material;
mod leases;
mod lost_store;
mod moving_backend;
mod over_quota;
mod own_acme_client;
mod own_domain;
mod publish_on_subdomain;
mod renewal;
mod secrets;
mod service;
mod stopping;
mod strangers;
mod suspended_tenant;
mod unknown_host;
mod upgrade;
mod upgrade_apart;
mod upgrade_faults;
mod usage;
mod websocket_and_sse;
mod wrong_sni;
