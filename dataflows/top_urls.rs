//! The most requested URLs of the last half minute: the course's challenge.

use thalweg::prelude::*;

/// `top-urls`.
pub struct TopUrls;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "30s", about: "how long a window is" };
const SLIDE: Opt = Opt { name: "slide", value: "TIME", default: "10s", about: "how far apart windows start" };
const TOP: Opt = Opt { name: "top", value: "N", default: "10", about: "how many URLs to rank" };

impl Dataflow for TopUrls {
    fn name(&self) -> &'static str {
        "top-urls"
    }

    fn about(&self) -> &'static str {
        "the most requested URLs of an access log, over the last window"
    }

    fn views(&self) -> &'static [View] {
        &[
            View { name: "window", columns: &["start", "end"], about: "the window that is shown" },
            View {
                name: "top_urls",
                columns: &["rank", "url", "count"],
                about: "the first --top URLs of the window by count",
            },
        ]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH, SLIDE, TOP]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let window = options.window(LENGTH.name, SLIDE.name)?;
        let top: u32 = options.get(TOP.name)?;
        Ok(Build::new(move |flow| {
            let mut records = flow.records(AccessLog);
            records.event_time(|record| record.event_time());
            let urls = records.over_last(window).count_by::<Bytes>("urls", |record| record.endpoint());
            flow.view("window", urls.window.map(|span| (span.start, span.end)));
            flow.view("top_urls", urls.rows.top_k(top as usize));
        }))
    }
}
