//! The visits of each client: what it asked for without a pause.

use std::time::Duration;

use thalweg::prelude::*;

/// sessions of the clients of an access log
#[derive(clap::Args)]
pub struct Sessions {
    #[command(flatten)]
    log: AccessLogOptions,
    /// a pause as long as this ends a session
    #[arg(long, value_name = "TIME", default_value = "30m")]
    gap: Length,
}

impl Dataflow for Sessions {
    const NAME: &'static str = "sessions";
    const SOURCE: &'static str = "file:data/access.log";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let (gap, length) = (Gap::new(self.gap)?, Duration::from(self.gap));
        let log = flow.records(self.log.format()).event_time(|record| record.event_time());
        let sessions = log.by(text("client"), |record| record.client()).by_session(gap);
        let sessions = sessions.aggregate("sessions", |all| {
            all.count("pages").sum("bytes", |record| Some(record.size().bytes().unwrap_or(0)))
        });
        // A session ends when a gap has passed since its last request.
        let columns = ["client", "start", "last", "seconds", "pages", "bytes"];
        let sessions = sessions.map(columns, move |(span, client, (pages, bytes))| {
            let last = span.end - length;
            (client, span.start, last, last.millis_since(span.start) / 1000, pages, bytes)
        });
        let about = "every session, by client: its first and last request, what is between them, and how many they are";
        sessions.about(about).show("sessions");
        Ok(())
    }
}
