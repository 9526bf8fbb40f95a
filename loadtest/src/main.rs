//! Figures that need processes, peers or time: `loadtest <scenario> [--quick] [--json]`, `loadtest list`.
//!
//! Stoa is the real binary with its real configuration: SNI from the store, routing, limits, metering and
//! access log on. Peers do the same work beside it in the same run. CPU is read from the kernel's accounting
//! of the process, never from a clock. All traffic stays on loopback and ends by itself.

mod cpu;
mod edge;
mod figure;
mod generator;
mod good;
mod machine;
mod peer;
mod process;
mod scenario;
mod stoa;
mod visitors;

use std::process::ExitCode;

use figure::Report;
use scenario::Scenario;

/// How a scenario is to be run.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Ends in under a minute; figures are rougher.
    quick: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a provider is there already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let (flags, names): (Vec<String>, Vec<String>) =
        arguments.into_iter().partition(|argument| argument.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| !matches!(flag.as_str(), "--quick" | "--json")) {
        anyhow::bail!("`{unknown}` is no option: use --quick and --json");
    }
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    match names.as_slice() {
        [verb] if verb == "list" => {
            Scenario::ALL.iter().for_each(|scenario| println!("{}", scenario.describe()));
            Ok(())
        }
        [name] => {
            let scenario = Scenario::named(name)?;
            let mut report = Report::new(scenario.name(), has("--json"));
            scenario.run(Effort { quick: has("--quick") }, &mut report).await?;
            report.close();
            Ok(())
        }
        _ => anyhow::bail!("give one scenario; `loadtest list` names them"),
    }
}
