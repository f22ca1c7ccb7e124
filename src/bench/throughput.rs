//! `thalweg bench throughput`: lines a second, over a file.
//!
//! The runs of a round follow one another, and figures are medians over the rounds. A ratio is the median of the ratios
//! *within* the rounds, so that a slow minute of the machine counts on both sides.

use std::path::{Path, PathBuf};

use crate::bench::process::{Input, Job, Measured, Shape, figures, rounds, speed};
use crate::bench::{Baseline, BenchError, Notes, table};
use crate::data::grouped;
use crate::dataflow::AnyDataflow;
use crate::generate::Kind;

/// Lines a second over a file, at several numbers of workers and processes.
#[derive(Clone, Debug)]
pub struct Throughput {
    /// The dataflow to run.
    pub dataflow: String,
    /// Its own options, each as `NAME=VALUE`; no plain loop is written for what it makes of them.
    pub options: Vec<String>,
    /// The file to read; a generated one if there is none.
    pub file: Option<PathBuf>,
    /// How many lines are generated when no file is given.
    pub lines: u64,
    /// Numbers of workers.
    pub workers: Vec<u16>,
    /// Numbers of processes, of one worker each.
    pub processes: Vec<u16>,
    /// Rounds over which the medians are taken.
    pub rounds: u16,
}

impl Throughput {
    /// Measures, with the dataflows that this program knows.
    ///
    /// # Errors
    ///
    /// When there is no such dataflow, the file cannot be read or made, or a run fails.
    pub fn run(&self, dataflows: &[AnyDataflow], notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let known: Vec<_> = dataflows.iter().map(|dataflow| dataflow.name()).collect();
        if !known.contains(&self.dataflow.as_str()) {
            return Err(BenchError::NoSuchDataflow { name: self.dataflow.clone(), known });
        }
        let input = match &self.file {
            Some(file) => Input::given(file)?,
            None => Input::generate(read_by(&self.dataflow), self.lines, notes)?,
        };
        measure(self, &input.path, notes)
    }
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

fn measure(settings: &Throughput, file: &Path, notes: &mut Notes<'_>) -> Result<String, BenchError> {
    let Throughput { dataflow: name, rounds: number, .. } = settings;
    let options: Vec<String> = settings.options.iter().map(|option| format!("--{option}")).collect();
    let baseline = options.is_empty() && Baseline::NAMES.contains(&name.as_str());
    let mut shapes: Vec<Shape> = baseline.then_some(Shape::Baseline).into_iter().collect();
    shapes.extend(settings.workers.iter().map(|n| Shape::Workers(*n)));
    shapes.extend(settings.processes.iter().map(|n| Shape::Processes(*n)));
    let job = |shape| (Job { name: name.clone(), options: options.clone(), shape }, file);
    let jobs: Vec<_> = shapes.iter().map(|shape| job(*shape)).collect();

    // Once for nothing, so that the file is in the page cache for all.
    jobs.first().map(|(job, file)| job.run(file)).transpose()?;
    let measured = rounds(&jobs, *number, notes)?;
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
