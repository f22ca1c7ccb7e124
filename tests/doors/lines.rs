//! Lines for doors: random ones, their cuts into chunks and epochs, a format, and a run.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::{ExchangeData, VecCollection};
use proptest::prelude::*;
use thalweg::door::Lines;
use thalweg::format::LineFormat;
use thalweg::source::Progress;
use thalweg::source::{Chunk, Oversize, Place};
use thalweg::time::{Epoch, TimeOptions};
use timely::dataflow::operators::{Probe, probe};

use crate::oracle::{Ran, Seen, on_workers, pace};

/// `key=value`, where the value may be anything and is a number or not; a line without `=` is malformed.
#[derive(Clone, Debug)]
pub struct Pairs;

/// What [`Pairs`] makes of a line.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub key: &'a [u8],
    pub value: Option<i64>,
}

impl LineFormat for Pairs {
    type Record<'a> = Pair<'a>;

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Pair<'a>> {
        let at = line.iter().position(|byte| *byte == b'=')?;
        let value = std::str::from_utf8(&line[at + 1..]).ok().and_then(|text| text.parse().ok());
        Some(Pair { key: &line[..at], value })
    }
}

/// A line without its LF, of few different ones or of any bytes.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "",
        "a",
        "b",
        "\u{e9}",
        "10.0.0.1",
        "a key that is longer than sixteen bytes",
    ]);
    let value = prop_oneof![
        6 => (-3..3i64).prop_map(|n| n.to_string()),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, i64::MAX - 1]).prop_map(|n| n.to_string()),
        1 => prop::sample::select(vec!["", "-", "x", "99999999999999999999"]).prop_map(str::to_owned),
    ];
    let end = prop_oneof![4 => Just(""), 1 => Just("\r"), 1 => Just("\r\r")];
    let pair = (key, value, end).prop_map(|(key, value, end)| format!("{key}={value}{end}").into_bytes());
    let byte = prop_oneof![Just(b'='), Just(b'\r'), Just(0), Just(0xff), Just(b'1'), any::<u8>()];
    let any = prop::collection::vec(byte.prop_filter("a line end", |byte| *byte != b'\n'), 0..6);
    prop_oneof![5 => pair, 1 => any]
}

/// A run of lines as one worker reads it.
#[derive(Clone, Debug)]
pub struct Part {
    pub worker: usize,
    /// Without their LF.
    pub lines: Vec<Vec<u8>>,
    /// Whether the last line has its LF.
    pub ended: bool,
    /// How many lines among them were too long.
    pub oversize: usize,
}

impl Part {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.lines.join(&b'\n');
        let empty = self.lines.last().is_none_or(|line| line.is_empty());
        if (self.ended || empty) && !self.lines.is_empty() {
            bytes.push(b'\n');
        }
        bytes
    }

    pub fn chunk(&self) -> Chunk {
        let place = Place { partition: "test:".into(), offset: 0 };
        let mut chunk = Chunk::from_bytes("test:", 0, &self.bytes());
        chunk.consumed += 1000 * self.oversize as u64;
        chunk.oversize.resize(self.oversize, Oversize { place, sample: b"sample".to_vec() });
        chunk
    }
}

/// Lines, cut into epochs and dealt to workers; and how the workers step.
#[derive(Clone, Debug)]
pub struct Text {
    pub epochs: Vec<Vec<Part>>,
    pub steps: Vec<u8>,
}

impl Text {
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.epochs.iter().flatten()
    }
}

pub fn text() -> impl Strategy<Value = Text> {
    let lines = prop::collection::vec(line(), 0..12);
    let oversize = prop_oneof![9 => Just(0usize), 1 => 1..3usize];
    let part = (0..4usize, lines, any::<bool>(), oversize)
        .prop_map(|(worker, lines, ended, oversize)| Part { worker, lines, ended, oversize });
    (prop::collection::vec(prop::collection::vec(part, 0..6), 0..5), pace())
        .prop_map(|(epochs, steps)| Text { epochs, steps })
}

/// Runs the doors that `build` opens over `text`; `observe`, which it returns, looks at each worker in the end.
pub fn run_lines<D: ExchangeData, X: Send + 'static>(
    workers: usize,
    text: &Text,
    build: impl for<'scope> Fn(&Lines<'scope>) -> (VecCollection<'scope, Epoch, D, isize>, Box<dyn FnOnce() -> X>)
    + Send
    + Sync
    + 'static,
) -> Ran<D, isize, X> {
    let text = text.clone();
    let results = on_workers(workers, move |worker, together| {
        let (index, peers) = (worker.index(), worker.peers());
        let seen: Rc<RefCell<Vec<Seen<D, isize>>>> = Rc::default();
        let recorded = Rc::clone(&seen);
        let probe = probe::Handle::new();
        let (mut input, observe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, input) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let (output, observe) = build(&lines);
            let mistake = lines.register().borrow().first_mistake();
            assert!(mistake.is_none(), "{mistake:?}");
            let record = move |(data, time, diff): &(D, Epoch, isize)| {
                recorded.borrow_mut().push((index, data.clone(), *time, *diff));
            };
            output.inspect(record).inner.probe_with(&probe);
            (input, observe)
        });
        let mut steps = text.steps.iter().cycle();
        for (number, parts) in text.epochs.iter().enumerate() {
            for part in parts.iter().filter(|part| part.worker % peers == index) {
                input.chunk(part.chunk());
                for _ in 0..*steps.next().unwrap() / 2 {
                    worker.step();
                }
            }
            input.end();
            input.advance(Epoch::new(number as u64 + 1));
            for _ in 0..*steps.next().unwrap() {
                worker.step();
            }
        }
        input.close();
        together.step_until(worker, |_| probe.done());
        (seen.take(), vec![observe()])
    });
    let (seen, observed): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    Ran { seen: seen.concat(), observed }
}
