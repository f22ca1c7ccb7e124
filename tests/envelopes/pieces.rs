//! Lines in pieces.

use std::sync::Arc;

use proptest::prelude::*;
use thalweg::envelope::{Envelope, EnvelopeKind, GivenUp, Peeled, Peeler};
use thalweg::format::WholeLines;
use thalweg::prelude::*;
use thalweg::source::{Enveloped, Memory, Pool, ReadOptions, Share, Source, Step};
use thalweg::testing::Script;

use super::{docker, sample};

const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A record: its stream, whether its line goes on, and its content.
type Record = (usize, bool, String);

fn text(kind: EnvelopeKind, (stream, goes_on, content): &Record) -> String {
    let (stream, time) = (STREAMS[*stream], "2016-10-06T00:17:09.669794202Z");
    match kind {
        EnvelopeKind::Cri => {
            format!("{time} {stream} {} {content}\n", if *goes_on { "P" } else { "F" })
        }
        _ => docker(&format!("{content}{}", if *goes_on { "" } else { "\n" }), stream, time),
    }
}

/// The lines that records come to, and where each begins: plainly. What has not ended is left out.
fn reference(kind: EnvelopeKind, records: &[Record]) -> Vec<(u64, String)> {
    let (mut open, mut lines, mut at) = ([None, None], Vec::new(), 0);
    for record in records {
        let (stream, goes_on, content) = record;
        let (_, line): &mut (u64, String) = open[*stream].get_or_insert((at, String::new()));
        line.push_str(content);
        if !goes_on {
            lines.extend(open[*stream].take());
        }
        at += text(kind, record).len() as u64;
    }
    lines.sort();
    lines
}

/// How a partition is read.
struct Reading {
    kind: EnvelopeKind,
    chunk_bytes: u64,
    max_line: usize,
}

/// What came of it.
#[derive(Debug, Default, PartialEq)]
struct Read {
    lines: Vec<(u64, String)>,
    oversize: usize,
    malformed: usize,
    /// How far it was read.
    offset: u64,
}

impl Reading {
    /// Reads `bytes` from `from` up to each of `cuts` and then to the end; `reopened` at each, or in one go.
    fn read(&self, bytes: &[u8], from: u64, cuts: &[u64], reopened: bool) -> Read {
        let memory = Memory::fixed(vec![("test:".into(), Arc::from(bytes))]).in_chunks_of(self.chunk_bytes);
        let source = Enveloped::new(Envelope::new(self.kind), Arc::new(memory.open_ended()));
        let found = source.find().unwrap();
        let share = Share { worker: 0, peers: 1 };
        let options =
            ReadOptions { chunk_bytes: self.chunk_bytes, max_line: self.max_line, ..ReadOptions::default() };
        let open = |from| source.open(&found[0], from, share, options, Arc::new(|| ())).unwrap();
        let (mut reader, pool, mut peeler) = (open(from), Pool::default(), Peeler::default());
        let mut read = Read { offset: from, ..Read::default() };
        for upto in cuts.iter().copied().chain([u64::MAX]) {
            loop {
                match reader.poll(upto, &pool).unwrap() {
                    Step::Chunk(chunk) => {
                        let lines = WholeLines::new(chunk.bytes());
                        let mut peeled = Peeled::default();
                        peeler.peel(chunk.envelope.unwrap(), lines, chunk.given_up, &mut peeled);
                        let ends = peeled.lines.iter().skip(1).map(|line| line.begin);
                        for (line, end) in peeled.lines.iter().zip(ends.chain([peeled.bytes.len()])) {
                            let text = String::from_utf8_lossy(&peeled.bytes[line.begin..end - 1]);
                            let offset = chunk.offset_of(line.raw());
                            assert!(offset < upto, "a line that begins at {offset} was not wanted: {upto}");
                            read.lines.push((offset, text.into_owned()));
                        }
                        read.oversize += peeled.oversize.len() + chunk.oversize.len();
                        read.malformed += peeled.malformed.len();
                    }
                    Step::Reached | Step::CaughtUp | Step::Ended => break,
                    other @ Step::Damaged(_) => panic!("{other:?}"),
                }
            }
            assert!(reader.offset() >= read.offset, "an offset went back");
            read.offset = reader.offset();
            if reopened {
                reader = open(read.offset);
            }
        }
        read
    }
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec((0..2_usize, prop::bool::weighted(0.4), r#"[a-z"\\é ]{0,6}"#), 0..40)
}

fn kinds() -> impl Strategy<Value = EnvelopeKind> {
    prop_oneof![Just(EnvelopeKind::Cri), Just(EnvelopeKind::Docker)]
}

proptest! {
    /// However it is cut into chunks and epochs, in one go or anew from each offset: each line is whole, and there once, in order.
    #[test]
    fn lines_are_joined_however_they_are_cut(
        kind in kinds(), records in records(), chunk_bytes in 1..400_u64,
        mut cuts in prop::collection::vec(0..3000_u64, 0..6), reopened: bool,
    ) {
        cuts.sort_unstable();
        let bytes: String = records.iter().map(|record| text(kind, record)).collect();
        let reading = Reading { kind, chunk_bytes, max_line: 1 << 20 };
        let read = reading.read(bytes.as_bytes(), 0, &cuts, reopened);
        let expected = reference(kind, &records);
        // What is in pieces at the end may hold back what is whole behind its beginning.
        let held = expected.iter().filter(|(at, _)| *at >= read.offset).count();
        prop_assert_eq!(&read.lines[..], &expected[..expected.len() - held]);
        prop_assert_eq!((read.oversize, read.malformed), (0, 0));
        let rest = reading.read(bytes.as_bytes(), read.offset, &[], false);
        prop_assert!(rest.lines.is_empty() && rest.offset == read.offset, "{:?}", rest);
    }

    /// Bytes of any kind do no harm, and are all lines, malformed, or too long.
    #[test]
    fn hostile_bytes_do_no_harm(
        kind in prop_oneof![kinds(), Just(EnvelopeKind::Journald), Just(EnvelopeKind::Syslog)],
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..500),
            prop::collection::vec(prop::sample::select(&b"<1>[]\"\\={}:, \nPFTstdoulgMESAG-0"[..]), 0..500),
        ],
        cuts in prop::collection::vec(0..500_u64, 0..3), max_line in 0..60_usize,
    ) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let reading = Reading { kind, chunk_bytes: 64, max_line };
        let read = reading.read(&bytes, 0, &cuts, true);
        let lines = WholeLines::new(&bytes).iter().count();
        prop_assert!(read.malformed + read.oversize <= lines);
        let syslog = thalweg::format::Syslog::default();
        for (_, line) in WholeLines::new(&bytes).iter() {
            if let Some(record) = syslog.read(line) {
                prop_assert!(record.message().len() <= line.len());
                record.params().for_each(drop);
                record.time(thalweg::time::Time(i64::MAX));
                record.time(thalweg::time::Time(i64::MIN));
            }
        }
    }
}

/// A line that goes on and on is too long, once, and holds nothing else up for ever.
#[test]
fn a_line_that_never_ends_is_given_up() {
    let kind = EnvelopeKind::Cri;
    let piece: Record = (0, true, "x".repeat(1000));
    let mut records = vec![piece; 1000];
    records.insert(1, (1, false, "beside".to_owned()));
    records.push((1, false, "behind".to_owned()));
    records.push((0, false, "its end".to_owned()));
    records.push((0, false, "next".to_owned()));
    let bytes: String = records.iter().map(|record| text(kind, record)).collect();
    for chunk_bytes in [100, 10_000, 1 << 20] {
        let read = Reading { kind, chunk_bytes, max_line: 2000 }.read(bytes.as_bytes(), 0, &[5000], false);
        let lines: Vec<_> = read.lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!((lines, read.oversize), (vec!["beside", "behind", "next"], 1), "{chunk_bytes}");
        assert_eq!(read.offset, bytes.len() as u64);
    }
}

/// A line that is too long to be joined, and ends in time, is reported where it begins.
#[test]
fn a_joined_line_that_is_too_long_is_reported() {
    let raw = "2016-10-06T00:17:09Z stdout P 12345\n2016-10-06T00:17:09Z stdout F 6789\n2016-10-06T00:17:09Z stdout F ok\n";
    let mut peeled = Peeled::default();
    for (max_line, oversize, lines) in [(9, 0, 2), (8, 1, 1)] {
        let envelope = Envelope { max_line, ..Envelope::new(EnvelopeKind::Cri) };
        Peeler::default().peel(envelope, WholeLines::new(raw.as_bytes()), GivenUp::default(), &mut peeled);
        assert_eq!((peeled.oversize.len(), peeled.lines.len()), (oversize, lines));
    }
    assert_eq!(peeled.oversize, [(0, b"12345678".to_vec())]);
}

/// A dataflow reads what is inside as if nothing were around it: at any number of workers, cut into epochs anywhere, stopped and gone
/// on with.
#[test]
fn a_dataflow_reads_what_is_inside() {
    let build = || {
        Build::new("inside", |flow| {
            let log = flow.records(AnyAccessLog::default());
            let by = log.by((thalweg::door::text("stream"), thalweg::door::text("client")), |record| {
                Some((record.envelope("stream")?, record.client()?))
            });
            by.count("clients").show("clients");
            Ok(())
        })
    };
    let sample = sample();
    let lines: Vec<_> =
        sample.lines().filter(|line| AccessLog.parse(line.as_bytes()).is_some()).take(60).collect();
    let (mut raw, mut expected) = (String::new(), std::collections::BTreeMap::new());
    for pair in lines.chunks(2) {
        let pieces = [0, 1].map(|at| super::docker_pieces(pair[at], STREAMS[at], "2024-03-14T09:00:00Z", 70));
        // The pieces of two lines, by turns.
        for turn in 0..pieces[0].len().max(pieces[1].len()) {
            raw.extend(pieces.iter().filter_map(|pieces| pieces.get(turn)).map(String::as_str));
        }
        for (line, stream) in pair.iter().zip(STREAMS) {
            let client = line.split(' ').next().unwrap();
            *expected.entry(format!("{stream}\t{client}")).or_insert(0) += 1;
        }
    }
    raw.push_str(&docker("not an access log\n", "stdout", "2024-03-14T09:00:00Z"));
    raw.push_str("not an envelope\n");
    let script = || {
        let script = Script::new(build()).in_envelope(Envelope::new(EnvelopeKind::Docker)).digested();
        script.epoch_of(&[("file:/x/abc/abc-json.log", raw.as_bytes())])
    };
    let answer = script().everywhere();
    let expected: Vec<_> = expected.into_iter().map(|(key, count)| format!("{key}\t{count}")).collect();
    assert_eq!(answer.view("clients"), expected);
    let counts = answer.counts();
    assert_eq!((counts.parsed, counts.malformed, counts.oversize), (60, 2, 0));
    let first = script().run();
    assert_eq!(script().workers(3).replaying(first.records().to_vec()).run(), first);
}

/// The time of the envelope is that of a line which tells none.
#[test]
fn the_envelope_tells_the_time() {
    let build = Build::new("seconds", |flow| {
        let lines = flow.records(Text).event_time(|line| {
            // Some lines tell one themselves.
            std::str::from_utf8(line.line()).ok()?.parse::<i64>().ok()
        });
        lines.by(number("second"), |line| Some(line.time()?.0 / 1000)).count("seconds").show("seconds");
        Ok(())
    });
    let raw = "2024-03-14T09:00:00.5Z stdout F hello\n2024-03-14T09:00:01Z stdout F 7000\n";
    let script = Script::new(build).in_envelope(Envelope::new(EnvelopeKind::Cri));
    assert_eq!(script.epoch(raw).everywhere().view("seconds"), ["7\t1", "1710406800\t1"]);
}
