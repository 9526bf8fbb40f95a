//! A process that is killed in the middle of its orders loses none. Two hundred kills: `loadtest kills`.

use std::time::Duration;

use anyhow::Result;
use testkit::kills::survive;

#[tokio::test]
async fn twenty_kills_at_any_moment_lose_no_certificate_and_order_none_twice() -> Result<()> {
    let survived = survive(20, 1).await?;
    println!("{survived:?}");
    // An order whose check is under way falls with the edge that was to answer it.
    assert_eq!((survived.lost, survived.extra_orders), (0, survived.failed_checks), "{survived:?}");
    assert!(survived.under_way >= 3, "{survived:?}");
    // Five seconds by the bar, on a machine that has other things to do.
    assert!(survived.slowest < Duration::from_secs(30), "{survived:?}");
    Ok(())
}
