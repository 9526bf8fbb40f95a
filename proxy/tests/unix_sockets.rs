//! Backends at Unix sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use testkit::origin::Origin;
use testkit::wait;
use testkit::websocket::Socket;
use tokio::net::{TcpStream, UnixListener};

use crate::market::{HOST, Market};

/// A socket in front of the origin at `inner`; its URL.
fn socket(path: &Path, inner: SocketAddr) -> String {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut inner) = TcpStream::connect(inner).await else { return };
                let _ended = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    format!("unix:{}", path.display())
}

fn listing(directory: PathBuf, url: &str) -> Market {
    Market::open_with(&[url.to_owned()], |settings| settings.unix_backends = vec![directory])
}

#[tokio::test]
async fn a_backend_at_a_socket_is_served_checked_and_given_up_like_any_other() {
    let (origin, folder) = (Origin::start("one").await.unwrap(), tempfile::tempdir().unwrap());
    let url = socket(&folder.path().join("app.sock"), origin.address());
    let market = listing(folder.path().to_owned(), &url);
    market.set_site(|site| {
        site.settings.health_path = Some("/".to_owned());
        site.settings.health_interval_ms = 200;
        site.settings.first_byte_timeout_ms = 300;
    });
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        assert_eq!(curl.send().await.unwrap().body, "one");
    }
    let answer = market.visitors.get(HOST, "/slow/60000").send().await.unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (504, Some("backend_timeout")));
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let mut open = Socket::open(stream, HOST, "/ws").await.unwrap();
    open.send("hello").await.unwrap();
    assert_eq!(open.receive().await.unwrap(), "hello");
    let before = origin.requests();
    wait::until("checks", wait::LONG, async || {
        anyhow::ensure!(origin.requests() > before + 2);
        Ok(())
    })
    .await
    .unwrap();
    assert!(market.probe("/metrics").await.1.contains("stoa_backends{state=\"up\"} 1"));
    let line = market.logged(|line| line["status"] == 200).await;
    assert_eq!(line["backend"], url);
}

#[tokio::test]
async fn a_socket_that_the_operator_does_not_list_is_out_of_reach() {
    let origin = Origin::start("one").await.unwrap();
    let [inside, outside] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let secret = outside.path().join("docker.sock");
    let url = socket(&secret, origin.address());
    let link = inside.path().join("link.sock");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    for (market, what) in [
        (Market::open(std::slice::from_ref(&url)), "nothing is listed by default"),
        (listing(inside.path().to_owned(), &url), "another directory is listed"),
        (listing(inside.path().to_owned(), &format!("unix:{}", link.display())), "a link leads out"),
    ] {
        let answer = market.visitors.get(HOST, "/").send().await.unwrap();
        assert_eq!(
            (answer.status, answer.json().unwrap()["code"].as_str()),
            (502, Some("backend_down")),
            "{what}"
        );
    }
    assert_eq!(origin.requests(), 0);
}
