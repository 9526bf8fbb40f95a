use proptest::prelude::*;

use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn passed(source: &str, destination: &str) -> Origin {
    Origin::Passed { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// The origin, if `bytes` are a whole header and nothing more.
fn origin(bytes: &[u8]) -> Result<Origin, Malformed> {
    let header = parse(bytes)?.expect("the header is whole");
    assert_eq!(header.length, bytes.len());
    Ok(header.origin)
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap();
    [SIGNATURE, &[command, family], &length.to_be_bytes(), block].concat()
}

const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), value].concat()
}

/// A header with a checksum field, the right one if `flip` is 0.
fn checked(flip: u32) -> Vec<u8> {
    let block = [INET.as_slice(), &field(3, &[0; 4]), &field(4, b"padding")].concat();
    let mut bytes = binary(0x21, 0x11, &block);
    let sum = crc32c::checksum(bytes.iter()) ^ flip;
    bytes[31..35].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn lines_of_version_1_are_read() {
    for (line, expected) in [
        ("TCP4 192.0.2.1 198.51.100.1 56324 443", passed("192.0.2.1:56324", "198.51.100.1:443")),
        (
            "TCP4 255.255.255.255 255.255.255.255 65535 0",
            passed("255.255.255.255:65535", "255.255.255.255:0"),
        ),
        ("TCP6 2001:db8::1 ::1 1 2", passed("[2001:db8::1]:1", "[::1]:2")),
        ("UNKNOWN", Origin::Peer),
        ("UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", Origin::Peer),
    ] {
        assert_eq!(origin(format!("PROXY {line}\r\n").as_bytes()), Ok(expected), "{line}");
    }
}

#[test]
fn a_line_that_is_only_nearly_right_is_refused() {
    for line in [
        "TCP4 192.0.2.1 198.51.100.1 56324 443 ",
        "TCP4  192.0.2.1 198.51.100.1 56324 443",
        "TCP4 192.0.2.1 198.51.100.1 56324",
        "TCP4 192.0.2.1 198.51.100.1 56324 65536",
        "TCP4 192.0.2.1 198.51.100.1 +56324 443",
        "TCP4 192.0.2.1 198.51.100.1 056324 443",
        "TCP4 192.0.2.01 198.51.100.1 56324 443",
        "TCP4 2001:db8::1 ::1 1 2",
        "TCP6 192.0.2.1 198.51.100.1 56324 443",
        "tcp4 192.0.2.1 198.51.100.1 56324 443",
        "UDP4 192.0.2.1 198.51.100.1 56324 443",
        "",
    ] {
        assert_eq!(parse(format!("PROXY {line}\r\n").as_bytes()), Err(Malformed::Line), "{line}");
    }
    assert_eq!(parse(b"PROXY UNKNOWN\n"), Err(Malformed::Line));
    assert_eq!(parse(b"PROXY TCP4 \xff\r\n"), Err(Malformed::Line));
}

#[test]
fn a_line_is_read_to_its_107th_byte_and_no_further() {
    let line = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16));
    assert_eq!(origin(line(107).as_bytes()), Ok(Origin::Peer));
    assert_eq!(parse(line(108).as_bytes()), Err(Malformed::TooLong));
    assert_eq!(parse(&line(108).as_bytes()[..106]), Ok(None));
}

#[test]
fn headers_of_version_2_are_read() {
    let inet6 = [[0x20; 16].as_slice(), &[0x30; 16], &[0, 1, 0, 2]].concat();
    let (from, to) =
        ("[2020:2020:2020:2020:2020:2020:2020:2020]:1", "[3030:3030:3030:3030:3030:3030:3030:3030]:2");
    for (bytes, expected) in [
        (binary(0x21, 0x11, &INET), passed("192.0.2.1:56324", "198.51.100.1:443")),
        (binary(0x21, 0x21, &inet6), passed(from, to)),
        (binary(0x20, 0x00, &[]), Origin::Peer),
        // What a LOCAL header carries is discarded, whatever it is.
        (binary(0x20, 0xff, b"rubbish"), Origin::Peer),
        (binary(0x21, 0x00, b"rubbish"), Origin::Peer),
        (binary(0x21, 0x12, &INET), Origin::Peer),
        (binary(0x21, 0x31, &[0; 216]), Origin::Peer),
        (LOCAL.to_vec(), Origin::Peer),
    ] {
        assert_eq!(origin(&bytes), Ok(expected), "{bytes:02x?}");
    }
}

#[test]
fn a_header_of_version_2_that_lies_about_itself_is_refused() {
    for (bytes, expected) in [
        (binary(0x11, 0x11, &INET), Malformed::Kind),
        (binary(0x22, 0x11, &INET), Malformed::Kind),
        (binary(0x21, 0x41, &INET), Malformed::Kind),
        (binary(0x21, 0x13, &INET), Malformed::Kind),
        (binary(0x21, 0x11, &INET[..11]), Malformed::Short),
        (binary(0x21, 0x21, &INET), Malformed::Short),
        (binary(0x21, 0x31, &[0; 215]), Malformed::Short),
        (binary(0x21, 0x11, &[INET.as_slice(), &[1]].concat()), Malformed::Short),
        (binary(0x21, 0x11, &[INET.as_slice(), &[1, 0, 2, 0]].concat()), Malformed::Short),
        (binary(0x21, 0x11, &[0; MOST_BYTES]), Malformed::TooLong),
    ] {
        assert_eq!(parse(&bytes), Err(expected), "{bytes:02x?}");
    }
}

#[test]
fn fields_are_skipped_and_their_checksum_is_believed_only_if_it_is_right() {
    let fields = [field(1, b"h2"), field(0x20, &[0; 200]), field(0xe0, b"")].concat();
    let expected = passed("192.0.2.1:56324", "198.51.100.1:443");
    assert_eq!(origin(&binary(0x21, 0x11, &[INET.as_slice(), &fields].concat())), Ok(expected));
    assert_eq!(origin(&checked(0)), Ok(expected));
    assert_eq!(parse(&checked(1)), Err(Malformed::Checksum));
    let short = [INET.as_slice(), &field(3, &[0; 3])].concat();
    assert_eq!(parse(&binary(0x21, 0x11, &short)), Err(Malformed::Checksum));
}

#[test]
fn what_is_no_header_is_known_from_its_first_bytes() {
    for bytes in [b"G".as_slice(), b"PRI * HTTP/2.0", b"\x16\x03\x01", b"\r\n\r\n\0\r\nQUIT\r", b"PROXY\t"] {
        assert_eq!(parse(bytes), Err(Malformed::Absent), "{bytes:?}");
    }
}

#[test]
fn the_bytes_of_an_encoded_header_are_the_published_ones() {
    let encoded = encode("192.0.2.1:56324".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    assert_eq!(encoded, binary(0x21, 0x11, &INET));
    let mixed = encode("192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap());
    assert_eq!(origin(&mixed), Ok(passed("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2")));
    let mapped = encode("[::ffff:192.0.2.1]:1".parse().unwrap(), "198.51.100.1:2".parse().unwrap());
    assert_eq!(origin(&mapped), Ok(passed("192.0.2.1:1", "198.51.100.1:2")));
}

/// What begins like a header more often than chance would have it.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let wild = prop::collection::vec(any::<u8>(), 0..64);
    let line =
        "(TCP4|TCP6|UNKNOWN) [0-9a-f:. ]{0,60}(\r\n)?".prop_map(|line| format!("PROXY {line}").into_bytes());
    let block = (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..80));
    let block = block.prop_map(|(command, family, block)| binary(0x20 + command % 3, family % 0x34, &block));
    prop_oneof![wild, line, block, any::<u32>().prop_map(|flip| checked(flip % 2))]
}

proptest! {
    #[test]
    fn a_header_is_read_the_same_however_it_arrives(bytes in nearly(), rest in prop::collection::vec(any::<u8>(), 0..8)) {
        let whole = parse(&bytes);
        for length in 0..bytes.len() {
            match parse(&bytes[..length]).transpose() {
                // An end that was seen is not moved by what comes after it.
                Some(early) => prop_assert_eq!(Some(early), whole.transpose()),
                None => prop_assert!(whole.is_err() || whole.unwrap().is_none_or(|header| header.length > length)),
            }
        }
        if let Ok(Some(header)) = whole {
            prop_assert!(header.length <= bytes.len().min(MOST_BYTES));
            prop_assert_eq!(parse(&[bytes, rest].concat()), Ok(Some(header)));
        }
    }

    #[test]
    fn what_is_encoded_is_read_back(from: [u8; 4], to: [u8; 4], from6: [u8; 16], to6: [u8; 16], ports: (u16, u16)) {
        for pair in [(SocketAddr::from((from, ports.0)), SocketAddr::from((to, ports.1))),
                     (SocketAddr::from((from6, ports.0)), SocketAddr::from((to6, ports.1)))] {
            let Origin::Passed { source, destination } = origin(&encode(pair.0, pair.1)).unwrap() else {
                panic!("nobody is passed on")
            };
            prop_assert_eq!((source.ip().to_canonical(), source.port()), (pair.0.ip().to_canonical(), ports.0));
            prop_assert_eq!(destination.ip().to_canonical(), pair.1.ip().to_canonical());
        }
    }
}
