use testkit::origin::Origin;
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::peer::Pair;

/// The proxy before an origin, on a runtime of its own that ends with the test's process.
async fn started(origin: &Origin) -> SocketAddr {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::make(folder.path()).unwrap();
    let port = process::free_port().unwrap();
    let bare = Bare { port, backend: origin.address().port(), chain: pair.chain, key: pair.key };
    std::thread::spawn(move || {
        let _folder = folder;
        bare.serve()
    });
    process::listening(port).await.unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The whole answer to a GET of `/echo`.
async fn ask(address: SocketAddr, host: &str) -> String {
    let tls = Tls::trusting_anyone().offering(&["http/1.1"]);
    let mut stream = tls.connect(address, HOST).await.unwrap();
    stream.write_all(format!("GET /echo HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // After an error of its own pingora closes without a farewell.
    let _closed = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn it_forwards_for_its_host_with_an_edges_headers() {
    let origin = Origin::start("backend").await.unwrap();
    let address = started(&origin).await;
    let answer = ask(address, &format!("{HOST}:{}", address.port())).await.to_ascii_lowercase();
    for part in [
        " 200 ",
        "strict-transport-security: max-age=31536000",
        "\"x-forwarded-for\":\"127.0.0.1\"",
        "\"x-forwarded-proto\":\"https\"",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

#[tokio::test]
async fn no_other_host_and_no_other_name_is_served() {
    let origin = Origin::start("backend").await.unwrap();
    let address = started(&origin).await;
    assert!(ask(address, "other.apps.localhost").await.contains(" 404 "));
    assert!(Tls::trusting_anyone().handshake(address, "other.apps.localhost").await.is_err());
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn it_offers_what_stoa_offers() {
    let origin = Origin::start("backend").await.unwrap();
    let settled = Tls::trusting_anyone().handshake(started(&origin).await, HOST).await.unwrap();
    assert_eq!(settled.alpn.as_deref(), Some("h2"));
    assert_eq!(settled.group, Some(rustls::NamedGroup::X25519MLKEM768));
}

#[test]
fn the_verb_wants_two_ports_and_two_paths() {
    let read = |line: &str| Bare::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let bare = read("1 2 chain key").unwrap();
    assert_eq!(bare, Bare { port: 1, backend: 2, chain: "chain".into(), key: "key".into() });
    assert!(read("1 2 chain").is_err());
    assert!(read("1 70000 chain key").unwrap_err().to_string().contains("`70000`"));
}

#[test]
fn the_version_is_the_one_of_the_workspace() {
    let workspace = include_str!("../../../../Cargo.toml");
    let version = PINGORA.strip_prefix("pingora ").unwrap();
    assert!(workspace.contains(&format!("pingora-proxy = {{ version = \"={version}\"")));
}
