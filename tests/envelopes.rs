//! Lines in envelopes: what syslog, containers and the journal put around them, through the library and the real binary.
//!
//! - `pieces`: lines in pieces are joined, however they are cut, and against a straightforward reference.
//! - `syslog`: the dialects, and files that the real `rsyslogd` writes.
//! - `containers`: logs as Docker and the kubelet write and rotate them.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "envelopes/containers.rs"]
mod containers;
#[path = "envelopes/pieces.rs"]
mod pieces;
mod support;
#[path = "envelopes/syslog.rs"]
mod syslog;

use serde_json::json;

/// A record of Docker's `json-file`, as `JSONLogs.MarshalJSONBuf` of moby (daemon/logger/jsonfilelog/jsonlog) writes it.
fn docker(log: &str, stream: &str, time: &str) -> String {
    let quoted = serde_json::to_string(log).unwrap();
    format!("{{\"log\":{quoted},\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n")
}

/// A line as Docker's copier splits it (daemon/logger/copier.go of moby): pieces of 16 KiB, and LF at the end of the last.
fn docker_pieces(line: &str, stream: &str, time: &str, size: usize) -> Vec<String> {
    let line = format!("{line}\n");
    let pieces = line.as_bytes().chunks(size);
    pieces.map(|piece| docker(std::str::from_utf8(piece).unwrap(), stream, time)).collect()
}

/// The sample's lines, which `access-log` counts, as the text that JSON can hold.
fn sample() -> String {
    String::from_utf8_lossy(&std::fs::read("data/access.log").unwrap()).into_owned()
}

/// What a run of `access-log` on `source` shows in the end.
#[track_caller]
fn access_log(source: &str) -> Vec<serde_json::Value> {
    let sink = "jsonl:-?mode=complete&at=end";
    let ended = support::run(&["run", "access-log", "--source", source, "--sink", sink]).exits(0);
    shown_views(&ended.stdout)
}

/// The rows of all views of `access-log`.
#[track_caller]
fn shown_views(output: &[u8]) -> Vec<serde_json::Value> {
    let views = ["status_counts", "content_size", "frequent_clients", "top_endpoints", "input"];
    views.iter().map(|view| json!(support::rows(output, view))).collect()
}
