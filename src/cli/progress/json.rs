//! The progress of a run as objects of JSON, one for each tick in which something was sealed.
//!
//! Their form is that of Spark's `StreamingQueryProgress`, as far as there is the same thing here, so that what reads
//! those reads these:
//!
//! | field | |
//! |---|---|
//! | `id` | the same for each run of the dataflow with the same sources and sinks |
//! | `runId` | another for each run |
//! | `name`, `timestamp` | the dataflow; when this was so |
//! | `batchId` | the last epoch that every sink has committed, none before the first |
//! | `batchDuration` | milliseconds from opening to commit of the epochs since the object before, on average |
//! | `numInputRows`, `inputRowsPerSecond` | lines of the epochs that were committed since the object before, and that by the time that has gone by |
//! | `processedRowsPerSecond` | the same by the time from opening these epochs to their commit |
//! | `durationMs` | that time, in all (`triggerExecution`), and its parts: until sealed (`read`) and until committed (`commit`) |
//! | `eventTime` | `watermark`, `min` and `max` over the run, where the dataflow goes by event time |
//! | `stateOperators` | each door with the rows, or keys, that it holds in this process |
//! | `numRowsDroppedByWatermark` | records refused as too late, over the run |
//! | `sources` | each with the lines that were read (an epoch or two ahead of those that are committed), `startOffset`, `endOffset` (by partition, of those that have moved; a hundred at most), `latestOffset` where the source knows it, and its `lag` |
//! | `sinks` | each with `numOutputRows` (changes of rows since the object before) and `waitingBytes` |

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::ledger::PartitionStatus;
use crate::runtime::{ProgressReport, Settings, SourceReport};
use crate::source::PartitionId;

/// Partitions that are named in one object.
const NAMED: usize = 100;

/// Makes the objects of a run.
#[derive(Debug)]
pub(super) struct Objects {
    id: String,
    run: String,
    name: String,
    /// As the object before had it.
    elapsed: Duration,
    /// Likewise, by source: the lines, and by partition the offset.
    sources: Vec<(u64, HashMap<PartitionId, u64>)>,
    /// Likewise, by sink.
    rows: Vec<u64>,
}

impl Objects {
    /// For a run of `dataflow`.
    pub(super) fn new(dataflow: &str, settings: &Settings) -> Result<Self, &'static str> {
        let mut run = [0; 16];
        getrandom::fill(&mut run).map_err(|_| "the system has no random numbers for `runId`")?;
        let mut hash = Sha256::new();
        let sources = settings
            .sources
            .iter()
            .flat_map(|(input, source)| [input.as_deref().unwrap_or_default(), source.uri()]);
        let sinks = settings.sinks.iter().map(|sink| sink.uri.as_str());
        for part in [dataflow].into_iter().chain(sources).chain(sinks) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Ok(Objects {
            id: uuid(id),
            run: uuid(run),
            name: dataflow.to_owned(),
            elapsed: Duration::ZERO,
            sources: Vec::new(),
            rows: Vec::new(),
        })
    }

    /// What `report` says.
    pub(super) fn next(&mut self, report: &ProgressReport) -> Value {
        let seconds = report.elapsed.saturating_sub(self.elapsed).as_secs_f64();
        let seconds = seconds.max(1e-3);
        self.elapsed = report.elapsed;
        self.sources.resize_with(report.sources.len(), Default::default);
        self.rows.resize(report.sinks.len(), 0);
        let lines = report.latest.lines;
        let mut sources = Vec::new();
        for (source, before) in report.sources.iter().zip(&mut self.sources) {
            let new = source.status.lines.saturating_sub(before.0);
            before.0 = source.status.lines;
            sources.push(source_object(source, &mut before.1, new, seconds, report.elapsed));
        }
        let sinks = report.sinks.iter().zip(&mut self.rows).map(|(sink, before)| {
            let rows = sink.rows.saturating_sub(std::mem::replace(before, sink.rows));
            json!({"description": sink.uri, "numOutputRows": rows, "waitingBytes": sink.waiting})
        });
        let sinks: Vec<_> = sinks.collect();
        let latest = &report.latest;
        let busy = latest.reading + latest.committing;
        let event_time = report.event_times.map(|(min, max)| {
            json!({
                "watermark": report.watermark.map(|time| time.to_string()),
                "min": min.to_string(),
                "max": max.to_string(),
            })
        });
        let doors =
            report.doors.iter().map(|(name, rows)| json!({"operatorName": name, "numRowsTotal": rows}));
        json!({
            "id": self.id,
            "runId": self.run,
            "name": self.name,
            "timestamp": report.at.map(|time| time.to_string()),
            "batchId": report.committed.checked_sub(1),
            "batchDuration": millis(busy).checked_div(latest.epochs),
            "numInputRows": lines,
            "inputRowsPerSecond": lines as f64 / seconds,
            "processedRowsPerSecond": lines as f64 / busy.as_secs_f64().max(1e-3),
            "durationMs": {
                "triggerExecution": millis(busy),
                "read": millis(latest.reading),
                "commit": millis(latest.committing),
            },
            "eventTime": event_time.unwrap_or_else(|| json!({})),
            "stateOperators": doors.collect::<Vec<_>>(),
            "numRowsDroppedByWatermark": report.counts.late_records,
            "sources": sources,
            "sinks": sinks,
        })
    }
}

fn source_object(
    source: &SourceReport,
    before: &mut HashMap<PartitionId, u64>,
    lines: u64,
    seconds: f64,
    elapsed: Duration,
) -> Value {
    let status = &source.status;
    let (mut start, mut end, mut latest) = (Map::new(), Map::new(), Map::new());
    for PartitionStatus { id, name, begin, offset, behind, ended, .. } in &source.partitions {
        let from = before.get(id).copied().unwrap_or(*begin);
        if *ended {
            before.remove(id);
        } else {
            before.insert(*id, *offset);
        }
        if from < *offset && end.len() < NAMED {
            // Of two with the same name, such as a log and the one before it, the later is told apart by its number.
            let taken = end.contains_key(&**name);
            let name = if taken { format!("{name}#{id}") } else { name.to_string() };
            start.insert(name.clone(), from.into());
            end.insert(name.clone(), (*offset).into());
            if let Some(behind) = behind {
                latest.insert(name, (offset + behind).into());
            }
        }
    }
    let since = status.behind_since.map_or(Duration::ZERO, |since| elapsed.saturating_sub(since));
    let unit = super::unit(status.unit);
    json!({
        "description": status.uri,
        "startOffset": start,
        "endOffset": end,
        "latestOffset": if latest.is_empty() { Value::Null } else { latest.into() },
        "numInputRows": lines,
        "inputRowsPerSecond": lines as f64 / seconds,
        "partitions": status.partitions,
        "newestEventTime": status.newest.map(|time| time.to_string()),
        "lag": { unit: status.behind, "seconds": since.as_secs_f64() },
        "lost": { unit: status.lost },
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `bytes` in the form of a UUID.
fn uuid(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
