//! The plain loops: what one would write by hand for the one job, on one thread.
//!
//! Each reads a file through one buffer and has the same parser as the dataflow, hash tables with the same hash, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use crate::bench::{BenchError, baseline_windows};
use crate::data::{Bytes, InputCounts, Stats};
use crate::format::{AccessLog, LineFormat};
use crate::runtime::{Usage, now};

type Table = HashMap<Bytes, i64, foldhash::fast::RandomState>;

/// How much is read at once: the best of what was tried, as for the dataflow's chunks.
const BUFFER: usize = 512 << 10;

/// The dataflows whose loops show every window.
pub(super) const WINDOWED: [&str; 2] = ["hashtags", "top-urls"];

/// The plain loop for one dataflow, which the other measurements compare with.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The dataflow, one of [`Baseline::NAMES`].
    pub name: String,
    /// What is read.
    pub file: PathBuf,
    /// Where windows are written.
    pub output: PathBuf,
}

impl Baseline {
    /// The dataflows for which there is a loop.
    pub const NAMES: [&str; 5] = ["access-log", "error-lines", "hashtags", "top-urls", "word-count"];

    /// Runs the loop; returns one JSON object with its figures and something of its answer.
    ///
    /// # Errors
    ///
    /// When there is no such loop, the file cannot be read, or windows cannot be written.
    pub fn run(&self) -> Result<String, BenchError> {
        let begun = now();
        let (counts, answer) = run(&self.name, &self.file, &self.output)?;
        let seconds = (now() - begun).as_secs_f64();
        let usage = Usage::now();
        let summary = serde_json::json!({
            "lines": counts.lines,
            "parsed": counts.parsed,
            "bytes": counts.bytes,
            "seconds": seconds,
            "cpu_seconds": usage.cpu.as_secs_f64(),
            "peak_memory": usage.peak_memory,
            "answer": answer,
        });
        Ok(format!("{summary}\n"))
    }
}

/// Runs the loop `name` over `file`; returns what became of the lines, and something of its answer. Windows go to `output`.
fn run(name: &str, file: &Path, output: &Path) -> Result<(InputCounts, serde_json::Value), BenchError> {
    let read = |line: &mut dyn FnMut(&[u8], &mut InputCounts)| each_line(file, line);
    match name {
        "access-log" => access_log(file),
        "error-lines" => {
            let finder = memchr::memmem::Finder::new("error");
            let mut found: Table = HashMap::default();
            let counts = read(&mut |line, counts| {
                counts.parsed += 1;
                if finder.find(line).is_some() {
                    count(&mut found, line);
                }
            })?;
            Ok((counts, found.values().sum::<i64>().into()))
        }
        "hashtags" => baseline_windows::hashtags(file, output),
        "top-urls" => baseline_windows::top_urls(file, output),
        "word-count" => {
            let mut words: Table = HashMap::default();
            let counts = read(&mut |line, counts| {
                counts.parsed += 1;
                for word in line.split(is_white_space).filter(|word| !word.is_empty()) {
                    count(&mut words, word);
                }
            })?;
            let mut words: Vec<_> = words.into_iter().collect();
            words.sort_unstable_by(crate::data::by_count);
            Ok((counts, words.len().into()))
        }
        other => Err(BenchError::NoLoop { name: other.to_owned() }),
    }
}

fn access_log(file: &Path) -> Result<(InputCounts, serde_json::Value), BenchError> {
    let mut parser = AccessLog;
    let mut statuses = vec![0i64; 1000];
    let (mut sizes, mut missing) = (Stats::default(), 0i64);
    let mut clients: Table = HashMap::default();
    let mut endpoints: Table = HashMap::default();
    let counts = each_line(file, &mut |line: &[u8], counts: &mut InputCounts| {
        let Some(record) = parser.parse(line) else {
            counts.malformed += 1;
            return;
        };
        counts.parsed += 1;
        statuses[usize::from(record.status)] += 1;
        match record.size.bytes() {
            Some(bytes) => sizes.record(bytes),
            None => missing += 1,
        }
        count(&mut clients, record.client);
        if let Some(endpoint) = record.endpoint() {
            count(&mut endpoints, endpoint);
        }
    })?;
    let mut frequent: Vec<_> = clients.into_iter().filter(|(_, count)| *count > 10).collect();
    frequent.sort_unstable_by(crate::data::by_count);
    let mut top: Vec<_> = endpoints.into_iter().collect();
    if top.len() > 10 {
        top.select_nth_unstable_by(9, crate::data::by_count);
        top.truncate(10);
    }
    top.sort_unstable_by(crate::data::by_count);
    let answer = serde_json::json!({
        "statuses": statuses.iter().filter(|count| **count > 0).count(),
        "sizes": sizes.sum,
        "missing": missing,
        "frequent": frequent.len(),
        "top": top.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
    });
    Ok((counts, answer))
}

fn is_white_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[inline]
fn count(table: &mut Table, key: &[u8]) {
    match table.get_mut(key) {
        Some(count) => *count += 1,
        None => {
            table.insert(Bytes::from(key), 1);
        }
    }
}

/// Hands each line of `file` to `each`, with the counts so far.
pub(super) fn each_line<L>(file: &Path, each: &mut L) -> Result<InputCounts, BenchError>
where
    L: FnMut(&[u8], &mut InputCounts) + ?Sized,
{
    each_line_of(file, each).map_err(|source| BenchError::Read { path: file.to_owned(), source })
}

fn each_line_of<L>(file: &Path, each: &mut L) -> io::Result<InputCounts>
where
    L: FnMut(&[u8], &mut InputCounts) + ?Sized,
{
    let mut file = File::open(file)?;
    let mut counts = InputCounts::default();
    let mut buffer = vec![0; BUFFER];
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..])?;
        counts.bytes += read as i64;
        let filled = kept + read;
        let mut line = |line: &[u8]| {
            counts.lines += 1;
            each(line.strip_suffix(b"\r").unwrap_or(line), &mut counts);
        };
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[start..filled]) {
            line(&buffer[start..start + length]);
            start += length + 1;
        }
        if read == 0 {
            if start < filled {
                line(&buffer[start..filled]);
            }
            return Ok(counts);
        }
        buffer.copy_within(start..filled, 0);
        kept = filled - start;
        if kept == buffer.len() {
            buffer.resize(2 * kept, 0);
        }
    }
}
