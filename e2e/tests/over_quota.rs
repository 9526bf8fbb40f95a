//! A tenant, or one visitor of it, asks for more than it may.

use anyhow::{Result, ensure};
use testkit::curl::Answer;
use testkit::wait;

use crate::installation::WithApp;

/// One a minute with a burst of five.
const TIGHT: (u32, u32) = (1, 5);

/// As good as none.
const WIDE: (u32, u32) = (60_000, 6_000);

#[tokio::test]
async fn a_tenant_over_its_quota_gets_a_page_that_says_when_to_come_back() -> Result<()> {
    refused_over(TIGHT, WIDE, "tenant_limit").await
}

#[tokio::test]
async fn a_visitor_who_asks_too_fast_gets_a_page_that_says_when_to_come_back() -> Result<()> {
    refused_over(WIDE, TIGHT, "visitor_limit").await
}

async fn refused_over(tenant: (u32, u32), visitor: (u32, u32), code: &str) -> Result<()> {
    let WithApp { stoa: _stoa, tenant: owner, app, origin } = &WithApp::start().await?;
    owner.limit(tenant, visitor).await?;
    let problem = wait::until("a refusal", wait::LONG, async || {
        let answer = app.get("/").header("Accept: application/problem+json").send().await?;
        ensure!(answer.status == 429, "{}", answer.status);
        Ok(answer)
    });
    let problem = problem.await?;
    assert_eq!(problem.json()?["code"], code);
    let seen = origin.requests();
    let page = app.get("/").header("Accept: text/html").send().await?;
    assert_eq!((page.status, origin.requests()), (429, seen));
    says_when_to_come_back(&page);
    let counted = async || {
        let used = owner.used().await?;
        ensure!(used.blocked >= 2 && used.visitor <= origin.requests(), "{used:?}");
        Ok(())
    };
    wait::until("the blocked requests to be counted apart", wait::LONG, counted).await
}

fn says_when_to_come_back(page: &Answer) {
    let wait = page.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(wait.is_some_and(|seconds| (1..=60).contains(&seconds)), "{:?}", page.headers);
    assert!(
        page.header("ratelimit").is_some() && page.header("ratelimit-policy").is_some(),
        "{:?}",
        page.headers
    );
    crate::unknown_host::is_a_page(page);
}
