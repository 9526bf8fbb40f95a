//! Strangers who speak nonsense to the listeners. Anybody can, by the thousand: it is counted, and no alarm.

use anyhow::{Result, ensure};
use rand::RngExt as _;
use rustls::AlertDescription;
use testkit::ca::{self, Ca};
use testkit::dns::ChallTestSrv;
use testkit::edge::Edge;
use testkit::origin::Origin;
use testkit::tls::{Tls, alert};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::installation::{Apart, WithApp, acme_config};

/// Names that strangers ask for.
const NAMES: usize = 50_000;
/// As many at a time.
const AT_A_TIME: usize = 16;

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

/// So many handshakes for names that nobody has; all are refused.
async fn ask_for_random_names(edge: &Edge, count: usize) -> Result<()> {
    let mut strangers = tokio::task::JoinSet::new();
    for _ in 0..AT_A_TIME {
        let https = edge.https;
        strangers.spawn(async move {
            let tls = Tls::trusting_anyone();
            for _ in 0..count / AT_A_TIME {
                let name = format!("{:016x}.shop.example.com", rand::rng().random::<u64>());
                let answer = tls.handshake(https, &name).await;
                let refused = answer.as_ref().err().and_then(alert);
                ensure!(refused == Some(AlertDescription::UnrecognisedName), "`{name}`: {answer:?}");
            }
            Ok(())
        });
    }
    while let Some(ended) = strangers.join_next().await {
        ended??;
    }
    Ok(())
}

#[tokio::test]
async fn random_names_cost_no_order_and_no_read_of_the_database() -> Result<()> {
    let (dns, ca) = (ChallTestSrv::start().await?, Ca::start(ca::Options::default()).await?);
    let config = acme_config(&ca.directory_url, &ca.ca_file, &dns);
    let mut apart = Apart::start(&config, "").await?;
    let origin = Origin::start("one").await?;
    let app = apart.tenant("ann").await?.app("shop", &[&origin]).await?;
    app.live().await?;
    ask_for_random_names(&apart.visited, NAMES / 2).await?;
    // Without a control plane there is no database that could be read.
    apart.control.kill9();
    ask_for_random_names(&apart.visited, NAMES / 2).await?;
    let served = apart.visited.tls()?.handshake(apart.visited.https, &app.hostname).await;
    ensure!(served.is_ok(), "{served:?}");
    apart.control.start_again().await?;
    ensure!(ca.counts().orders == 0, "{:?}", ca.counts());
    Ok(())
}
