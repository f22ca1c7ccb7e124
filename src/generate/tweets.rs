//! Tweets as JSON lines: the fields that log and tag statistics use, named as Twitter's API named them.
//!
//! The hashtags stand in `text`, each after a space, and once more in `entities.hashtags`, in the same order.

use crate::generate::clock::Moment;
use crate::generate::draws::Draws;
use crate::generate::text::{decimal, link, signed, word};
use crate::generate::tweet_parts::{LANGUAGES, TRICKY, WORDS, tag};
use crate::generate::zipf::Zipf;
use crate::generate::{Lines, Options, json};

/// How many hashtags a tweet has, by weights as running totals.
const TAGS: [(u64, usize); 6] = [(150, 0), (500, 1), (750, 2), (900, 3), (970, 4), (1000, 5)];

#[derive(Debug)]
pub(super) struct Tweets {
    /// For hashtags and, by draws of their own, for users.
    keys: Zipf,
    /// Where the last line's text begins, in bytes from the line's beginning.
    text: usize,
}

impl Tweets {
    pub(super) fn new(options: &Options) -> Self {
        Tweets { keys: Zipf::new(options.keys, options.skew), text: 0 }
    }

    /// Appends up to `most` words, each after a space.
    fn words(draws: &mut Draws, most: u64, out: &mut Vec<u8>) {
        for _ in 0..draws.draw().below(most + 1) {
            let mut draw = draws.draw();
            let part = if draw.below(12) == 0 { draw.pick(&TRICKY) } else { draw.pick_low(&WORDS) };
            out.push(b' ');
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Appends the text of a tweet with `tags`. It begins with a letter.
    fn text(&self, draws: &mut Draws, tags: &[u64], out: &mut Vec<u8>) {
        let mut draw = draws.draw();
        if draw.below(10) < 3 {
            out.extend_from_slice(b"RT @");
            word(self.keys.rank(draws), out);
            out.push(b':');
        } else {
            out.extend_from_slice(
                draw.pick(&["How", "Why", "We", "Today:", "New", "Just", "My", "Join"]).as_bytes(),
            );
        }
        Self::words(draws, 12, out);
        for rank in tags {
            out.extend_from_slice(b" #");
            tag(*rank, out);
            Self::words(draws, 4, out);
        }
        if draw.below(2) == 0 {
            out.extend_from_slice(b" https://t.co/");
            link(draws.draw().rest(), 10, out);
        }
    }
}

impl Lines for Tweets {
    fn write(&mut self, draws: &mut Draws, moment: Moment, out: &mut Vec<u8>) {
        let start = out.len();
        let author = self.keys.rank(draws);
        let mut draw = draws.draw();
        let mut ranks = [0; 5];
        let tags = &mut ranks[..draw.pick_per_mille(&TAGS)];
        tags.fill_with(|| self.keys.rank(draws));

        out.extend_from_slice(b"{\"id\":");
        decimal(snowflake(moment), out);
        out.extend_from_slice(b",\"created_at\":");
        signed(moment.millis, out);
        out.extend_from_slice(b",\"text\":\"");
        self.text = out.len() - start;
        self.text(draws, tags, out);
        out.extend_from_slice(b"\",\"lang\":\"");
        out.extend_from_slice(draw.pick_per_mille(&LANGUAGES).as_bytes());
        let mut draw = draws.draw();
        out.extend_from_slice(b"\",\"retweet_count\":");
        decimal((1 << draw.low(14)) - 1, out);
        out.extend_from_slice(b",\"favorite_count\":");
        decimal(draw.low(100), out);
        out.extend_from_slice(b",\"entities\":{\"hashtags\":[");
        for (at, rank) in tags.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"text\":\"" } else { b",{\"text\":\"" });
            tag(*rank, out);
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"]},\"user\":{\"id\":");
        decimal(1_000_000 + author, out);
        out.extend_from_slice(b",\"screen_name\":\"");
        word(author, out);
        out.extend_from_slice(b"\",\"followers_count\":");
        decimal((1 << draw.low(18)) - 1 + draw.below(100), out);
        out.extend_from_slice(b"}}");
    }

    fn spoil(&self, draws: &mut Draws, start: usize, out: &mut Vec<u8>) {
        json::spoil(draws, start, start + self.text, out);
    }
}

/// An id as Twitter makes them: 41 bits of milliseconds since 4 November 2010, then 22 bits, here of the line's number.
fn snowflake(moment: Moment) -> u64 {
    let millis = (moment.millis - 1_288_834_974_657) as u64 & ((1 << 41) - 1);
    millis << 22 | moment.number & ((1 << 22) - 1)
}
