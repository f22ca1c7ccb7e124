//! The hashtags that tweets of the last five minutes have most: the course's trending topics.

use thalweg::prelude::*;

/// the most frequent hashtags of tweets, over the last window
#[derive(clap::Args)]
pub struct Hashtags {
    #[command(flatten)]
    window: WindowOptions<300, 1>,
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
    const SOURCE: &'static str = "file:data/tweets.jsonl";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = self.window.window()?;
        let tweets = Json::new([("text", "text"), ("time", "created_at")])?.with_mode(self.json_mode);
        let tweets = flow.records(tweets).event_time(|tweet| tweet.millis(TIME));
        let tags = tweets.by_each(text("tag"), |tweet, each| {
            let text = tweet.text(TEXT).unwrap_or_default();
            text.split(' ').filter(|word| word.starts_with('#')).for_each(|tag| each(tag.as_bytes()));
        });
        let first = tags.over_last(window).count("tags").top(self.top as usize).with_window();
        first.about("the first --top tags of the window by count").show("hashtags");
        Ok(())
    }
}
