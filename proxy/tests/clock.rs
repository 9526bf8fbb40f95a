//! The wall clock is put forward and back by a day, as by an operator or a bad time server.

use model::limits::{Limits, Rate};
use testkit::origin::Origin;
use testkit::wait;
use tokio::time::Instant;

use crate::market::{HOST, Market};

const DAY: i64 = 24 * 3600;

#[tokio::test]
async fn a_step_of_the_wall_clock_locks_nobody_out_and_lets_nobody_off() {
    let origin = Origin::start("one").await.unwrap();
    let mut market = Market::open(&[origin.url()]);
    let rate = Rate { requests_per_minute: 30, burst: 3 };
    market.set_tenant(|tenant| tenant.limits = Limits { tenant: rate, visitor: rate });
    let status = async || market.visitors.get(HOST, "/").send().await.unwrap().status;
    wait::until("429", wait::LONG, async || {
        anyhow::ensure!(status().await == 429);
        Ok(())
    })
    .await
    .unwrap();
    for step in [DAY, -DAY] {
        market.clock.set(step);
        let (begun, mut served) = (Instant::now(), 0.0);
        for _ in 0..4 {
            served += if status().await == 200 { 1.0 } else { 0.0 };
        }
        let earned = begun.elapsed().as_secs_f64() / 2.0 + 1.0;
        assert!(served <= earned, "{served} served at once after a step of {step} s: no day has passed");
        wait::until("200", wait::LONG, async || {
            anyhow::ensure!(status().await == 200);
            Ok(())
        })
        .await
        .unwrap();
    }
    market.running.take().unwrap().drain().await;
    let served: u64 = market
        .rows
        .all()
        .iter()
        .filter(|row| row.key.class == model::usage::UsageClass::Visitor)
        .map(|row| row.counters.requests)
        .sum();
    assert_eq!(served, origin.requests(), "usage is counted in whatever minute the clock shows");
}
