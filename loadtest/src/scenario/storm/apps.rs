//! Apps that come, change and go, a change a millisecond.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::change::{Object, ObjectId};
use model::clock::{Clock as _, SystemClock};
use model::id::AppId;
use model::site::Site;
use model::tenant::Slug;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::control::Control;
use crate::stoa::ZONE;

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(1);
/// Apps that there are at a time.
const APPS: usize = 100;

/// Makes the changes.
pub(super) struct Storm {
    control: Arc<Control>,
    /// What all apps are but for their names.
    pattern: Site,
    /// Those that there are, oldest first.
    apps: VecDeque<Site>,
    made: usize,
}

/// What the next change is.
enum Turn {
    Make,
    Change,
    Delete,
}

impl Storm {
    /// Of apps like `pattern`.
    pub(super) fn new(control: Arc<Control>, pattern: Site) -> Self {
        Self { control, pattern, apps: VecDeque::new(), made: 0 }
    }

    /// Goes on until it is over, and then ends all apps; how many changes that was before, and in how many seconds.
    ///
    /// # Errors
    /// An app cannot have its name.
    pub(super) async fn rage(mut self, over: watch::Receiver<bool>) -> anyhow::Result<(usize, f64)> {
        let (begun, mut ticks) = (Instant::now(), interval(PAUSE));
        // Late ones are made up for: the rate is what was asked for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut changes = 0;
        while !*over.borrow() {
            ticks.tick().await;
            self.tell_next(turn(changes, self.apps.len()))?;
            changes += 1;
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.apps.iter().for_each(|site| self.control.remove(ObjectId::Site(site.app)));
        Ok((changes, seconds))
    }

    fn tell_next(&mut self, turn: Turn) -> anyhow::Result<()> {
        match turn {
            Turn::Make => {
                self.made += 1;
                let site = self.site(&format!("storm-{}", self.made))?;
                self.control.put(Object::Site(Box::new(site.clone())));
                self.apps.push_back(site);
            }
            Turn::Change => {
                let middle = self.apps.len() / 2;
                let site = self.apps.get_mut(middle).context("no app to change")?;
                site.settings.max_in_flight += 1;
                self.control.put(Object::Site(Box::new(site.clone())));
            }
            Turn::Delete => {
                let site = self.apps.pop_front().context("no app to delete")?;
                self.control.remove(ObjectId::Site(site.app));
            }
        }
        Ok(())
    }

    fn site(&self, name: &str) -> anyhow::Result<Site> {
        let mut site = self.pattern.clone();
        site.app = AppId::generate(SystemClock.now());
        site.name = Slug::parse(name).context("no slug")?;
        for place in &mut site.hosts {
            place.host = format!("{name}.{ZONE}").parse()?;
        }
        Ok(site)
    }
}

/// A third each, once there are apps to change and delete.
fn turn(number: usize, apps: usize) -> Turn {
    match number % 3 {
        _ if apps < APPS => Turn::Make,
        0 => Turn::Make,
        1 => Turn::Change,
        _ => Turn::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_makes_changes_and_deletes_alike() {
        let (mut apps, mut made, mut changed, mut deleted) = (0, 0, 0, 0);
        for number in 0..3_000 + APPS {
            match turn(number, apps) {
                Turn::Make => (apps, made) = (apps + 1, made + 1),
                Turn::Change => changed += 1,
                Turn::Delete => (apps, deleted) = (apps - 1, deleted + 1),
            }
        }
        assert!((APPS - 2..=APPS + 2).contains(&apps));
        assert!(made < 1_600 && changed > 700 && deleted > 700, "{made} {changed} {deleted}");
    }
}
