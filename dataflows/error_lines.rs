//! The lines that contain a text, and how many there are: the course's first streaming program.

use thalweg::prelude::*;

/// `error-lines`.
#[derive(clap::Args)]
pub struct ErrorLines {
    /// the text to look for
    #[arg(long, value_name = "TEXT", default_value = "error", value_parser = some_text)]
    contains: String,
}

impl Dataflow for ErrorLines {
    const NAME: &'static str = "error-lines";

    const ABOUT: &'static str = "lines that contain a text";

    const VIEWS: &'static [View] = &[
        View { name: "errors", columns: &["line"], about: "the lines that contain --contains" },
        View { name: "error_count", columns: &["count"], about: "how many they are" },
    ];

    const SOURCE: &'static str = "file:data/access.log";

    // Lines that were shown are not shown again when more arrive.
    const SINK: &'static str = "console:?mode=update";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let finder = memchr::memmem::Finder::new(self.contains.as_bytes()).into_owned();
        let mut lines = flow.records(Text);

        let found = finder.clone();
        let errors = lines.collect::<Bytes>("errors", move |record| {
            let line = record.line();
            found.find(line).map(|_| line)
        });
        flow.view("errors", errors.map(|line| (line,)));

        let found = finder.clone();
        let count = lines.sum_all("error_count", move |record, count: &mut isize| {
            *count += isize::from(found.find(record.line()).is_some());
        });
        flow.view("error_count", count.map(|count| (count,)));
        Ok(())
    }
}

fn some_text(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("every line contains the empty text") } else { Ok(text.to_owned()) }
}
