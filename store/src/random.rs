//! Random texts for proofs and lineages.

/// Crockford's base 32 in lower case.
const ALPHABET: [char; 32] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k', 'm',
    'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'y', 'z',
];

/// 26 characters that nobody can guess: 130 random bits.
pub(crate) fn text() -> String {
    let bytes: [u8; 26] = rand::random();
    bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_text_can_be_a_label_and_does_not_repeat() {
        let (one, other) = (text(), text());
        assert_eq!(one.len(), 26);
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_ne!(one, other);
    }
}
