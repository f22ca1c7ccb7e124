//! The visits of each client: what it asked for without a pause.

use thalweg::prelude::*;

/// `sessions`.
#[derive(clap::Args)]
pub struct Sessions {
    /// a pause as long as this ends a session
    #[arg(long, value_name = "TIME", default_value = "30m")]
    gap: Length,
}

impl Dataflow for Sessions {
    const NAME: &'static str = "sessions";

    const ABOUT: &'static str = "sessions of the clients of an access log";

    const VIEWS: &'static [View] = &[View {
        name: "sessions",
        columns: &["client", "start", "last", "seconds", "pages", "bytes"],
        about: "every session, by client: its first and last request, what is between them, and how many they are",
    }];

    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let gap = Gap::new(self.gap)?;
        let mut records = flow.records(AccessLog);
        records.event_time(|record| record.event_time());
        let sessions = records.by_session(gap).sums_by::<Bytes, (isize, i128)>("sessions", |record, sums| {
            let (pages, bytes) = sums.entry(record.client);
            *pages += 1;
            *bytes += i128::from(record.size.bytes().unwrap_or(0));
        });
        let sessions = sessions.map(move |(span, client, (pages, bytes))| {
            // A session ends when a gap has passed since its last request.
            let last = span.end - gap.millis();
            let seconds = (last - span.start) / 1000;
            (client, Time(span.start), Time(last), seconds, pages, bytes)
        });
        flow.view_windows("sessions", sessions);
        Ok(())
    }
}
