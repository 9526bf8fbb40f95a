//! Requests at a fixed rate, whatever the answers do: what visitors feel who do not wait for one another.
//!
//! When each request is due is set before the first is sent, and its latency counts from then; so the requests that
//! a stall keeps waiting tell of it, each of them, and not only the few that were under way (the "coordinated
//! omission" of generators that wait for an answer before they ask again). A request takes the connection that has
//! been free for longest; if none is free it waits, and that is latency too. Percentiles come from histograms that
//! keep three digits.
//!
//! The generator is one thread with its own runtime, on whatever core this process is kept to. It measures itself:
//! its use of that core, and how much later it sent than it could have. Where that is much of a figure, the figure
//! is the generator's, and [`Tally::excuse`] says so.

mod alarm;
mod desk;
mod dial;
mod latency;
mod line;
mod schedule;
#[cfg(test)]
mod server;
mod tally;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::LocalSet;
use tokio::time::Instant;

pub(crate) use dial::Dial;
pub(crate) use latency::Latency;
pub(crate) use line::Http;
pub(crate) use schedule::Arrivals;
pub(crate) use tally::Tally;

/// An answer that takes longer, counted from when the request was due, is none.
const LATE: Duration = Duration::from_secs(10);

/// Connections of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    /// What is spoken.
    pub(crate) http: Http,
    /// How many there are.
    pub(crate) count: usize,
    /// Requests at a time on each; 1 with HTTP/1.1.
    pub(crate) at_a_time: usize,
}

/// Whom a connection is for.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// Its name, in SNI and in requests.
    pub(crate) host: Arc<str>,
    /// What any request to it is to be answered, if that does not depend on what is asked.
    pub(crate) wanted: Option<Wanted>,
}

/// The answer that is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// One of these.
    pub(crate) statuses: &'static [u16],
    /// Length of the body; none: it does not matter.
    pub(crate) bytes: Option<usize>,
}

/// What a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// A connection that is there.
    Kept,
    /// A new one, which takes the place of one that is there.
    New,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Its path.
    pub(crate) path: &'static str,
    /// Unless its destination says otherwise.
    pub(crate) wanted: Wanted,
    /// What it goes on.
    pub(crate) on: On,
}

/// Whoever decides what is asked, and whom.
pub(crate) trait Script: Send {
    /// The next request.
    fn ask(&mut self) -> Ask;
    /// Whom the next connection is for.
    fn destination(&mut self) -> Destination;
}

/// The same request again and again, on kept connections to one destination.
#[derive(Debug, Clone)]
pub(crate) struct Same {
    /// The request.
    pub(crate) ask: Ask,
    /// Where it goes.
    pub(crate) destination: Destination,
}

impl Script for Same {
    fn ask(&mut self) -> Ask {
        self.ask
    }

    fn destination(&mut self) -> Destination {
        self.destination.clone()
    }
}

/// What a generator is to do.
pub(crate) struct Load {
    /// How it connects.
    pub(crate) dial: Dial,
    /// Its connections; all are made before the first request is due.
    pub(crate) lines: Vec<Lines>,
    /// How requests are spread over time.
    pub(crate) arrivals: Arrivals,
    /// Requests a second.
    pub(crate) rate: f64,
    /// For how long requests are due; their answers may come later.
    pub(crate) time: Duration,
    /// What is asked.
    pub(crate) script: Box<dyn Script>,
}

impl Load {
    /// Does it, on a thread of its own.
    ///
    /// # Errors
    /// A connection cannot be made before the first request, or the kernel gives no timer. Answers that are wrong
    /// or missing are counted instead.
    pub(crate) async fn run(self) -> anyhow::Result<Tally> {
        let generate = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, self.generate())
        };
        tokio::task::spawn_blocking(generate).await.context("the generator broke")?
    }

    async fn generate(self) -> anyhow::Result<Tally> {
        let Self { dial, lines, arrivals, rate, time, script } = self;
        let (dial, desk) = (Rc::new(dial), desk::Desk::new(script));
        let mut callers = Vec::new();
        for kind in &lines {
            for _ in 0..kind.count {
                let destination = desk.script().destination();
                let line = Rc::new(line::Line::open(kind.http, Rc::clone(&dial), destination).await?);
                callers.extend((0..kind.at_a_time.max(1)).map(|_| Rc::clone(&line)));
            }
        }
        let due = schedule::times(arrivals, rate, time);
        let alarm = alarm::Alarm::new()?;
        let (begun, used) = (Instant::now(), cpu_time());
        let mut tally = desk.serve(&alarm, &due, callers).await?;
        tally.utilisation = (cpu_time() - used).as_secs_f64() / begun.elapsed().as_secs_f64();
        Ok(tally)
    }
}

/// CPU time that this thread has used.
fn cpu_time() -> Duration {
    // Neither is ever negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use server::Server;

    const FINE: Wanted = Wanted { statuses: &[200], bytes: Some(4) };

    fn load(server: &Server, http: Http, path: &'static str) -> Load {
        let destination = Destination { host: "server.test".into(), wanted: None };
        let ask = Ask { path, wanted: FINE, on: On::Kept };
        Load {
            dial: Dial::to(server.address),
            lines: vec![Lines { http, count: 3, at_a_time: 1 }],
            arrivals: Arrivals::Constant,
            rate: 500.0,
            time: Duration::from_millis(200),
            script: Box::new(Same { ask, destination }),
        }
    }

    #[tokio::test]
    async fn every_request_that_was_due_is_asked_over_http_1_and_http_2() {
        let server = Server::start().await;
        for http in [Http::One, Http::Two] {
            let tally = load(&server, http, "/").run().await.unwrap();
            assert_eq!((tally.kept.count(), tally.statuses.get(&200)), (100, Some(&100)), "{tally:?}");
            assert_eq!((tally.unwanted, tally.dialled), (0, 0), "{:?}", tally.failures);
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_wanted_one_is_counted_with_its_reason() {
        let server = Server::start().await;
        for http in [Http::One, Http::Two] {
            let tally = load(&server, http, "/missing").run().await.unwrap();
            assert_eq!((tally.unwanted, tally.statuses.get(&404)), (100, Some(&100)));
            assert!(tally.failures[0].contains("/missing: status 404"), "{:?}", tally.failures);
            let tally = load(&server, http, "/long").run().await.unwrap();
            assert_eq!(tally.unwanted, 100);
            assert!(tally.failures[0].contains("8 bytes"), "{:?}", tally.failures);
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_ends_is_made_anew() {
        let server = Server::start().await;
        let tally = load(&server, Http::One, "/last").run().await.unwrap();
        assert_eq!((tally.unwanted, tally.kept.count()), (0, 100), "{:?}", tally.failures);
        assert!(tally.dialled >= 97, "{}", tally.dialled);
    }

    /// Always on a new connection.
    struct Anew(Same);

    impl Script for Anew {
        fn ask(&mut self) -> Ask {
            Ask { on: On::New, ..self.0.ask }
        }

        fn destination(&mut self) -> Destination {
            self.0.destination()
        }
    }

    #[tokio::test]
    async fn requests_on_new_connections_are_told_apart() {
        let server = Server::start().await;
        for http in [Http::One, Http::Two] {
            let destination = Destination { host: "server.test".into(), wanted: None };
            let ask = Ask { path: "/", wanted: FINE, on: On::New };
            let script = Box::new(Anew(Same { ask, destination }));
            let load = Load { script, time: Duration::from_millis(40), ..load(&server, http, "/") };
            let tally = load.run().await.unwrap();
            assert_eq!((tally.kept.count(), tally.fresh.count(), tally.dialled), (0, 20, 20), "{tally:?}");
            assert_eq!(tally.unwanted, 0, "{:?}", tally.failures);
        }
    }
}
