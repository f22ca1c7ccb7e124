//! The lines that contain a text, and how many there are: the course's first streaming program.

use thalweg::prelude::*;

/// lines that contain a text
#[derive(clap::Args)]
pub struct ErrorLines {
    /// the text to look for
    #[arg(long, value_name = "TEXT", default_value = "error", value_parser = some_text)]
    contains: String,
}

impl Dataflow for ErrorLines {
    const NAME: &'static str = "error-lines";
    const SOURCE: &'static str = "file:data/access.log";
    // Lines that were shown are not shown again when more arrive.
    const SINK: &'static str = "console:?mode=update";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let finder = memchr::memmem::Finder::new(self.contains.as_bytes()).into_owned();
        let lines = flow.records(Text);
        let found = lines.by(text("line"), move |line| finder.find(line.line()).map(|_| line.line()));
        found.collect("errors").about("the lines that contain --contains").show("errors");

        let finder = memchr::memmem::Finder::new(self.contains.as_bytes()).into_owned();
        let count = lines.all().aggregate("error_count", |all| {
            all.count_if("count", move |line| finder.find(line.line()).is_some())
        });
        count.about("how many they are").show("error_count");
        Ok(())
    }
}

fn some_text(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("every line contains the empty text") } else { Ok(text.to_owned()) }
}
