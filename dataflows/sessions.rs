//! The visits of each client: what it asked for without a pause.

use thalweg::prelude::*;

/// `sessions`.
pub struct Sessions;

const GAP: Opt =
    Opt { name: "gap", value: "TIME", default: "30m", about: "a pause as long as this ends a session" };

impl Dataflow for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn about(&self) -> &'static str {
        "sessions of the clients of an access log"
    }

    fn views(&self) -> &'static [View] {
        &[View {
            name: "sessions",
            columns: &["client", "start", "last", "seconds", "pages", "bytes"],
            about: "every session, by client: its first and last request, what is between them, and how many they are",
        }]
    }

    fn options(&self) -> &'static [Opt] {
        &[GAP]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let gap = Gap::new(options.duration(GAP.name)?)
            .map_err(|error| OptionError::new(GAP.name, options.text(GAP.name), error))?;
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);
            records.event_time(|record| record.event_time());
            let sessions =
                records.by_session(gap).sums_by::<Bytes, (isize, i128)>("sessions", |record, sums| {
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
        }))
    }
}
