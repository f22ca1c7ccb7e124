//! How many different clients there are by the minute, counted and estimated.

use thalweg::prelude::*;

/// `visitors`.
pub struct Visitors;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "1m", about: "how long a window is" };

impl Dataflow for Visitors {
    fn name(&self) -> &'static str {
        "visitors"
    }

    fn about(&self) -> &'static str {
        "distinct clients of an access log by windows of time, exactly and by a sketch"
    }

    fn views(&self) -> &'static [View] {
        &[View {
            name: "visitors",
            columns: &["start", "end", "method", "visitors"],
            about: "exact keeps every client of an open window; sketch keeps 4 KiB a window and errs by 1.6 %",
        }]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let window = options.window(LENGTH.name, LENGTH.name)?;
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);
            records.event_time(|record| record.event_time());

            let exact = records
                .by_window(window)
                .distinct_by::<(), Bytes>("visitors", |record| Some(((), record.client)))
                .map(|(span, (), visitors)| row(span, "exact", visitors as u64));
            let sketch = records
                .by_window(window)
                .sums_by::<(), Distinct>("visitors sketched", |record, sums| {
                    sums.entry(()).insert(record.client);
                })
                .map(|(span, (), visitors)| row(span, "sketch", visitors.estimate()));
            flow.view_windows("visitors", exact.concat(sketch));
        }))
    }
}

fn row(span: Span, method: &str, visitors: u64) -> (Time, Time, Bytes, u64) {
    (Time(span.start), Time(span.end), Bytes::from(method), visitors)
}
