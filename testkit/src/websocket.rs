//! WebSocket (RFC 6455), as much of it as a test needs: the handshake, text frames, an echoing server.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Any 16 bytes do: the key only shows that the server speaks the protocol.
const KEY: &str = "c3RvYSB0ZXN0IGNsaWVudA==";

/// Masking is for caches on the way, not for secrecy, so a constant does.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A whole text frame.
const TEXT: u8 = 0x81;
/// The close frame.
const CLOSE: u8 = 0x88;

/// Longest frame that is read.
const MAX_FRAME_BYTES: u64 = 1 << 20;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[must_use]
pub fn accept(key: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    STANDARD.encode(hash)
}

/// A client's end of a connection.
#[derive(Debug)]
pub struct Socket<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Upgrades `stream`.
    ///
    /// # Errors
    /// If the answer is not 101 with the right proof; the error shows its head.
    pub async fn open(mut stream: S, host: &str, path: &str) -> Result<Self> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "no upgrade:\n{head}");
        ensure!(head.contains(&accept(KEY)), "the upgrade proves nothing:\n{head}");
        Ok(Self(stream))
    }

    /// Sends a text of at most 65,535 bytes.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        write_frame(&mut self.0, TEXT, text.as_bytes(), Some(MASK)).await
    }

    /// Receives a text.
    ///
    /// # Errors
    /// If the connection is gone or closed.
    pub async fn receive(&mut self) -> Result<String> {
        let (opcode, payload) = read_frame(&mut self.0).await?;
        ensure!(opcode == TEXT, "frame {opcode:#x} instead of a text");
        Ok(String::from_utf8(payload)?)
    }
}

/// Sends every frame back until the client closes.
///
/// # Errors
/// If the connection breaks.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<()> {
    loop {
        let (opcode, payload) = read_frame(&mut stream).await?;
        write_frame(&mut stream, opcode, &payload, None).await?;
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 16_384, "the answer's head has no end");
        head.push(stream.read_u8().await.context("the connection ended within the answer's head")?);
    }
    Ok(String::from_utf8(head)?)
}

async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(u8, Vec<u8>)> {
    let opcode = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    ensure!(length <= MAX_FRAME_BYTES, "a frame of {length} bytes");
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut payload).await?;
    apply(mask, &mut payload);
    Ok((opcode, payload))
}

async fn write_frame<S: AsyncWrite + Unpin>(
    stream: &mut S,
    opcode: u8,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) -> Result<()> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![opcode];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(masked | short),
        _ => {
            frame.push(masked | 126);
            frame.extend(u16::try_from(payload.len())?.to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mut payload = payload.to_vec();
    apply(mask.unwrap_or_default(), &mut payload);
    frame.extend(payload);
    stream.write_all(&frame).await?;
    Ok(stream.flush().await?)
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn the_proof_is_the_standards() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn an_echo_brings_long_texts_back() {
        let (client, server) = tokio::io::duplex(1 << 20);
        tokio::spawn(echo(server));
        let mut socket = Socket(client);
        for text in ["", "short", &"long".repeat(1_000)] {
            socket.send(text).await.unwrap();
            assert_eq!(socket.receive().await.unwrap(), text);
        }
    }
}
