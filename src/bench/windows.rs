//! `thalweg bench windows`: sliding windows over a file, every one of them shown.
//!
//! Two questions: whether a long window costs no more than a short one, which a window that is kept up to date by its change
//! promises; and how far the dataflow is from a plain loop that shows the same windows. Ratios are taken within rounds.

use std::path::Path;

use anyhow::ensure;
use clap::{Arg, ArgMatches, Command};

use crate::bench::process::{Input, Job, Measured, Shape, figures, rounds, speed};
use crate::bench::{arg, rounds_arg, table};
use crate::cli::{Failure, grouped, print};
use crate::generate::Kind;
use crate::runtime::Exit;

pub(super) fn command() -> Command {
    let file =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("FILE").help(help);
    let lines = |name: &'static str, default: &'static str, help: &'static str| {
        arg(name, "N", default, help).value_parser(clap::value_parser!(u64).range(1..))
    };
    Command::new("windows")
        .about("Lines a second over a file, where every sliding window is shown")
        .arg(file("tweets", "Tweets to read [default: generated ones]"))
        .arg(file("access-log", "The access log to read [default: a generated one]"))
        .arg(lines("tweet-lines", "1000000", "Tweets to generate when none are given"))
        .arg(lines("access-lines", "10000000", "Lines to generate when no access log is given"))
        .arg(rounds_arg())
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

pub(super) fn main(matches: &ArgMatches) -> Result<(), Failure> {
    let input = |given: &str, kind, lines: &str| match matches.get_one::<String>(given) {
        Some(path) => Input::given(path).map_err(|error| Failure::new(Exit::Input, error)),
        None => Input::generate(kind, *matches.get_one(lines).expect("it has a default"))
            .map_err(|error| Failure::new(Exit::Output, error)),
    };
    let tweets = input("tweets", Kind::Tweets, "tweet-lines")?;
    let log = input("access-log", Kind::AccessLog, "access-lines")?;
    let number = *matches.get_one("rounds").expect("it has a default");
    let measured =
        measure(&tweets.path, &log.path, number).map_err(|error| Failure::new(Exit::Panic, error))?;
    print(&measured)
}

fn measure(tweets: &Path, log: &Path, number: u16) -> anyhow::Result<String> {
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
        ensure!(windows == base, "{} shows {windows} windows, and the plain loop {base}", case.job.title());
        shown.push(windows);
    }

    let jobs: Vec<_> = cases.iter().map(|case| (case.job.clone(), file(case))).collect();
    let measured = rounds(&jobs, number)?;
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
