//! The ready-made dataflows: one file each, public API only, made to be copied.

mod access_log;
mod action_counts;
mod alarm;
mod enrich;
mod error_lines;
mod hashtags;
mod log_stats;
mod sessions;
mod status_counts;
mod top_urls;
mod visitors;
mod word_count;

use thalweg::dataflow::Dataflow;

/// All of them, in the order of `thalweg list`.
pub const ALL: &[&dyn Dataflow] = &[
    &access_log::AccessLogStatistics,
    &log_stats::LogStats,
    &top_urls::TopUrls,
    &status_counts::StatusCounts,
    &alarm::Alarm,
    &sessions::Sessions,
    &visitors::Visitors,
    &enrich::Enrich,
    &error_lines::ErrorLines,
    &word_count::WordCount,
    &hashtags::Hashtags,
    &action_counts::ActionCounts,
];
