//! The lines that contain a text, and how many there are: the course's first streaming program.

use thalweg::prelude::*;

/// `error-lines`.
pub struct ErrorLines;

const CONTAINS: Opt =
    Opt { name: "contains", value: "TEXT", default: "error", about: "the text to look for" };

impl Dataflow for ErrorLines {
    fn name(&self) -> &'static str {
        "error-lines"
    }

    fn about(&self) -> &'static str {
        "lines that contain a text"
    }

    fn views(&self) -> &'static [View] {
        &[
            View { name: "errors", columns: &["line"], about: "the lines that contain --contains" },
            View { name: "error_count", columns: &["count"], about: "how many they are" },
        ]
    }

    fn options(&self) -> &'static [Opt] {
        &[CONTAINS]
    }

    fn default_source(&self) -> &'static str {
        "file:data/access.log"
    }

    fn default_sink(&self) -> &'static str {
        // Lines that were shown are not shown again when more arrive.
        "console:?mode=update"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let text = options.text(CONTAINS.name);
        if text.is_empty() {
            return Err(OptionError::new(CONTAINS.name, text, "every line contains the empty text"));
        }
        let finder = memchr::memmem::Finder::new(text.as_bytes()).into_owned();
        Ok(Build::new(move |flow| {
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
        }))
    }
}
