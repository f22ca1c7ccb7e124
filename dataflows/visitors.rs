//! How many different clients there are by the minute, counted and estimated.

use thalweg::prelude::*;

/// `visitors`.
#[derive(clap::Args)]
pub struct Visitors {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "1m")]
    length: Length,
}

impl Dataflow for Visitors {
    const NAME: &'static str = "visitors";

    const ABOUT: &'static str =
        "distinct clients of an access log by windows of time, exactly and by a sketch";

    const VIEWS: &'static [View] = &[View {
        name: "visitors",
        columns: &["start", "end", "method", "visitors"],
        about: "exact keeps every client of an open window; sketch keeps 4 KiB a window and errs by 1.6 %",
    }];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::tumbling(self.length)?;
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
        Ok(())
    }
}

fn row(span: Span, method: &str, visitors: u64) -> (Time, Time, Bytes, u64) {
    (Time(span.start), Time(span.end), Bytes::from(method), visitors)
}
