//! Whom an app's https backends are verified by.

use model::Host;
use testkit::authority::Authority;
use testkit::origin::Origin;
use testkit::wait;

use crate::http2_backends::{in_front_of, trusting};
use crate::market::{HOST, Market};

async fn status(market: &Market) -> u16 {
    market.visitors.get(HOST, "/").send().await.unwrap().status
}

#[tokio::test]
async fn an_apps_own_authority_is_believed_and_no_other_even_on_a_kept_connection() {
    let [operators, own, other] = [(), (), ()].map(|()| Authority::new().unwrap());
    let origin = Origin::start("one").await.unwrap();
    for alpn in [&["http/1.1"][..], &["http/1.1", "h2"]] {
        let url = in_front_of(origin.address(), &own, alpn).await;
        let market = trusting(&operators, &[url]);
        let believe = |pem: Option<String>| {
            market.set_site(|site| {
                site.settings.backend_ca_pem = pem.map(Into::into);
                site.settings.health_interval_ms = 600_000;
            });
        };
        assert_eq!(status(&market).await, 502, "the operator's");
        believe(Some(own.pem()));
        assert_eq!(status(&market).await, 200);
        believe(Some(other.pem()));
        assert_eq!(status(&market).await, 502, "another's");
        believe(Some(format!("{}{}", other.pem(), own.pem())));
        assert_eq!(status(&market).await, 200);
        believe(None);
        assert_eq!(status(&market).await, 502, "the operator's again");
        believe(Some("no certificate".to_owned()));
        assert_eq!(status(&market).await, 502, "nobody");
    }
}

#[tokio::test]
async fn health_checks_believe_whom_requests_believe() {
    let [operators, own] = [(), ()].map(|()| Authority::new().unwrap());
    let origin = Origin::start("one").await.unwrap();
    let market = trusting(&operators, &[in_front_of(origin.address(), &own, &["http/1.1"]).await]);
    let shown = async |wanted: &str| {
        wait::until(wanted, wait::LONG, async || {
            status(&market).await;
            let (_, metrics) = market.probe("/metrics").await;
            anyhow::ensure!(metrics.contains(wanted), "{metrics}");
            Ok(())
        })
        .await
        .unwrap();
    };
    market.set_site(|site| site.settings.health_interval_ms = 200);
    shown("stoa_backends{state=\"down\"} 1").await;
    market.set_site(|site| {
        site.settings.health_interval_ms = 200;
        site.settings.health_path = Some("/".to_owned());
        site.settings.backend_ca_pem = Some(own.pem().into());
    });
    shown("stoa_backends{state=\"up\"} 1").await;
}

#[tokio::test]
async fn a_certificate_must_have_the_name_that_the_app_says() {
    let own = Authority::new().unwrap();
    let origin = Origin::start("one").await.unwrap();
    let market = trusting(&own, &[in_front_of(origin.address(), &own, &["http/1.1"]).await]);
    let name = |name: Option<&str>| {
        market.set_site(|site| {
            site.settings.backend_server_name = name.map(|name| Host::parse(name).unwrap());
            site.settings.health_interval_ms = 600_000;
        });
    };
    assert_eq!(status(&market).await, 200, "the address");
    name(Some("backend.internal"));
    assert_eq!(status(&market).await, 200, "a name that it has too");
    name(Some("another.internal"));
    assert_eq!(status(&market).await, 502);
}
