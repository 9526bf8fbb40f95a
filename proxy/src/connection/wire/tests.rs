use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

async fn pair() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (Wire::new(server, &Deadlines { header: LIMIT, ..Deadlines::default() }), client)
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

#[tokio::test(start_paused = true)]
async fn in_a_handshake_what_was_flushed_leaves_when_a_read_waits() {
    let (mut wire, mut client) = pair().await;
    wire.write_all(b"flight").await.unwrap();
    wire.flush().await.unwrap();
    assert_eq!(wire.gauge().bytes(), (0, 0));
    let answered = tokio::spawn(async move {
        let mut got = [0; 6];
        client.read_exact(&mut got).await.unwrap();
        client.write_all(b"finished").await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        (got, rest)
    });
    let mut finished = [0; 8];
    wire.read_exact(&mut finished).await.unwrap();
    assert_eq!((&finished, wire.gauge().bytes()), (b"finished", (8, 6)));
    // What ends the handshake travels with the first answer.
    wire.write_all(b"tickets").await.unwrap();
    wire.flush().await.unwrap();
    wire.serve();
    wire.hold();
    let waited = timeout(LIMIT / 2, wire.read(&mut [0])).await;
    assert!(waited.is_err(), "nothing was sent");
    wire.write_all(b"answer").await.unwrap();
    assert_eq!(wire.gauge().bytes(), (8, 6));
    wire.flush().await.unwrap();
    assert_eq!(wire.gauge().bytes(), (8, 19));
    drop(wire);
    assert_eq!(answered.await.unwrap(), (*b"flight", b"ticketsanswer".to_vec()));
}

#[tokio::test]
async fn what_ends_a_handshake_is_not_held_unasked() {
    let (mut wire, mut client) = pair().await;
    wire.write_all(b"tickets").await.unwrap();
    wire.flush().await.unwrap();
    wire.serve();
    let mut request = [0; 4];
    let (mut got, read) = ([0; 7], wire.read_exact(&mut request));
    let visitor = async {
        client.read_exact(&mut got).await.unwrap();
        client.write_all(b"GET ").await.unwrap();
    };
    let (read, ()) = tokio::join!(read, visitor);
    assert_eq!((read.unwrap(), &got, &request), (4, b"tickets", b"GET "));
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
async fn a_drip_of_bytes_does_not_put_the_first_request_off() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    let started = Instant::now();
    let drip = tokio::spawn(async move {
        while client.write_all(b"a").await.is_ok() {
            sleep(Duration::from_secs(3)).await;
        }
    });
    let mut got = Vec::new();
    let error = wire.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() < LIMIT + Duration::from_secs(1));
    assert_eq!(wire.gauge().cut(), Some(Cut::Header));
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_due_after_a_request_or_where_a_gate_looks_after_it() {
    for has_request in [true, false] {
        let (mut wire, _client) = pair().await;
        wire.serve();
        match has_request {
            true => wire.gauge().header_arrived(),
            false => wire.leave_reading(),
        }
        let silence = timeout(LIMIT * 5, wire.read_u8()).await;
        assert!(silence.is_err());
    }
}

/// Writes until nothing is taken any more; how long it took until that was an error.
async fn stuck(wire: &mut Wire) -> (io::ErrorKind, Duration) {
    let piece = vec![b'x'; 1 << 20];
    loop {
        let started = Instant::now();
        if let Err(error) = wire.write_all(&piece).await {
            return (error.kind(), started.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_does_not_read_is_cut_after_the_longest_silence() {
    let (mut wire, _client) = pair().await;
    wire.serve();
    let (kind, waited) = stuck(&mut wire).await;
    assert_eq!((kind, wire.gauge().cut()), (io::ErrorKind::TimedOut, Some(Cut::Write)));
    let limit = Deadlines::default().body;
    assert!(
        waited <= limit + Duration::from_secs(2) && waited + Duration::from_secs(2) >= limit,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_stays_in_the_kernel_for_a_visitor_who_was_cut() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    stuck(&mut wire).await;
    drop(wire);
    let error = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_reads_a_byte_now_and_then_is_cut_too() {
    let (mut wire, mut client) = pair().await;
    wire.serve();
    let sip = tokio::spawn(async move {
        while client.read_u8().await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let (kind, _) = stuck(&mut wire).await;
    assert_eq!((kind, wire.gauge().cut()), (io::ErrorKind::TimedOut, Some(Cut::Write)));
    sip.abort();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_own_deadline() {
    let (mut wire, _client) = pair().await;
    let written = timeout(LIMIT * 60, stuck(&mut wire)).await;
    assert!(written.is_err());
}
