//! A client asks for one name in the handshake and for another in the request, or for one that is not ours.

use anyhow::Result;
use rustls::AlertDescription;
use testkit::tls::{Tls, alert};

use crate::installation::WithApp;

#[tokio::test]
async fn a_handshake_for_a_name_that_is_not_ours_shows_no_certificate() -> Result<()> {
    let WithApp { stoa, .. } = &WithApp::start().await?;
    for name in ["shop.example.test", "apps.localhost.example.test", "x.shop.apps.localhost"] {
        let refused = Tls::trusting_anyone().handshake(stoa.edge().https, name).await;
        let alert = refused.as_ref().err().and_then(alert);
        assert_eq!(alert, Some(AlertDescription::UnrecognisedName), "{name}: {refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_for_another_host_than_the_handshakes_is_misdirected() -> Result<()> {
    let WithApp { stoa: _stoa, tenant, app, origin } = &WithApp::start().await?;
    let other = tenant.app("blog", &[origin]).await?;
    other.live().await?;
    let seen = origin.requests();
    let host = format!("Host: {}", other.hostname);
    for request in [app.get("/").http1(), app.get("/").http2()] {
        let answer = request.header(&host).header("Accept: application/problem+json").send().await?;
        assert_eq!((answer.status, &answer.json()?["code"]), (421, &"misdirected".into()));
    }
    assert_eq!(origin.requests(), seen);
    Ok(())
}
