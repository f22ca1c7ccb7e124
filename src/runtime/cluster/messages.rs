//! What may come in timely's stream: messages of the process at the other end, for workers of this one.
//!
//! Timely takes what it is sent on trust, and a message that no process of the cluster sends makes it panic, or fill the
//! memory. In a cluster without a secret anyone may be at the other end; so each message is looked at by its head
//! before timely sees it. What a message *holds* cannot be judged here: only the worker that it is for knows its type.

use std::ops::Range;

/// Timely's head of a message: channel, source, two bounds of its targets, length, sequence number, big-endian.
const HEAD_LENGTH: usize = 6 * size_of::<u64>();

/// The longest message. Far above what a batch of the longest lines takes, and far below where a length overflows.
const LONGEST: u64 = 16 << 30;

/// What no process of the cluster sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forged {
    #[error("it sent a message in the name of worker {from}, and its own are {} to {}", .own.start, .own.end - 1)]
    Source { from: u64, own: Range<u64> },
    #[error("it sent a message for workers {lower} to {upper}, and ours are {} to {}", .ours.start, .ours.end - 1)]
    Targets { lower: u64, upper: u64, ours: Range<u64> },
    #[error("it sent a message of {length} bytes, and the longest has {LONGEST}")]
    Long { length: u64 },
    #[error("it sent more after it had said that nothing more would come")]
    After,
}

/// Follows a stream of timely's from head to head, however it is cut.
#[derive(Debug, Clone)]
pub(super) struct Messages {
    /// The workers of the process at the other end.
    theirs: Range<u64>,
    /// The workers of this process.
    ours: Range<u64>,
    head: [u8; HEAD_LENGTH],
    /// Bytes of the head that have come.
    filled: usize,
    /// Bytes that are still to come of what the message holds.
    left: u64,
    ended: bool,
}

impl Messages {
    /// The stream from process `theirs` to process `ours`, of `workers` workers each.
    pub(super) fn new(theirs: usize, ours: usize, workers: usize) -> Self {
        let of = |process: usize| (process * workers) as u64..((process + 1) * workers) as u64;
        let (theirs, ours) = (of(theirs), of(ours));
        Messages { theirs, ours, head: [0; HEAD_LENGTH], filled: 0, left: 0, ended: false }
    }

    /// Takes in the next `bytes` of the stream.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Forged> {
        while !bytes.is_empty() {
            if self.ended {
                return Err(Forged::After);
            }
            if self.left > 0 {
                let within = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                bytes = &bytes[within..];
                self.left -= within as u64;
                continue;
            }
            let part = bytes.len().min(HEAD_LENGTH - self.filled);
            self.head[self.filled..self.filled + part].copy_from_slice(&bytes[..part]);
            bytes = &bytes[part..];
            self.filled += part;
            if self.filled == HEAD_LENGTH {
                self.filled = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    /// Judges the head that has come.
    fn begin(&mut self) -> Result<(), Forged> {
        let mut fields = [0; HEAD_LENGTH / size_of::<u64>()];
        for (field, bytes) in fields.iter_mut().zip(self.head.as_chunks().0) {
            *field = u64::from_be_bytes(*bytes);
        }
        let [_channel, source, lower, upper, length, _number] = fields;
        if length == 0 {
            // Timely's last word, whose other fields mean nothing.
            self.ended = true;
            return Ok(());
        }
        if !self.theirs.contains(&source) {
            return Err(Forged::Source { from: source, own: self.theirs.clone() });
        }
        if lower >= upper || lower < self.ours.start || upper > self.ours.end {
            return Err(Forged::Targets { lower, upper, ours: self.ours.clone() });
        }
        if length > LONGEST {
            return Err(Forged::Long { length });
        }
        self.left = length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(source: u64, lower: u64, upper: u64, length: u64) -> Vec<u8> {
        [3, source, lower, upper, length, 9].iter().flat_map(|field| field.to_be_bytes()).collect()
    }

    /// What comes of `stream` in pieces of `size` bytes, from process 1 to process 0 of two workers each.
    fn follow(stream: &[u8], size: usize) -> Result<(), Forged> {
        let mut messages = Messages::new(1, 0, 2);
        stream.chunks(size).try_for_each(|piece| messages.follow(piece))
    }

    #[test]
    fn messages_of_the_peer_for_our_workers_pass_however_they_are_cut() {
        let end = [0; HEAD_LENGTH];
        let stream =
            [head(2, 0, 2, 3), vec![0xff; 3], head(3, 1, 2, 100), vec![0xff; 100], end.to_vec()].concat();
        for size in [1, 2, 47, 48, 49, 51, 1000] {
            assert_eq!(follow(&stream, size), Ok(()), "pieces of {size} bytes");
            assert_eq!(follow(&[&stream[..], &[0]].concat(), size), Err(Forged::After));
        }
    }

    #[test]
    fn others_do_not() {
        let (own, ours) = (2..4, 0..2);
        let targets = |lower, upper| Forged::Targets { lower, upper, ours: ours.clone() };
        let cases = [
            (head(1, 0, 1, 5), Forged::Source { from: 1, own: own.clone() }),
            (head(4, 0, 1, 5), Forged::Source { from: 4, own: own.clone() }),
            (head(2, 1, 3, 5), targets(1, 3)),
            (head(2, 1, 1, 5), targets(1, 1)),
            (head(2, 2, 3, 5), targets(2, 3)),
            (head(2, 0, u64::MAX, 5), targets(0, u64::MAX)),
            (head(2, 0, 1, u64::MAX), Forged::Long { length: u64::MAX }),
        ];
        for (stream, forged) in cases {
            for size in [1, 48] {
                assert_eq!(follow(&stream, size), Err(forged.clone()));
            }
        }
    }
}
