//! Takes pieces off the front of bytes. None means that there are too few of them.

/// What is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'h>(pub(super) &'h [u8]);

impl<'h> Reader<'h> {
    fn take(&mut self, bytes: usize) -> Option<&'h [u8]> {
        let (piece, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(piece)
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(drop)
    }

    pub(super) fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// A piece after its length in one byte.
    pub(super) fn with_length_of_1(&mut self) -> Option<&'h [u8]> {
        let (length, rest) = self.0.split_first()?;
        self.0 = rest;
        self.take(usize::from(*length))
    }

    /// A piece after its length in two bytes.
    pub(super) fn with_length_of_2(&mut self) -> Option<&'h [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}
