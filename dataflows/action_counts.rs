//! What devices did, by the hour: structured streaming's lesson on windows.

use thalweg::prelude::*;

/// `action-counts`.
#[derive(clap::Args)]
pub struct ActionCounts {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "1h")]
    length: Length,
    /// how far apart windows start; where it is not given, each starts as the one before ends
    #[arg(long, value_name = "TIME")]
    slide: Option<Length>,
    /// what becomes of lines that are not JSON: permissive, dropmalformed, failfast
    #[arg(long, value_name = "MODE", default_value = "permissive")]
    json_mode: JsonMode,
}

impl Dataflow for ActionCounts {
    const NAME: &'static str = "action-counts";

    const ABOUT: &'static str = "actions in lines of JSON, by windows of time";

    const VIEWS: &'static [View] = &[
        View {
            name: "actions",
            columns: &["start", "end", "action", "count"],
            about: "how often each action occurs in each window",
        },
        View {
            name: "corrupt",
            columns: &["lines"],
            about: "how many lines are not JSON, where --json-mode is permissive",
        },
    ];

    const SOURCE: &'static str = "file:data/actions.jsonl";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(self.length, self.slide.unwrap_or(self.length))?.for_table()?;
        let lines = Json::new([("action", "action"), ("time", "time")])?.with_mode(self.json_mode);
        let mut records = flow.records(lines);
        records.event_time(|record| record.seconds("time"));

        let actions = records.by_window(window).count_each::<Bytes>("actions", |record, each| {
            if let Some(action) = record.text("action") {
                each(action.as_bytes());
            }
        });
        let actions = actions.map(|(span, action, count)| (Time(span.start), Time(span.end), action, count));
        flow.view_windows("actions", actions);

        let corrupt = records.sum_all("corrupt", |record, corrupt: &mut isize| {
            *corrupt += isize::from(record.corrupt().is_some());
        });
        flow.view("corrupt", corrupt.map(|lines| (lines,)));
        Ok(())
    }
}
