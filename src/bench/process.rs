//! Runs that are processes of their own, so that their processor time and their peak of memory are their own; and the files
//! that they read.

use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::bench::{BenchError, Notes, baseline, median};
use crate::data::grouped;
use crate::generate;
use crate::generate::Kind;
use crate::runtime::temporary_directory;

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The dataflow.
    pub(super) name: String,
    /// Its own options, as arguments: `--length=30s`.
    pub(super) options: Vec<String>,
    pub(super) shape: Shape,
}

/// How many workers and processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The plain loop.
    Baseline,
    Workers(u16),
    Processes(u16),
}

/// What a run printed of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Measured {
    pub(super) lines: i64,
    pub(super) parsed: i64,
    pub(super) bytes: i64,
    pub(super) seconds: f64,
    #[serde(flatten)]
    used: Used,
    /// What a plain loop says of its answer.
    #[serde(default)]
    pub(super) answer: serde_json::Value,
}

/// What a process used.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Used {
    cpu_seconds: f64,
    peak_memory: u64,
}

impl Measured {
    /// What the columns of [`figures`] are called.
    pub(super) const HEADS: [&str; 4] = ["lines/s", "MB/s", "CPU s", "peak MB"];
}

/// The medians over `runs`, one for each of [`Measured::HEADS`].
pub(super) fn figures(runs: &[Measured]) -> [String; 4] {
    let of = |figure: fn(&Measured) -> f64| median(runs.iter().map(figure));
    [
        grouped(of(|run| run.lines as f64 / run.seconds) as i64),
        format!("{:.0}", of(|run| run.bytes as f64 / run.seconds / 1e6)),
        format!("{:.2}", of(|run| run.used.cpu_seconds)),
        format!("{:.0}", of(|run| run.used.peak_memory as f64 / 1e6)),
    ]
}

/// How much faster `runs` are than those of `base`: the median of the ratios within the rounds.
pub(super) fn speed(runs: &[Measured], base: &[Measured]) -> f64 {
    median(runs.iter().zip(base).map(|(run, base)| base.seconds / run.seconds))
}

/// Runs the jobs one after the other, `rounds` times, each over the file beside it; returns the runs of each.
///
/// # Errors
///
/// When one fails, or two jobs over one file do not agree on what they have read.
pub(super) fn rounds(
    jobs: &[(Job, &Path)],
    rounds: u16,
    notes: &mut Notes<'_>,
) -> Result<Vec<Vec<Measured>>, BenchError> {
    let mut measured: Vec<Vec<Measured>> = jobs.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for ((job, file), runs) in jobs.iter().zip(&mut measured) {
            let run = job.run(file)?;
            notes(&format!("round {round} of {rounds}: {} {:.2} s", job.title(), run.seconds));
            runs.push(run);
        }
    }
    for ((job, file), runs) in jobs.iter().zip(&measured) {
        let first = jobs.iter().position(|(_, other)| other == file).map_or(runs, |at| &measured[at]);
        let (lines, parsed) = (first[0].lines, first[0].parsed);
        if let Some(wrong) = runs.iter().find(|run| (run.lines, run.parsed) != (lines, parsed)) {
            let expected = format!("{lines} lines, {parsed} parsed");
            return Err(BenchError::Disagree { expected, found: format!("{}: {wrong:?}", job.title()) });
        }
    }
    Ok(measured)
}

impl Shape {
    pub(super) fn title(self) -> String {
        match self {
            Shape::Baseline => "loop".to_owned(),
            Shape::Workers(workers) => format!("-w {workers}"),
            Shape::Processes(processes) => format!("-n {processes}"),
        }
    }
}

impl Job {
    pub(super) fn new(name: &str, options: &[&str], shape: Shape) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Job { name: name.to_owned(), options, shape }
    }

    /// For people who watch.
    pub(super) fn title(&self) -> String {
        let options: String = self.options.iter().map(|option| format!(" {option}")).collect();
        format!("{}{options} {}", self.name, self.shape.title())
    }

    /// A process of this dataflow, with `args` beside its own.
    fn dataflow(&self, file: &Path, sink: &str, args: &[&str]) -> Result<Process, BenchError> {
        let mut process = Process::new(this_program()?);
        process.args(["run", &self.name, "--source", &format!("file:{}", file.display()), "--sink", sink]);
        process.args(["--summary", "json"]).args(args).args(&self.options);
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(process)
    }

    /// Runs it to its end.
    pub(super) fn run(&self, file: &Path) -> Result<Measured, BenchError> {
        // Where windows are the answer, all of them are; elsewhere, how it stands in the end. The loops do the same.
        let windowed = baseline::WINDOWED.contains(&self.name.as_str());
        let sink = if windowed { "jsonl:/dev/null" } else { "jsonl:/dev/null?at=end" };
        let start = |args: &[&str]| self.dataflow(file, sink, args)?.spawn().map_err(cannot("start a run"));
        match self.shape {
            Shape::Baseline => {
                let mut process = Process::new(this_program()?);
                process.args(["bench", "baseline", &self.name]).arg(file);
                let output = process.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
                parse(&output.map_err(cannot("start the baseline"))?.stdout)
            }
            Shape::Workers(workers) => finish(vec![start(&["-w", &workers.to_string()])?]),
            Shape::Processes(processes) => {
                let hosts = Hostfile::new(processes)?;
                let path = hosts.0.display().to_string();
                let number = processes.to_string();
                let start = |process: u16| start(&["-n", &number, "-p", &process.to_string(), "-h", &path]);
                finish((0..processes).map(start).collect::<Result<_, BenchError>>()?)
            }
        }
    }

    /// Runs it in one process, on so many workers, for nothing but to count the windows that it shows: the rows of rank 1.
    pub(super) fn windows(&self, workers: u16, file: &Path) -> Result<u64, BenchError> {
        let mut process = self.dataflow(file, "jsonl:-", &["-w", &workers.to_string()])?;
        let mut child = process.stdout(Stdio::piped()).spawn().map_err(cannot("start a run"))?;
        let stdout = child.stdout.take().expect("it was asked for");
        let rows = BufReader::new(stdout).split(b'\n');
        let finder = memchr::memmem::Finder::new(r#""rank":1,"#);
        let mut windows = 0;
        for row in rows {
            windows += u64::from(finder.find(&row.map_err(cannot("read the output of a run"))?).is_some());
        }
        finish(vec![child])?;
        Ok(windows)
    }
}

/// Runs this program with `args` to its end, and returns the figures that it prints.
pub(super) fn child<T: DeserializeOwned>(args: &[&str]) -> Result<T, BenchError> {
    let output = Process::new(this_program()?).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(cannot("start a run"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BenchError::Run { status: output.status, stderr });
    }
    parse(&output.stdout)
}

pub(super) fn this_program() -> Result<PathBuf, BenchError> {
    std::env::current_exe().map_err(cannot("find this program's own file"))
}

/// The error of `what` that the system refused.
pub(super) fn cannot(what: &'static str) -> impl Fn(io::Error) -> BenchError {
    move |source| BenchError::System { what, source }
}

/// Waits for all processes: the first has the figures; processor time is that of all, and memory that of the largest.
fn finish(processes: Vec<Child>) -> Result<Measured, BenchError> {
    let outputs = processes.into_iter().map(Child::wait_with_output).collect::<Result<Vec<_>, _>>();
    let outputs = outputs.map_err(cannot("wait for a run"))?;
    if let Some(failed) = outputs.iter().find(|output| !output.status.success()) {
        let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
        return Err(BenchError::Run { status: failed.status, stderr });
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
fn parse<T: DeserializeOwned>(output: &[u8]) -> Result<T, BenchError> {
    let text = String::from_utf8_lossy(output);
    let last = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(last)
        .map_err(|source| BenchError::NoFigures { output: text.clone().into_owned(), source })
}

/// A file that is read; removed afterwards if it was made for this.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    ours: bool,
}

impl Input {
    /// The file at `path`, which must be there.
    pub(super) fn given(path: &Path) -> Result<Self, BenchError> {
        let path = path.to_owned();
        match std::fs::File::open(&path) {
            Ok(_) => Ok(Input { path, ours: false }),
            Err(source) => Err(BenchError::Read { path, source }),
        }
    }

    /// An empty file, to be written.
    pub(super) fn empty(name: &str) -> Result<Self, BenchError> {
        let path = temporary_directory().join(format!("thalweg-bench-{}-{name}.log", std::process::id()));
        let made = std::fs::File::create_new(&path);
        made.map_err(|source| BenchError::Write { path: path.clone(), source })?;
        Ok(Input { path, ours: true })
    }

    /// `lines` lines of `kind`.
    pub(super) fn generate(kind: Kind, lines: u64, notes: &mut Notes<'_>) -> Result<Self, BenchError> {
        let path = temporary_directory().join(format!("thalweg-bench-{}-{kind}.log", std::process::id()));
        let options =
            generate::Options { lines: Some(lines), seed: 1, ..generate::Options::default_for(kind) };
        let file = std::fs::File::create_new(&path);
        let mut file = file.map_err(|source| BenchError::Write { path: path.clone(), source })?;
        let input = Input { path, ours: true };
        notes(&format!("generating {} lines of {kind}", grouped(lines as i64)));
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
    fn new(processes: u16) -> Result<Self, BenchError> {
        let listeners =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>();
        let addresses = listeners.and_then(|listeners| {
            listeners
                .iter()
                .map(|listener| Ok(listener.local_addr()?.to_string()))
                .collect::<io::Result<Vec<_>>>()
        });
        let addresses = addresses.map_err(cannot("find free ports"))?;
        let path = temporary_directory().join(format!("thalweg-bench-{}.hosts", std::process::id()));
        std::fs::write(&path, addresses.join("\n"))
            .map_err(|source| BenchError::Write { path: path.clone(), source })?;
        Ok(Hostfile(path))
    }
}

impl Drop for Hostfile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
