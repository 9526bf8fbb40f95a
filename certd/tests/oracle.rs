//! The library's view of the scripted authority: an independent reading of the RFCs finds every page of it as
//! it should be, those that certd does not use yet included.

use std::sync::Arc;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy, RevocationRequest,
};
use model::chain;
use model::clock::{Clock as _, ManualClock};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use testkit::ca::{self, Ca, CaaRecord, CaaRecords, Check, Limits, Problem, Validation};
use time::OffsetDateTime;

const NEW: NewAccount<'_> = NewAccount {
    contact: &["mailto:ops@example.com"],
    terms_of_service_agreed: true,
    only_return_existing: false,
};

async fn account(ca: &Ca) -> Account {
    let builder = Account::builder_with_root(&ca.ca_file).unwrap();
    builder.create(&NEW, ca.directory_url.clone(), None).await.unwrap().0
}

/// A certificate with its key, PEM.
async fn certify(
    account: &Account,
    order: &NewOrder<'_>,
    by: ChallengeType,
) -> Result<(String, String), Error> {
    let mut order = account.new_order(order).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending {
            authorization.challenge(by.clone()).unwrap().set_ready().await?;
        }
    }
    let status = order.poll_ready(&RetryPolicy::default()).await?;
    assert_eq!(status, OrderStatus::Ready);
    let key = order.finalize().await?;
    Ok((order.poll_certificate(&RetryPolicy::default()).await?, key))
}

fn kind(error: &Error) -> &str {
    match error {
        Error::Api(problem) => problem.r#type.as_deref().unwrap().rsplit(':').next().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_external_account_gets_a_wildcard_by_dns() {
    testkit::tls::install_provider();
    let judge = |check: &Check| {
        let right = check.wildcard && check.kind == ca::ChallengeType::Dns01;
        if right { Ok(()) } else { Err(Problem::new("dns", "no TXT record")) }
    };
    let secret = b"shared beforehand".to_vec();
    let options = ca::Options {
        validation: Validation::by(judge),
        external_accounts: [("kid-1".to_owned(), secret.clone())].into(),
        caa: Some(CaaRecords::by(|_| Ok(vec![CaaRecord::new("issuewild", ca::IDENTITY)]))),
        ..ca::Options::default()
    };
    let ca = Ca::start(options).await.unwrap();
    let builder = || Account::builder_with_root(&ca.ca_file).unwrap();
    let refused = builder().create(&NEW, ca.directory_url.clone(), None).await.err().unwrap();
    assert_eq!(kind(&refused), "externalAccountRequired");
    let external = ExternalAccountKey::new("kid-1".to_owned(), &secret);
    let (account, _) = builder().create(&NEW, ca.directory_url.clone(), Some(&external)).await.unwrap();
    let profiles: Vec<&str> = account.profiles().map(|profile| profile.name).collect();
    assert!(profiles.contains(&"tlsserver"), "{profiles:?}");

    let names = [Identifier::Dns("*.example.com".to_owned())];
    let order = NewOrder::new(&names).profile("tlsserver");
    let (chain, key) = certify(&account, &order, ChallengeType::Dns01).await.unwrap();
    let now = model::clock::SystemClock.now();
    let found = chain::inspect(&chain, key.as_bytes(), now).unwrap();
    assert_eq!(
        (found.names[0].to_string(), found.issuer.as_str()),
        ("*.example.com".to_owned(), "the test CA")
    );
    let days = found.not_after.since(found.not_before).as_secs() / (24 * 3600);
    assert_eq!(days, 44);
}

#[tokio::test]
async fn a_certificate_is_replaced_inside_its_window_past_the_limits_and_revoked() {
    testkit::tls::install_provider();
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::at(now));
    let limits = Limits {
        certificates_per_set: Some(ca::Rate::new(1, std::time::Duration::from_secs(365 * 24 * 3600))),
        ..Limits::default()
    };
    let ca = Ca::start(ca::Options { clock: clock.clone(), limits, ..ca::Options::default() }).await.unwrap();
    let account = account(&ca).await;
    let names = [Identifier::Dns("shop.example.com".to_owned())];
    let by = ChallengeType::Http01;
    let (chain, _) = certify(&account, &NewOrder::new(&names), by.clone()).await.unwrap();
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let id = CertificateIdentifier::try_from(&leaf).unwrap();
    let (info, again) = account.renewal_info(&id).await.unwrap();
    assert!((21_590..=21_600).contains(&again.as_secs()), "{again:?}");

    let early = certify(&account, &NewOrder::new(&names).replaces(id.clone()), by.clone()).await;
    assert_eq!(kind(&early.unwrap_err()), "rateLimited");
    let present = OffsetDateTime::from_unix_timestamp(now.unix_seconds()).unwrap();
    clock.advance((info.suggested_window.start - present).try_into().unwrap());
    certify(&account, &NewOrder::new(&names).replaces(id.clone()), by.clone()).await.unwrap();
    let twice = certify(&account, &NewOrder::new(&names).replaces(id.clone()), by).await;
    assert_eq!(kind(&twice.unwrap_err()), "alreadyReplaced");
    let counts = ca.counts();
    assert_eq!((counts.renewals_inside, counts.limited()), (1, 1));

    let revocation = RevocationRequest { certificate: &leaf, reason: None };
    account.revoke(&revocation).await.unwrap();
    assert_eq!(kind(&account.revoke(&revocation).await.unwrap_err()), "alreadyRevoked");
    let (info, _) = account.renewal_info(&id).await.unwrap();
    assert!(info.suggested_window.end.unix_timestamp() < clock.now().unix_seconds());
}

#[tokio::test]
async fn an_account_changes_its_key_and_is_given_up() {
    testkit::tls::install_provider();
    let ca = Ca::start(ca::Options::default()).await.unwrap();
    let mut account = account(&ca).await;
    account.update_contacts(&["mailto:new@example.com"]).await.unwrap();
    let before = account.clone();
    let _credentials = account.update_key().await.unwrap();
    account.update_contacts(&[]).await.unwrap();
    assert_eq!(kind(&before.update_contacts(&[]).await.unwrap_err()), "malformed");
    account.clone().deactivate().await.unwrap();
    assert_eq!(kind(&account.update_contacts(&[]).await.unwrap_err()), "unauthorized");
}
