//! What must hold of whatever strangers send, for the fuzz targets in `fuzz/` and the replay of their corpus.
//!
//! Each function takes any bytes and panics only where a promise of this crate is broken. No interface: it may
//! change at any time.

use crate::chain::{self, Inspected};
use crate::host::{self, Host};
use crate::seal::{Sealed, SealingKey};
use crate::{HostPattern, Timestamp};

/// A moment within the validity of the certificates in the corpus: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

/// A host name with and without a port: what parses has one form, is sound byte by byte, and is the same host
/// to a reader that follows the WHATWG URL standard, as browsers do.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(host) = Host::parse(text) {
        check_host(&host);
        assert!(text.parse::<HostPattern>().is_ok_and(|name| name.to_string() == host.as_str()));
    }
    let _ = text.parse::<HostPattern>();
    let Ok((host, port)) = Host::parse_authority(text) else { return };
    check_host(&host);
    let again = port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
    assert_eq!(Host::parse_authority(&again), Ok((host, port)), "an authority has one meaning");
}

fn check_host(host: &Host) {
    let text = host.as_str();
    assert_eq!(Host::parse(text).as_ref(), Ok(host), "the canonical form is its own");
    assert!((1..=host::MAX_BYTES).contains(&text.len()));
    for label in text.split('.') {
        assert!((1..=host::MAX_LABEL_BYTES).contains(&label.len()));
        assert!(!label.starts_with('-') && !label.ends_with('-'));
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    }
    assert!(host.is_within(host));
    assert_eq!(
        url::Host::parse(text),
        Ok(url::Host::Domain(text.to_owned())),
        "browsers read the name otherwise"
    );
}

/// A chain and key as a creator pastes them, in one text: what is fit for use is fit again as it is stored.
pub fn certificate(bytes: &[u8]) {
    let _ = chain::serial_of(bytes);
    let _ = chain::not_after_of(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(inspected) = chain::inspect(text, bytes, NOW) else { return };
    assert!(!inspected.names.is_empty() && inspected.not_after >= NOW);
    let Inspected { chain_pem, key_der, .. } = &inspected;
    let again = chain::inspect(chain_pem, key_der, NOW);
    assert_eq!(again.as_ref(), Ok(&inspected), "what is stored is read otherwise");
}

/// A sealed value, as text and as the bytes of a record: nothing opens that the key did not seal.
pub fn sealed(bytes: &[u8]) {
    let Ok(key) = SealingKey::derive(b"a key that seals nothing", "fuzzing") else { return };
    assert!(key.open_bytes("fuzzing", bytes).is_err(), "a forged record opened");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = SealingKey::from_hex(text);
    let Ok(sealed) = text.parse::<Sealed>() else { return };
    assert!(key.open("fuzzing", &sealed).is_err(), "a forged value opened");
    assert_eq!(sealed.to_string().parse(), Ok(sealed), "a sealed value changed on its way");
}
