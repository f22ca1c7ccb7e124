//! How often each status occurs, all of it at every change: structured streaming's lesson on complete mode.

use thalweg::prelude::*;

/// `status-counts`.
#[derive(clap::Args)]
pub struct StatusCounts;

impl Dataflow for StatusCounts {
    const NAME: &'static str = "status-counts";

    const ABOUT: &'static str = "lines of an access log by response status";

    const VIEWS: &'static [View] =
        &[View { name: "counts", columns: &["status", "count"], about: "every status, by count" }];

    const SOURCE: &'static str = "file:data/access.log";

    const SINK: &'static str = "console:?mode=complete";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let mut records = flow.records(AccessLog);
        let counts = records.count_by::<u16>("counts", |record| Some(record.status));
        flow.view_by("counts", counts, by_count);
        Ok(())
    }
}
