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

use thalweg::dataflow::AnyDataflow;

/// All of them, in the order of `thalweg list`.
pub const ALL: &[AnyDataflow] = &[
    AnyDataflow::of::<access_log::AccessLogStatistics>(),
    AnyDataflow::of::<log_stats::LogStats>(),
    AnyDataflow::of::<top_urls::TopUrls>(),
    AnyDataflow::of::<status_counts::StatusCounts>(),
    AnyDataflow::of::<alarm::Alarm>(),
    AnyDataflow::of::<sessions::Sessions>(),
    AnyDataflow::of::<visitors::Visitors>(),
    AnyDataflow::of::<enrich::Enrich>(),
    AnyDataflow::of::<error_lines::ErrorLines>(),
    AnyDataflow::of::<word_count::WordCount>(),
    AnyDataflow::of::<hashtags::Hashtags>(),
    AnyDataflow::of::<action_counts::ActionCounts>(),
];
