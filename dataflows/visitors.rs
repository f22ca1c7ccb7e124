//! How many different clients there are by the minute, counted and estimated.

use thalweg::prelude::*;

/// distinct clients of an access log by windows of time, exactly and by a sketch
#[derive(clap::Args)]
pub struct Visitors {
    #[command(flatten)]
    log: AccessLogOptions,
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "1m")]
    length: Length,
}

impl Dataflow for Visitors {
    const NAME: &'static str = "visitors";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = self.log.windows(Window::tumbling(self.length)?)?;
        let log = flow.records(self.log.format()).event_time(|record| record.event_time());
        let columns = ["start", "end", "method", "visitors"];
        let exact =
            log.all().by_window(window).distinct("visitors", text("client"), |record| record.client());
        let exact = exact.map(columns, |(span, (), visitors)| (span, Bytes::from("exact"), visitors as u64));
        let sketch =
            log.all().by_window(window).approx_distinct("visitors sketched", |record| record.client());
        let sketch =
            sketch.map(columns, |(span, (), visitors)| (span, Bytes::from("sketch"), visitors.estimate()));
        let about =
            "exact keeps every client of an open window; sketch keeps 4 KiB a window and errs by 1.6 %";
        exact.concat(sketch).about(about).show("visitors");
        Ok(())
    }
}
