//! How often each word occurs.

use thalweg::prelude::*;

/// words, split on white space, by how often they occur
#[derive(clap::Args)]
pub struct WordCount;

impl Dataflow for WordCount {
    const NAME: &'static str = "word-count";
    const SOURCE: &'static str = "file:data/words.txt";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let words = flow.records(Text).by_each(text("word"), |line, each| {
            line.line()
                .split(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
                .filter(|word| !word.is_empty())
                .for_each(each);
        });
        words.count("words").sorted_by(by_count).about("every word, by count").show("words");
        Ok(())
    }
}
