//! What devices did, by the hour: structured streaming's lesson on windows.

use thalweg::prelude::*;

/// `action-counts`.
pub struct ActionCounts;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "1h", about: "how long a window is" };
const SLIDE: Opt = Opt {
    name: "slide",
    value: "TIME",
    default: "",
    about: "how far apart windows start; where it is not given, each starts as the one before ends",
};
const JSON_MODE: Opt = Opt {
    name: "json-mode",
    value: "MODE",
    default: "permissive",
    about: "what becomes of lines that are not JSON: permissive, dropmalformed, failfast",
};

impl Dataflow for ActionCounts {
    fn name(&self) -> &'static str {
        "action-counts"
    }

    fn about(&self) -> &'static str {
        "actions in lines of JSON, by windows of time"
    }

    fn views(&self) -> &'static [View] {
        &[
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
        ]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH, SLIDE, JSON_MODE]
    }

    fn default_source(&self) -> &'static str {
        "file:data/actions.jsonl"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let slide = if options.text(SLIDE.name).is_empty() { LENGTH.name } else { SLIDE.name };
        let window = options.table_window(LENGTH.name, slide)?;
        let lines = Json::new([("action", "action"), ("time", "time")]).expect("two fields, two paths");
        let lines = lines.with_mode(options.get::<JsonMode>(JSON_MODE.name)?);
        Ok(Build::new(move |flow| {
            let mut records = flow.records(lines.clone());
            records.event_time(|record| record.seconds("time"));

            let actions = records.by_window(window).count_each::<Bytes>("actions", |record, each| {
                if let Some(action) = record.text("action") {
                    each(action.as_bytes());
                }
            });
            let actions =
                actions.map(|(span, action, count)| (Time(span.start), Time(span.end), action, count));
            flow.view_windows("actions", actions);

            let corrupt = records.sum_all("corrupt", |record, corrupt: &mut isize| {
                *corrupt += isize::from(record.corrupt().is_some());
            });
            flow.view("corrupt", corrupt.map(|lines| (lines,)));
        }))
    }
}
