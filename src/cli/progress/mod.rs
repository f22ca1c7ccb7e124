//! What is said of a run while it goes on: a bar, a line, or objects of JSON, always on standard error.

mod bar;
mod json;
mod line;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

pub(super) use bar::{set_shown, wipe};
pub(super) use line::lag;

use crate::cli::eprint;
use crate::runtime::{self, Reports, Settings};
use crate::source::{OffsetUnit, Progress};

/// What is said of a run while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A bar over input that has an end, on a terminal; a line over other input, on a terminal that views do not go to.
    Auto,
    /// A line each second.
    Text,
    /// An object each tick.
    Json,
    /// Nothing.
    None,
}

/// How often lines are written.
const EVERY: Duration = Duration::from_secs(1);

/// What is shown until it is cleared.
#[derive(Debug)]
pub(super) enum Shown {
    Bar(bar::Bar),
    Line(line::Line),
    Nothing,
}

impl Shown {
    /// Takes it off the terminal.
    pub(super) fn clear(self) {
        match self {
            Shown::Bar(bar) => bar.clear(),
            Shown::Line(line) => line.clear(),
            Shown::Nothing => {}
        }
    }
}

/// Reads `--progress`.
fn form(given: &str) -> Result<Form, &'static str> {
    match given {
        "auto" => Ok(Form::Auto),
        "text" => Ok(Form::Text),
        "json" => Ok(Form::Json),
        "none" => Ok(Form::None),
        _ => Err("it is one of auto, text, json, none"),
    }
}

/// Has said of the run of `dataflow` what `given` asks for, `auto` where it asks for nothing.
pub(super) fn show(
    given: Option<&str>,
    dataflow: &str,
    settings: &mut Settings,
    progress: &Arc<Progress>,
) -> Result<Shown, &'static str> {
    let redraws = std::io::stderr().is_terminal() && !runtime::is_plain_wanted();
    Ok(match form(given.unwrap_or("auto"))? {
        Form::Auto if redraws && settings.is_bounded() => Shown::Bar(bar::show(progress)),
        Form::Auto if redraws && !std::io::stdout().is_terminal() => {
            let (line, reports) = line::show(EVERY);
            settings.reports = Some(reports);
            Shown::Line(line)
        }
        Form::Text => {
            let mut rates = line::Rates::default();
            let every = settings.tick.max(EVERY);
            settings.reports = Some(Reports::new(every, move |report| {
                eprint(format_args!("thalweg: {}\n", rates.text(report)));
            }));
            Shown::Nothing
        }
        Form::Json => {
            let mut objects = json::Objects::new(dataflow, settings)?;
            settings.reports = Some(Reports::new(settings.tick, move |report| {
                eprint(format_args!("{}\n", objects.next(report)));
            }));
            Shown::Nothing
        }
        Form::Auto | Form::None => Shown::Nothing,
    })
}

/// What offsets count, as people and programs are told.
pub(super) fn unit(unit: OffsetUnit) -> &'static str {
    match unit {
        OffsetUnit::Bytes => "bytes",
        OffsetUnit::Messages => "records",
        OffsetUnit::Other => "offsets",
    }
}
