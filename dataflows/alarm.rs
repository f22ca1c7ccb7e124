//! Whether too many requests fail: the course's alarm.

use thalweg::prelude::*;

/// `alarm`.
pub struct Alarm;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "300s", about: "how long a window is" };
const SLIDE: Opt = Opt { name: "slide", value: "TIME", default: "1s", about: "how far apart windows start" };
const MORE_THAN: Opt = Opt {
    name: "more-than",
    value: "N",
    default: "100",
    about: "so few requests, 2xx and 5xx together, are no reason for an alarm",
};
const RATIO: Opt = Opt {
    name: "ratio",
    value: "X",
    default: "0.5",
    about: "there is an alarm where failures for each success are more than this",
};

impl Dataflow for Alarm {
    fn name(&self) -> &'static str {
        "alarm"
    }

    fn about(&self) -> &'static str {
        "failures (5xx) against successes (2xx) of an access log, over the last window"
    }

    fn views(&self) -> &'static [View] {
        &[View {
            name: "alarm",
            columns: &["start", "end", "successes", "failures", "ratio", "alarm"],
            about: "one row while there are requests; ratio is failures for each success",
        }]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH, SLIDE, MORE_THAN, RATIO]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let window = options.window(LENGTH.name, SLIDE.name)?;
        let more_than = options.get::<u32>(MORE_THAN.name)? as isize;
        let limit: f64 = options.get(RATIO.name)?;
        if !(limit.is_finite() && limit >= 0.0) {
            let reason = "it must be a number from 0 up";
            return Err(OptionError::new(RATIO.name, options.text(RATIO.name), reason));
        }
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);
            records.event_time(|record| record.event_time());
            let outcomes =
                records.over_last(window).sums_by::<(), (isize, isize)>("outcomes", |record, sums| {
                    match record.status {
                        200..=299 => sums.entry(()).0 += 1,
                        500..=599 => sums.entry(()).1 += 1,
                        _ => {}
                    }
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
        }))
    }
}
