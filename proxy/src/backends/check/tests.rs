use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;

/// Answers every connection on a port of its own with `answer` after reading a request; returns its address.
async fn origin(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

fn settings(path: Option<&str>) -> Settings {
    Settings { connect_timeout_ms: 1_000, health_path: path.map(str::to_owned), ..Settings::default() }
}

async fn checked(answer: &'static [u8], path: Option<&str>) -> Result<(), String> {
    let address = origin(answer).await;
    let url = format!("http://{address}").parse().unwrap();
    let roots = Some(Arc::new(RootCertStore::empty()));
    Checker::new(roots, Arc::default())
        .check(&url, &Place::Inet(address), &settings(path), None)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn success_and_redirection_are_good() {
    for answer in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.0 204 \r\n\r\n", b"HTTP/1.1 302 Found\r\n\r\n"] {
        assert_eq!(checked(answer, Some("/health")).await, Ok(()));
    }
}

#[tokio::test]
async fn anything_else_is_bad_and_says_why() {
    for (answer, error) in [
        (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], "status 503"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP/1"),
        (b"HTTP/1.1 +20 OK\r\n\r\n", "the answer is not HTTP/1"),
    ] {
        assert_eq!(checked(answer, Some("/")).await, Err(error.to_owned()));
    }
    assert!(checked(b"HTTP", Some("/")).await.is_err(), "an answer that breaks off");
}

#[tokio::test]
async fn without_a_path_a_connection_is_enough() {
    assert_eq!(checked(b"SSH-2.0-OpenSSH_9.2\r\n", None).await, Ok(()));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_bad() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}").parse().unwrap();
    let checker = Checker::new(Some(Arc::new(RootCertStore::empty())), Arc::default());
    assert!(matches!(
        checker.check(&url, &Place::Inet(closed), &settings(None), None).await,
        Err(CheckError::Io(_))
    ));
}

#[tokio::test]
async fn the_request_names_the_backend_and_the_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        request.truncate(length);
        String::from_utf8(request).unwrap()
    });
    let url = format!("http://{address}").parse().unwrap();
    let checker = Checker::new(Some(Arc::new(RootCertStore::empty())), Arc::default());
    checker.check(&url, &Place::Inet(address), &settings(Some("/health?deep=1")), None).await.unwrap();
    let heard = heard.await.unwrap();
    assert!(heard.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("\r\nHost: {address}\r\n")) && heard.ends_with("\r\n\r\n"), "{heard}");
}

/// A TLS server with a certificate of its own for `name`, and the anchor that trusts it.
async fn tls_origin(name: &str) -> (SocketAddr, Arc<RootCertStore>) {
    let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    (address, Arc::new(roots))
}

#[tokio::test]
async fn a_certificate_is_verified_for_a_name_and_for_an_address() {
    let (address, roots) = tls_origin("127.0.0.1").await;
    let by_address = format!("https://{address}").parse().unwrap();
    let by_name = format!("https://localhost:{}", address.port()).parse().unwrap();
    let settings = settings(Some("/"));
    let trusting = Checker::new(Some(roots), Arc::default());
    assert!(trusting.check(&by_address, &Place::Inet(address), &settings, None).await.is_ok());
    assert!(
        trusting.check(&by_name, &Place::Inet(address), &settings, None).await.is_err(),
        "the certificate is for the address"
    );
    let (address, roots) = tls_origin("localhost").await;
    let by_name = format!("https://localhost:{}", address.port()).parse().unwrap();
    assert!(
        Checker::new(Some(roots), Arc::default())
            .check(&by_name, &Place::Inet(address), &settings, None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_bad() {
    let (address, _) = tls_origin("127.0.0.1").await;
    let (_, others) = tls_origin("127.0.0.1").await;
    let url = format!("https://{address}").parse().unwrap();
    assert!(
        Checker::new(Some(others), Arc::default())
            .check(&url, &Place::Inet(address), &settings(None), None)
            .await
            .is_err()
    );
}
