//! Lines out of their envelopes.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::cri::Cri;
use super::docker::Docker;
use super::journald::Journald;
use super::{Envelope, EnvelopeKind};
use crate::format::WholeLines;

/// How much is kept of a joined line that is too long, in bytes, at most.
const SAMPLE: usize = 64 << 10;

/// Streams of a container, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams(u8);

impl Streams {
    /// None.
    pub const NONE: Streams = Streams(0);
    pub(super) const STDOUT: Streams = Streams(1);
    const STDERR: Streams = Streams(2);
    const OTHER: Streams = Streams(4);
    const ALL: [Streams; 3] = [Streams::STDOUT, Streams::STDERR, Streams::OTHER];

    /// The stream of this name; those of names that nobody writes are one.
    pub(super) fn named(name: &[u8]) -> Self {
        match name {
            b"stdout" => Streams::STDOUT,
            b"stderr" => Streams::STDERR,
            _ => Streams::OTHER,
        }
    }

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self == Streams::NONE
    }

    fn has(self, other: Streams) -> bool {
        self.0 & other.0 != 0
    }

    fn add(&mut self, other: Streams) {
        self.0 |= other.0;
    }

    fn remove(&mut self, other: Streams) {
        self.0 &= !other.0;
    }
}

/// Lines that have become too long, and are given up: of these streams, where raw lines begin and where they end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The raw lines begin inside such lines, of which nothing comes until they end.
    pub before: Streams,
    /// Behind the raw lines, they go on.
    pub behind: Streams,
}

/// Watches raw lines go by, and knows where no line is in pieces: there what is peeled may begin and end.
///
/// ```
/// use thalweg::envelope::{Envelope, EnvelopeKind, Pieces};
/// let mut pieces = Pieces::new(Envelope::new(EnvelopeKind::Cri));
/// let lines = ["F one", "P tw", "P o", "F !"].map(|rest| format!("2016-10-06T00:17:09Z stdout {rest}"));
/// assert_eq!(lines.map(|line| pieces.pass(line.as_bytes())), [true, false, false, true]);
/// ```
#[derive(Clone, Debug)]
pub struct Pieces {
    kind: EnvelopeKind,
    docker: Docker,
    /// The streams that have a line in pieces.
    open: Streams,
    /// The streams whose line was given up, until it ends.
    inside: Streams,
}

impl Pieces {
    /// Of lines in this envelope, at a place where none is in pieces.
    pub fn new(envelope: Envelope) -> Self {
        Pieces { kind: envelope.kind, docker: Docker::new(), open: Streams::NONE, inside: Streams::NONE }
    }

    /// `line` goes by, with its end or without. Returns whether behind it no line is in pieces.
    pub fn pass(&mut self, line: &[u8]) -> bool {
        let line = WholeLines::new(line).iter().next().map_or(line, |(_, line)| line);
        let piece = match self.kind {
            EnvelopeKind::Docker => self.docker.piece(line),
            EnvelopeKind::Cri => Cri::read(line).map(|cri| (Streams::named(cri.stream), cri.is_part)),
            EnvelopeKind::Journald | EnvelopeKind::Syslog => None,
        };
        match piece {
            // The rest of a line that was given up.
            Some((stream, true)) if self.inside.has(stream) => {}
            Some((stream, true)) => self.open.add(stream),
            Some((stream, false)) => {
                self.inside.remove(stream);
                self.open.remove(stream);
            }
            None => {}
        }
        self.open.is_none()
    }

    /// Whether no line is in pieces.
    pub fn is_whole(&self) -> bool {
        self.open.is_none()
    }

    /// The streams that are inside a line that was given up.
    pub fn inside(&self) -> Streams {
        self.inside
    }

    /// Gives up lines that are in pieces: they have become too long, and the rest of them is dropped.
    pub fn give_up(&mut self) {
        self.inside.add(std::mem::take(&mut self.open));
    }

    /// What is in pieces ends here.
    pub fn end(&mut self) {
        self.open = Streams::NONE;
    }
}

/// A line that was peeled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeeledLine {
    /// Where it begins among the peeled bytes.
    pub begin: usize,
    /// Where the raw lines are that it was in, without their line ends.
    pub parts: SmallVec<[Range<usize>; 1]>,
}

impl PeeledLine {
    /// Where it begins among the raw lines.
    pub fn raw(&self) -> usize {
        self.parts.first().map_or(0, |first| first.start)
    }
}

/// What came of raw lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeled {
    /// The lines, each with an LF. A message that has several lines is several here.
    pub bytes: Vec<u8>,
    /// Where each message begins, in the order in which they begin among the raw lines.
    pub lines: Vec<PeeledLine>,
    /// Raw lines that are in no such envelope.
    pub malformed: Vec<Range<usize>>,
    /// Joined lines that are too long: where they begin among the raw lines, and their first bytes.
    pub oversize: Vec<(usize, Vec<u8>)>,
}

/// Peels envelopes off lines.
///
/// ```
/// use thalweg::envelope::{Envelope, EnvelopeKind, GivenUp, Peeled, Peeler};
/// use thalweg::format::WholeLines;
/// let raw = br#"{"log":"GET ","stream":"stdout","time":"2024-03-14T09:00:00Z"}
/// {"log":"failed\n","stream":"stderr","time":"2024-03-14T09:00:01Z"}
/// {"log":"/\n","stream":"stdout","time":"2024-03-14T09:00:02Z"}
/// no object
/// "#;
/// let mut peeled = Peeled::default();
/// let docker = Envelope::new(EnvelopeKind::Docker);
/// Peeler::default().peel(docker, WholeLines::new(raw), GivenUp::default(), &mut peeled);
/// assert_eq!(peeled.bytes, b"GET /\nfailed\n");
/// assert_eq!((peeled.lines[0].parts.len(), peeled.malformed.len()), (2, 1));
/// ```
#[derive(Clone, Debug)]
pub struct Peeler {
    docker: Docker,
    journald: Journald,
    /// Lines in pieces, by stream.
    open: [Option<Open>; 3],
}

/// A line in pieces.
#[derive(Clone, Debug)]
struct Open {
    parts: SmallVec<[Range<usize>; 1]>,
    content: Vec<u8>,
    /// Whether it is too long.
    over: bool,
}

impl Open {
    fn add(&mut self, part: Range<usize>, content: &[u8], max_line: usize) {
        self.over |= self.content.len() + content.len() > max_line;
        // Where it begins is of interest even if it is too long, and all of it is if it is not.
        if self.parts.is_empty() || !self.over {
            self.parts.push(part);
        }
        if self.over {
            let room = SAMPLE.min(max_line).saturating_sub(self.content.len()).min(content.len());
            self.content.extend_from_slice(&content[..room]);
            self.content.truncate(SAMPLE);
        } else {
            self.content.extend_from_slice(content);
        }
    }
}

impl Default for Peeler {
    fn default() -> Self {
        Peeler { docker: Docker::new(), journald: Journald::new(), open: Default::default() }
    }
}

impl Peeler {
    /// Peels `raw`, which begins and ends where no line is in pieces but those that are `given_up`. Puts what comes of it into
    /// `out`, in place of what it had.
    pub fn peel(&mut self, envelope: Envelope, raw: WholeLines<'_>, given_up: GivenUp, out: &mut Peeled) {
        let mut inside = given_up.before;
        out.bytes.clear();
        out.lines.clear();
        out.malformed.clear();
        out.oversize.clear();
        for (begin, line) in raw.iter() {
            let part = begin..begin + line.len();
            match envelope.kind {
                EnvelopeKind::Docker => match self.docker.read(line) {
                    Some(record) => {
                        let piece = (record.stream, record.is_part, record.content.as_bytes());
                        Self::piece(&mut self.open, envelope, part, piece, &mut inside, out);
                    }
                    None => out.malformed.push(part),
                },
                EnvelopeKind::Cri => match Cri::read(line) {
                    Some(cri) => {
                        let piece = (Streams::named(cri.stream), cri.is_part, cri.content);
                        Self::piece(&mut self.open, envelope, part, piece, &mut inside, out);
                    }
                    None => out.malformed.push(part),
                },
                EnvelopeKind::Journald => {
                    let at = out.bytes.len();
                    if self.journald.read(line, &mut out.bytes) {
                        out.end_line(at, smallvec![part]);
                    } else {
                        out.bytes.truncate(at);
                        out.malformed.push(part);
                    }
                }
                EnvelopeKind::Syslog => match envelope.syslog.read(line) {
                    Some(record) => {
                        let message = record.message();
                        // What follows the cookie is JSON.
                        let json = message.trim_ascii_start().strip_prefix(b"@cee:");
                        out.add_line(json.map_or(message, <[u8]>::trim_ascii_start), smallvec![part]);
                    }
                    None => out.malformed.push(part),
                },
            }
        }
        for (open, stream) in self.open.iter_mut().zip(Streams::ALL) {
            if let Some(mut open) = open.take() {
                open.over |= given_up.behind.has(stream);
                out.joined(open);
            }
        }
        out.sort();
    }

    fn piece(
        open: &mut [Option<Open>; 3],
        envelope: Envelope,
        part: Range<usize>,
        (stream, goes_on, content): (Streams, bool, &[u8]),
        inside: &mut Streams,
        out: &mut Peeled,
    ) {
        if inside.has(stream) {
            if !goes_on {
                inside.remove(stream);
            }
            return;
        }
        let at = Streams::ALL.iter().position(|other| *other == stream).unwrap_or(0);
        match &mut open[at] {
            None if !goes_on => out.add_line(content, smallvec![part]),
            slot => {
                let line =
                    slot.get_or_insert_with(|| Open { parts: smallvec![], content: Vec::new(), over: false });
                line.add(part, content, envelope.max_line);
                if !goes_on && let Some(line) = slot.take() {
                    out.joined(line);
                }
            }
        }
    }
}

impl Peeled {
    fn add_line(&mut self, content: &[u8], parts: SmallVec<[Range<usize>; 1]>) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(content);
        self.end_line(at, parts);
    }

    /// What was added from `at` on is a line, or several.
    fn end_line(&mut self, at: usize, parts: SmallVec<[Range<usize>; 1]>) {
        // Some programs end what is a line anyhow.
        if self.bytes.len() == at || self.bytes.last() != Some(&b'\n') {
            self.bytes.push(b'\n');
        }
        self.lines.push(PeeledLine { begin: at, parts });
    }

    fn joined(&mut self, line: Open) {
        match line.over {
            false => self.add_line(&line.content, line.parts),
            true => {
                let sample = line.content[..line.content.len().min(SAMPLE)].to_vec();
                self.oversize.push((line.parts.first().map_or(0, |first| first.start), sample));
            }
        }
    }

    /// Puts lines where their first pieces are: others may have ended before them.
    fn sort(&mut self) {
        if self.lines.is_sorted_by_key(PeeledLine::raw) {
            return;
        }
        let ends = self.lines.iter().skip(1).map(|line| line.begin).chain([self.bytes.len()]);
        let mut lines: Vec<_> = self.lines.iter().zip(ends).collect();
        lines.sort_by_key(|(line, _)| line.raw());
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut sorted = Vec::with_capacity(lines.len());
        for (line, end) in lines {
            sorted.push(PeeledLine { begin: bytes.len(), parts: line.parts.clone() });
            bytes.extend_from_slice(&self.bytes[line.begin..end]);
        }
        (self.bytes, self.lines) = (bytes, sorted);
    }
}
