//! The ready-made dataflows: one file each, public API only, made to be copied.

mod access_log;
mod error_lines;
mod top_urls;
mod word_count;

use thalweg::dataflow::Dataflow;

/// All of them, in the order of `thalweg list`.
pub const ALL: &[&dyn Dataflow] =
    &[&access_log::AccessLogStatistics, &error_lines::ErrorLines, &word_count::WordCount, &top_urls::TopUrls];
