//! An operator suspends a tenant: its apps say so, nothing is deleted, and it comes back whole.

use anyhow::{Result, ensure};
use testkit::wait;

use crate::installation::WithApp;
use crate::unknown_host::is_a_page;

#[tokio::test]
async fn a_suspended_tenants_apps_say_so_until_it_is_resumed() -> Result<()> {
    let WithApp { stoa: _stoa, tenant, app, origin } = &WithApp::start().await?;
    tenant.suspend().await?;
    let suspended = async || {
        let answer = app.get("/").header("Accept: application/problem+json").send().await?;
        ensure!(
            answer.status == 403 && answer.json()?["code"] == "suspended",
            "{} {}",
            answer.status,
            answer.body
        );
        Ok(())
    };
    wait::until("the suspension", wait::LONG, suspended).await?;
    let seen = origin.requests();
    let page = app.get("/").header("Accept: text/html").send().await?;
    assert_eq!((page.status, origin.requests()), (403, seen));
    is_a_page(&page);
    tenant.resume().await?;
    app.live().await
}

#[tokio::test]
async fn other_tenants_are_served_meanwhile() -> Result<()> {
    let WithApp { stoa, tenant, app, origin } = &WithApp::start().await?;
    let other = stoa.tenant("ben").await?.app("blog", &[origin]).await?;
    tenant.suspend().await?;
    let suspended = async || {
        let status = app.get("/").send().await?.status;
        ensure!(status == 403, "{status}");
        Ok(())
    };
    wait::until("the suspension", wait::LONG, suspended).await?;
    other.live().await
}
