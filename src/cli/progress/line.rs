//! One line that says how far a run is.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::bar;
use crate::data::{escape_text, grouped};
use crate::ledger::SourceStatus;
use crate::runtime::{ProgressReport, Reports};
use crate::source::OffsetUnit;

/// A line on standard error that is redrawn.
#[derive(Debug)]
pub(in crate::cli) struct Line(ProgressBar);

impl Line {
    pub(in crate::cli) fn clear(self) {
        self.0.finish_and_clear();
        bar::set_shown(false);
    }
}

/// Shows a line, redrawn as reports come.
pub(super) fn show(every: Duration) -> (Line, Reports) {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is well formed");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar::set_shown(true);
    let (drawn, mut rates) = (bar.clone(), Rates::default());
    let reports = Reports::new(every, move |report| {
        drawn.set_message(rates.text(report));
        drawn.tick();
    });
    (Line(bar), reports)
}

/// What the report before said: two make a rate.
#[derive(Debug, Default)]
pub(super) struct Rates {
    lines: u64,
    elapsed: Duration,
}

impl Rates {
    /// `report` in a line.
    pub(super) fn text(&mut self, report: &ProgressReport) -> String {
        let lines: u64 = report.sources.iter().map(|source| source.status.lines).sum();
        let seconds = report.elapsed.saturating_sub(self.elapsed).as_secs_f64();
        let rate = lines.saturating_sub(self.lines) as f64 / seconds.max(1e-3);
        (self.lines, self.elapsed) = (lines, report.elapsed);
        let mut text = format!("{} lines, {} lines/s", grouped(lines), grouped(rate as u64));
        for source in &report.sources {
            let _ = write!(
                text,
                "; {}: {}",
                escape_text(&source.status.uri),
                lag(&source.status, report.elapsed)
            );
        }
        if let Some(watermark) = report.watermark {
            let _ = write!(text, "; watermark {watermark}");
        }
        text
    }
}

/// How far a run is behind a source, after so much of its time.
pub(in crate::cli) fn lag(status: &SourceStatus, elapsed: Duration) -> String {
    let how_much = match (status.behind, status.unit) {
        (Some(0), _) if status.behind_since.is_none() => return "caught up".to_owned(),
        (Some(bytes), OffsetUnit::Bytes) => format!("{} behind", bytesize::ByteSize::b(bytes).display().si()),
        (Some(messages), OffsetUnit::Messages) => format!("{} messages behind", grouped(messages)),
        (Some(_), OffsetUnit::Other) | (None, _) => "behind".to_owned(),
    };
    match status.behind_since.map(|since| elapsed.saturating_sub(since).as_secs()) {
        Some(seconds @ 1..) => {
            format!("{how_much} for {}", humantime::format_duration(Duration::from_secs(seconds)))
        }
        _ => how_much,
    }
}
