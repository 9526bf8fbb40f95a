//! All scenarios that go beside peers, one after another, and what came out in one place: a table, a file of
//! data, a picture.

mod circumstances;
mod picture;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::Effort;
use crate::figure::{Line, Report};
use crate::scenario::Scenario;
use circumstances::Circumstances;
use table::Table;

/// Runs them, and draws the picture if there is a path for it.
///
/// # Errors
/// A file cannot be written, or a scenario failed: the others are told nevertheless.
pub(crate) async fn run(effort: Effort, json: bool, picture: Option<&Path>) -> anyhow::Result<()> {
    let mut circumstances = Circumstances::now(effort);
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for scenario in Scenario::BESIDE_PEERS.iter().copied() {
        let mut report = Report::new(scenario.name(), json);
        if let Err(error) = scenario.run(effort, &mut report).await {
            report.note("all", &format!("failed: {error:#}"));
            failures.push(scenario.name());
        }
        report.close();
        reports.push(report);
    }
    circumstances.end();
    let table = Table::of(&reports);
    let mut caption = circumstances.sentences();
    caption.push(format!("Rounds of one proxy lay up to {:.0} % apart.", table.spread_percent));
    if !json {
        println!("\n{}\n{}", table.text(), caption.join("\n"));
    }
    write(&data()?, &format!("{:#}\n", all(&circumstances, &reports)))?;
    if let Some(path) = picture {
        write(path, &picture::draw(&table, &caption))?;
    }
    ensure!(failures.is_empty(), "these failed: {}", failures.join(", "));
    Ok(())
}

fn all(circumstances: &Circumstances, reports: &[Report]) -> Value {
    let lines: Vec<_> = reports.iter().flat_map(Report::lines).map(Line::json).collect();
    json!({"circumstances": circumstances.json(), "lines": lines})
}

/// `loadtest/compare.json` in the folder that this program was built into.
fn data() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.context("this program lies in no folder")?.join("loadtest").join("compare.json"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
