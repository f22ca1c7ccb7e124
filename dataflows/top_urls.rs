//! The most requested URLs of the last half minute: the course's challenge.

use thalweg::prelude::*;

/// the most requested URLs of an access log, by windows of time
#[derive(clap::Args)]
pub struct TopUrls {
    #[command(flatten)]
    log: AccessLogOptions,
    #[command(flatten)]
    window: WindowOptions<30, 10>,
    /// how many URLs to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
    /// keep the rows of all windows, not of the last
    #[arg(long)]
    table: bool,
}

impl Dataflow for TopUrls {
    const NAME: &'static str = "top-urls";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = self.log.windows(self.window.window()?)?;
        let top = self.top as usize;
        let about = "the first --top URLs by count of the last window, or with --table of every window";
        let log = flow.records(self.log.format()).event_time(|record| record.event_time());
        let urls = log.by(text("url"), |record| record.endpoint());
        if self.table {
            urls.by_window(window).count("urls").top(top).about(about).show("top_urls");
        } else {
            urls.over_last(window).count("urls").top(top).with_window().about(about).show("top_urls");
        }
        Ok(())
    }
}
