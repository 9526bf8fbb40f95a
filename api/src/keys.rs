//! API keys: `sk_live_<8 characters>_<43 characters><6 characters of checksum>`, all base 62.
//!
//! The eight characters find the key, the 43 are the secret (256 random bits), the checksum lets programs
//! that look for leaked secrets, and us, tell a key from noise without a database. Stored is a SHA-256 of
//! the whole text only: of 256 random bits no slow hash is needed.

use aws_lc_rs::digest::{SHA256, digest};
use model::id::TenantId;
use model::secret::Secret;
use rand::RngExt as _;
use store::{NewKey, Scope};

const PREFIX: &str = "sk_live_";
/// Characters that find the key.
const LOOKUP: usize = 8;
/// Characters of the secret: 62^43 is a little more than 2^256.
const SECRET: usize = 43;
/// Characters of the checksum: 62^6 is more than 2^32.
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX.len() + LOOKUP + 1 + SECRET + CHECKSUM;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The two parts of a key that a store knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The eight characters that find it; no secret.
    pub lookup: String,
    /// SHA-256 of the whole text.
    pub hash: [u8; 32],
}

/// A new key: its text, to be shown once, and what the store keeps of it.
#[must_use]
pub fn mint(scope: Scope, tenant: Option<TenantId>) -> (Secret, NewKey) {
    let body = format!("{PREFIX}{}_{}", random(LOOKUP), random(SECRET));
    let text = format!("{body}{}", checksum(&body));
    let lookup = text.get(PREFIX.len()..PREFIX.len() + LOOKUP).unwrap_or_default().to_owned();
    let new = NewKey { tenant, scope, name: None, lookup, hash: hash(&text) };
    (Secret::new(text), new)
}

/// Reads a key's text; none if it is no key of ours, by form or by checksum.
#[must_use]
pub fn parse(text: &str) -> Option<Parsed> {
    if text.len() != LENGTH || !text.is_ascii() {
        return None;
    }
    let (body, sum) = text.split_at_checked(LENGTH - CHECKSUM)?;
    let (lookup, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
    let sound =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let ours = sound(lookup, LOOKUP) && sound(secret, SECRET) && checksum(body) == sum;
    ours.then(|| Parsed { lookup: lookup.to_owned(), hash: hash(text) })
}

/// How the text of the key with this lookup begins.
pub(crate) fn prefix(lookup: &str) -> String {
    format!("{PREFIX}{lookup}")
}

fn hash(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

fn random(length: usize) -> String {
    let mut source = rand::rng();
    (0..length).map(|_| digit(source.random_range(0..62_u64))).collect()
}

/// The first 32 bits of a SHA-256, in base 62.
fn checksum(body: &str) -> String {
    let hash = digest(&SHA256, body.as_bytes());
    let number = hash.as_ref().iter().take(4).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (0..CHECKSUM)
        .scan(number, |rest, _| {
            let last = digit(*rest % 62);
            *rest /= 62;
            Some(last)
        })
        .collect()
}

fn digit(number: u64) -> char {
    usize::try_from(number).ok().and_then(|at| DIGITS.get(at)).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_is_read_back() {
        let (secret, new) = mint(Scope::Platform, None);
        let parsed = parse(secret.reveal()).unwrap();
        assert_eq!((parsed.lookup, parsed.hash), (new.lookup, new.hash));
        assert_eq!(secret.reveal().len(), LENGTH);
    }

    #[test]
    fn a_changed_character_is_noticed() {
        let (secret, _) = mint(Scope::Edge, None);
        for at in 0..LENGTH {
            let mut text = secret.reveal().to_owned().into_bytes();
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(parse(&String::from_utf8(text).unwrap()), None, "character {at}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_harm() {
        for text in ["", "sk_live_", "sk_live_é", &"_".repeat(LENGTH), &"é".repeat(LENGTH / 2)] {
            assert_eq!(parse(text), None);
        }
    }
}
