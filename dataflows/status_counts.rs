//! How often each status occurs, all of it at every change: structured streaming's lesson on complete mode.

use thalweg::prelude::*;

/// lines of an access log by response status
#[derive(clap::Args)]
pub struct StatusCounts {
    #[command(flatten)]
    log: AccessLogOptions,
}

impl Dataflow for StatusCounts {
    const NAME: &'static str = "status-counts";
    const SOURCE: &'static str = "file:data/access.log";
    const SINK: &'static str = "console:?mode=complete";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let counts = flow
            .records(self.log.format())
            .by(column::<u16>("status"), |record| record.status())
            .count("counts");
        counts.sorted_by(by_count).about("every status, by count").show("counts");
        Ok(())
    }
}
