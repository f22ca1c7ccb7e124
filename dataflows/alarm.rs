//! Whether too many requests fail: the course's alarm.

use thalweg::prelude::*;

/// failures (5xx) against successes (2xx) of an access log, over the last window
#[derive(clap::Args)]
pub struct Alarm {
    #[command(flatten)]
    log: AccessLogOptions,
    #[command(flatten)]
    window: WindowOptions<300, 1>,
    /// so few requests, 2xx and 5xx together, are no reason for an alarm
    #[arg(long, value_name = "N", default_value_t = 100)]
    more_than: u32,
    /// there is an alarm where failures for each success are more than this
    #[arg(long, value_name = "X", default_value = "0.5", value_parser = ratio)]
    ratio: f64,
}

impl Dataflow for Alarm {
    const NAME: &'static str = "alarm";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = self.log.windows(self.window.window()?)?;
        let (more_than, limit) = (self.more_than as isize, self.ratio);
        let log = flow.records(self.log.format()).event_time(|record| record.event_time());
        let outcomes = log.all().over_last(window).aggregate("outcomes", |all| {
            all.count_if("successes", |record| record.status().is_some_and(|it| (200..=299).contains(&it)))
                .count_if("failures", |record| record.status().is_some_and(|it| (500..=599).contains(&it)))
        });
        let columns = ["start", "end", "successes", "failures", "ratio", "alarm"];
        let alarm = outcomes.with_window().map(columns, move |(span, (), (successes, failures))| {
            let ratio = (successes > 0).then(|| failures as f64 / successes as f64);
            // Without a success, any failure is more than every ratio.
            let high = ratio.map_or(failures > 0, |ratio| ratio > limit);
            (span, successes, failures, ratio.map(Real::from), high && successes + failures > more_than)
        });
        alarm.about("one row while there are requests; ratio is failures for each success").show("alarm");
        Ok(())
    }
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio >= 0.0);
    ratio.ok_or("it must be a number from 0 up")
}
