//! `thalweg list`.

use std::fmt::Write;

use anyhow::anyhow;
use clap::ArgMatches;

use crate::cli::args::own_options;
use crate::cli::{Failure, print};
use crate::dataflow::AnyDataflow;

pub(super) fn list(dataflows: &[AnyDataflow], matches: &ArgMatches) -> Result<(), Failure> {
    let Some(name) = matches.get_one::<String>("dataflow") else {
        let mut text = String::new();
        for dataflow in dataflows {
            describe(dataflow, &mut text);
        }
        text += "Run one with `thalweg run DATAFLOW`.\n";
        return print(&text);
    };
    let Some(dataflow) = dataflows.iter().find(|dataflow| dataflow.name() == name) else {
        let known: Vec<_> = dataflows.iter().map(|dataflow| dataflow.name()).collect();
        return Err(Failure::configuration(anyhow!(
            "no dataflow is named `{name}`; there are {}",
            known.join(", ")
        )));
    };
    let mut text = String::new();
    describe(dataflow, &mut text);
    let _ = writeln!(text, "  default source  {}", dataflow.source());
    let _ = writeln!(text, "  default sink    {}", dataflow.sink());
    print(&text)
}

fn describe(dataflow: &AnyDataflow, text: &mut String) {
    let _ = writeln!(text, "{}: {}", dataflow.name(), dataflow.about());
    let no_options = std::iter::empty::<(&str, &str)>();
    let outline = dataflow.prepare(no_options).map_err(|error| error.to_string());
    match outline.and_then(|build| build.check().map_err(|error| error.mistake.to_string())) {
        Ok(outline) => {
            for view in outline.views {
                let columns: Vec<_> = view.columns.iter().map(|column| column.name.as_str()).collect();
                let _ = writeln!(text, "  view {} ({})", view.name, columns.join(", "));
                if !view.about.is_empty() {
                    let _ = writeln!(text, "      {}", view.about);
                }
            }
        }
        // A file that it goes by may be elsewhere.
        Err(reason) => {
            let _ = writeln!(text, "  its views are not known without options: {reason}");
        }
    }
    for option in own_options(dataflow) {
        let value = match &option.value {
            Some(value) if option.default.is_empty() => format!(" {value}"),
            Some(value) => format!(" {value} [{}]", option.default),
            None => String::new(),
        };
        let _ = writeln!(text, "  --{}{value}\n      {}", option.name, option.about);
    }
    text.push('\n');
}
