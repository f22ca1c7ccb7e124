//! `thalweg bench follow`: reading a file that grows as fast as it can be written, beside reading it when it is whole.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::process::{Input, Job, Shape, cannot, this_program};
use crate::bench::{BenchError, Notes, median, table};
use crate::data::grouped;
use crate::generate::Kind;
use crate::runtime::now;

/// Lines a second of a file that grows as fast as another process can write it.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The dataflow to run.
    pub dataflow: String,
    /// The file to write from; a generated one if there is none.
    pub file: Option<PathBuf>,
    /// How many lines are generated when no file is given.
    pub lines: u64,
    /// Worker threads.
    pub workers: u16,
    /// Rounds over which medians are taken.
    pub rounds: u16,
}

impl Follow {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or made, or a run fails.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let input = match &self.file {
            Some(file) => Input::given(file)?,
            None => Input::generate(Kind::AccessLog, self.lines, notes)?,
        };
        let job = Job::new(&self.dataflow, &[], Shape::Workers(self.workers));
        // Once for nothing, so that the file is in the page cache for all.
        let lines = job.run(&input.path)?.lines as u64;
        let (mut rest, mut written, mut grown) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            rest.push(job.run(&input.path)?.seconds);
            written.push(self.write(&input)?.as_secs_f64());
            grown.push(self.follow(&input, lines)?.as_secs_f64());
            notes(&format!("round {round} of {}", self.rounds));
        }
        let rate = |seconds: &[f64]| grouped((lines as f64 / median(seconds.iter().copied())) as i64);
        let ratio = |seconds: &[f64]| {
            format!("{:.2}", median(rest.iter().zip(seconds).map(|(rest, seconds)| rest / seconds)))
        };
        let row = |what: &str, seconds: &[f64]| vec![what.to_owned(), rate(seconds), ratio(seconds)];
        let rows = [
            row("read at rest", &rest),
            row("written, and nobody reads it", &written),
            row("followed while it is written", &grown),
        ];
        let head = format!(
            "{} lines through {} on {} workers; `cat` writes what is followed; medians of {} rounds",
            grouped(lines),
            self.dataflow,
            self.workers,
            self.rounds
        );
        Ok(format!("{head}\n{}", table(&["", "lines/s", "ratio"], &rows)))
    }

    /// How long it takes to write it.
    fn write(&self, input: &Input) -> Result<Duration, BenchError> {
        let growing = Input::empty("grown")?;
        let begun = now();
        wait(append(input, &growing)?)?;
        Ok(now() - begun)
    }

    /// How long it takes from when the first byte is written until the last line is counted at the sink.
    fn follow(&self, input: &Input, lines: u64) -> Result<Duration, BenchError> {
        let growing = Input::empty("grown")?;
        let mut live =
            Live::start(&self.dataflow, &format!("file:{}?follow", growing.path.display()), self.workers)?;
        // It is under way once it has counted something.
        std::fs::write(&growing.path, "begun\n")
            .map_err(|source| BenchError::Write { path: growing.path.clone(), source })?;
        live.until(1)?;
        let begun = now();
        let writer = append(input, &growing)?;
        let counted = live.until(lines + 1)?;
        wait(writer)?;
        live.stop()?;
        Ok(counted - begun)
    }
}

/// `cat input >> growing`.
fn append(input: &Input, growing: &Input) -> Result<Child, BenchError> {
    let to = File::options().append(true).open(&growing.path);
    let to = to.map_err(|source| BenchError::Write { path: growing.path.clone(), source })?;
    let writer = Process::new("cat").arg(&input.path).stdin(Stdio::null()).stdout(to).spawn();
    writer.map_err(cannot("start `cat`"))
}

fn wait(mut child: Child) -> Result<(), BenchError> {
    let status = child.wait().map_err(cannot("wait for `cat`"))?;
    match status.success() {
        true => Ok(()),
        false => Err(BenchError::Run { status, stderr: String::new() }),
    }
}

/// A run that goes on, and says how far it is.
pub(super) struct Live {
    child: Child,
    progress: std::io::Lines<BufReader<std::process::ChildStderr>>,
    committed: u64,
}

impl Live {
    /// How long an epoch lasts: it bounds how exactly the end is seen. A short one costs more than a second does, which it is by
    /// default: each hands on what it has of every key.
    const TICK: &str = "250ms";

    /// Runs `dataflow` on `source`.
    pub(super) fn start(dataflow: &str, source: &str, workers: u16) -> Result<Self, BenchError> {
        let mut process = Process::new(this_program()?);
        process.args(["run", dataflow, "--source", source, "--sink", "jsonl:/dev/null?at=end"]);
        process.args(["--progress", "json", "--summary", "json", "--tick", Self::TICK]);
        process.args(["-w", &workers.to_string()]);
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = process.spawn().map_err(cannot("start a run"))?;
        let stderr = child.stderr.take().expect("it was asked for");
        Ok(Live { child, progress: BufReader::new(stderr).lines(), committed: 0 })
    }

    /// Waits until `lines` lines are counted; returns when that was seen.
    pub(super) fn until(&mut self, lines: u64) -> Result<Instant, BenchError> {
        let mut said = String::new();
        for line in self.progress.by_ref() {
            let line = line.map_err(cannot("read the progress of a run"))?;
            let Ok(object) = serde_json::from_str::<Value>(&line) else {
                said += &line;
                continue;
            };
            self.committed += object["numInputRows"].as_u64().unwrap_or(0);
            if self.committed >= lines {
                return Ok(now());
            }
        }
        let status = self.child.wait().map_err(cannot("wait for a run"))?;
        Err(BenchError::Run { status, stderr: said })
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) -> Result<(), BenchError> {
        let id = self.child.id().to_string();
        let kill = Process::new("kill").args(["-TERM", &id]).status();
        kill.map_err(cannot("end a run"))?;
        // What it says in the end has to go somewhere.
        let said: Vec<String> = self.progress.by_ref().map_while(Result::ok).collect();
        let status = self.child.wait().map_err(cannot("wait for a run"))?;
        match status.success() {
            true => Ok(()),
            false => Err(BenchError::Run { status, stderr: said.join("\n") }),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
