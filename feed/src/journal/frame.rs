//! One record in a journal: a head of 12 bytes, then the body.
//!
//! The head is the body's length, the body's sum, and a sum over both and the record's number, all
//! little-endian. The head has a sum of its own so that a damaged length is not taken for a torn tail. Sums
//! are CRC-32 (ISO-HDLC, as in RFC 1952 §8): they find every damage within 32 bits.

/// Length of a record's head in bytes.
pub(crate) const HEAD_BYTES: usize = 12;

/// A record's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Length of the body in bytes.
    pub(crate) length: u32,
    sum: u32,
}

impl Head {
    /// Reads a head; none if it was damaged or is of another number.
    pub(crate) fn read(number: u64, bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        let head = Self { length: u32::from_le_bytes([a, b, c, d]), sum: u32::from_le_bytes([e, f, g, h]) };
        (head.check(number) == u32::from_le_bytes([i, j, k, l])).then_some(head)
    }

    /// Whether `body` is what was written.
    pub(crate) fn fits(self, body: &[u8]) -> bool {
        self.sum == sum(&[body])
    }

    fn check(self, number: u64) -> u32 {
        sum(&[&number.to_le_bytes(), &self.length.to_le_bytes(), &self.sum.to_le_bytes()])
    }
}

/// Appends a record to `out`; false, with nothing written, if its length does not fit 32 bits.
pub(crate) fn write(number: u64, body: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(length) = u32::try_from(body.len()) else { return false };
    let head = Head { length, sum: sum(&[body]) };
    out.extend_from_slice(&head.length.to_le_bytes());
    out.extend_from_slice(&head.sum.to_le_bytes());
    out.extend_from_slice(&head.check(number).to_le_bytes());
    out.extend_from_slice(body);
    true
}

/// CRC-32 over the parts, one after the other.
///
/// Eight bytes a step (Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC
/// Generators", 2005): byte by byte the sum of a large replica is a sixth of an edge's start.
pub(crate) fn sum(parts: &[&[u8]]) -> u32 {
    !parts.iter().fold(u32::MAX, |crc, part| {
        let (eights, rest) = part.as_chunks::<8>();
        let crc = eights.iter().fold(crc, |crc, eight| add_eight(crc, *eight));
        rest.iter().fold(crc, |crc, byte| {
            let [low, ..] = crc.to_le_bytes();
            (crc >> 8) ^ entry(0, low ^ byte)
        })
    })
}

fn add_eight(crc: u32, eight: [u8; 8]) -> u32 {
    let [a, b, c, d] = crc.to_le_bytes();
    let [e, f, g, h, i, j, k, l] = eight;
    entry(7, a ^ e)
        ^ entry(6, b ^ f)
        ^ entry(5, c ^ g)
        ^ entry(4, d ^ h)
        ^ entry(3, i)
        ^ entry(2, j)
        ^ entry(1, k)
        ^ entry(0, l)
}

/// What `byte` does to a sum that `zeros` more bytes follow.
fn entry(zeros: usize, byte: u8) -> u32 {
    TABLES.get(zeros).and_then(|table| table.get(usize::from(byte))).copied().unwrap_or_default()
}

static TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, reason = "the indices count up to the tables' lengths")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0_u32; 256]; 8];
    let mut at = 0;
    let mut byte = 0_u32;
    while at < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][at] = crc;
        at += 1;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        at = 0;
        while at < 256 {
            let crc = tables[zeros - 1][at];
            let [low, ..] = crc.to_le_bytes();
            tables[zeros][at] = (crc >> 8) ^ tables[0][low as usize];
            at += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_crc_32() {
        assert_eq!(sum(&[b"1234", b"56789"]), 0xCBF4_3926);
    }

    #[test]
    fn the_sum_is_the_same_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(sum(&[&bytes]), sum(&singly));
        assert_eq!(sum(&[&bytes]), sum(&[&bytes[..13], &[], &bytes[13..]]));
        // By zlib's crc32().
        assert_eq!(sum(&[&bytes]), 0x74E3_FB41);
    }

    #[test]
    fn a_head_is_read_under_its_own_number_only() {
        let mut out = Vec::new();
        assert!(write(7, b"body", &mut out));
        let head: [u8; HEAD_BYTES] = out[..HEAD_BYTES].try_into().unwrap();
        assert!(Head::read(7, &head).is_some_and(|head| head.length == 4 && head.fits(b"body")));
        assert_eq!(Head::read(8, &head), None);
    }
}
