//! One field line of HTTP/1 (RFC 9112 §5), read strictly; in a header section and in a trailer section alike.

/// Why bytes are no HTTP/1 that we take, in words for the log and the problem document.
pub(crate) type Flaw = &'static str;

/// One line: `name: value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// A token; in the visitor's case.
    pub(super) name: &'a [u8],
    /// Without the white space around it.
    pub(super) value: &'a [u8],
}

/// Reads a line without its end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Field<'_>, Flaw> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a field is folded over two lines");
    }
    let Some(colon) = memchr::memchr(b':', line) else { return Err("a field has no colon") };
    let (name, value) = line.split_at(colon);
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err("there is white space before a colon");
    }
    if !is_token(name) {
        return Err("a field's name is not a name");
    }
    let value = value.get(1..).unwrap_or_default();
    if has_control(value) {
        return Err("a field's value has a control character");
    }
    Ok(Field { name, value: trim(value) })
}

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a token may have this byte.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Looks at every byte, whatever it finds: so the compiler can look at many at a time.
fn has_control(value: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    value.iter().fold(false, |found, byte| found | is_control(*byte))
}

/// Without the optional white space of HTTP around it, which is less than what `trim_ascii` takes away.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The elements of a list (RFC 9110 §5.6.1); empty ones included.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Whether `name` is `plain` for programs that take `_` and `-` for the same, as CGI and WSGI do.
pub(super) fn is_alias(name: &[u8], plain: &str) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == plain.len() && name.iter().map(fold).eq(plain.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_token_a_colon_and_a_value_without_controls() {
        assert_eq!(parse(b"A-b: \t c d \t"), Ok(Field { name: b"A-b", value: b"c d" }));
        assert_eq!(parse(b"a:"), Ok(Field { name: b"a", value: b"" }));
        assert_eq!(parse(b"a:\xc3\xa9"), Ok(Field { name: b"a", value: b"\xc3\xa9" }));
        for line in
            [&b"a"[..], b" a: b", b"\ta: b", b"a : b", b": b", b"a b: c", b"a\x0b: c", b"\xe9: c", b"a\"b: c"]
        {
            assert!(parse(line).is_err(), "{}", line.escape_ascii());
        }
        for byte in (0..b' ').filter(|byte| *byte != b'\t').chain([0x7f]) {
            assert!(parse(&[b'a', b':', b' ', byte]).is_err(), "{byte}");
        }
    }

    #[test]
    fn an_underscore_is_a_hyphen_to_some() {
        assert!(
            is_alias(b"Content_Length", "content-length") && is_alias(b"content-length", "content-length")
        );
        assert!(
            !is_alias(b"Content_Lengt", "content-length") && !is_alias(b"ContentXLength", "content-length")
        );
    }
}
