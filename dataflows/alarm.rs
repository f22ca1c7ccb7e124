//! Whether too many requests fail: the course's alarm.

use thalweg::prelude::*;

/// `alarm`.
#[derive(clap::Args)]
pub struct Alarm {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "300s")]
    length: Length,
    /// how far apart windows start
    #[arg(long, value_name = "TIME", default_value = "1s")]
    slide: Length,
    /// so few requests, 2xx and 5xx together, are no reason for an alarm
    #[arg(long, value_name = "N", default_value_t = 100)]
    more_than: u32,
    /// there is an alarm where failures for each success are more than this
    #[arg(long, value_name = "X", default_value = "0.5", value_parser = ratio)]
    ratio: f64,
}

impl Dataflow for Alarm {
    const NAME: &'static str = "alarm";

    const ABOUT: &'static str =
        "failures (5xx) against successes (2xx) of an access log, over the last window";

    const VIEWS: &'static [View] = &[View {
        name: "alarm",
        columns: &["start", "end", "successes", "failures", "ratio", "alarm"],
        about: "one row while there are requests; ratio is failures for each success",
    }];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(self.length, self.slide)?;
        let (more_than, limit) = (self.more_than as isize, self.ratio);
        let mut records = flow.records(AccessLog);
        records.event_time(|record| record.event_time());
        let outcomes =
            records.over_last(window).sums_by::<(), (isize, isize)>("outcomes", |record, sums| match record
                .status
            {
                200..=299 => sums.entry(()).0 += 1,
                500..=599 => sums.entry(()).1 += 1,
                _ => {}
            });
        let rows = outcomes.with_window("alarm", outcomes.rows());
        let rows = rows.map(move |(span, ((), (successes, failures)))| {
            let ratio = (successes > 0).then(|| failures as f64 / successes as f64);
            // Without a success, any failure is more than every ratio.
            let high = ratio.map_or(failures > 0, |ratio| ratio > limit);
            let alarm = high && successes + failures > more_than;
            (Time(span.start), Time(span.end), successes, failures, ratio.map(Real::from), alarm)
        });
        flow.view("alarm", rows);
        Ok(())
    }
}

/// A number from 0 up.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    if ratio.is_finite() && ratio >= 0.0 {
        Ok(ratio)
    } else {
        Err("it must be a number from 0 up".to_owned())
    }
}
