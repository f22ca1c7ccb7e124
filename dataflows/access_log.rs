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
    #[command(flatten)]
    log: AccessLogOptions,
}

impl Dataflow for AccessLogStatistics {
    const NAME: &'static str = "access-log";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let log = flow.records(self.log.format());
        let input = log.input().map(["lines", "parsed", "malformed", "oversize"], |n| {
            (n.lines, n.parsed, n.malformed, n.oversize)
        });
        input.about("what became of the lines").show("input");

        let statuses = log.by(column::<u16>("status"), |record| record.status()).count("status_counts");
        statuses.about("lines by response status").show("status_counts");

        let sizes = log.all().aggregate("content_size", |all| {
            all.stats("", |record| record.size().bytes())
                .count_if("missing", |record| record.size().bytes().is_none())
        });
        sizes.about("sizes of responses in bytes, and how many lines have none").show("content_size");

        let clients = log.by(text("client"), |record| record.client()).count("clients");
        let frequent = clients.more_than(self.min_requests as isize).sorted_by(by_count);
        frequent.about("clients with more than --min-requests lines, by count").show("frequent_clients");

        let endpoints = log.by(text("endpoint"), |record| record.endpoint()).count("endpoints");
        endpoints.top(self.top as usize).about("the first --top endpoints by count").show("top_endpoints");
        Ok(())
    }
}
