//! How often each word occurs.

use thalweg::prelude::*;

/// words, split on white space, by how often they occur
#[derive(clap::Args)]
pub struct WordCount {
    /// what is counted: all that there was, each batch (epoch, see --tick) by itself, or both
    #[arg(long, value_name = "WHAT", default_value = "all")]
    per: Per,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Per {
    All,
    Batch,
    Both,
}

impl Dataflow for WordCount {
    const NAME: &'static str = "word-count";
    const SOURCE: &'static str = "file:data/words.txt";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let lines = flow.records(Text);
        let words = || {
            lines.by_each(text("word"), |line, each| {
                line.line()
                    .split(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
                    .filter(|word| !word.is_empty())
                    .for_each(each);
            })
        };
        if self.per != Per::All {
            let batch = words().by_epoch().count("batch words");
            let batch = batch.sorted_by(|a, b| (a.0, b.2, &a.1).cmp(&(b.0, a.2, &b.1)));
            batch.about("the words of each batch, by count").show("batch");
        }
        if self.per != Per::Batch {
            words().count("words").sorted_by(by_count).about("every word, by count").show("words");
        }
        Ok(())
    }
}
