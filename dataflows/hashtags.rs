//! The hashtags that tweets of the last five minutes have most: the course's trending topics.

use thalweg::prelude::*;

/// `hashtags`.
pub struct Hashtags;

const LENGTH: Opt = Opt { name: "length", value: "TIME", default: "300s", about: "how long a window is" };
const SLIDE: Opt = Opt { name: "slide", value: "TIME", default: "1s", about: "how far apart windows start" };
const TOP: Opt = Opt { name: "top", value: "N", default: "10", about: "how many tags to rank" };
const JSON_MODE: Opt = Opt {
    name: "json-mode",
    value: "MODE",
    default: "dropmalformed",
    about: "what becomes of lines that are not JSON: permissive, dropmalformed, failfast",
};

/// The fields, by their place in the list that the format is given.
const TEXT: usize = 0;
const TIME: usize = 1;

impl Dataflow for Hashtags {
    fn name(&self) -> &'static str {
        "hashtags"
    }

    fn about(&self) -> &'static str {
        "the most frequent hashtags of tweets, over the last window"
    }

    fn views(&self) -> &'static [View] {
        &[View {
            name: "hashtags",
            columns: &["start", "end", "rank", "tag", "count"],
            about: "the first --top tags of the window by count",
        }]
    }

    fn options(&self) -> &'static [Opt] {
        &[LENGTH, SLIDE, TOP, JSON_MODE]
    }

    fn default_source(&self) -> &'static str {
        "file:data/tweets.jsonl"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let window = options.window(LENGTH.name, SLIDE.name)?;
        let top: u32 = options.get(TOP.name)?;
        let tweets = Json::new([("text", "text"), ("time", "created_at")]).expect("two fields, two paths");
        let tweets = tweets.with_mode(options.get::<JsonMode>(JSON_MODE.name)?);
        Ok(Build::new(move |flow| {
            let mut records = flow.records(tweets.clone());
            records.event_time(|tweet| tweet.millis(TIME));
            let tags = records.over_last(window).count_each::<Bytes>("tags", |tweet, each| {
                let text = tweet.text(TEXT).unwrap_or_default();
                text.split(' ').filter(|word| word.starts_with('#')).for_each(|tag| each(tag.as_bytes()));
            });
            let first = tags.top_k(top as usize);
            let first = tags.with_window("hashtags", first);
            flow.view(
                "hashtags",
                first.map(|(span, (rank, tag, count))| (Time(span.start), Time(span.end), rank, tag, count)),
            );
        }))
    }
}
