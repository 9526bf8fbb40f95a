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
pub(crate) fn sum(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        (crc >> 8) ^ entry
    })
}

static TABLE: [u32; 256] = table();

#[expect(clippy::indexing_slicing, reason = "the index counts up to the table's length")]
const fn table() -> [u32; 256] {
    let mut table = [0_u32; 256];
    let mut at = 0;
    let mut byte = 0_u32;
    while at < table.len() {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_crc_32() {
        assert_eq!(sum(&[b"1234", b"56789"]), 0xCBF4_3926);
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
