//! The hashtags that tweets of the last five minutes have most: the course's trending topics.

use thalweg::dataflow::in_zone;
use thalweg::format::time::Zone;
use thalweg::prelude::*;

/// the most frequent hashtags of tweets, over the last window
#[derive(clap::Args)]
pub struct Hashtags {
    #[command(flatten)]
    window: WindowOptions<300, 1>,
    /// how many tags to rank
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: u32,
    /// what a tag is: course (a word between single spaces that begins with #) or social (as networks read what people write)
    #[arg(long, value_name = "RULE", default_value = "course")]
    rule: Rule,
    /// where the text is in a line, a path such as commit.record.text
    #[arg(long, value_name = "PATH", default_value = "text")]
    text_field: String,
    /// where the time is
    #[arg(long, value_name = "PATH", default_value = "created_at")]
    time_field: String,
    /// where clocks show the times that name no zone, such as Europe/Berlin or +09:00
    #[arg(long, value_name = "ZONE", default_value_t)]
    zone: Zone,
    /// what becomes of lines that are not JSON: permissive, dropmalformed, failfast
    #[arg(long, value_name = "MODE", default_value = "dropmalformed")]
    json_mode: JsonMode,
}

/// What a tag is.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rule {
    Course,
    Social,
}

/// The fields, by their place in the list that the format is given.
const TEXT: usize = 0;
const TIME: usize = 1;
/// Texts and the tags that a network has found in them, the whole ones first.
const WHOLE: [(usize, usize); 2] = [(2, 3), (TEXT, 4)];

impl Dataflow for Hashtags {
    const NAME: &'static str = "hashtags";
    const SOURCE: &'static str = "file:data/tweets.jsonl";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = in_zone(self.window.window()?, self.zone)?;
        let mut fields = vec![("text", self.text_field.as_str()), ("time", self.time_field.as_str())];
        if self.rule == Rule::Social {
            let (text, tags) = ("extended_tweet.full_text", "extended_tweet.entities.hashtags");
            fields.extend([("whole text", text), ("whole tags", tags), ("tags", "entities.hashtags")]);
        }
        let tweets = Json::new(fields)?.with_mode(self.json_mode);
        let (rule, zone) = (self.rule, self.zone);
        let tweets = flow.records(tweets).event_time(move |tweet| tweet.get(TIME).time_in(zone));
        let tags = tweets.by_each(text("tag"), move |tweet, each| match rule {
            Rule::Course => {
                let text = tweet.text(TEXT).unwrap_or_default();
                text.split(' ').filter(|word| word.starts_with('#')).for_each(|tag| each(tag.as_bytes()));
            }
            Rule::Social => social(tweet, |tag| each(tag.as_bytes())),
        });
        let first = tags.over_last(window).count("tags").top(self.top as usize).with_window();
        first.about("the first --top tags of the window by count").show("hashtags");
        Ok(())
    }
}

/// The tags of a tweet as networks have them, in small letters: those that came with it, or else those in its text, and of a
/// tweet that was cut short those of the whole one.
fn social(tweet: &JsonRecord<'_>, mut each: impl FnMut(&str)) {
    let (text, tags) = WHOLE.into_iter().find(|(text, _)| !tweet.get(*text).is_null()).unwrap_or(WHOLE[1]);
    let mut found = tweet.elements(tags).peekable();
    if found.peek().is_some() {
        for tag in found.filter_map(|tag| Some(tag.member("text").text()?.to_lowercase())) {
            each(&format!("#{tag}"));
        }
        return;
    }
    let text = tweet.text(text).unwrap_or_default();
    let is_sign = |c: char| matches!(c, '#' | '＃');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut before = None;
    let mut rest = text.as_ref();
    while let Some((at, sign)) = rest.char_indices().find(|(_, c)| is_sign(*c)) {
        before = rest[..at].chars().next_back().or(before);
        let behind = &rest[at + sign.len_utf8()..];
        let end = behind.find(|c| !is_word(c)).unwrap_or(behind.len());
        let (tag, next) = behind.split_at(end);
        // Inside a word, behind another sign, or as a part of an address or of an entity, it is no tag; nor is a number.
        let begins = before.is_none_or(|c| !is_word(c) && !is_sign(c) && !matches!(c, '&' | '/'));
        let ends = !next.starts_with(is_sign) && !next.starts_with("://");
        if begins && ends && tag.chars().any(char::is_alphabetic) {
            each(&format!("#{}", tag.to_lowercase()));
        }
        before = tag.chars().next_back().or(Some(sign));
        rest = next;
    }
}
