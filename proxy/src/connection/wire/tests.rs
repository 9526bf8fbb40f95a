use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

async fn pair() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (Wire::new(server, LIMIT), client)
}

#[tokio::test]
async fn small_writes_leave_together_at_a_flush() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    wire.write_all(b"head").await.unwrap();
    wire.write_all(b"body").await.unwrap();
    assert_eq!(wire.gauge().bytes(), (0, 0));
    wire.flush().await.unwrap();
    let mut got = [0; 8];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"headbody");
    assert_eq!(wire.gauge().bytes(), (0, 8));
}

#[tokio::test]
async fn a_large_write_keeps_its_place_after_a_small_one() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    let large = vec![b'x'; 3 * JOIN_BYTES];
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        got
    });
    wire.write_all(b"head").await.unwrap();
    wire.write_all(&large).await.unwrap();
    wire.shutdown().await.unwrap();
    drop(wire);
    let got = reader.await.unwrap();
    assert_eq!(got.len(), 4 + large.len());
    assert!(got.starts_with(b"head"));
}

#[tokio::test]
async fn what_waits_is_sent_when_the_wire_is_dropped() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    wire.write_all(b"alert").await.unwrap();
    drop(wire);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"alert");
}

#[tokio::test(start_paused = true)]
async fn a_drip_of_bytes_does_not_extend_the_deadline() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    let started = tokio::time::Instant::now();
    let drip = tokio::spawn(async move {
        while client.write_all(b"a").await.is_ok() {
            sleep(Duration::from_secs(3)).await;
        }
    });
    let mut got = Vec::new();
    let error = wire.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() < LIMIT + Duration::from_secs(1));
    assert!(wire.gauge().was_cut());
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn silence_between_requests_is_not_overdue() {
    let (mut wire, _client) = pair().await;
    wire.serve();
    wire.gauge().header_arrived();
    let silence = tokio::time::timeout(LIMIT * 5, wire.read_u8()).await;
    assert!(silence.is_err());
    wire.gauge().await_header();
    let silence = tokio::time::timeout(LIMIT * 5, wire.read_u8()).await;
    assert!(silence.is_err());
}

/// A request that is refused from memory: nothing waits for bytes between its header section and the next.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_with_its_header_section_even_if_nobody_reads_before_the_next() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    let mut got = [0; 4];
    for _ in 0..3 {
        // The head comes in two pieces, so that the alarm is armed.
        client.write_all(b"GE").await.unwrap();
        wire.read_exact(&mut got[..2]).await.unwrap();
        assert!(tokio::time::timeout(LIMIT / 2, wire.read_u8()).await.is_err());
        client.write_all(b"T.").await.unwrap();
        wire.read_exact(&mut got[2..]).await.unwrap();
        wire.gauge().header_arrived();
        wire.gauge().await_header();
        let silence = tokio::time::timeout(LIMIT * 5, wire.read_u8()).await;
        assert!(silence.is_err());
    }
    client.write_all(b"G").await.unwrap();
    wire.read_exact(&mut got[..1]).await.unwrap();
    assert_eq!(wire.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
