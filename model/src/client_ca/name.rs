//! Names of certificates as text (RFC 4514), safe in a header field: visible ASCII and inner spaces only.
//!
//! An app compares this text, so nothing that a certificate can hold may look like something else: a comma in
//! a common name is escaped, as is every byte that is not printable ASCII.

use std::fmt::Write as _;

use x509_parser::asn1_rs::ToDer as _;
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

/// Types that have a short name (RFC 4514 §3).
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The name, its last part first (RFC 4514 §2.1); none if a value has no DER form.
pub(super) fn to_text(name: &X509Name<'_>) -> Option<String> {
    let parts: Vec<&RelativeDistinguishedName<'_>> = name.iter_rdn().collect();
    let texts = parts.into_iter().rev().map(part).collect::<Option<Vec<_>>>()?;
    Some(texts.join(","))
}

fn part(part: &RelativeDistinguishedName<'_>) -> Option<String> {
    Some(part.iter().map(attribute).collect::<Option<Vec<_>>>()?.join("+"))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(id, _)| *id == kind).map(|(_, short)| *short);
    match (short, attribute.as_str()) {
        (Some(short), Ok(value)) => Some(format!("{short}={}", escape(value))),
        // Without a short name, or not text that can be read: the value in hexadecimal (§2.4).
        (short, _) => {
            let der = attribute.attr_value().to_der_vec().ok()?;
            Some(format!("{}=#{}", short.unwrap_or(&kind), hex(&der)))
        }
    }
}

/// RFC 4514 §2.4.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(text, "\\{byte:02X}")),
        }
    }
    text
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_has_a_meaning_in_names_is_escaped() {
        for (value, text) in [
            ("Ann", "Ann"),
            ("Ann, O=Bank", "Ann\\, O\\=Bank"),
            (" #a ", "\\ #a\\ "),
            ("#a", "\\#a"),
            ("a\r\nX-Admin: 1\0", "a\\0D\\0AX-Admin: 1\\00"),
            ("\u{e9}", "\\C3\\A9"),
            ("", ""),
            (" ", "\\ "),
        ] {
            assert_eq!(escape(value), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_certificate_says_can_stand_in_a_header(value in any::<String>()) {
            let text = escape(&value);
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            assert_eq!(text.trim_end_matches("\\ ").trim(), text.trim_end_matches("\\ "));
        }

        #[test]
        fn two_values_never_look_the_same(one in "[ -~é,\\\\]{0,8}", other in "[ -~é,\\\\]{0,8}") {
            assert_eq!(escape(&one) == escape(&other), one == other);
        }
    }
}
