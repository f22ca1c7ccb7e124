//! The most requested URLs of the last half minute: the course's challenge.

use thalweg::prelude::*;

/// `top-urls`.
pub struct TopUrls;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "30s", about: "how long a window is" };
const SLIDE: Opt = Opt { name: "slide", value: "TIME", default: "10s", about: "how far apart windows start" };
const TOP: Opt = Opt { name: "top", value: "N", default: "10", about: "how many URLs to rank" };
const TABLE: Opt = Opt {
    name: "table",
    value: "",
    default: "false",
    about: "keep the rows of all windows, not of the last",
};

impl Dataflow for TopUrls {
    fn name(&self) -> &'static str {
        "top-urls"
    }

    fn about(&self) -> &'static str {
        "the most requested URLs of an access log, by windows of time"
    }

    fn views(&self) -> &'static [View] {
        &[View {
            name: "top_urls",
            columns: &["start", "end", "rank", "url", "count"],
            about: "the first --top URLs by count of the last window, or with --table of every window",
        }]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH, SLIDE, TOP, TABLE]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let top = options.get::<u32>(TOP.name)? as usize;
        let table = options.flag(TABLE.name)?;
        let window = match table {
            true => options.table_window(LENGTH.name, SLIDE.name)?,
            false => options.window(LENGTH.name, SLIDE.name)?,
        };
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);
            records.event_time(|record| record.event_time());
            if table {
                let urls = records.by_window(window).count_by::<Bytes>("urls", |record| record.endpoint());
                flow.view_windows("top_urls", urls.top_k(top).map(row));
            } else {
                let urls = records.over_last(window).count_by::<Bytes>("urls", |record| record.endpoint());
                let first = urls.top_k(top);
                let first = urls.with_window("top_urls", first);
                flow.view("top_urls", first.map(|(span, (rank, url, count))| row((span, rank, url, count))));
            }
        }))
    }
}

fn row((span, rank, url, count): (Span, u64, Bytes, isize)) -> (Time, Time, u64, Bytes, isize) {
    (Time(span.start), Time(span.end), rank, url, count)
}
