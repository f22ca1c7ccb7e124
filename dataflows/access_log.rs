//! Statistics over web servers' access logs: what the lessons' log analyzer prints, kept up to date.

use thalweg::prelude::*;

/// statistics over access logs (Apache common and combined, nginx)
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
        let log = flow.records(format);
        let input = log.input().map(["lines", "parsed", "malformed", "oversize"], |n| {
            (n.lines, n.parsed, n.malformed, n.oversize)
        });
        input.about("what became of the lines").show("input");

        let statuses = log.by(column::<u16>("status"), |record| record.status()).count("status_counts");
        statuses.about("lines by response status").show("status_counts");

        let sizes = log.all().aggregate("content_size", |all| {
            all.stats("", |record| record.size()).count_if("missing", |record| record.size().is_none())
        });
        sizes.about("sizes of responses in bytes, and how many lines have none").show("content_size");

        let clients = log.by(text("client"), |record| record.client()).count("clients");
        let frequent = clients.more_than(self.min_requests as isize).sorted_by(by_count);
        frequent.about("clients with more than --min-requests lines, by count").show("frequent_clients");

        let endpoints = log.by(text("endpoint"), |record| record.endpoint()).count("endpoints");
        endpoints.top(self.top as usize).about("the first --top endpoints by count").show("top_endpoints");
    }
}
