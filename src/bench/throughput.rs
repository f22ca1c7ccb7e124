//! `thalweg bench throughput`: lines a second, over a file.
//!
//! Every run is a process of its own, so that its processor time and its peak of memory are its own; the runs of a
//! round follow one another, and figures are medians over the rounds. A ratio is the median of the ratios *within* the
//! rounds, so that a slow minute of the machine counts on both sides.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{arg, baseline, median, table};
use crate::cli::{Failure, eprint, grouped, print};
use crate::dataflow::Dataflow;
use crate::generate::{self, Kind};
use crate::runtime::{Exit, temporary_directory};

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
            arg("rounds", "N", "3", "Rounds over which the median is taken")
                .value_parser(clap::value_parser!(u16).range(1..=1000)),
        )
}

/// What a run printed of itself.
#[derive(Clone, Debug, Deserialize)]
struct Measured {
    lines: i64,
    parsed: i64,
    bytes: i64,
    seconds: f64,
    #[serde(flatten)]
    used: Used,
}

/// What a process used.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Used {
    cpu_seconds: f64,
    peak_memory: u64,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Baseline,
    Workers(u16),
    Processes(u16),
}

pub(super) fn main(dataflows: &[&dyn Dataflow], matches: &ArgMatches) -> Result<(), Failure> {
    let name = matches.get_one::<String>("dataflow").expect("it has a default");
    let known: Vec<_> = dataflows.iter().map(|dataflow| dataflow.name()).collect();
    if !known.contains(&name.as_str()) {
        let error = anyhow!("no dataflow is named `{name}`; there are {}", known.join(", "));
        return Err(Failure::new(Exit::Usage, error));
    }
    let input = match matches.get_one::<String>("file") {
        Some(file) => {
            let opened = std::fs::File::open(file).with_context(|| format!("cannot open {file}"));
            opened.map_err(|error| Failure::new(Exit::Input, error))?;
            Input { path: file.into(), ours: false }
        }
        None => {
            let lines = *matches.get_one("lines").expect("it has a default");
            Input::generate(name, lines).map_err(|error| Failure::new(Exit::Output, error))?
        }
    };
    let measured = measure(name, &input, matches).map_err(|error| Failure::new(Exit::Panic, error))?;
    print(&measured)
}

fn measure(name: &str, input: &Input, matches: &ArgMatches) -> anyhow::Result<String> {
    let mut shapes: Vec<Shape> =
        baseline::NAMES.contains(&name).then_some(Shape::Baseline).into_iter().collect();
    shapes.extend(matches.get_many("workers").into_iter().flatten().map(|n| Shape::Workers(*n)));
    shapes.extend(matches.get_many("processes").into_iter().flatten().map(|n| Shape::Processes(*n)));
    let rounds: u16 = *matches.get_one("rounds").expect("it has a default");

    // Once for nothing, so that the file is in the page cache for all.
    shapes[0].run(name, &input.path)?;
    let mut measured: Vec<Vec<Measured>> = shapes.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (shape, runs) in shapes.iter().zip(&mut measured) {
            let run = shape.run(name, &input.path)?;
            eprint(format_args!("round {round} of {rounds}: {} {:.2} s\n", shape.title(), run.seconds));
            runs.push(run);
        }
    }
    let first = &measured[0][0];
    let wrong = measured.iter().flatten().find(|run| (run.lines, run.parsed) != (first.lines, first.parsed));
    if let Some(wrong) = wrong {
        bail!("the runs disagree: {} lines, {} parsed, but also {wrong:?}", first.lines, first.parsed);
    }
    let rows: Vec<_> =
        shapes.iter().zip(&measured).map(|(shape, runs)| row(name, *shape, runs, &measured[0])).collect();
    let heads = ["dataflow", "workers", "lines/s", "MB/s", "CPU s", "peak MB", "ratio"];
    Ok(format!(
        "{} lines, {:.2} GB; medians of {rounds} rounds\n{}ratio: lines/s over those of {} in the same round\n",
        grouped(first.lines),
        first.bytes as f64 / 1e9,
        table(&heads, &rows),
        shapes[0].title()
    ))
}

fn row(name: &str, shape: Shape, runs: &[Measured], base: &[Measured]) -> Vec<String> {
    let of = |figure: fn(&Measured) -> f64| median(runs.iter().map(figure));
    let ratio = median(runs.iter().zip(base).map(|(run, base)| base.seconds / run.seconds));
    let (dataflow, workers) = match shape {
        Shape::Baseline => (format!("{name}: baseline"), "loop".to_owned()),
        Shape::Workers(workers) => (name.to_owned(), format!("-w {workers}")),
        Shape::Processes(processes) => (name.to_owned(), format!("-n {processes}")),
    };
    vec![
        dataflow,
        workers,
        grouped(of(|run| run.lines as f64 / run.seconds) as i64),
        format!("{:.0}", of(|run| run.bytes as f64 / run.seconds / 1e6)),
        format!("{:.2}", of(|run| run.used.cpu_seconds)),
        format!("{:.0}", of(|run| run.used.peak_memory as f64 / 1e6)),
        format!("{ratio:.2}"),
    ]
}

impl Shape {
    fn title(self) -> String {
        match self {
            Shape::Baseline => "baseline".to_owned(),
            Shape::Workers(workers) => format!("-w {workers}"),
            Shape::Processes(processes) => format!("-n {processes}"),
        }
    }

    fn run(self, name: &str, file: &Path) -> anyhow::Result<Measured> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let source = format!("file:{}", file.display());
        let dataflow = |args: &[&str]| {
            let mut process = Process::new(&program);
            process.args([
                "run",
                name,
                "--source",
                &source,
                "--sink",
                "jsonl:/dev/null?at=end",
                "--summary",
                "json",
            ]);
            process.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            process.spawn().context("cannot start a run")
        };
        match self {
            Shape::Baseline => {
                let mut process = Process::new(&program);
                process
                    .args(["bench", "baseline", name])
                    .arg(file)
                    .stdin(Stdio::null())
                    .stderr(Stdio::inherit());
                let output = process.output().context("cannot start the baseline")?;
                parse(&output.stdout)
            }
            Shape::Workers(workers) => finish(vec![dataflow(&["-w", &workers.to_string()])?]),
            Shape::Processes(processes) => {
                let hosts = Hostfile::new(processes)?;
                let path = hosts.0.display().to_string();
                let start = |process: u16| {
                    dataflow(&["-n", &processes.to_string(), "-p", &process.to_string(), "-h", &path])
                };
                finish((0..processes).map(start).collect::<anyhow::Result<_>>()?)
            }
        }
    }
}

/// Waits for all processes: the first has the figures; processor time is that of all, and memory that of the largest.
fn finish(processes: Vec<Child>) -> anyhow::Result<Measured> {
    let outputs = processes.into_iter().map(Child::wait_with_output).collect::<Result<Vec<_>, _>>();
    let outputs = outputs.context("cannot wait for a run")?;
    if let Some(failed) = outputs.iter().find(|output| !output.status.success()) {
        bail!("a run ended with {}: {}", failed.status, String::from_utf8_lossy(&failed.stderr));
    }
    let mut whole: Measured = parse(&outputs[0].stderr)?;
    for other in &outputs[1..] {
        let used: Used = parse(&other.stderr)?;
        whole.used.cpu_seconds += used.cpu_seconds;
        whole.used.peak_memory = whole.used.peak_memory.max(used.peak_memory);
    }
    Ok(whole)
}

/// The last line of `output` is the figures; before it may stand warnings.
fn parse<T: DeserializeOwned>(output: &[u8]) -> anyhow::Result<T> {
    let text = String::from_utf8_lossy(output);
    let last = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("a run printed no figures, but: {text}"))
}

/// The file that is read; removed afterwards if it was made for this.
struct Input {
    path: PathBuf,
    ours: bool,
}

impl Input {
    fn generate(dataflow: &str, lines: u64) -> anyhow::Result<Self> {
        let kind = if dataflow == "word-count" { Kind::Words } else { Kind::AccessLog };
        let path = temporary_directory().join(format!("thalweg-bench-{}.log", std::process::id()));
        let input = Input { path, ours: true };
        let options = generate::Options { lines: Some(lines), ..generate::Options::default_for(kind) };
        let file = std::fs::File::create_new(&input.path);
        let mut file = file.with_context(|| format!("cannot create {}", input.path.display()))?;
        eprint(format_args!("generating {} lines of {kind}\n", grouped(lines as i64)));
        generate::generate(kind, &options, &mut file)?;
        Ok(input)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A host file with free ports of this machine.
struct Hostfile(PathBuf);

impl Hostfile {
    fn new(processes: u16) -> anyhow::Result<Self> {
        let listeners =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = listeners
            .iter()
            .map(|listener| Ok(listener.local_addr()?.to_string()))
            .collect::<std::io::Result<_>>()?;
        let path = temporary_directory().join(format!("thalweg-bench-{}.hosts", std::process::id()));
        std::fs::write(&path, addresses.join("\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Hostfile(path))
    }
}

impl Drop for Hostfile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
