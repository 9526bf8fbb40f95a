//! Figures that need processes, peers or time: `loadtest <scenario> [--quick] [--json]`, `loadtest list`, and
//! `loadtest compare [--draw PATH]` for all that go beside peers. `loadtest rehearse` trains a release.
//!
//! Stoa is the real binary with its real configuration: SNI from the store, routing, limits, metering and
//! access log on. Peers do the same work beside it in the same run. CPU is read from the kernel's accounting
//! of the process, never from a clock. All traffic stays on loopback and ends by itself.

mod command;
mod compare;
mod control;
mod cpu;
mod edge;
mod figure;
mod generator;
mod good;
mod machine;
mod open_loop;
mod peer;
mod process;
mod scenario;
mod stoa;
mod visitors;

use std::process::ExitCode;

use command::{Command, Order};
use figure::Report;
use scenario::Scenario;

/// How a scenario is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Effort {
    /// Ends in under a minute; figures are rougher.
    quick: bool,
}

/// As Stoa's: the bare proxy is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only if a provider is there already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Command::read(std::env::args().skip(1)).and_then(obey) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(Command { order, effort, json }: Command) -> anyhow::Result<()> {
    match order {
        Order::List => {
            Scenario::ALL.iter().for_each(|scenario| println!("{}", scenario.describe()));
            Ok(())
        }
        Order::Rehearse => block_on(scenario::rehearsal::run()),
        Order::Run(scenario) => block_on(run(scenario, effort, json)),
        Order::Compare(picture) => block_on(compare::run(effort, json, picture.as_deref())),
        // On a runtime of its own.
        Order::Bare(bare) => bare.serve(),
    }
}

async fn run(scenario: Scenario, effort: Effort, json: bool) -> anyhow::Result<()> {
    let mut report = Report::new(scenario.name(), json);
    scenario.run(effort, &mut report).await?;
    report.close();
    Ok(())
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
