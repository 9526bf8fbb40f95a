//! Client certificates: who gets in, who does not, and what the app learns.

use model::client_ca::ClientCa;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind};
use testkit::authority::{Authority, Issued};
use testkit::curl::Curl;
use testkit::origin::Origin;
use testkit::tls::{Tls, alert};

use crate::market::{HOST, Market, now};

/// A name of the same site that asks for nothing.
const OPEN: &str = "open.apps.localhost";

struct Club {
    market: Market,
    authority: Authority,
    member: Issued,
    files: tempfile::TempDir,
    _origin: Origin,
}

impl Club {
    /// An edge whose site answers at [`HOST`] and [`OPEN`]; nobody is asked for a certificate yet.
    async fn found() -> Self {
        let origin = Origin::start("one").await.unwrap();
        let market = Market::open(&[origin.url()]);
        let authority = Authority::new().unwrap();
        let member = authority.issue_to("Ann, O=Bank").unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("cert.pem"), &member.chain_pem).unwrap();
        std::fs::write(files.path().join("key.pem"), &member.key_pem).unwrap();
        let club = Self { market, authority, member, files, _origin: origin };
        club.ask_for(None);
        club
    }

    /// The same, closed.
    async fn closed() -> Self {
        let club = Self::found().await;
        club.close();
        club
    }

    fn close(&self) {
        self.ask_for(Some(&self.authority));
    }

    fn ask_for(&self, authority: Option<&Authority>) {
        let ca = authority.map(|authority| ClientCa::inspect(&authority.pem(), now()).unwrap());
        self.market.set_site(|site| {
            let mut open = site.hosts[0].clone();
            open.host = OPEN.parse().unwrap();
            site.hosts[0].client_ca = ca;
            site.hosts.push(open);
        });
    }

    fn client(&self, version: &'static rustls::SupportedProtocolVersion) -> Tls {
        Tls::trusting_in(&self.market.visitors.roots_pem().unwrap(), &[version]).unwrap().remembering()
    }

    async fn ask(&self, client: &Tls, name: &str) -> Result<(HandshakeKind, String), std::io::Error> {
        client.ask(self.market.visitors.https, name, name).await
    }

    /// curl with Ann's certificate.
    fn ann(&self, path: &str) -> Curl {
        let file = |name: &str| self.files.path().join(name).display().to_string();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        self.market.visitors.get(HOST, path).args(["--cert", &cert, "--key", &key])
    }
}

fn is_shut(result: &Result<(HandshakeKind, String), std::io::Error>) -> bool {
    let wanted = [AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure];
    result.as_ref().err().and_then(alert).is_some_and(|alert| wanted.contains(&alert))
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in_and_with_one_the_app_learns_who_it_is() {
    let club = Club::closed().await;
    for version in [&TLS12, &TLS13] {
        let nobody = club.client(version);
        let refused = club.ask(&nobody, HOST).await;
        assert!(is_shut(&refused), "{version:?}: {refused:?}");
        let (_, answer) = club.ask(&nobody.showing(&club.member).unwrap(), HOST).await.unwrap();
        assert!(answer.ends_with("one"), "{answer}");
        let (_, answer) = club.ask(&nobody, OPEN).await.unwrap();
        assert!(answer.ends_with("one"), "{answer}");
    }
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &club.member.der);
    let fingerprint: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for curl in [club.ann("/echo").http1(), club.ann("/echo").http2()] {
        let forged =
            ["X-Client-Cert-Subject: CN=Bob", "X_Client_Cert_Subject: CN=Bob", "Client-Cert-Chain: x"];
        let curl = forged.iter().fold(curl, |curl, claim| curl.header(claim));
        let seen = curl.send().await.unwrap().json().unwrap();
        let headers = &seen["headers"];
        assert_eq!(headers["x-client-cert-subject"], "CN=Ann\\, O\\=Bank");
        assert_eq!(headers["x-client-cert-fingerprint"], fingerprint.as_str());
        let der = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &club.member.der);
        assert_eq!(headers["client-cert"], format!(":{der}:"));
        assert!(headers.get("x_client_cert_subject").is_none() && headers.get("client-cert-chain").is_none());
    }
    let open = club.market.visitors.get(OPEN, "/echo").header("X-Client-Cert-Subject: CN=Bob");
    let seen = open.send().await.unwrap().json().unwrap();
    assert!(seen["headers"].get("x-client-cert-subject").is_none());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let club = Club::closed().await;
    let stranger = Authority::new().unwrap().issue_to("Ann, O=Bank").unwrap();
    for version in [&TLS12, &TLS13] {
        let refused = club.ask(&club.client(version).showing(&stranger).unwrap(), HOST).await;
        // Which of the two depends on whether the stranger's authority has the same name.
        let wanted = [AlertDescription::UnknownCA, AlertDescription::DecryptError];
        let alert = refused.as_ref().err().and_then(alert);
        assert!(alert.is_some_and(|alert| wanted.contains(&alert)), "{version:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_ticket_from_before_does_not_get_in_without_a_certificate() {
    let club = Club::found().await;
    for version in [&TLS12, &TLS13] {
        club.ask_for(None);
        let visitor = club.client(version);
        let first = club.ask(&visitor, HOST).await.unwrap().0;
        let second = club.ask(&visitor, HOST).await.unwrap().0;
        assert_eq!((first == HandshakeKind::Resumed, second), (false, HandshakeKind::Resumed));
        club.close();
        let refused = club.ask(&visitor, HOST).await;
        assert!(is_shut(&refused), "{version:?}: {refused:?}");
    }
}

#[tokio::test]
async fn no_session_of_a_closed_name_is_resumed() {
    let club = Club::closed().await;
    for version in [&TLS12, &TLS13] {
        let ann = club.client(version).showing(&club.member).unwrap();
        for _ in 0..2 {
            let (kind, _) = club.ask(&ann, HOST).await.unwrap();
            assert_ne!(kind, HandshakeKind::Resumed, "{version:?}");
        }
    }
}

/// rustls keeps sessions apart by name; openssl offers whatever it is told to.
#[tokio::test]
async fn a_ticket_of_another_name_does_not_get_in_without_a_certificate() {
    let club = Club::closed().await;
    for flag in ["-tls1_2", "-tls1_3"] {
        let script = format!(
            "cd '{folder}' && ask() {{ (printf 'GET / HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n' $1; sleep 1) | \
             openssl s_client {flag} -connect {address} -servername $1 $2 s 2>&1; }}; \
             rm -f s; ask {OPEN} -sess_out > /dev/null; test -s s || echo no session; \
             ask {OPEN} -sess_in | grep -a '^Reused'; ask {HOST} -sess_in",
            folder = club.files.path().display(),
            address = club.market.visitors.https,
        );
        let output = tokio::process::Command::new("sh").args(["-c", &script]).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Reused") && !text.contains("no session"), "{flag}: {text}");
        assert!(
            text.contains("alert certificate required") || text.contains("handshake failure"),
            "{flag}: {text}"
        );
        assert!(!text.contains("200 OK"), "{flag}: {text}");
    }
}

#[tokio::test]
async fn a_connection_for_another_name_is_no_way_around() {
    let club = Club::closed().await;
    let visitors = &club.market.visitors;
    for curl in [visitors.get(OPEN, "/").http1(), visitors.get(OPEN, "/").http2()] {
        let answer = curl.header(&format!("Host: {HOST}")).send().await.unwrap();
        assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (421, Some("misdirected")));
    }
    let cleartext = visitors.get_cleartext(HOST, "/").send().await.unwrap();
    assert_eq!(cleartext.status, 308);
}

#[tokio::test]
async fn a_connection_from_before_is_misdirected_and_the_next_one_asked() {
    let club = Club::found().await;
    let visitor = club.market.visitors.visitor(HOST).unwrap();
    visitor.get("/").await.unwrap();
    club.close();
    let error = format!("{:#}", visitor.get("/").await.unwrap_err());
    assert!(error.contains("421"), "{error}");
    assert_eq!(club.ann("/").send().await.unwrap().status, 200);
    club.ask_for(Some(&Authority::new().unwrap()));
    assert!(club.ann("/").send().await.is_err(), "another authority");
    club.ask_for(None);
    let answer = club.ann("/echo").send().await.unwrap().json().unwrap();
    assert!(
        answer["headers"].get("x-client-cert-subject").is_none(),
        "nobody is asked, nobody is vouched for"
    );
}
