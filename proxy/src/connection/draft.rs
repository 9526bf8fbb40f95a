//! Small writes before TLS, joined until a flush: the head and the body of a small answer become one record instead
//! of two, and each record costs a nonce, a tag and 22 bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Most bytes of a record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 << 10;
/// Room for most small answers.
const USUAL_BYTES: usize = 2 << 10;

/// What was written and not passed on yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    sent: usize,
}

impl Draft {
    /// Takes `bytes`, or passes them on after what waits if they do not fit beside it.
    pub(super) fn poll_write(
        &mut self,
        transport: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() + bytes.len() <= RECORD_BYTES {
            if self.bytes.is_empty() {
                self.bytes.reserve(bytes.len().max(USUAL_BYTES));
            }
            self.bytes.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_drain(transport, cx))?;
        Pin::new(transport).poll_write(cx, bytes)
    }

    /// Passes on what waits.
    pub(super) fn poll_drain(
        &mut self,
        transport: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *transport).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        // An idle connection keeps nothing of it.
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    async fn write(draft: &mut Draft, transport: &mut tokio::io::DuplexStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| draft.poll_write(transport, cx, bytes)).await.unwrap();
            bytes = &bytes[sent..];
        }
    }

    #[tokio::test]
    async fn small_writes_wait_for_each_other_and_leave_nothing_behind() {
        let (mut near, mut far) = duplex(1 << 10);
        let mut draft = Draft::default();
        write(&mut draft, &mut near, b"head").await;
        write(&mut draft, &mut near, b"body").await;
        assert_eq!((draft.bytes.as_slice(), draft.bytes.capacity()), (&b"headbody"[..], USUAL_BYTES));
        poll_fn(|cx| draft.poll_drain(&mut near, cx)).await.unwrap();
        let mut got = [0; 8];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!((&got, draft.bytes.capacity()), (b"headbody", 0));
    }

    #[tokio::test]
    async fn a_large_write_keeps_its_place_after_a_small_one() {
        let (mut near, mut far) = duplex(1 << 10);
        let large = vec![b'x'; 3 * RECORD_BYTES];
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            got
        });
        let mut draft = Draft::default();
        write(&mut draft, &mut near, b"head").await;
        write(&mut draft, &mut near, &large).await;
        poll_fn(|cx| draft.poll_drain(&mut near, cx)).await.unwrap();
        drop(near);
        let got = reader.await.unwrap();
        assert_eq!(got.len(), 4 + large.len());
        assert!(got.starts_with(b"headx"));
    }
}
