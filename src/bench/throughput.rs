//! `thalweg bench throughput`: lines a second, over a file.
//!
//! The runs of a round follow one another, and figures are medians over the rounds. A ratio is the median of the ratios
//! *within* the rounds, so that a slow minute of the machine counts on both sides.

use std::path::Path;

use anyhow::anyhow;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::bench::process::{Input, Job, Measured, Shape, figures, rounds, speed};
use crate::bench::{arg, baseline, rounds_arg, table};
use crate::cli::{Failure, grouped, print};
use crate::dataflow::Dataflow;
use crate::generate::Kind;
use crate::runtime::Exit;

pub(super) fn command() -> Command {
    Command::new("throughput")
        .about("Lines a second over a file, at several numbers of workers and processes")
        .arg(arg("dataflow", "NAME", "access-log", "The dataflow to run"))
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .help("The file to read [default: a generated one]"),
        )
        .arg(
            arg("lines", "N", "2000000", "Lines to generate when no file is given")
                .value_parser(clap::value_parser!(u64).range(1..)),
        )
        .arg(
            arg("workers", "LIST", "1,2", "Numbers of workers")
                .value_delimiter(',')
                .value_parser(clap::value_parser!(u16).range(1..=256)),
        )
        .arg(
            arg("processes", "LIST", "2", "Numbers of processes, of one worker each")
                .value_delimiter(',')
                .value_parser(clap::value_parser!(u16).range(1..=64)),
        )
        .arg(
            Arg::new("option")
                .long("option")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("An option of the dataflow; no plain loop is written for what it makes of it"),
        )
        .arg(rounds_arg())
}

pub(super) fn main(dataflows: &[&dyn Dataflow], matches: &ArgMatches) -> Result<(), Failure> {
    let name = matches.get_one::<String>("dataflow").expect("it has a default");
    let known: Vec<_> = dataflows.iter().map(|dataflow| dataflow.name()).collect();
    if !known.contains(&name.as_str()) {
        let error = anyhow!("no dataflow is named `{name}`; there are {}", known.join(", "));
        return Err(Failure::new(Exit::Usage, error));
    }
    let input = match matches.get_one::<String>("file") {
        Some(file) => Input::given(file).map_err(|error| Failure::new(Exit::Input, error))?,
        None => {
            let lines = *matches.get_one("lines").expect("it has a default");
            Input::generate(read_by(name), lines).map_err(|error| Failure::new(Exit::Output, error))?
        }
    };
    let measured = measure(name, &input.path, matches).map_err(|error| Failure::new(Exit::Panic, error))?;
    print(&measured)
}

/// What lines dataflow `name` reads; if it is not one of ours, access logs as likely as any.
fn read_by(name: &str) -> Kind {
    match name {
        "word-count" => Kind::Words,
        "hashtags" => Kind::Tweets,
        "action-counts" => Kind::Actions,
        _ => Kind::AccessLog,
    }
}

fn measure(name: &str, file: &Path, matches: &ArgMatches) -> anyhow::Result<String> {
    let options = matches.get_many::<String>("option").into_iter().flatten();
    let options: Vec<String> = options.map(|option| format!("--{option}")).collect();
    let baseline = options.is_empty() && baseline::NAMES.contains(&name);
    let mut shapes: Vec<Shape> = baseline.then_some(Shape::Baseline).into_iter().collect();
    shapes.extend(matches.get_many("workers").into_iter().flatten().map(|n| Shape::Workers(*n)));
    shapes.extend(matches.get_many("processes").into_iter().flatten().map(|n| Shape::Processes(*n)));
    let number: u16 = *matches.get_one("rounds").expect("it has a default");
    let job = |shape| (Job { name: name.to_owned(), options: options.clone(), shape }, file);
    let jobs: Vec<_> = shapes.iter().map(|shape| job(*shape)).collect();

    // Once for nothing, so that the file is in the page cache for all.
    jobs[0].0.run(file)?;
    let measured = rounds(&jobs, number)?;
    let rows: Vec<_> =
        shapes.iter().zip(&measured).map(|(shape, runs)| row(name, *shape, runs, &measured[0])).collect();
    let first = &measured[0][0];
    let heads: Vec<_> = ["dataflow", "workers"].into_iter().chain(Measured::HEADS).chain(["ratio"]).collect();
    let base = if shapes[0] == Shape::Baseline { "baseline".to_owned() } else { shapes[0].title() };
    Ok(format!(
        "{} lines, {:.2} GB; medians of {number} rounds\n{}ratio: lines/s over those of {base} in the same round\n",
        grouped(first.lines),
        first.bytes as f64 / 1e9,
        table(&heads, &rows),
    ))
}

fn row(name: &str, shape: Shape, runs: &[Measured], base: &[Measured]) -> Vec<String> {
    let dataflow = if shape == Shape::Baseline { format!("{name}: baseline") } else { name.to_owned() };
    let mut row = vec![dataflow, shape.title()];
    row.extend(figures(runs));
    row.push(format!("{:.2}", speed(runs, base)));
    row
}
