//! How often each word occurs.

use thalweg::prelude::*;

/// `word-count`.
pub struct WordCount;

impl Dataflow for WordCount {
    fn name(&self) -> &'static str {
        "word-count"
    }

    fn about(&self) -> &'static str {
        "words, split on white space, by how often they occur"
    }

    fn views(&self) -> &'static [View] {
        &[View { name: "words", columns: &["word", "count"], about: "every word, by count" }]
    }

    fn default_source(&self) -> &'static str {
        "file:data/words.txt"
    }

    fn prepare(&self, _options: &Options) -> Result<Build, OptionError> {
        Ok(Build::new(|flow| {
            let mut lines = flow.records(Text);
            let words = lines.count_each::<Bytes>("words", |line, each| {
                line.split(is_white_space).filter(|word| !word.is_empty()).for_each(each);
            });
            flow.view_by("words", words, by_count);
        }))
    }
}

/// As `\s` says of bytes, with the vertical tab that `is_ascii_whitespace` leaves out.
fn is_white_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
