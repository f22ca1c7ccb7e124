//! How often each status occurs, all of it at every change: structured streaming's lesson on complete mode.

use thalweg::prelude::*;

/// `status-counts`.
pub struct StatusCounts;

impl Dataflow for StatusCounts {
    fn name(&self) -> &'static str {
        "status-counts"
    }

    fn about(&self) -> &'static str {
        "lines of an access log by response status"
    }

    fn views(&self) -> &'static [View] {
        &[View { name: "counts", columns: &["status", "count"], about: "every status, by count" }]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn default_sink(&self) -> &'static str {
        "console:?mode=complete"
    }

    fn prepare(&self, _options: &Options) -> Result<Build, OptionError> {
        Ok(Build::new(|flow| {
            let mut records = flow.records(AccessLog);
            let counts = records.count_by::<u16>("counts", |record| Some(record.status));
            flow.view_by("counts", counts, by_count);
        }))
    }
}
