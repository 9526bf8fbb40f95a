//! A visitor asks for a name that nobody has.

use anyhow::Result;
use serde_json::Value;
use testkit::curl::Answer;
use testkit::wait;

use crate::installation::WithApp;

/// Largest page.
const MAX_PAGE_BYTES: usize = 10 * 1024;

#[tokio::test]
async fn a_name_that_nobody_has_gets_a_page_whose_reference_stands_in_the_log() -> Result<()> {
    let WithApp { stoa, .. } = &WithApp::start().await?;
    let page = stoa.edge().get("nobody.apps.localhost", "/").header("Accept: text/html").send().await?;
    assert_eq!(page.status, 404);
    let reference = is_a_page(&page);
    let log = stoa.data().join("access.log");
    let logged = async || {
        let text = std::fs::read_to_string(&log)?;
        let line = text.lines().find(|line| line.contains(&reference));
        let line: Value = serde_json::from_str(line.ok_or_else(|| anyhow::anyhow!("not yet"))?)?;
        anyhow::ensure!(line["refusal"] == "unknown_host", "{line}");
        Ok(())
    };
    wait::until("the access log's line", wait::LONG, logged).await
}

#[tokio::test]
async fn a_program_gets_a_problem_document() -> Result<()> {
    let WithApp { stoa, .. } = &WithApp::start().await?;
    let request = stoa.edge().get("nobody.apps.localhost", "/");
    let answer = request.header("Accept: application/problem+json").send().await?;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json()?;
    assert_eq!((&problem["code"], &problem["status"]), (&"unknown_host".into(), &404.into()));
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
    Ok(())
}

/// Checks that an answer is a page for people, and returns its reference code.
pub(crate) fn is_a_page(answer: &Answer) -> String {
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(answer.body.len() <= MAX_PAGE_BYTES, "{} bytes", answer.body.len());
    assert!(!answer.body.contains("http://") && !answer.body.contains("src="), "outside assets");
    let reference = answer.header("x-request-id").unwrap_or_default();
    assert!(reference.starts_with("req_") && answer.body.contains(reference), "`{reference}`");
    reference.to_owned()
}
