//! How often each word occurs.

use thalweg::prelude::*;

/// `word-count`.
#[derive(clap::Args)]
pub struct WordCount;

impl Dataflow for WordCount {
    const NAME: &'static str = "word-count";

    const ABOUT: &'static str = "words, split on white space, by how often they occur";

    const VIEWS: &'static [View] =
        &[View { name: "words", columns: &["word", "count"], about: "every word, by count" }];

    const SOURCE: &'static str = "file:data/words.txt";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let mut lines = flow.records(Text);
        let words = lines.count_each::<Bytes>("words", |line, each| {
            line.split(is_white_space).filter(|word| !word.is_empty()).for_each(each);
        });
        flow.view_by("words", words, by_count);
        Ok(())
    }
}

/// As `\s` says of bytes, with the vertical tab that `is_ascii_whitespace` leaves out.
fn is_white_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
