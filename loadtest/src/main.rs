//! Figures that need processes, peers or time: `loadtest <scenario> [--quick] [--json]`, `loadtest list`, and
//! `loadtest compare [--draw PATH]` for all that go beside peers.
//!
//! Stoa is the real binary with its real configuration: SNI from the store, routing, limits, metering and
//! access log on. Peers do the same work beside it in the same run. CPU is read from the kernel's accounting
//! of the process, never from a clock. All traffic stays on loopback and ends by itself.

mod command;
mod compare;
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

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a provider is there already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = match Command::read(std::env::args().skip(1)) {
        Ok(command) => obey(command).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(Command { order, effort, json }: Command) -> anyhow::Result<()> {
    match order {
        Order::List => Scenario::ALL.iter().for_each(|scenario| println!("{}", scenario.describe())),
        Order::Run(scenario) => {
            let mut report = Report::new(scenario.name(), json);
            scenario.run(effort, &mut report).await?;
            report.close();
        }
        Order::Compare(picture) => compare::run(effort, json, picture.as_deref()).await?,
    }
    Ok(())
}
