//! The most requested URLs of the last half minute: the course's challenge.

use thalweg::prelude::*;

/// `top-urls`.
#[derive(clap::Args)]
pub struct TopUrls {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "30s")]
    length: Length,
    /// how far apart windows start
    #[arg(long, value_name = "TIME", default_value = "10s")]
    slide: Length,
    /// how many URLs to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
    /// keep the rows of all windows, not of the last
    #[arg(long)]
    table: bool,
}

impl Dataflow for TopUrls {
    const NAME: &'static str = "top-urls";

    const ABOUT: &'static str = "the most requested URLs of an access log, by windows of time";

    const VIEWS: &'static [View] = &[View {
        name: "top_urls",
        columns: &["start", "end", "rank", "url", "count"],
        about: "the first --top URLs by count of the last window, or with --table of every window",
    }];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(self.length, self.slide)?;
        let top = self.top as usize;
        let mut records = flow.records(AccessLog);
        records.event_time(|record| record.event_time());
        if self.table {
            let urls =
                records.by_window(window.for_table()?).count_by::<Bytes>("urls", |record| record.endpoint());
            flow.view_windows("top_urls", urls.top_k(top).map(row));
        } else {
            let urls = records.over_last(window).count_by::<Bytes>("urls", |record| record.endpoint());
            let first = urls.top_k(top);
            let first = urls.with_window("top_urls", first);
            flow.view("top_urls", first.map(|(span, (rank, url, count))| row((span, rank, url, count))));
        }
        Ok(())
    }
}

fn row((span, rank, url, count): (Span, u64, Bytes, isize)) -> (Time, Time, u64, Bytes, isize) {
    (Time(span.start), Time(span.end), rank, url, count)
}
