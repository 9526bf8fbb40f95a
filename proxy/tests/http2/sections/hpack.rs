//! Header compression (RFC 7541): h2spec's groups generic/5 and hpack.

use super::*;

/// The h2 crate says PROTOCOL_ERROR where the standard names COMPRESSION_ERROR. It ends the connection as it must.
const BROKEN: Expected = Expected::Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    [taken(), refused()].into_iter().flatten().collect()
}

/// A whole request whose block has this after what it must have.
fn with(section: &'static str, what: &'static str, more: &[u8], expected: Expected) -> Case {
    case(section, what, [headers(flag::WHOLE, 1, &[&fields(), more].concat())], expected)
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn taken() -> Vec<Case> {
    let ok = Expected::Answer(1, 200);
    // "user-agent" is 58 in the static table; "x-test" and "ok" as they are; a Huffman code of "ok" is 3d 7f
    // filled up by ones, of "x-test" f2 b5 a9 8a 8f… which is left to the library's own tests.
    let plain = b"\x06x-test\x02ok";
    let form = |first: &[u8], rest: &[u8]| [first, rest].concat();
    vec![
        with("HPACK 6.1", "an indexed field", &[0x80 | 16], ok),
        with("HPACK 6.2.1", "a literal that is added, by index", &form(&[0x40 | 58], b"\x02ok"), ok),
        with(
            "HPACK 6.2.1",
            "a literal that is added, by index, in Huffman code",
            &form(&[0x40 | 58], &HUFFMAN_OK),
            ok,
        ),
        with("HPACK 6.2.1", "a literal that is added, by name", &form(&[0x40], plain), ok),
        with(
            "HPACK 6.2.1",
            "a literal that is added, by name, its value in Huffman code",
            &form(b"\x40\x06x-test", &HUFFMAN_OK),
            ok,
        ),
        with("HPACK 6.2.2", "a literal that is not added, by index", &form(&[0x0f, 58 - 15], b"\x02ok"), ok),
        with(
            "HPACK 6.2.2",
            "a literal that is not added, by index, in Huffman code",
            &form(&[0x0f, 58 - 15], &HUFFMAN_OK),
            ok,
        ),
        with("HPACK 6.2.2", "a literal that is not added, by name", &form(&[0], plain), ok),
        with(
            "HPACK 6.2.2",
            "a literal that is not added, by name, its value in Huffman code",
            &form(b"\0\x06x-test", &HUFFMAN_OK),
            ok,
        ),
        with(
            "HPACK 6.2.3",
            "a literal that is never added, by index",
            &form(&[0x1f, 58 - 15], b"\x02ok"),
            ok,
        ),
        with(
            "HPACK 6.2.3",
            "a literal that is never added, by index, in Huffman code",
            &form(&[0x1f, 58 - 15], &HUFFMAN_OK),
            ok,
        ),
        with("HPACK 6.2.3", "a literal that is never added, by name", &form(&[0x10], plain), ok),
        with(
            "HPACK 6.2.3",
            "a literal that is never added, by name, its value in Huffman code",
            &form(b"\x10\x06x-test", &HUFFMAN_OK),
            ok,
        ),
        with(
            "HPACK 2.3.3",
            "what was added, by its index",
            &[b"\x40\x06x-test\x02ok".as_slice(), &[0x80 | 62]].concat(),
            ok,
        ),
        case(
            "HPACK 6.3",
            "a table size update first",
            [headers(flag::WHOLE, 1, &form(&[0x20], &fields()))],
            ok,
        ),
        case(
            "HPACK 4.2",
            "two table size updates first",
            [headers(flag::WHOLE, 1, &form(&[0x20, 0x3f, 0x11], &fields()))],
            ok,
        ),
    ]
}

/// `ok`: 00111 (o), 1110101 (k), then ones; with the length and the sign of the code before it.
const HUFFMAN_OK: [u8; 3] = [0x82, 0b0011_1111, 0b0101_1111];

fn refused() -> Vec<Case> {
    vec![
        with("HPACK 6.1", "index 0", &[0x80], BROKEN),
        with("HPACK 2.3.3", "an index beyond the tables", &[0x80 | 70], BROKEN),
        with("HPACK 2.3.3", "a literal by an index beyond the tables", &[0x40 | 62, 2, b'o', b'k'], BROKEN),
        with("HPACK 4.2", "a table size update after a field", &[0x20], BROKEN),
        case(
            "HPACK 6.3",
            "a table size beyond what is offered",
            [headers(flag::WHOLE, 1, &[&[0x3f, 0xe2, 0x1f][..], &fields()].concat())],
            BROKEN,
        ),
        with("HPACK 5.2", "Huffman padding of more than 7 bits", b"\0\x06x-test\x83\x3f\x5f\xff", BROKEN),
        with("HPACK 5.2", "Huffman padding of zeros", b"\0\x06x-test\x82\x3f\x50", BROKEN),
        with(
            "HPACK 5.2",
            "the end of strings in Huffman code",
            b"\0\x06x-test\x86\x3f\x5f\xff\xff\xff\xff",
            BROKEN,
        ),
        with("HPACK 5.1", "a number that never ends", &[&[0x7f][..], &[0xff; 12]].concat(), BROKEN),
        with("HPACK 5.2", "a text beyond the block", b"\0\x06x-test\x20ok", BROKEN),
    ]
}
