//! The journal: the ledger's records, durable before any sink commits their epoch.
//!
//! ```text
//! journal/00000003-000000000120      incarnation 3, from epoch 120 on
//! journal/00000003-000000004711      the same, after a snapshot: what stands before can be deleted by itself
//!
//! thalweg-journal-1 <XXH3 of what follows, 16 digits> <bytes of this log that were synced then> <record as JSON> LF
//! ```
//!
//! Records are appended as epochs are sealed and synced together ([`Journal::sync`]): several epochs in flight share one.
//!
//! What a crash leaves at the end of a log may be torn: it was not synced, so no sink has committed it, and the run
//! ended before. It is cut off. Each record says how much of its log was synced as it was appended; so a bad record is told
//! from a torn one: if a later record says that it was synced, it was whole once, and the journal is damaged.
//!
//! Of an incarnation that was given up for dead only those records count that stand before the first epoch of a later one
//! ([`Starts::counts_before`]).

use std::collections::VecDeque;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::record::EpochRecord;
use crate::state::storage::{Log, Storage, StorageError};
use crate::state::{Starts, StateError};

const VERSION: &str = "thalweg-journal-1";

const JOURNAL: &str = "journal/";

/// Bytes after which a log is followed by another.
const LOG: u64 = 8 << 20;

/// Why the journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A record is not what was written.
    #[error(
        "the journal is damaged: `{log}` in {uri} at byte {offset}: {reason}\n  hint: what is behind it was synced, so this is not the end of a crash; restore the file, or begin anew with --reset"
    )]
    Damaged {
        /// The storage.
        uri: String,
        /// The log.
        log: String,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Epochs that should be there are not.
    #[error(
        "the journal in {uri} has epoch {found} where epoch {expected} belongs\n  hint: a log of it has been deleted; begin anew with --reset"
    )]
    Gap {
        /// The storage.
        uri: String,
        /// The epoch that should follow.
        expected: u64,
        /// The epoch that does.
        found: u64,
    },
    /// The storage does not do what it has to.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Who has started cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A log of the journal, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    incarnation: u64,
    first: u64,
}

impl Name {
    fn text(&self) -> String {
        format!("{JOURNAL}{:08}-{:012}", self.incarnation, self.first)
    }

    fn parse(text: &str) -> Option<Self> {
        let (incarnation, first) = text.strip_prefix(JOURNAL)?.split_once('-')?;
        Some(Name { incarnation: incarnation.parse().ok()?, first: first.parse().ok()? })
    }
}

/// Bytes of a log, as they may stand there after a crash.
struct Torn {
    records: Vec<EpochRecord>,
    /// Where the records end that are whole.
    good: u64,
    /// What is wrong with what follows; `None` if nothing follows.
    wrong: Option<String>,
    /// Whether a later record says that it was synced.
    was_synced: bool,
}

/// The journal of one incarnation, at its end.
#[derive(Debug)]
pub struct Journal {
    storage: Arc<dyn Storage>,
    incarnation: u64,
    /// Logs that are there, the oldest first; those of earlier incarnations, too.
    logs: VecDeque<Name>,
    log: Option<Box<dyn Log>>,
    /// Bytes of the open log, and how many of them are synced.
    written: u64,
    synced: u64,
    /// The epoch after the last that was appended, and after the last that is durable.
    next: u64,
    durable: u64,
    /// Whether the next record begins another log.
    roll: bool,
}

impl Journal {
    /// The journal of `incarnation`, whose epochs begin at `first`. Nothing is written before there is a record.
    ///
    /// # Errors
    ///
    /// When what is there cannot be listed.
    pub fn new(storage: Arc<dyn Storage>, incarnation: u64, first: u64) -> Result<Self, JournalError> {
        let logs = storage.list(JOURNAL)?.iter().filter_map(|entry| Name::parse(&entry.name)).collect();
        let (written, synced) = (0, 0);
        let roll = true;
        Ok(Journal {
            storage,
            incarnation,
            logs,
            log: None,
            written,
            synced,
            next: first,
            durable: first,
            roll,
        })
    }

    /// Adds `record`, which follows the last. It is not durable before [`Journal::sync`].
    ///
    /// # Errors
    ///
    /// When it cannot be written. Nothing more is to be appended then.
    ///
    /// # Panics
    ///
    /// If it does not follow the last.
    pub fn append(&mut self, record: &EpochRecord) -> Result<(), JournalError> {
        assert_eq!(record.epoch, self.next, "records are sealed in order");
        let bytes = encode(self.synced, record);
        if self.roll || self.written >= LOG {
            self.sync()?;
            let name = Name { incarnation: self.incarnation, first: record.epoch };
            self.log = Some(self.storage.create_log(&name.text())?);
            self.logs.push_back(name);
            (self.written, self.synced, self.roll) = (0, 0, false);
            return self.append(record);
        }
        if let Some(log) = &mut self.log {
            log.append(&bytes)?;
        }
        self.written += bytes.len() as u64;
        self.next = record.epoch + 1;
        Ok(())
    }

    /// All that was appended is durable when this returns: all epochs before the one that it returns.
    ///
    /// # Errors
    ///
    /// When that is not certain. Nothing more is to be appended then.
    pub fn sync(&mut self) -> Result<u64, JournalError> {
        if self.durable < self.next
            && let Some(log) = &mut self.log
        {
            log.sync()?;
            (self.synced, self.durable) = (self.written, self.next);
        }
        Ok(self.durable)
    }

    /// Nothing before epoch `before` is wanted any more: deletes the logs that hold nothing else, and begins another one, so that
    /// the rest can be deleted next time.
    ///
    /// # Errors
    ///
    /// When one cannot be deleted.
    pub fn cut(&mut self, before: u64) -> Result<(), JournalError> {
        while let (Some(oldest), Some(next)) = (self.logs.front(), self.logs.get(1)) {
            // An earlier incarnation may have sealed more than what counts.
            if next.first > before {
                break;
            }
            self.storage.delete(&oldest.text())?;
            self.logs.pop_front();
        }
        self.roll |= self.written > 0;
        Ok(())
    }
}

/// The records of the epochs from `from` on that count, in order, as they stand on `storage` after the starts of `line`.
///
/// # Errors
///
/// When a record is damaged that was synced, an epoch is missing, or it cannot be read.
pub fn read_journal(
    storage: &dyn Storage,
    line: &Starts,
    from: u64,
) -> Result<Vec<EpochRecord>, JournalError> {
    let names: Vec<Name> =
        storage.list(JOURNAL)?.iter().filter_map(|entry| Name::parse(&entry.name)).collect();
    let mut records: Vec<EpochRecord> = Vec::new();
    let mut next = from;
    for (at, name) in names.iter().enumerate() {
        let before = line.counts_before(name.incarnation);
        let following = names.get(at + 1).filter(|other| other.incarnation == name.incarnation);
        // All of it is before what is wanted, or behind what counts.
        if following.is_some_and(|other| other.first <= from) || name.first >= before {
            continue;
        }
        let text = name.text();
        let Some(bytes) = storage.read_log(&text)? else { continue };
        let Torn { records: more, good, wrong, was_synced } = decode(&bytes);
        let uri = || storage.uri().to_owned();
        if let Some(reason) = wrong {
            // A log that is followed by another of its incarnation was synced to its end.
            if was_synced || following.is_some() {
                return Err(JournalError::Damaged { uri: uri(), log: text, offset: good, reason });
            }
            log::info!(
                "the last {} bytes of {text} were not synced, and are cut off",
                bytes.len() as u64 - good
            );
        }
        for record in more.into_iter().filter(|record| (from..before).contains(&record.epoch)) {
            if record.epoch != next {
                return Err(JournalError::Gap { uri: uri(), expected: next, found: record.epoch });
            }
            next += 1;
            records.push(record);
        }
    }
    Ok(records)
}

/// What was read of the journal is durable when this returns, also where those who wrote it died before they synced it: a run that
/// goes on from it counts on that, and its own logs hold what follows.
///
/// # Errors
///
/// When that is not certain.
pub fn sync_journal(storage: &dyn Storage) -> Result<(), StorageError> {
    storage.list(JOURNAL)?.iter().try_for_each(|entry| storage.sync_log(&entry.name))
}

fn encode(synced: u64, record: &EpochRecord) -> Vec<u8> {
    let json =
        serde_json::to_string(record).expect("a record has text for keys and no value that JSON lacks");
    let body = format!("{synced} {json}");
    format!("{VERSION} {:016x} {body}\n", XxHash3_64::oneshot(body.as_bytes())).into_bytes()
}

fn decode(bytes: &[u8]) -> Torn {
    let mut torn = Torn { records: Vec::new(), good: 0, wrong: None, was_synced: false };
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match decode_one(line) {
            Ok((_, record)) if torn.wrong.is_none() => {
                torn.records.push(record);
                torn.good = offset + line.len() as u64;
            }
            Ok((synced, _)) => torn.was_synced |= synced > torn.good,
            Err(reason) => {
                torn.wrong.get_or_insert(reason);
                // Where a line end is bad, the next record stands behind it in the same line.
                for at in memchr::memmem::find_iter(line, VERSION).filter(|at| *at > 0) {
                    let next = decode_one(&line[at..]);
                    torn.was_synced |= next.is_ok_and(|(synced, _)| synced > torn.good);
                }
            }
        }
        offset += line.len() as u64;
    }
    torn
}

fn decode_one(line: &[u8]) -> Result<(u64, EpochRecord), String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let text = text.strip_suffix('\n').ok_or("the record is cut off")?;
    let rest = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' '));
    let rest = rest.ok_or_else(|| format!("it does not begin with `{VERSION}`"))?;
    let (sum, body) = rest.split_once(' ').ok_or("it has no record")?;
    let expected = format!("{:016x}", XxHash3_64::oneshot(body.as_bytes()));
    if sum != expected {
        return Err(format!("its checksum is {expected}, and it says {sum}"));
    }
    let (synced, json) = body.split_once(' ').ok_or("it has no record")?;
    let synced = synced.parse().map_err(|_| "how much was synced is no number")?;
    Ok((synced, serde_json::from_str(json).map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64) -> EpochRecord {
        EpochRecord { epoch, ..EpochRecord::default() }
    }

    fn epochs(torn: &Torn) -> Vec<u64> {
        torn.records.iter().map(|record| record.epoch).collect()
    }

    #[test]
    fn what_was_not_synced_may_be_torn_anywhere() {
        let first = encode(0, &record(0));
        let synced = first.len() as u64;
        // Both were appended before the next sync.
        let bytes = [first.clone(), encode(synced, &record(1)), encode(synced, &record(2))].concat();
        let whole = decode(&bytes);
        assert_eq!((epochs(&whole), whole.wrong), (vec![0, 1, 2], None));
        for cut in first.len() + 1..bytes.len() {
            let torn = decode(&bytes[..cut]);
            assert!(torn.wrong.is_some() != (bytes[cut - 1] == b'\n') && !torn.was_synced, "{cut}");
            assert_eq!(epochs(&torn)[0], 0);
        }
        for at in first.len()..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let torn = decode(&flipped);
            assert!(torn.wrong.is_some() && !torn.was_synced, "{at}");
        }
    }

    #[test]
    fn what_was_synced_and_is_bad_is_damage() {
        let mut bytes = encode(0, &record(0));
        let synced = bytes.len() as u64;
        bytes.extend(encode(synced, &record(1)));
        for at in 0..synced as usize {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let torn = decode(&flipped);
            assert!(torn.wrong.is_some() && torn.was_synced && torn.good == 0, "{at}");
        }
    }
}
