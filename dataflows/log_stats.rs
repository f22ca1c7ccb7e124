//! The log analyzer's statistics of all time beside those of the last window.

use thalweg::prelude::*;

/// `log-stats`.
#[derive(clap::Args)]
pub struct LogStats {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "30s")]
    length: Length,
    /// how far apart windows start
    #[arg(long, value_name = "TIME", default_value = "10s")]
    slide: Length,
    /// frequent clients are those with strictly more requests than this, of all time
    #[arg(long, value_name = "N", default_value_t = 10)]
    min_requests: u32,
    /// how many endpoints to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
}

impl Dataflow for LogStats {
    const NAME: &'static str = "log-stats";

    const ABOUT: &'static str = "statistics over access logs, of all time and of the last window";

    const VIEWS: &'static [View] = &[
        View {
            name: "input",
            columns: &["lines", "parsed", "malformed", "oversize", "untimed", "ahead", "refusals"],
            about: "what became of the lines; each of the four windows refuses a record that is too late",
        },
        View { name: "window", columns: &["start", "end"], about: "the last window" },
        View {
            name: "status_counts",
            columns: &["status", "all", "window"],
            about: "lines by response status, of all time and of the window",
        },
        View {
            name: "content_size",
            columns: &["of", "count", "sum", "min", "max", "mean", "missing"],
            about: "sizes of responses in bytes, and how many lines have none",
        },
        View {
            name: "frequent_clients",
            columns: &["client", "all", "window"],
            about: "clients with more than --min-requests lines, by count of all time",
        },
        View {
            name: "top_endpoints",
            columns: &["of", "rank", "endpoint", "count"],
            about: "the first --top endpoints by count",
        },
    ];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(self.length, self.slide)?;
        let (min_requests, top) = (self.min_requests as isize, self.top as usize);
        let mut records = flow.records(AccessLog);
        records.event_time(|record| record.event_time());

        let input = records.input();
        flow.view(
            "input",
            input.map(|n| (n.lines, n.parsed, n.malformed, n.oversize, n.untimed, n.ahead, n.late)),
        );

        let all = records.count_by::<u16>("statuses", |record| Some(record.status));
        let last = records.over_last(window).count_by::<u16>("window statuses", |record| Some(record.status));
        flow.view("window", last.window().map(|span| (Time(span.start), Time(span.end))));
        let statuses = all.beside("statuses beside", last.rows());
        flow.view("status_counts", statuses.map(|(status, (all, window))| (status, all, window)));

        let all = records.sum_all("sizes", |record, sizes: &mut Sizes| measure(record, sizes));
        let last = records.over_last(window).merged_by::<(), Sizes>("window sizes", |record, sums| {
            measure(record, sums.entry(()));
        });
        let all = all.map(|sizes| size_row("all time", sizes));
        let last = last.rows().map(|((), sizes)| size_row("window", sizes));
        flow.view("content_size", all.concat(last));

        let all = records.count_by::<Bytes>("clients", |record| Some(record.client));
        let last =
            records.over_last(window).count_by::<Bytes>("window clients", |record| Some(record.client));
        let clients = all.beside("clients beside", last.rows());
        let frequent = clients.filter(move |(_, (all, _))| *all > min_requests);
        let frequent = frequent.map(|(client, (all, window))| (client, all, window));
        flow.view_by("frequent_clients", frequent, |a, b| b.1.cmp(&a.1));

        let all = records.count_by::<Bytes>("endpoints", |record| record.endpoint());
        let last =
            records.over_last(window).count_by::<Bytes>("window endpoints", |record| record.endpoint());
        let ranked = |of: &'static str| {
            move |(rank, endpoint, count): (u64, Bytes, isize)| (Bytes::from(of), rank, endpoint, count)
        };
        let all = all.top_k_named("endpoints of all time", top).map(ranked("all time"));
        let last = last.top_k(top).map(ranked("window"));
        flow.view("top_endpoints", all.concat(last));
        Ok(())
    }
}

/// Sizes, and how many lines have none.
type Sizes = (Stats, i64);

fn measure(record: &AccessRecord<'_>, (sizes, missing): &mut Sizes) {
    match record.size.bytes() {
        Some(bytes) => sizes.record(bytes),
        None => *missing += 1,
    }
}

type SizeRow = (Bytes, i64, i128, Option<i128>, Option<i128>, Option<Real>, i64);

fn size_row(of: &str, (sizes, missing): Sizes) -> SizeRow {
    let mean = sizes.mean().map(Real::from);
    (Bytes::from(of), sizes.count, sizes.sum, sizes.min, sizes.max, mean, missing)
}
