use super::*;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn account() -> Owner {
    (1, String::new())
}

/// How many tokens can be taken one after the other.
fn drain(buckets: &mut Buckets, limit: Limit, owner: &Owner, now: Timestamp) -> u32 {
    let mut taken = 0;
    while buckets.check(limit, owner, now).is_ok() {
        buckets.spend(limit, owner.clone(), now);
        taken += 1;
    }
    taken
}

#[test]
fn a_bucket_gives_its_size_and_then_one_token_at_a_time() {
    let mut buckets = Buckets::new(Limits::lets_encrypt());
    let limit = Limit::OrdersPerAccount;
    assert_eq!(drain(&mut buckets, limit, &account(), now()), 300);
    let second = Duration::from_secs(1);
    assert_eq!(drain(&mut buckets, limit, &account(), now().plus(second * 35)), 0);
    assert_eq!(drain(&mut buckets, limit, &account(), now().plus(second * 36)), 1);
    assert_eq!(drain(&mut buckets, limit, &account(), now().plus(second * 36 * 11)), 10);
    assert_eq!(drain(&mut buckets, limit, &account(), now().plus(HOUR * 4)), 300);
    assert_eq!(drain(&mut buckets, limit, &(2, String::new()), now()), 300);
}

#[test]
fn a_refusal_says_which_limit_and_when_as_lets_encrypt_does() {
    let mut buckets = Buckets::new(Limits::lets_encrypt());
    let mut refusal = |limit, owner: Owner| {
        drain(&mut buckets, limit, &owner, now());
        buckets.check(limit, &owner, now()).unwrap_err().problem(now())
    };
    let orders = refusal(Limit::OrdersPerAccount, account());
    assert_eq!((orders.kind, orders.status.as_u16()), ("rateLimited", 429));
    assert_eq!(orders.retry_after, Some(Duration::from_secs(36)));
    assert_eq!(
        orders.detail,
        "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-11-23 12:00:36 UTC: \
         see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account"
    );
    let domain = refusal(Limit::CertificatesPerDomain, (0, "example.com".to_owned()));
    assert!(
        domain.detail.starts_with(
            "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s, retry after \
             2026-11-23 15:21:36 UTC: "
        ),
        "{}",
        domain.detail
    );
    let set = refusal(Limit::CertificatesPerSet, (0, "a.example.com".to_owned()));
    assert!(set.detail.contains("for this exact set of identifiers in the last 168h0m0s"), "{}", set.detail);
    assert_eq!(set.retry_after, Some(DAY * 7 / 5));
    let failed = refusal(Limit::FailedAuthorizations, (1, "a.example.com".to_owned()));
    assert!(
        failed
            .detail
            .starts_with("too many failed authorizations (5) for \"a.example.com\" in the last 1h0m0s"),
        "{}",
        failed.detail
    );
}

#[test]
fn what_is_not_limited_is_never_refused_and_nothing_is_kept_of_it() {
    let mut buckets = Buckets::new(Limits::default());
    for _ in 0..1000 {
        buckets.spend(Limit::OrdersPerAccount, account(), now());
    }
    assert_eq!(buckets.check(Limit::OrdersPerAccount, &account(), now()), Ok(()));
    assert!(buckets.full_at.is_empty());
}

#[test]
fn full_buckets_are_forgotten() {
    let mut buckets = Buckets::new(Limits::lets_encrypt());
    for hour in 0..30_000_u32 {
        let owner = (0, format!("{hour}.example.com"));
        buckets.spend(Limit::FailedAuthorizations, owner, now().plus(HOUR * hour));
    }
    assert!(buckets.full_at.len() <= SWEEP + 1, "{}", buckets.full_at.len());
}

#[test]
fn a_registered_domain_is_the_last_two_labels() {
    for (name, domain) in [
        ("shop.eu.example.com", "example.com"),
        ("*.example.com", "example.com"),
        ("example.com", "example.com"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(registered_domain(name), domain);
    }
}
