use proptest::prelude::*;

use super::*;

/// The example of FoxIO's page, in the order of the wire.
const CIPHERS: &str = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
const EXTENSIONS: &str = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015";
const SIGNATURES: &str = "0403,0804,0401,0503,0805,0501,0806,0601";
const PUBLISHED: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

fn numbers(list: &str) -> Vec<u16> {
    list.split(',')
        .filter(|text| !text.is_empty())
        .map(|text| u16::from_str_radix(text, 16).unwrap())
        .collect()
}

fn bytes(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn short(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

fn long(content: &[u8]) -> Vec<u8> {
    [u16::try_from(content.len()).unwrap().to_be_bytes().as_slice(), content].concat()
}

/// A ClientHello to be written.
#[derive(Clone)]
struct Draft {
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    signatures: Vec<u16>,
    versions: Vec<u16>,
    protocol: Vec<u8>,
}

fn published() -> Draft {
    Draft {
        ciphers: numbers(CIPHERS),
        extensions: numbers(EXTENSIONS),
        signatures: numbers(SIGNATURES),
        versions: vec![0x0304, 0x0303],
        protocol: b"h2".to_vec(),
    }
}

impl Draft {
    fn message(&self) -> Vec<u8> {
        let content = |kind: &u16| match *kind {
            SIGNATURE_ALGORITHMS => long(&bytes(&self.signatures)),
            SUPPORTED_VERSIONS => short(&bytes(&self.versions)),
            ALPN => long(&[short(&self.protocol), short(b"http/1.1")].concat()),
            _ => b"whatever".to_vec(),
        };
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|kind| [kind.to_be_bytes().as_slice(), &long(&content(kind))].concat())
            .collect();
        let start =
            [[3, 3].as_slice(), &[7; 32], &short(&[9; 32]), &long(&bytes(&self.ciphers)), &short(&[0])];
        [start.concat(), long(&extensions)].concat()
    }

    /// In records of at most `size` bytes.
    fn records(&self, size: usize) -> Vec<u8> {
        let message = self.message();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let whole = [&[CLIENT_HELLO], &length[1..], &message].concat();
        whole.chunks(size).flat_map(|piece| [[22, 3, 1].as_slice(), &long(piece)].concat()).collect()
    }

    fn ja4(&self) -> String {
        fingerprint(&self.records(16_384)).unwrap().as_str().to_owned()
    }
}

#[test]
fn the_published_example_has_its_published_fingerprint() {
    assert_eq!(published().ja4(), PUBLISHED);
}

#[test]
fn without_signature_algorithms_the_hash_is_the_published_one() {
    let mut draft = published();
    draft.signatures.clear();
    assert_eq!(draft.ja4(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
}

#[test]
fn nothing_is_shown_as_zeros() {
    let draft =
        Draft { ciphers: vec![], extensions: vec![], signatures: vec![], versions: vec![], ..published() };
    assert_eq!(draft.ja4(), "t12i000000_000000000000_000000000000");
    let draft = Draft { extensions: vec![SERVER_NAME, ALPN], ..draft };
    assert_eq!(draft.ja4(), "t12d0002h2_000000000000_000000000000");
}

#[test]
fn reserved_values_at_random_places_change_nothing() {
    let mut draft = published();
    draft.ciphers.insert(0, 0xcaca);
    draft.extensions.insert(0, 0x0a0a);
    draft.extensions.push(0xfafa);
    draft.versions.insert(0, 0x7a7a);
    draft.signatures.insert(0, 0x1a1a);
    assert_eq!(draft.ja4(), PUBLISHED);
    assert!(!is_grease(0x1a2a) && !is_grease(0x0a0b) && is_grease(0xaaaa));
}

#[test]
fn order_matters_for_signature_algorithms_only() {
    let mut draft = published();
    draft.ciphers.reverse();
    draft.extensions.reverse();
    assert_eq!(draft.ja4(), PUBLISHED);
    draft.signatures.reverse();
    assert_ne!(draft.ja4(), PUBLISHED);
}

#[test]
fn a_protocol_shows_its_ends_or_those_of_its_hexadecimal_form() {
    for (protocol, shown) in [
        (&b"h2"[..], b"h2"),
        (b"http/1.1", b"h1"),
        (b"x", b"xx"),
        (b"", b"00"),
        (&[0xab], b"ab"),
        (&[0xab, 0xcd], b"ad"),
        (&[0x30, 0xab], b"3b"),
        (&[0x30, 0x31, 0xab, 0xcd], b"3d"),
        (&[0x30, 0xab, 0xcd, 0x31], b"01"),
    ] {
        assert_eq!(ends(protocol), *shown, "{protocol:02x?}");
    }
}

#[test]
fn versions_and_counts_have_two_characters_each() {
    let version =
        |versions: &[u16]| Draft { versions: versions.to_vec(), ..published() }.ja4()[1..3].to_owned();
    for (versions, shown) in [(&[0x0303, 0x0304][..], "13"), (&[0x0302, 0x0301], "11"), (&[0x0305], "00")] {
        assert_eq!(version(versions), shown);
    }
    let many = Draft { ciphers: (0..120).collect(), ..published() };
    assert_eq!(&many.ja4()[4..6], "99");
}

#[test]
fn a_hello_in_many_records_is_one() {
    let draft = published();
    for size in [1, 2, 3, 5, 100] {
        assert_eq!(fingerprint(&draft.records(size)).unwrap().as_str(), PUBLISHED);
    }
}

#[test]
fn what_is_not_whole_waits_and_what_is_no_hello_is_refused() {
    let whole = published().records(50);
    for length in 0..whole.len() {
        assert_eq!(message(&whole[..length]), Ok(None));
    }
    for wrong in
        [b"GET / HTTP/1.1\r\n".as_slice(), &[21, 3, 3, 0, 2, 2, 40], &[22, 3, 1, 0, 1, 2], &[22, 3, 1, 0, 0]]
    {
        assert_eq!(message(wrong), Err(Malformed), "{wrong:02x?}");
    }
    assert_eq!(ClientHello::parse(&[3, 3]), Err(Malformed));
    let mut longer = published().message();
    longer.push(0);
    assert_eq!(ClientHello::parse(&longer), Err(Malformed));
}

proptest! {
    #[test]
    fn any_order_of_extensions_and_any_cut_into_records_is_the_same_program(
        extensions in Just(numbers(EXTENSIONS)).prop_shuffle(),
        ciphers in Just(numbers(CIPHERS)).prop_shuffle(),
        size in 1..200_usize,
    ) {
        let draft = Draft { extensions, ciphers, ..published() };
        let ja4 = fingerprint(&draft.records(size)).unwrap();
        prop_assert_eq!(ja4.as_str(), PUBLISHED);
    }

    #[test]
    fn a_damaged_hello_never_panics(at in 0..400_usize, byte: u8, wild in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut records = published().records(300);
        if let Some(place) = records.get_mut(at) {
            *place = byte;
        }
        let _ = fingerprint(&records);
        let _ = fingerprint(&wild);
        let _ = ClientHello::parse(&wild);
    }
}
