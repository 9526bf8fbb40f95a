//! Apps whose backends are told of visitors by the PROXY protocol.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::market::{HOST, Market};
use crate::raw_origin::head;

/// Reads a header of version 2; the visitor, none for a health check.
async fn announced(tcp: &mut TcpStream) -> Option<SocketAddr> {
    let mut start = [0; 16];
    tcp.read_exact(&mut start).await.unwrap();
    assert_eq!(start[..12], *b"\r\n\r\n\0\r\nQUIT\n");
    let mut rest = vec![0; usize::from(u16::from_be_bytes([start[14], start[15]]))];
    tcp.read_exact(&mut rest).await.unwrap();
    if start[12] == 0x20 {
        return None;
    }
    assert_eq!((start[12], start[13], rest.len()), (0x21, 0x11, 12));
    let ip = Ipv4Addr::new(rest[0], rest[1], rest[2], rest[3]);
    Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes([rest[8], rest[9]])))
}

#[derive(Default)]
struct Seen {
    /// Visitors by connection.
    visitors: Mutex<Vec<SocketAddr>>,
    checks: Mutex<usize>,
}

async fn backend() -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let told = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                match announced(&mut tcp).await {
                    None => *told.checks.lock().unwrap() += 1,
                    Some(visitor) => told.visitors.lock().unwrap().push(visitor),
                }
                while head(&mut tcp).await.is_some() {
                    tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            });
        }
    });
    (url, seen)
}

#[tokio::test]
async fn a_backend_is_told_of_each_visitor_on_connections_that_no_other_uses() {
    let (url, seen) = backend().await;
    let market = Market::open_with(&[url], |settings| settings.workers = 1);
    market.set_site(|site| {
        site.settings.send_proxy_protocol = true;
        site.settings.health_interval_ms = 200;
        site.settings.health_path = Some("/".to_owned());
    });
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut expected = Vec::new();
    for _ in 0..3 {
        let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
        expected.push(stream.get_ref().0.local_addr().unwrap());
        for _ in 0..2 {
            stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let mut text = String::new();
            while !text.ends_with("ok") {
                let mut piece = [0; 1024];
                let count = stream.read(&mut piece).await.unwrap();
                assert!(count > 0, "it ended: {text}");
                text.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        }
    }
    assert_eq!(*seen.visitors.lock().unwrap(), expected, "a visitor's own requests share one, others' never");
    wait::until("a health check that names nobody", wait::LONG, async || {
        anyhow::ensure!(*seen.checks.lock().unwrap() > 1);
        Ok(())
    })
    .await
    .unwrap();
    assert!(market.probe("/metrics").await.1.contains("stoa_backends{state=\"up\"} 1"));
}
