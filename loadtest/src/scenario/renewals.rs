//! Years of renewals at an authority with Let's Encrypt's limits, simulated: what certd decides, without wire, keys and
//! database. Held to bars; a bar that is missed fails the run.

mod ledger;
mod process;
mod questions;
mod world;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use model::Timestamp;
use model::id::TenantId;
use store::Urgency;
use tokio::time::Instant;

use self::world::{Away, Done, World};
use crate::figure::{Report, events, number, percentile};
use crate::{Effort, cpu};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Of certificates of Let's Encrypt's profile `tlsserver`.
const LONG: Duration = DAY.saturating_mul(45);
/// Of its profile `shortlived`.
const SHORT: Duration = HOUR.saturating_mul(160);
/// Names are connected so far apart: a little slower than an account's limit refills.
const APART: Duration = Duration::from_secs(40);
/// Creators who come while everything else happens.
const CREATOR_EVERY: Duration = Duration::from_secs(90);
/// The longest time that an authority is away.
const OUTAGE: Duration = HOUR.saturating_mul(72);

/// Runs all stories.
pub(super) fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let share = if effort.quick { 20 } else { 1 };
    years(report, 100_000 / share, 730)?;
    revoked(report, (20_000 / share, 20_000 / share))?;
    revoked(report, (100_000 / share, 20_000 / share))?;
    for eighth in 0..8 {
        away(report, 20_000 / share, eighth)?;
    }
    burst(report, 5_000 / u32::try_from(share)?)?;
    report.add("stoa", "peak_memory", cpu::peak_bytes()? / f64::from(1 << 20), "MiB");
    Ok(())
}

/// So many names, connected one after the other.
fn connected(lifetime: Duration, names: usize, seed: u64) -> anyhow::Result<(World, Timestamp)> {
    let mut world = World::new(lifetime, seed);
    let (mut at, tenant) = (world.now, TenantId::generate(world.now));
    for _ in 0..names {
        at = at.plus(APART);
        world.connect(at, tenant)?;
    }
    Ok((world, at))
}

/// Nothing happens but time.
fn years(report: &mut Report, names: usize, days: u32) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut world, _) = connected(LONG, names, 1)?;
    world.pass_until(world.now.plus(DAY * days));
    let tally = world.stub.tally();
    let renewals = tally.renewals_inside + tally.renewals_outside;
    let inside = 100.0 * events(tally.renewals_inside) / events(renewals);
    let refused: u64 = tally.refused.values().sum();
    let expired = world.expired + u64::try_from(world.ended())?;
    let what = format!("{names} names, {days} days");
    report.note("stoa", &what);
    report.add("stoa", "renewals", events(renewals), "");
    report.add("stoa", "renewals_inside_window", inside, "%");
    report.add("stoa", "questions", events(tally.questions), "");
    report.add("stoa", "expired", events(expired), "");
    report.add("stoa", "refused_by_a_limit", events(refused), "");
    report.add("stoa", "wall_time", begun.elapsed().as_secs_f64(), "s");
    ensure!((expired, refused, world.unserved()) == (0, 0, 0), "{what}: {tally:?}");
    ensure!(renewals >= u64::try_from(names)? * u64::from(days / 31).saturating_sub(3), "{what}: {tally:?}");
    ensure!(inside >= 99.9, "{what}: {tally:?}");
    Ok(())
}

/// An authority wants certificates back: some of all, at once.
fn revoked(report: &mut Report, (names, revoked): (usize, usize)) -> anyhow::Result<()> {
    let (mut world, connected) = connected(LONG, names, 2)?;
    let begun = connected.plus(DAY);
    for creator in 0..240_u32 {
        world.connect(begun.plus(CREATOR_EVERY * creator), TenantId::generate(begun))?;
    }
    world.pass_until(begun);
    world.done.clear();
    // Spread over all that there are.
    let each = names / revoked.max(1);
    ensure!(world.revoke(|name| name < names && name % each == 0) >= revoked, "too few to revoke");
    world.pass_until(begun.plus(HOUR * 6));
    let is_first = |done: &&Done| done.urgency == Urgency::Waiting;
    let replaced = || world.done.iter().filter(|done| done.was_revoked);
    let last = replaced().map(|done| done.done_at).max().unwrap_or(begun);
    let during = |done: &&Done| done.begun_at < last;
    let waits = world.done.iter().filter(is_first).filter(during);
    let mut waits: Vec<f64> = waits.map(|done| done.done_at.since(done.begun_at).as_secs_f64()).collect();
    let what = format!("{revoked} of {names} certificates revoked at once");
    let (took, wait) = (last.since(begun), percentile(&mut waits, 99));
    let refused: u64 = world.stub.tally().refused.values().sum();
    report.note("stoa", &what);
    report.add("stoa", "replaced", number(replaced().count()), "");
    report.add("stoa", "all_replaced_after", took.as_secs_f64() / 60.0, "min");
    report.add("stoa", "creators", number(waits.len()), "");
    report.add("stoa", "creators_wait_p99", wait, "s");
    report.add("stoa", "refused_by_a_limit", events(refused), "");
    ensure!(replaced().count() >= revoked && refused == 0, "{what}");
    ensure!(took <= HOUR, "{what}: {took:?}");
    ensure!(wait <= 30.0, "{what}: a creator waits {wait} s");
    Ok(())
}

/// Short certificates, and an authority that is away as long as it may be; begun at each eighth of the time between two
/// renewals, answering that it is away or not at all.
fn away(report: &mut Report, names: usize, eighth: u32) -> anyhow::Result<()> {
    let (mut world, connected) = connected(SHORT, names, 3)?;
    let from = connected.plus(SHORT).plus(SHORT / 2 / 8 * eighth);
    let how = if eighth.is_multiple_of(2) { Away::Says } else { Away::Hangs };
    world.go_away(from..from.plus(OUTAGE), how);
    world.pass_until(from.plus(OUTAGE).plus(SHORT * 2));
    let refused: u64 = world.stub.tally().refused.values().sum();
    let expired = world.expired + u64::try_from(world.ended())?;
    let what =
        format!("{names} names with certificates of 160 hours, 72 hours without the authority ({how:?})");
    report.note("stoa", &what);
    report.add("stoa", "expired", events(expired), "");
    report.add("stoa", "refused_by_a_limit", events(refused), "");
    report.add("stoa", "longest_line", number(world.longest_line), "orders");
    ensure!((expired, refused) == (0, 0), "{what}");
    Ok(())
}

/// Many names at once: half of them one tenant's, in the first ten minutes; a tenth of them tenants' own only ones; the
/// others ten tenants'.
fn burst(report: &mut Report, names: u32) -> anyhow::Result<()> {
    let mut world = World::new(LONG, 4);
    let begun = world.now;
    let tenants: Vec<TenantId> = (0..=10).map(|_| TenantId::generate(begun)).collect();
    let mut owners = Vec::new();
    for number in 0..names {
        let (one, hour) = match number {
            _ if number < names / 2 => (tenants.first().copied(), HOUR / 6 * number / (names / 2)),
            _ if number < names / 10 * 6 => (None, HOUR * (number - names / 2) / (names / 10)),
            _ => (tenants.get(1 + number as usize % 10).copied(), HOUR * number / names),
        };
        let tenant = one.unwrap_or_else(|| TenantId::generate(begun));
        owners.push(tenant);
        world.connect(begun.plus(hour), tenant)?;
    }
    world.share();
    world.pass_until(begun.plus(HOUR + MINUTE));
    let told_at = world.now;
    let told: HashMap<usize, Timestamp> = world.turns().into_iter().collect();
    let most = fairest(&mut world, &owners);
    let wrong = |name: &Done, at: Timestamp, turn: Timestamp| {
        let (waited, expected) = (name.done_at.since(at), turn.since(at));
        100.0 * waited.abs_diff(expected).as_secs_f64() / waited.as_secs_f64()
    };
    let then = world.done.iter().filter_map(|done| Some(wrong(done, told_at, *told.get(&done.name)?)));
    let then = percentile(&mut then.collect::<Vec<_>>(), 99);
    // What is seen after a minute of waiting, by those who came while others still came.
    let early = world.done.iter().filter_map(|done| {
        let at = done.begun_at.plus(MINUTE);
        let (_, turn) = done.told.iter().rfind(|(told_at, _)| *told_at <= at)?;
        (done.done_at > at).then(|| wrong(done, at, *turn))
    });
    let mut early: Vec<f64> = early.collect();
    let (half, most_early) = (percentile(&mut early, 50), percentile(&mut early, 99));
    let refused: u64 = world.stub.tally().refused.values().sum();
    let what = format!("{names} names in an hour");
    report.note("stoa", &what);
    report.add("stoa", "certified", number(world.done.len()), "");
    report.add("stoa", "refused_by_a_limit", events(refused), "");
    report.add("stoa", "all_certified_after", world.now.since(begun).as_secs_f64() / 3600.0, "h");
    report.add("stoa", "error_of_time_told_p99", then, "%");
    report.add("stoa", "error_of_time_told_early_p50", half, "%");
    report.add("stoa", "error_of_time_told_early_p99", most_early, "%");
    report.add("stoa", "most_of_a_tenant", most, "shares");
    ensure!(world.done.len() == owners.len() && refused == 0, "{what}: {:?}", world.stub.tally());
    ensure!(then <= 10.0, "{what}: the time that is told is wrong by {then} %");
    ensure!(most <= 2.0, "{what}: a tenant has {most} times its share");
    Ok(())
}

/// Lets all that wait have their turns; gives the most that a tenant had in an hour, in shares.
fn fairest(world: &mut World, owners: &[TenantId]) -> f64 {
    let mut most: f64 = 0.0;
    loop {
        let mut wanted: HashMap<TenantId, usize> = HashMap::new();
        for tenant in world.turns().iter().filter_map(|(name, _)| owners.get(*name)) {
            *wanted.entry(*tenant).or_default() += 1;
        }
        if wanted.is_empty() {
            return most;
        }
        let before = world.done.len();
        world.pass_until(world.now.plus(HOUR));
        let had = world.done.get(before..).unwrap_or_default();
        let mut of_each: HashMap<TenantId, usize> = HashMap::new();
        for tenant in had.iter().filter_map(|done| owners.get(done.name)) {
            *of_each.entry(*tenant).or_default() += 1;
        }
        let share = share(wanted.into_values().collect(), had.len());
        let top = of_each.into_values().max().unwrap_or_default();
        most = most.max(number(top) / share);
    }
}

/// The most that one gets if so much is shared evenly and nobody gets more than is wanted (max-min fairness); 1 at least.
fn share(mut wanted: Vec<usize>, all: usize) -> f64 {
    wanted.sort_unstable();
    let (mut left, mut share) = (number(all), 0.0_f64);
    for (place, one) in wanted.iter().enumerate() {
        let even = left / number(wanted.len() - place);
        let given = even.min(number(*one));
        (left, share) = (left - given, share.max(given));
    }
    share.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new("renewals", true)
    }

    #[test]
    fn a_year_of_two_thousand_names_stays_inside_all_windows_and_limits() {
        years(&mut report(), 2_000, 365).unwrap();
    }

    #[test]
    fn thousands_of_revoked_certificates_are_replaced_within_an_hour_and_keep_no_creator_waiting() {
        revoked(&mut report(), (4_000, 4_000)).unwrap();
    }

    #[test]
    fn a_thousand_names_in_an_hour_wait_as_long_as_they_are_told_and_no_tenant_has_all_turns() {
        burst(&mut report(), 1_000).unwrap();
    }

    #[test]
    fn what_one_does_not_want_is_shared_by_the_others() {
        assert!((share(vec![1, 100, 100], 11) - 5.0).abs() < f64::EPSILON);
        assert!((share(vec![1, 1], 10) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn three_days_without_an_authority_end_no_short_certificate() {
        away(&mut report(), 500, 2).unwrap();
        away(&mut report(), 500, 3).unwrap();
    }
}
