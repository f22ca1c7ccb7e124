//! Sources whose lines are in envelopes.

mod joined;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::joined::Joined;
use super::registry::options;
use super::{
    Access, FileSource, Finder, FollowSource, Found, MaxRate, OffsetUnit, PerEpoch, Pool, ReadBefore,
    ReadOptions, Reader, Share, Source, SourceError, Step, Wake,
};
use crate::envelope::{Envelope, EnvelopeKind};

/// `ENVELOPE+SOURCE`: the lines of any source, each in an envelope that is peeled off ([`envelope`](crate::envelope)):
/// `docker`, `cri`, `journald`, `syslog`.
///
/// | URI | what it reads |
/// |---|---|
/// | `docker:PATH` | as `docker+file:PATH?follow`; without a path `/var/lib/docker/containers/*/*-json.log*` |
/// | `cri:PATH` | as `cri+file:PATH?follow`; without a path `/var/log/pods/*/*/*.log*`; `/var/log/containers/*.log`, which are links, has the containers' ids, too |
/// | `syslog:PATH` | as `syslog+file:PATH?follow`; without a path `/var/log/syslog` |
/// | `syslog+tcp-listen://ADDRESS:PORT`, `journald+-` … | any other source |
///
/// The first three take the options of [`FollowSource`], and `follow=false` reads what is there. Lines of syslog take
/// `syslog.zone=ZONE` and `syslog.year=YEAR`, wherever they come from: the zone of times that name none, and the year of those that
/// have none ([`Syslog`](crate::format::Syslog)).
///
/// The patterns match rotated files, too: what has been read is not read again, and a log that is rotated twice before it is looked at is
/// not lost.
///
/// A line in no such envelope is malformed: it is counted, and the run goes on. Messages of syslog that come by a connection end with LF, as rsyslog,
/// syslog-ng and `logger -T` send them unless they are told to count bytes (RFC 6587).
///
/// # Lines in pieces
///
/// Docker and CRI split long lines, and the pieces are joined. An offset never lies inside a joined line: what was not joined yet as a
/// run ends is read again by the next. A partition of them is read by one worker, in order. A joined line that is
/// longer than a line may be is reported, and dropped up to its end; so is one between whose pieces more
/// than twice as much of the other stream has come. What is in pieces where a file ends for good is a line as it is. Where a log is rotated
/// between the pieces of a line, it becomes two, and where following begins at the end of a file (`start=end`), the first may be the rest of one.
///
/// # Promise on restart
///
/// That of the source.
#[derive(Debug)]
pub struct Enveloped {
    uri: String,
    envelope: Envelope,
    source: Arc<dyn Source>,
}

impl Enveloped {
    /// The lines of `source`, each in `envelope`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use thalweg::envelope::{Envelope, EnvelopeKind};
    /// use thalweg::source::{Enveloped, Memory, Pool, ReadOptions, Share, Source, Step};
    /// # fn main() -> Result<(), thalweg::source::SourceError> {
    /// let lines = b"2016-10-06T00:17:09Z stdout P on\n2016-10-06T00:17:09Z stdout F e\n2016-10-06T00:17:10Z stdout P tw\n";
    /// let memory = Memory::fixed(vec![("test:".into(), Arc::from(&lines[..]))]).open_ended();
    /// let source = Enveloped::new(Envelope::new(EnvelopeKind::Cri), Arc::new(memory));
    /// let (found, share) = (source.find()?, Share { worker: 0, peers: 1 });
    /// let mut reader = source.open(&found[0], 0, share, ReadOptions::default(), Arc::new(|| ()))?;
    /// let Step::Chunk(chunk) = reader.poll(u64::MAX, &Pool::default())? else { panic!("there are lines") };
    /// // The pieces of the first line, and not the first piece of the second.
    /// assert_eq!((chunk.lines().count(), reader.offset()), (2, 65));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(envelope: Envelope, source: Arc<dyn Source>) -> Self {
        Enveloped { uri: format!("{}+{}", envelope.kind.name(), source.uri()), envelope, source }
    }

    /// The files of a preset, of `rest` of a URI: `PATH?option=value&…`, or nothing for those at `usual`.
    pub(super) fn files_of(kind: EnvelopeKind, rest: &str, usual: &str) -> Result<Self, String> {
        let (envelope, rest) = envelope_of(kind, rest)?;
        // In a pattern a `?` is any character.
        let are_options = |given: &str| given == "follow" || given.contains('=');
        let (path, given) =
            rest.rsplit_once('?').filter(|(_, given)| are_options(given)).unwrap_or((&rest, ""));
        let path = if path.is_empty() { usual } else { path };
        let source: Arc<dyn Source> = match given {
            "follow=false" => Arc::new(FileSource::new(path)),
            "" => Arc::new(FollowSource::of_options(&[path], "follow")?),
            given => Arc::new(FollowSource::of_options(&[path], given)?),
        };
        Ok(Enveloped::new(envelope, source))
    }

    /// What is around the lines of `rest`, a URI, and what source that is, without the options that are the envelope's.
    pub(super) fn parts(rest: &str) -> Option<Result<(Envelope, String), String>> {
        let (name, rest) = rest.split_once('+')?;
        let kind: EnvelopeKind = name.parse().ok()?;
        let (scheme, _) = rest.split_once([':', '+']).unwrap_or_default();
        if scheme.parse::<EnvelopeKind>().is_ok() {
            let reason = format!(
                "what is around the lines of `{scheme}` is peeled off already: one envelope at a time"
            );
            return Some(Err(reason));
        }
        if kind.has_pieces() && rest.starts_with("kafka:") {
            let reason = format!("`{name}` joins lines that are in pieces, and messages are whole");
            return Some(Err(reason));
        }
        Some(envelope_of(kind, rest))
    }

    /// It as a reader of another worker may see it.
    fn found(&self, found: Found) -> Found {
        if !self.envelope.kind.has_pieces() {
            return found;
        }
        let access = if found.access == Access::Shared { Access::Sequential } else { found.access };
        Found { access, length: None, ..found }
    }
}

/// The envelope with the options that `rest` has for it, and `rest` without them.
fn envelope_of(kind: EnvelopeKind, rest: &str) -> Result<(Envelope, String), String> {
    let mut envelope = Envelope::new(kind);
    let Some((place, given)) = rest.rsplit_once('?').filter(|_| kind == EnvelopeKind::Syslog) else {
        return Ok((envelope, rest.to_owned()));
    };
    let mut others = Vec::new();
    for (name, value) in options(given) {
        match name {
            "syslog.zone" => envelope.syslog = envelope.syslog.in_zone(value.parse()?),
            "syslog.year" => {
                let year = value.parse().ok().filter(|year| (1970..=9999).contains(year));
                let year = year.ok_or_else(|| format!("{name}: `{value}` is no year"))?;
                envelope.syslog = envelope.syslog.of_year(year);
            }
            _ => others.push(if value.is_empty() { name.to_owned() } else { format!("{name}={value}") }),
        }
    }
    if others.len() == options(given).count() {
        // None of them is ours, so that they may be part of a path.
        return Ok((envelope, rest.to_owned()));
    }
    let rest = if others.is_empty() { place.to_owned() } else { format!("{place}?{}", others.join("&")) };
    Ok((envelope, rest))
}

impl Source for Enveloped {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    fn is_sequence(&self) -> bool {
        self.source.is_sequence()
    }

    fn go_on(&self, partitions: &[ReadBefore]) {
        self.source.go_on(partitions);
    }

    fn memory(&self, read: &ReadBefore) -> Option<String> {
        self.source.memory(read)
    }

    fn is_replayable(&self) -> bool {
        self.source.is_replayable()
    }

    fn envelope(&self, options: ReadOptions) -> Option<Envelope> {
        Some(Envelope { max_line: options.max_line, ..self.envelope })
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        Ok(self.source.find()?.into_iter().map(|found| self.found(found)).collect())
    }

    fn per_epoch(&self) -> PerEpoch {
        self.source.per_epoch()
    }

    fn max_rate(&self) -> Option<&MaxRate> {
        self.source.max_rate()
    }

    fn offset_unit(&self) -> OffsetUnit {
        self.source.offset_unit()
    }

    fn done(&self, partition: &Found) {
        self.source.done(partition);
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        let finder = self.source.finder()?;
        let pieces = self.envelope.kind.has_pieces();
        Some(if pieces { Box::new(OneReader(finder)) } else { finder })
    }

    fn check(&self, partition: &Found) -> Result<(), SourceError> {
        self.source.check(partition)
    }

    fn describe(&self, partition: Found) -> Result<Found, SourceError> {
        self.source.describe(partition)
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let envelope = Envelope { max_line: options.max_line, ..self.envelope };
        if !envelope.kind.has_pieces() {
            let reader = self.source.open(partition, from, share, options, wake)?;
            return Ok(Box::new(Whole { reader, envelope }));
        }
        // All of it, whatever its source would share out.
        let share = Share { worker: 0, peers: 1 };
        let reader = self.source.open(partition, from, share, options, wake)?;
        Ok(Box::new(Joined::new(reader, Arc::clone(&partition.name), envelope, from)))
    }

    fn head(&self, partition: &Found) -> Result<Vec<u8>, SourceError> {
        self.source.head(partition)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.source.files()
    }
}

/// Finds partitions that one worker reads.
struct OneReader(Box<dyn Finder>);

impl Finder for OneReader {
    fn wait(&mut self, patience: Duration) -> Result<Vec<Found>, SourceError> {
        let mut found = self.0.wait(patience)?;
        for it in found.iter_mut().filter(|it| it.access == Access::Shared) {
            (it.access, it.length) = (Access::Sequential, None);
        }
        Ok(found)
    }
}

/// Lines of which each has an envelope of its own.
#[derive(Debug)]
struct Whole {
    reader: Box<dyn Reader>,
    envelope: Envelope,
}

impl Reader for Whole {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        let mut step = self.reader.poll(upto, pool)?;
        if let Step::Chunk(chunk) = &mut step {
            chunk.envelope = Some(self.envelope);
        }
        Ok(step)
    }

    fn offset(&self) -> u64 {
        self.reader.offset()
    }

    fn latest(&self) -> Option<u64> {
        self.reader.latest()
    }

    fn is_at_end(&self) -> bool {
        self.reader.is_at_end()
    }

    fn stop(&mut self) {
        self.reader.stop();
    }

    fn has_stopped(&self) -> bool {
        self.reader.has_stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Syslog;

    #[test]
    fn options_of_the_envelope_are_not_those_of_the_source() {
        let parts =
            |uri| Enveloped::parts(uri).map(|parts| parts.map(|(envelope, rest)| (envelope.syslog, rest)));
        let ours = Syslog::default().of_year(2019).in_zone("Asia/Tokyo".parse().expect("a zone"));
        let uri = "syslog+file:a.log?follow&syslog.year=2019&syslog.zone=Asia/Tokyo&start=end";
        assert_eq!(parts(uri), Some(Ok((ours, "file:a.log?follow&start=end".to_owned()))));
        let path = "file:what?x".to_owned();
        assert_eq!(parts("syslog+file:what?x"), Some(Ok((Syslog::default(), path))));
        assert_eq!(
            parts("syslog+-?syslog.year=2019"),
            Some(Ok((Syslog::default().of_year(2019), "-".to_owned())))
        );
        assert!(
            parts("syslog+-?syslog.year=next").is_some_and(|it| it.is_err_and(|it| it.contains("`next`")))
        );
        assert!(parts("docker+syslog+-").is_some_and(|it| it.is_err_and(|it| it.contains("one envelope"))));
        assert!(parts("syslog+journald:").is_some_and(|it| it.is_err()));
        assert!(parts("docker+kafka://a:1/t").is_some_and(|it| it.is_err()));
        assert_eq!([parts("file:a+b"), parts("a.log")], [None, None]);
    }
}
