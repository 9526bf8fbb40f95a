//! CRC-32C (Castagnoli; RFC 3720 appendix B.4). A header has at most 4 KiB and seldom a checksum, so bit by
//! bit is fast enough and needs no table and no library.

/// The polynomial 0x1EDC6F41, its bits in reverse.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of `bytes`.
pub(super) fn checksum<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| shift(sum)))
}

const fn shift(sum: u32) -> u32 {
    if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(checksum([0; 32].iter()), 0x8a91_36aa);
        assert_eq!(checksum([0xff; 32].iter()), 0x62a8_ab43);
        assert_eq!(checksum(ascending.iter()), 0x46dd_794e);
        assert_eq!(checksum(b"123456789".iter()), 0xe306_9283);
    }
}
