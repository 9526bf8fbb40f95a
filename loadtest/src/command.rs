//! What is asked for on the command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

use crate::Effort;
use crate::peer::Bare;
use crate::scenario::Scenario;

/// Something to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    /// Names the scenarios.
    List,
    /// Runs one.
    Run(Scenario),
    /// Runs all that go beside peers, and draws a picture of them if there is a path for it.
    Compare(Option<PathBuf>),
    /// Is the bare proxy that other orders start.
    Bare(Bare),
    /// Lets an instrumented binary see typical work.
    Rehearse,
}

/// An order and how to carry it out.
#[derive(Debug, PartialEq)]
pub(crate) struct Command {
    /// What to do.
    pub(crate) order: Order,
    /// How thoroughly.
    pub(crate) effort: Effort,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

impl Command {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// They name no scenario, or an option that there is not.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let (mut names, mut draw, mut json, mut quick) = (Vec::new(), None, false, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => quick = true,
                "--json" => json = true,
                "--draw" => {
                    draw = Some(arguments.next().context("`--draw` wants a path, e.g. docs/speed.svg")?)
                }
                option if option.starts_with("--") => {
                    bail!("`{option}` is no option: use --quick, --json, and --draw PATH with compare")
                }
                _ => names.push(argument),
            }
        }
        let words: Vec<_> = names.iter().map(String::as_str).collect();
        let order = match words.as_slice() {
            ["bare", ..] => Order::Bare(Bare::read(names.get(1..).unwrap_or_default())?),
            ["list"] => Order::List,
            ["rehearse"] => Order::Rehearse,
            ["compare"] => Order::Compare(draw.take().map(PathBuf::from)),
            [name] => Order::Run(Scenario::named(name)?),
            _ => bail!("give one scenario; `loadtest list` names them"),
        };
        ensure!(draw.is_none(), "`--draw` goes with compare, not with `{}`", names.join(" "));
        Ok(Self { order, effort: Effort { quick }, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Command> {
        Command::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_may_stand_before_and_after_the_name() {
        let wanted =
            Command { order: Order::Run(Scenario::Upgrade), effort: Effort { quick: true }, json: true };
        assert_eq!(read("--quick upgrade --json").unwrap(), wanted);
        assert_eq!(
            read("upgrade").unwrap(),
            Command { effort: Effort { quick: false }, json: false, ..wanted }
        );
    }

    #[test]
    fn the_picture_has_a_path() {
        let order = read("compare --draw docs/speed.svg").unwrap().order;
        assert_eq!(order, Order::Compare(Some("docs/speed.svg".into())));
        assert_eq!(read("compare").unwrap().order, Order::Compare(None));
        assert!(read("compare --draw").unwrap_err().to_string().contains("wants a path"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(read("upgrade --slow").unwrap_err().to_string().contains("`--slow`"));
        assert!(read("downgrade").unwrap_err().to_string().contains("`downgrade`"));
        assert!(read("upgrade --draw x.svg").unwrap_err().to_string().contains("`upgrade`"));
        assert!(read("").is_err());
        assert!(read("upgrade compare").is_err());
    }
}
