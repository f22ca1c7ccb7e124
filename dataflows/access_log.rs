//! Statistics over web servers' access logs: what the lessons' log analyzer prints, kept up to date.

use thalweg::prelude::*;

/// `access-log`.
pub struct AccessLogStatistics;

const MIN_REQUESTS: Opt = Opt {
    name: "min-requests",
    value: "N",
    default: "10",
    about: "frequent clients are those with strictly more requests than this",
};
const TOP: Opt = Opt { name: "top", value: "N", default: "10", about: "how many endpoints to rank" };

impl Dataflow for AccessLogStatistics {
    fn name(&self) -> &'static str {
        "access-log"
    }

    fn about(&self) -> &'static str {
        "statistics over access logs (Apache common and combined, nginx)"
    }

    fn views(&self) -> &'static [View] {
        &[
            View {
                name: "input",
                columns: &["lines", "parsed", "malformed", "oversize"],
                about: "what became of the lines",
            },
            View { name: "status_counts", columns: &["status", "count"], about: "lines by response status" },
            View {
                name: "content_size",
                columns: &["count", "sum", "min", "max", "mean", "missing"],
                about: "sizes of responses in bytes, and how many lines have none",
            },
            View {
                name: "frequent_clients",
                columns: &["client", "count"],
                about: "clients with more than --min-requests lines, by count",
            },
            View {
                name: "top_endpoints",
                columns: &["rank", "endpoint", "count"],
                about: "the first --top endpoints by count",
            },
        ]
    }

    fn options(&self) -> &'static [Opt] {
        &[MIN_REQUESTS, TOP]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let min_requests: u32 = options.get(MIN_REQUESTS.name)?;
        let top: u32 = options.get(TOP.name)?;
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);

            let input = records.input();
            flow.view("input", input.map(|n| (n.lines, n.parsed, n.malformed, n.oversize)));

            let statuses = records.count_by::<u16>("status_counts", |record| Some(record.status));
            flow.view("status_counts", statuses);

            let sizes = records.sum_all("content_size", |record, (stats, missing): &mut (Stats, i64)| {
                match record.size.bytes() {
                    Some(bytes) => stats.record(bytes),
                    None => *missing += 1,
                }
            });
            let sizes = sizes.map(|(sizes, missing)| {
                let mean = sizes.mean().map(Real::from);
                (sizes.count, sizes.sum, sizes.min, sizes.max, mean, missing)
            });
            flow.view("content_size", sizes);

            let clients = records.count_by::<Bytes>("clients", |record| Some(record.client));
            flow.view_by("frequent_clients", clients.more_than(min_requests as isize), by_count);

            let endpoints = records.count_by::<Bytes>("endpoints", |record| record.endpoint());
            flow.view("top_endpoints", endpoints.top_k(top as usize));
        }))
    }
}
