//! What must hold of a journal's records, whatever was done to the file.

use super::{Ending, FIRST, frame, walk};

/// What comes out of the records in `bytes`.
fn records(bytes: &[u8]) -> (Vec<Vec<u8>>, Ending) {
    let mut found = Vec::new();
    let length = FIRST + bytes.len() as u64;
    let walked = walk(&mut &*bytes, length, |_, body| {
        found.push(body.to_vec());
        Ok(())
    });
    let Ok(walked) = walked else { unreachable!("bytes in memory can be read") };
    assert_eq!(walked.count, found.len() as u64);
    let good: u64 = found.iter().map(|body| (body.len() + frame::HEAD_BYTES) as u64).sum();
    assert_eq!(walked.end, FIRST + good, "the journal goes on where the last good record ends");
    (found, walked.ending)
}

/// Reads `bytes` as records. Then writes records and harms them as the first five bytes say: a cut leaves
/// whole records and is never taken for damage; no harm ever makes a record that was not written.
pub(crate) fn check_walk(bytes: &[u8]) {
    let _ = records(bytes);
    let Some(([cut, low, high, bit, width], text)) = bytes.split_first_chunk::<5>() else { return };
    let bodies: Vec<&[u8]> = text.chunks(usize::from(*width).max(1)).take(64).collect();
    let mut file = Vec::new();
    for (number, body) in (0..).zip(&bodies) {
        assert!(frame::write(number, body, &mut file));
    }
    assert_eq!(records(&file), (bodies.iter().map(|body| body.to_vec()).collect(), Ending::Whole));
    let is_prefix = |found: &[Vec<u8>]| found.iter().zip(&bodies).all(|(one, other)| one == other);

    let kept = file.len().saturating_sub(usize::from(*cut));
    let (found, ending) = records(file.get(..kept).unwrap_or_default());
    assert!(is_prefix(&found) && matches!(ending, Ending::Whole | Ending::Torn), "a cut gave {ending:?}");

    let place = usize::from(u16::from_le_bytes([*low, *high])) % file.len().max(1);
    if let Some(byte) = file.get_mut(place) {
        *byte ^= 1 << (bit % 8);
        let (found, ending) = records(&file);
        assert!(is_prefix(&found) && found.len() < bodies.len(), "a damaged record was taken for sound");
        assert_ne!(ending, Ending::Whole);
    }
}
