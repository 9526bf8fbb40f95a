//! An installation that is killed at random moments while it orders certificates: what is lost, what is ordered twice,
//! and how soon a domain is live after the start.

use std::time::Duration;

use anyhow::ensure;
use testkit::kills::survive;

use crate::Effort;
use crate::figure::{Report, number};

/// Kills in a full run.
const KILLS: u32 = 200;
/// What one extra order is allowed for.
const FOR_ONE_ORDER: u32 = 100;

/// Runs the scenario. It fails if a certificate is lost, or more is ordered than is allowed.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let kills = if effort.quick { 10 } else { KILLS };
    let survived = survive(kills, rand::random()).await?;
    report.add("stoa", "kills", f64::from(survived.kills), "");
    report.add("stoa", "kills_with_an_order_under_way", f64::from(survived.under_way), "");
    report.add("stoa", "lost_certificates", number(usize::try_from(survived.lost)?), "");
    report.add("stoa", "extra_orders", number(usize::try_from(survived.extra_orders)?), "");
    report.add("stoa", "of_these_after_failed_checks", number(usize::try_from(survived.failed_checks)?), "");
    report.add("stoa", "slowest_until_live", survived.slowest.as_secs_f64(), "s");
    ensure!(survived.lost == 0, "{survived:?}");
    let allowed = kills.div_ceil(FOR_ONE_ORDER);
    ensure!(survived.extra_orders <= u64::from(allowed), "{survived:?}");
    ensure!(survived.slowest < Duration::from_secs(5), "{survived:?}");
    Ok(())
}
