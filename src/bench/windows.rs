//! `thalweg bench windows`: sliding windows over a file, every one of them shown.
//!
//! Two questions: whether a long window costs no more than a short one, which a window that is kept up to date by its change
//! promises; and how far the dataflow is from a plain loop that shows the same windows. Ratios are taken within rounds.

use std::path::{Path, PathBuf};

use crate::bench::process::{Input, Job, Measured, Shape, figures, rounds, speed};
use crate::bench::{BenchError, Notes, table};
use crate::data::grouped;
use crate::generate::Kind;

/// Lines a second over a file, where every sliding window is shown.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Tweets to read; generated ones if there are none.
    pub tweets: Option<PathBuf>,
    /// How many tweets are generated.
    pub tweet_lines: u64,
    /// The access log to read; a generated one if there is none.
    pub access_log: Option<PathBuf>,
    /// How many lines of access log are generated.
    pub access_lines: u64,
    /// Rounds over which the medians are taken.
    pub rounds: u16,
}

/// One row of the table.
struct Case {
    job: Job,
    /// Its window, for people.
    window: &'static str,
    /// Which case has the plain loop for the same windows.
    base: Option<usize>,
}

impl Case {
    fn new(name: &str, window: &'static str, shape: Shape, base: Option<usize>) -> Self {
        let (length, slide) = window.split_once('/').expect("a length and a slide");
        let options = [format!("--length={length}"), format!("--slide={slide}")];
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let options = if shape == Shape::Baseline { &[][..] } else { &options };
        Case { job: Job::new(name, options, shape), window, base }
    }
}

/// How much longer a window of 300 s may take than one of 30 s.
const LONG_OVER_SHORT: f64 = 1.25;

impl Windows {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or made, a run fails, or two runs do not show the same windows.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let mut input = |given: &Option<PathBuf>, kind, lines| match given {
            Some(path) => Input::given(path),
            None => Input::generate(kind, lines, notes),
        };
        let tweets = input(&self.tweets, Kind::Tweets, self.tweet_lines)?;
        let log = input(&self.access_log, Kind::AccessLog, self.access_lines)?;
        measure(&tweets.path, &log.path, self.rounds, notes)
    }
}

fn measure(tweets: &Path, log: &Path, number: u16, notes: &mut Notes<'_>) -> Result<String, BenchError> {
    let (one, two) = (Shape::Workers(1), Shape::Workers(2));
    const TAGS: usize = 0;
    const SHORT: usize = 1;
    const LONG: usize = 2;
    const URLS: usize = 4;
    let cases = [
        Case::new("hashtags", "300s/1s", Shape::Baseline, Some(TAGS)),
        // No loop is written for the short window: what it is compared with is the long one.
        Case::new("hashtags", "30s/1s", one, None),
        Case::new("hashtags", "300s/1s", one, Some(TAGS)),
        Case::new("hashtags", "300s/1s", two, Some(TAGS)),
        Case::new("top-urls", "30s/10s", Shape::Baseline, Some(URLS)),
        Case::new("top-urls", "30s/10s", one, Some(URLS)),
        Case::new("top-urls", "30s/10s", two, Some(URLS)),
    ];
    let file = |case: &Case| if case.job.name == "hashtags" { tweets } else { log };

    // This also brings the files into the page cache for all.
    let mut shown: Vec<u64> = Vec::new();
    for case in &cases {
        let windows = match case.job.shape {
            Shape::Baseline => case.job.run(file(case))?.answer["windows"].as_u64().unwrap_or(0),
            Shape::Workers(workers) | Shape::Processes(workers) => case.job.windows(workers, file(case))?,
        };
        let base = case.base.and_then(|base| shown.get(base)).copied().unwrap_or(windows);
        if windows != base {
            let expected = format!("{base} windows of the plain loop");
            let found = format!("{} shows {windows}", case.job.title());
            return Err(BenchError::Disagree { expected, found });
        }
        shown.push(windows);
    }

    let jobs: Vec<_> = cases.iter().map(|case| (case.job.clone(), file(case))).collect();
    let measured = rounds(&jobs, number, notes)?;
    let rows: Vec<_> = cases
        .iter()
        .zip(&measured)
        .zip(&shown)
        .map(|((case, runs), shown)| {
            let ratio =
                case.base.map_or("-".to_owned(), |base| format!("{:.2}", speed(runs, &measured[base])));
            let baseline = if case.job.shape == Shape::Baseline { ": baseline" } else { "" };
            let mut row = vec![format!("{}{baseline}", case.job.name), case.window.to_owned()];
            row.extend([case.job.shape.title(), grouped(*shown as i64)]);
            row.extend(figures(runs));
            row.push(ratio);
            row
        })
        .collect();
    let heads =
        ["dataflow", "window", "workers", "shown"].into_iter().chain(Measured::HEADS).chain(["ratio"]);
    let longer = speed(&measured[SHORT], &measured[LONG]);
    let of = |at: usize| {
        let Measured { lines, bytes, .. } = &measured[at][0];
        format!("{} lines, {:.2} GB", grouped(*lines), *bytes as f64 / 1e9)
    };
    Ok(format!(
        "tweets: {}; access log: {}; medians of {number} rounds\n{}\
         ratio: lines/s over those of the loop in the same round\n\
         hashtags: 300s takes {longer:.2} times as long as 30s; at most {LONG_OVER_SHORT} is aimed at\n",
        of(TAGS),
        of(URLS),
        table(&heads.collect::<Vec<_>>(), &rows),
    ))
}
