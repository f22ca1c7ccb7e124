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
const PATTERN: Opt = Opt {
    name: "pattern",
    value: "REGEX",
    default: "",
    about: "another form of line: a regex with groups named client, status, size, endpoint (any of them)",
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
        &[MIN_REQUESTS, TOP, PATTERN]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let min_requests: u32 = options.get(MIN_REQUESTS.name)?;
        let top: u32 = options.get(TOP.name)?;
        let views = Views { min_requests: min_requests as isize, top: top as usize };
        match options.text(PATTERN.name) {
            "" => Ok(Build::new(move |flow| views.build(flow, AccessLog))),
            regex => {
                let pattern = own_pattern(regex).map_err(|why| OptionError::new(PATTERN.name, regex, why))?;
                Ok(Build::new(move |flow| views.build(flow, pattern.clone())))
            }
        }
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

#[derive(Clone, Copy)]
struct Views {
    min_requests: isize,
    top: usize,
}

impl Views {
    fn build<F: Format>(self, flow: &mut Flow<'_>, format: F)
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
        flow.view_by("frequent_clients", clients.more_than(self.min_requests), by_count);

        let endpoints = records.count_by::<Bytes>("endpoints", |record| record.endpoint());
        flow.view("top_endpoints", endpoints.top_k(self.top));
    }
}
