//! The hashtags that tweets of the last five minutes have most: the course's trending topics.

use thalweg::prelude::*;

/// `hashtags`.
#[derive(clap::Args)]
pub struct Hashtags {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "300s")]
    length: Length,
    /// how far apart windows start
    #[arg(long, value_name = "TIME", default_value = "1s")]
    slide: Length,
    /// how many tags to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
    /// what becomes of lines that are not JSON: permissive, dropmalformed, failfast
    #[arg(long, value_name = "MODE", default_value = "dropmalformed")]
    json_mode: JsonMode,
}

/// The fields, by their place in the list that the format is given.
const TEXT: usize = 0;
const TIME: usize = 1;

impl Dataflow for Hashtags {
    const NAME: &'static str = "hashtags";

    const ABOUT: &'static str = "the most frequent hashtags of tweets, over the last window";

    const VIEWS: &'static [View] = &[View {
        name: "hashtags",
        columns: &["start", "end", "rank", "tag", "count"],
        about: "the first --top tags of the window by count",
    }];

    const SOURCE: &'static str = "file:data/tweets.jsonl";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(self.length, self.slide)?;
        let tweets = Json::new([("text", "text"), ("time", "created_at")])?.with_mode(self.json_mode);
        let mut records = flow.records(tweets);
        records.event_time(|tweet| tweet.millis(TIME));
        let tags = records.over_last(window).count_each::<Bytes>("tags", |tweet, each| {
            let text = tweet.text(TEXT).unwrap_or_default();
            text.split(' ').filter(|word| word.starts_with('#')).for_each(|tag| each(tag.as_bytes()));
        });
        let first = tags.top_k(self.top as usize);
        let first = tags.with_window("hashtags", first);
        flow.view(
            "hashtags",
            first.map(|(span, (rank, tag, count))| (Time(span.start), Time(span.end), rank, tag, count)),
        );
        Ok(())
    }
}
