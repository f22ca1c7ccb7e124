//! Statistics over web servers' access logs: what the lessons' log analyzer prints, kept up to date.

use thalweg::prelude::*;

/// `access-log`.
#[derive(clap::Args)]
pub struct AccessLogStatistics {
    /// frequent clients are those with strictly more requests than this
    #[arg(long, value_name = "N", default_value_t = 10)]
    min_requests: u32,
    /// how many endpoints to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
    /// another form of line: a regex with groups named client, status, size, endpoint (any of them)
    #[arg(long, value_name = "REGEX", value_parser = own_pattern)]
    pattern: Option<Pattern>,
}

impl Dataflow for AccessLogStatistics {
    const NAME: &'static str = "access-log";

    const ABOUT: &'static str = "statistics over access logs (Apache common and combined, nginx)";

    const VIEWS: &'static [View] = &[
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
    ];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        match &self.pattern {
            None => self.views(flow, AccessLog),
            Some(pattern) => self.views(flow, pattern.clone()),
        }
        Ok(())
    }
}

/// A user's pattern, all of whose groups mean something here.
fn own_pattern(regex: &str) -> Result<Pattern, String> {
    let pattern = Pattern::new(regex).map_err(|error| error.to_string())?;
    match pattern.fields().iter().find(|field| !FIELDS.contains(&field.as_str())) {
        Some(other) => Err(format!("group `{other}` is not one of {}", FIELDS.join(", "))),
        None => Ok(pattern),
    }
}

const FIELDS: [&str; 4] = ["client", "status", "size", "endpoint"];

/// What the views need of a record, whatever format it has.
trait Request<'a> {
    fn client(&self) -> Option<&'a [u8]>;
    fn status(&self) -> Option<u16>;
    fn size(&self) -> Option<u64>;
    fn endpoint(&self) -> Option<&'a [u8]>;
}

impl<'a> Request<'a> for AccessRecord<'a> {
    fn client(&self) -> Option<&'a [u8]> {
        Some(self.client)
    }
    fn status(&self) -> Option<u16> {
        Some(self.status)
    }
    fn size(&self) -> Option<u64> {
        self.size.bytes()
    }
    fn endpoint(&self) -> Option<&'a [u8]> {
        AccessRecord::endpoint(self)
    }
}

impl<'a> Request<'a> for PatternRecord<'a> {
    fn client(&self) -> Option<&'a [u8]> {
        self.get("client")
    }
    fn status(&self) -> Option<u16> {
        number(self.get("status")?)
    }
    fn size(&self) -> Option<u64> {
        number(self.get("size")?)
    }
    fn endpoint(&self) -> Option<&'a [u8]> {
        self.get("endpoint")
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl AccessLogStatistics {
    fn views<F: Format>(&self, flow: &mut Flow<'_>, format: F)
    where
        for<'a> F::Record<'a>: Request<'a>,
    {
        let mut records = flow.records(format);

        let input = records.input();
        flow.view("input", input.map(|n| (n.lines, n.parsed, n.malformed, n.oversize)));

        let statuses = records.count_by::<u16>("status_counts", |record| record.status());
        flow.view("status_counts", statuses);

        let sizes =
            records.sum_all("content_size", |record, (stats, missing): &mut (Stats, i64)| {
                match record.size() {
                    Some(bytes) => stats.record(bytes),
                    None => *missing += 1,
                }
            });
        let sizes = sizes.map(|(sizes, missing)| {
            let mean = sizes.mean().map(Real::from);
            (sizes.count, sizes.sum, sizes.min, sizes.max, mean, missing)
        });
        flow.view("content_size", sizes);

        let clients = records.count_by::<Bytes>("clients", |record| record.client());
        flow.view_by("frequent_clients", clients.more_than(self.min_requests as isize), by_count);

        let endpoints = records.count_by::<Bytes>("endpoints", |record| record.endpoint());
        flow.view("top_endpoints", endpoints.top_k(self.top as usize));
    }
}
