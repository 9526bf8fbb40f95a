//! An app that is changed again and again, and asked for until its answer shows the change.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::change::Object;
use model::site::{ReferrerPolicy, Site};
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::control::Control;
use crate::edge::Edge;

/// The app's name.
pub(super) const WATCHED: &str = "watched.apps.localhost";
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks: a finer time than this is not told.
const LOOK: Duration = Duration::from_millis(1);
/// A change that is not live by then never will be.
const LONGEST: Duration = Duration::from_secs(20);
/// What it is changed to, by turns; none is the default.
const POLICIES: [ReferrerPolicy; 3] =
    [ReferrerPolicy::NoReferrer, ReferrerPolicy::SameOrigin, ReferrerPolicy::StrictOrigin];

/// Changes the app, and visits it.
#[derive(Clone)]
pub(super) struct Watcher {
    control: Arc<Control>,
    visitor: Client,
    url: String,
    site: Site,
}

impl Watcher {
    /// For `site`, which the edge knows once this returns.
    ///
    /// # Errors
    /// The edge does not follow its feed.
    pub(super) async fn new(
        control: &Arc<Control>,
        site: Site,
        edge: &Edge,
        roots: &str,
    ) -> anyhow::Result<Self> {
        let visitor = Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(roots.as_bytes())?])
            .resolve(WATCHED, ([127, 0, 0, 1], edge.https).into())
            .build()?;
        let url = format!("https://{WATCHED}:{}/", edge.https);
        control.put(Object::Site(Box::new(site.clone())));
        let known = async {
            while !visitor.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                sleep(LOOK).await;
            }
        };
        timeout(LONGEST, known).await.context("the edge does not follow its feed")?;
        Ok(Self { control: Arc::clone(control), visitor, url, site })
    }

    /// Goes on until it is over; how long each change took to be live, in milliseconds.
    ///
    /// # Errors
    /// A request failed, or a change never was live.
    pub(super) async fn watch(self, mut over: watch::Receiver<bool>) -> anyhow::Result<Vec<f64>> {
        let (mut site, mut taken) = (self.site.clone(), Vec::new());
        for policy in POLICIES.into_iter().cycle() {
            if timeout(PAUSE, over.wait_for(|is_over| *is_over)).await.is_ok() {
                break;
            }
            site.headers.referrer_policy = policy;
            let told = Instant::now();
            self.control.put(Object::Site(Box::new(site.clone())));
            timeout(LONGEST, self.until_shown(policy)).await.context("a change is not live")??;
            taken.push(told.elapsed().as_secs_f64() * 1e3);
        }
        // So that the next watch does not begin with what there is.
        site.headers.referrer_policy = ReferrerPolicy::default();
        self.control.put(Object::Site(Box::new(site)));
        self.until_shown(ReferrerPolicy::default()).await?;
        Ok(taken)
    }

    async fn until_shown(&self, policy: ReferrerPolicy) -> anyhow::Result<()> {
        loop {
            let answer = self.visitor.get(&self.url).send().await?;
            let shown = answer.headers().get(http::header::REFERRER_POLICY).cloned();
            ensure!(answer.bytes().await?.len() == 1024, "another body");
            if shown.is_some_and(|shown| shown == policy.as_str()) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }
}
