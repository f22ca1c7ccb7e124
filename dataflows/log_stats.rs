//! The log analyzer's statistics of all time beside those of the last window.

use thalweg::prelude::*;

/// statistics over access logs, of all time and of the last window
#[derive(clap::Args)]
pub struct LogStats {
    #[command(flatten)]
    log: AccessLogOptions,
    #[command(flatten)]
    window: WindowOptions<30, 10>,
    /// frequent clients are those with strictly more requests than this, of all time
    #[arg(long, value_name = "N", default_value_t = 10)]
    min_requests: u32,
    /// how many endpoints to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
}

impl Dataflow for LogStats {
    const NAME: &'static str = "log-stats";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = self.log.windows(self.window.window()?)?;
        let (min_requests, top) = (self.min_requests as isize, self.top as usize);
        let log = flow.records(self.log.format()).event_time(|record| record.event_time());

        let columns = ["lines", "parsed", "malformed", "oversize", "untimed", "ahead", "refusals"];
        let input = log
            .input()
            .map(columns, |n| (n.lines, n.parsed, n.malformed, n.oversize, n.untimed, n.ahead, n.late));
        let about = "what became of the lines; each of the four windows refuses a record that is too late";
        input.about(about).show("input");

        let statuses = || log.by(column::<u16>("status"), |record| record.status());
        let last = statuses().over_last(window).count("window statuses");
        last.window().about("the last window").show("window");
        let both = statuses().count("statuses").full_join("statuses joined", last, ["all", "window"]);
        both.about("lines by response status, of all time and of the window").show("status_counts");

        let all = log.all().aggregate("sizes", |all| {
            all.stats("", |record| record.size().bytes())
                .count_if("missing", |record| record.size().bytes().is_none())
        });
        let last = log.all().over_last(window).aggregate("window sizes", |all| {
            all.stats("", |record| record.size().bytes())
                .count_if("missing", |record| record.size().bytes().is_none())
        });
        let both = all.labelled("of", "all time").concat(last.labelled("of", "window").as_table());
        both.about("sizes of responses in bytes, and how many lines have none").show("content_size");

        let clients = || log.by(text("client"), |record| record.client());
        let last = clients().over_last(window).count("window clients");
        let both = clients().count("clients").full_join("clients joined", last, ["all", "window"]);
        let frequent = both.filter(move |(_, all, _)| *all > min_requests).sorted_by(|a, b| b.1.cmp(&a.1));
        let about = "clients with more than --min-requests lines, by count of all time";
        frequent.about(about).show("frequent_clients");

        let endpoints = || log.by(text("endpoint"), |record| record.endpoint());
        let all = endpoints().count("endpoints").top(top).labelled("of", "all time");
        let last = endpoints().over_last(window).count("window endpoints").top(top).labelled("of", "window");
        all.concat(last.as_table()).about("the first --top endpoints by count").show("top_endpoints");
        Ok(())
    }
}
