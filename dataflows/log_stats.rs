//! The log analyzer's statistics of all time beside those of the last window.

use thalweg::prelude::*;

/// `log-stats`.
pub struct LogStats;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "30s", about: "how long a window is" };
const SLIDE: Opt = Opt { name: "slide", value: "TIME", default: "10s", about: "how far apart windows start" };
const MIN_REQUESTS: Opt = Opt {
    name: "min-requests",
    value: "N",
    default: "10",
    about: "frequent clients are those with strictly more requests than this, of all time",
};
const TOP: Opt = Opt { name: "top", value: "N", default: "10", about: "how many endpoints to rank" };

impl Dataflow for LogStats {
    fn name(&self) -> &'static str {
        "log-stats"
    }

    fn about(&self) -> &'static str {
        "statistics over access logs, of all time and of the last window"
    }

    fn views(&self) -> &'static [View] {
        &[
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
        ]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH, SLIDE, MIN_REQUESTS, TOP]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let window = options.window(LENGTH.name, SLIDE.name)?;
        let min_requests = options.get::<u32>(MIN_REQUESTS.name)? as isize;
        let top = options.get::<u32>(TOP.name)? as usize;
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);
            records.event_time(|record| record.event_time());

            let input = records.input();
            flow.view(
                "input",
                input.map(|n| (n.lines, n.parsed, n.malformed, n.oversize, n.untimed, n.ahead, n.late)),
            );

            let all = records.count_by::<u16>("statuses", |record| Some(record.status));
            let last =
                records.over_last(window).count_by::<u16>("window statuses", |record| Some(record.status));
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
        }))
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
