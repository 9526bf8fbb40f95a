//! Texts of TXT records in the form of zone files (RFC 1035 §5.1): quoted parts of at most 255 bytes.

/// Longest part in bytes (RFC 1035 §3.3.14).
const PART: usize = 255;

/// The text in quotes, in as many parts as it needs.
pub(super) fn quote(text: &str) -> String {
    let part = |bytes: &[u8]| format!("\"{}\"", bytes.iter().map(|byte| escaped(*byte)).collect::<String>());
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    text.as_bytes().chunks(PART).map(part).collect::<Vec<_>>().join(" ")
}

fn escaped(byte: u8) -> String {
    match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03}"),
    }
}

/// The parts of a text in quotes, joined; a text without quotes is one already.
pub(super) fn unquote(text: &str) -> String {
    if !text.trim_start().starts_with('"') {
        return text.to_owned();
    }
    let (mut joined, mut rest, mut inside) = (Vec::new(), text.as_bytes(), false);
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => inside = !inside,
            b'\\' => {
                let (byte, tail) = unescaped(tail);
                joined.push(byte);
                rest = tail;
            }
            byte if inside => joined.push(*byte),
            // Between two parts.
            _ => {}
        }
    }
    String::from_utf8_lossy(&joined).into_owned()
}

/// The byte after a backslash: three decimal digits, or the byte itself.
fn unescaped(tail: &[u8]) -> (u8, &[u8]) {
    let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
    if let Some(byte) = digits.and_then(|digits| digits.parse().ok()) {
        return (byte, tail.get(3..).unwrap_or_default());
    }
    tail.split_first().map_or((b'\\', tail), |(byte, rest)| (*byte, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_joined_and_escapes_are_read() {
        assert_eq!(unquote(r#""v=spf1 " "include:\"x\" \\ \228""#), "v=spf1 include:\"x\" \\ \u{fffd}");
        assert_eq!(unquote("bare text"), "bare text");
        assert_eq!(unquote(r#""cut\"#), "cut\\");
        assert_eq!(quote(&"a".repeat(300)), format!("\"{}\" \"{}\"", "a".repeat(255), "a".repeat(45)));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(text in "\\PC{0,400}") {
            prop_assert_eq!(unquote(&quote(&text)), text);
        }

        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            unquote(&text);
        }
    }
}
