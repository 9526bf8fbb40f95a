//! Strangers who speak nonsense to the listeners. Anybody can, by the thousand: it is counted, and no alarm.

use anyhow::{Result, ensure};
use testkit::tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::installation::WithApp;

/// Speaks and waits until the edge ends it.
async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    // The edge may have ended it already: that is what is asked for.
    let _said = stream.write_all(bytes).await;
    let _ended = stream.shutdown().await;
    let _heard = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn what_strangers_break_is_nothing_that_an_operator_is_woken_for() -> Result<()> {
    let WithApp { stoa, app, .. } = &WithApp::start().await?;
    let edge = stoa.edge();
    for nonsense in
        ["GET / HTTP/1.1\r\n\r\n", "\x15\x03\x03\0\x02\x02\x28", "\x16\x03\x01\x01", "PROXY TCP4\r\n", ""]
    {
        for address in [edge.http, edge.https] {
            say(TcpStream::connect(address).await?, nonsense.as_bytes()).await;
        }
    }
    let host = app.hostname.as_str();
    let unknown = Tls::trusting_anyone().handshake(edge.https, "nobody.test").await;
    let distrustful =
        Tls::trusting(&testkit::authority::Authority::new()?.pem())?.handshake(edge.https, host).await;
    ensure!(unknown.is_err() && distrustful.is_err());
    for (protocol, nonsense) in
        [("h2", "no preface of HTTP/2, but long enough"), ("http/1.1", "\x01\x02\r\n\r\n")]
    {
        say(edge.tls()?.offering(&[protocol]).connect(edge.https, host).await?, nonsense.as_bytes()).await;
    }
    let log = stoa.log();
    ensure!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    let metrics = testkit::curl::Curl::get(format!("http://{}/metrics", stoa.ports().metrics.address()))
        .send()
        .await?
        .body;
    for kind in ["not_tls", "unknown_name", "alert_received", "gone"] {
        ensure!(
            metrics.contains(&format!("stoa_handshakes_total{{result=\"{kind}\"}}")),
            "{kind} not in {metrics}"
        );
    }
    Ok(())
}
