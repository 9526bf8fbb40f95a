//! The stoa binary: reads the command line, builds the parts, passes them down.
//!
//! Row 5: the only place that knows the configuration and every part. Deliberately absent: what the parts do.

mod client;
mod command;
mod control;
mod custody;
mod data;
mod demo;
mod doctor;
mod edge;
mod files;
mod following;
mod log;
mod master_key;
mod names;
mod notify;
mod rebuild;
mod roles;
mod running;
mod seed;
mod settings;
mod shutdown;
mod succession;
mod trust;
mod upkeep;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use command::{Line, Verb};
use succession::Heritage;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a configuration that is not valid, as clap's of a command line that is not.
const INVALID: u8 = 2;

fn main() -> ExitCode {
    // First of all: whoever asks rustls for a provider must find this one, which knows X25519MLKEM768.
    // It fails only if one is installed already, and nothing has run yet.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let line = Line::parse();
    match start(line.verb) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn start(verb: Verb) -> anyhow::Result<ExitCode> {
    // Before there is any thread: it reads and changes the environment.
    let heritage = if verb.is_service() { Heritage::take()? } else { Heritage::default() };
    let predecessor = heritage.predecessor();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.context("cannot start the runtime").and_then(|it| it.block_on(run(verb, heritage)));
    if let (Err(error), Some(predecessor)) = (&ended, predecessor) {
        predecessor.tell_failure(&format!("{error:#}"));
    }
    ended
}

async fn run(verb: Verb, heritage: Heritage) -> anyhow::Result<ExitCode> {
    if let Verb::Diff { place, running, json } = &verb {
        return Ok(differs(running::diff(place, running.as_deref(), *json)));
    }
    perform(verb, heritage).await.map(|()| ExitCode::SUCCESS)
}

async fn perform(verb: Verb, heritage: Heritage) -> anyhow::Result<()> {
    match verb {
        Verb::Up { place, restored } => {
            roles::up(settings::load(&place, config::Role::Up)?, restored.into(), heritage).await
        }
        Verb::Run { role: command::Role::Edge, place, .. } => {
            roles::edge(settings::load(&place, config::Role::Edge)?, heritage).await
        }
        Verb::Run { role: command::Role::Control, place, restored } => {
            roles::control(settings::load(&place, config::Role::Control)?, restored.into(), heritage).await
        }
        Verb::Check(place) => settings::check(&place),
        Verb::Trust(place) => settings::trust(&place),
        Verb::Store(verb) => rebuild::run(verb).await,
        Verb::DomainConnect(command::DomainConnectVerb::Template(place)) => settings::template(&place),
        Verb::MasterKey(verb) => master_key::run(verb).await,
        Verb::Doctor(place) => doctor::run(&place).await,
        verb => client::run(verb).await,
    }
}

/// As diff(1): 1 tells differences, so trouble is 2.
fn differs(compared: anyhow::Result<bool>) -> ExitCode {
    match compared {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stoa: {error:#}");
            ExitCode::from(INVALID)
        }
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("stoa: {error:#}");
    if error.is::<config::ConfigErrors>() { ExitCode::from(INVALID) } else { ExitCode::FAILURE }
}
