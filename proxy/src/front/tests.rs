use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;

fn front() -> Front {
    let networks = |text: &str| [text.parse().unwrap()].into_iter().collect();
    let mut settings = Settings { proxy_protocol: networks("127.0.0.0/8"), ..Settings::default() };
    settings.trusted_proxies = networks("198.51.100.0/24");
    Front::new(&settings)
}

async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    (server, client, peer)
}

#[tokio::test]
async fn exactly_the_header_is_taken_however_it_arrives() {
    let source: SocketAddr = "198.51.100.7:1000".parse().unwrap();
    let line = b"PROXY TCP4 198.51.100.7 192.0.2.1 1000 443\r\n".to_vec();
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 80], b"\r\n"].concat();
    let mut wide = proxy_protocol::encode(source, "192.0.2.1:443".parse().unwrap());
    let padding = vec![0; 2_000];
    wide[14..16].copy_from_slice(&u16::try_from(12 + 3 + padding.len()).unwrap().to_be_bytes());
    wide.extend([0x04, 0x07, 0xd0]);
    wide.extend(padding);
    for (header, is_passed) in [(line, true), (long, false), (wide, true)] {
        for piece in [1, 7, header.len() + 5] {
            let (mut server, mut client, peer) = pair().await;
            let bytes = [header.as_slice(), b"hello"].concat();
            let sender = tokio::spawn(async move {
                for piece in bytes.chunks(piece) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                client
            });
            let ends = front().announced(&mut server, peer).await.unwrap();
            assert_eq!(ends.client, if is_passed { source } else { peer });
            assert_eq!((ends.peer, ends.is_trusted), (peer, is_passed));
            let mut rest = [0; 5];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"hello");
            drop(sender.await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_header_that_is_absent_late_or_broken_off_is_told_apart() {
    let (mut server, mut client, peer) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let error = front().announced(&mut server, peer).await.unwrap_err();
    assert!(matches!(error, Unannounced::Malformed(Malformed::Absent)), "{error}");
    let (mut server, mut client, peer) = pair().await;
    client.write_all(b"PROXY TCP4 ").await.unwrap();
    let hasty = Front { limit: Duration::from_millis(20), ..front() };
    let error = hasty.announced(&mut server, peer).await.unwrap_err();
    assert!(matches!(error, Unannounced::Late), "{error}");
    drop(client);
    let (mut server, client, peer) = pair().await;
    drop(client);
    let error = front().announced(&mut server, peer).await.unwrap_err();
    assert!(matches!(error, Unannounced::Gone(_)), "{error}");
}
