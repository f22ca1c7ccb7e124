//! What the ledger consists of: the messages between the conductor and the workers, and the record of an epoch.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::source::{Partition, PartitionId};
use crate::time::{EventTime, Time, TimeRange};

/// How far a partition is to be read in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The partition.
    pub partition: PartitionId,
    /// From this offset, where the epoch before it ended.
    pub from: u64,
    /// Lines that start before this offset belong to the epoch, or to one before it.
    pub upto: u64,
}

/// An epoch has begun: the conductor's message to all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number.
    pub epoch: u64,
    /// When it arrived: the only reading of the clock for it.
    pub arrived: Time,
    /// Partitions that were not there before.
    pub new: Vec<Partition>,
    /// What is to be read, in this order where partitions follow one another.
    pub limits: Vec<Limit>,
    /// Whether a partition that has caught up with its source is still to be read on, until the conductor says otherwise.
    pub hold: bool,
    /// Whether sources are to take nothing more from outside: this is the last epoch.
    pub stop: bool,
    /// Whether the limits are those of an epoch that was before: nothing is to be read beyond them.
    pub exact: bool,
    /// Partitions that are at their end with this epoch, whatever else they have by now: they were, as it was read before.
    pub ended: Vec<PartitionId>,
    /// Whether the digest of what is read is wanted.
    pub digest: bool,
}

/// How far a worker has come in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The partition.
    pub partition: PartitionId,
    /// Every line of this worker's share that starts before this offset has been read.
    pub offset: u64,
    /// Lines read in the epoch.
    pub lines: u64,
    /// Bytes that reading took from the source.
    pub bytes: u64,
    /// The sum of digests of the lines read; 0 if none was wanted.
    pub digest: u64,
    /// The event times of the records read.
    pub(crate) times: TimeRange,
    /// Whether the partition is at its end for good.
    pub ended: bool,
    /// Whether it has caught up with its source.
    pub caught_up: bool,
    /// Whether it would have had more, and the bound on its rate did not let that through.
    pub held_back: bool,
    /// At which offset this run began to read it.
    pub begin: u64,
    /// How much its source has beyond that, in the units of its offsets, where that is known.
    pub behind: Option<u64>,
    /// Whether something had gone that was to be read, and the run goes on without.
    pub gone: bool,
    /// How much that was, in the units of its offsets, as far as that is known; what is read again is missed by the conductor.
    pub lost: u64,
}

impl Reached {
    /// Nothing has been read of `partition`.
    pub fn nothing(partition: PartitionId) -> Self {
        Reached {
            partition,
            offset: 0,
            lines: 0,
            bytes: 0,
            digest: 0,
            times: TimeRange::NOTHING,
            ended: false,
            caught_up: false,
            held_back: false,
            begin: 0,
            behind: None,
            gone: false,
            lost: 0,
        }
    }
}

/// A worker has read its part of an epoch: its message to the conductor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The epoch.
    pub epoch: u64,
    /// What was read of each partition that the worker had to read.
    pub reached: Vec<Reached>,
}

/// What the conductor and the workers send each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// To a worker: the first epoch of the run, and what is known of event time before it.
    Begin(u64, EventTimeState),
    /// To a worker: an epoch has begun.
    Opened(Opened),
    /// To a worker: nothing more is to be read in this epoch, which held.
    Close(u64),
    /// To a worker: the epoch is sealed, and this is what is known of event time as it ends.
    Sealed(u64, EventTimeState),
    /// To a worker: what its doors keep of the epochs before this one, all of which are sealed, is to become a snapshot.
    Cut(u64),
    /// To a worker: no epoch follows.
    Finished,
    /// To the conductor: this worker has read its part.
    Ended(Ended),
    /// To the conductor: sources of this worker have something to read. Said once after each epoch that had caught up.
    Ready {
        /// Whether it is so much that they wait for it to be read.
        full: bool,
    },
    /// To the conductor: an epoch is to be opened for what this worker's sources have now.
    Request,
    /// To the conductor: this process has been asked to end.
    Stop,
    /// To the first worker: a process has written its part of a snapshot, which this describes.
    Written(Vec<u8>),
    /// To a worker: everything is durable that is to be.
    Over,
}

/// [`EventTime`] as the ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimeState(pub(crate) EventTime);

/// What was read of a partition in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The partition.
    pub partition: PartitionId,
    /// From this offset ...
    pub from: u64,
    /// ... up to this one.
    pub upto: u64,
    /// Lines read.
    pub lines: u64,
    /// The digest of what was read; 0 if none was wanted. In journals of earlier releases there is one by the name of `digest`, which was
    /// worked out from the lines: it is not compared.
    #[serde(default, rename = "sum")]
    pub digest: u64,
    /// The event times of their records.
    pub(crate) times: TimeRange,
}

impl Read {
    /// That `partition` is to be read up to offset `upto`; what comes of it is not known.
    pub fn planned(partition: PartitionId, upto: u64) -> Self {
        Read { partition, from: 0, upto, lines: 0, digest: 0, times: TimeRange::NOTHING }
    }
}

/// An epoch as it was sealed.
///
/// Its bytes are one line of text: the version, a checksum (XXH3, 64 bits) of what follows, and the record as JSON.
///
/// ```
/// use thalweg::ledger::{decode_records, encode_record, EpochRecord};
/// let mut record = EpochRecord::default();
/// (record.epoch, record.arrived) = (7, 1_500_000_000_000.into());
/// let bytes = [encode_record(&record), encode_record(&record)].concat();
/// assert_eq!(decode_records(&bytes)?, [record.clone(), record]);
/// let mut torn = bytes.clone();
/// torn.truncate(bytes.len() - 3);
/// assert_eq!(decode_records(&torn).unwrap_err().offset, bytes.len() / 2);
/// # Ok::<(), thalweg::ledger::RecordError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: u64,
    /// When it arrived.
    pub arrived: Time,
    /// What was known of event time as it began: records are judged by this watermark.
    pub(crate) before: Option<EventTimeState>,
    /// What was known of event time as it ended, which is so whenever it is read again. `None` for the epoch that ends the input, and
    /// where nobody knows yet.
    #[serde(default)]
    pub(crate) after: Option<EventTimeState>,
    /// Partitions that were not there before.
    pub new: Vec<Partition>,
    /// What was read.
    pub reads: Vec<Read>,
    /// Partitions that came to their end.
    pub ended: Vec<PartitionId>,
    /// Partitions that had caught up with their source, in the order of their numbers.
    pub caught_up: Vec<PartitionId>,
    /// Whether the input was at its end, and nothing was read.
    #[serde(default)]
    pub end: bool,
    /// What sources want to know in a later run of partitions of which this is the first that was read
    /// ([`Source::memory`](crate::source::Source::memory)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memories: Vec<(PartitionId, String)>,
}

/// The version that is written.
const VERSION: &str = "thalweg-ledger-1";

/// Bytes that are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is damaged at byte {offset}: {reason}")]
#[non_exhaustive]
pub struct RecordError {
    /// Where the record begins.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The bytes of `record`.
pub fn encode_record(record: &EpochRecord) -> Vec<u8> {
    let json =
        serde_json::to_string(record).expect("a record has text for keys and no value that JSON lacks");
    format!("{VERSION} {:016x} {json}\n", XxHash3_64::oneshot(json.as_bytes())).into_bytes()
}

/// The records that `bytes` hold.
///
/// # Errors
///
/// At the first record that is torn, damaged, of another version, or out of order.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<EpochRecord>, RecordError> {
    let mut records: Vec<EpochRecord> = Vec::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let error = |reason: String| RecordError { offset, reason };
        let record = decode(line).map_err(error)?;
        if let Some(last) =
            records.last().filter(|last| last.epoch + 1 != record.epoch && last.epoch != record.epoch)
        {
            return Err(error(format!("epoch {} follows epoch {}", record.epoch, last.epoch)));
        }
        records.push(record);
        offset += line.len();
    }
    Ok(records)
}

fn decode(line: &[u8]) -> Result<EpochRecord, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let text = text.strip_suffix('\n').ok_or("the record is cut off")?;
    let mut parts = text.splitn(3, ' ');
    let (version, sum, json) = (parts.next(), parts.next(), parts.next());
    if version != Some(VERSION) {
        return Err(format!("this program reads `{VERSION}`, not `{}`", version.unwrap_or_default()));
    }
    let json = json.ok_or("it has no record")?;
    let expected = format!("{:016x}", XxHash3_64::oneshot(json.as_bytes()));
    if sum != Some(expected.as_str()) {
        return Err(format!("its checksum is {expected}, and it says {}", sum.unwrap_or_default()));
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(epoch: u64, arrived: i64, upto: u64) -> EpochRecord {
        let mut times = TimeRange::NOTHING;
        times.include(arrived);
        let read = Read {
            partition: PartitionId(3),
            from: upto / 2,
            upto,
            lines: 7,
            digest: u64::MAX - upto,
            times,
        };
        EpochRecord { epoch, arrived: Time(arrived), reads: vec![read], ..EpochRecord::default() }
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(arrived in any::<i64>(), offsets in prop::collection::vec(any::<u64>(), 0..6)) {
            let records: Vec<_> = (0..).zip(&offsets).map(|(epoch, upto)| record(epoch, arrived, *upto)).collect();
            let bytes: Vec<u8> = records.iter().flat_map(encode_record).collect();
            prop_assert_eq!(decode_records(&bytes).unwrap(), records);
        }

        #[test]
        fn a_flipped_byte_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let bytes = encode_record(&record(5, -1, 100));
            let at = at.index(bytes.len());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(decode_records(&flipped).is_err());
        }

        #[test]
        fn garbage_is_no_record(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            prop_assert!(decode_records(&bytes).is_err());
        }
    }
}
