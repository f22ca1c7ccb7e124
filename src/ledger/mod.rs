//! The ledger: one place that opens and seals epochs, of every kind of source.
//!
//! ```text
//!                 Opened, Closing, Sealed ──▶ every worker: reads its partitions up to where the ledger says
//! worker 0: Conductor                                 │
//!                 Ended (offsets, event times) ◀──────┘
//! ```
//!
//! An epoch is a record ([`EpochRecord`]): which bytes of which partition belong to it, when it arrived, and what the
//! watermark was. The [`Conductor`] makes it, and nobody else decides when an epoch begins or ends:
//!
//! - It *opens* an epoch when something has arrived or is due, within the credits that are left: at once where there is
//!   more than an epoch to read, and at most once a tick where sources are live.
//! - Each worker reads what the epoch says, and answers with how far it came.
//! - When all have answered the epoch is *sealed*: its record is complete. No sink commits before that.
//!
//! Everything behind it is a function of the records: given the same ones ([`Conductor::replay`]) a run gives the same
//! answer, at any number of workers. How bounded sources are cut into epochs (`cut`) depends on the partitions alone.
//!
//! The conductor is a plain struct. It knows no dataflow and no clock: it is handed messages and times, and
//! returns messages for the workers.

mod conductor;
mod cut;
mod digest;
mod journal;
mod mark;
mod record;
mod spool;
mod status;
mod watermark;

pub use conductor::{Afterwards, Conductor, LedgerOptions, Moment};
pub use journal::{Journal, JournalError, read_journal, sync_journal};
pub use mark::{Mark, read_before};
pub use record::{
    Ended, EpochRecord, Limit, Message, Opened, Reached, Read, RecordError, decode_records, encode_record,
};
pub use spool::{Spool, cut_spool, spooled};
pub use status::{EpochTimes, PartitionStatus, SourceStatus, Status};
pub use watermark::WatermarkState;

pub(crate) use digest::{bytes_digest, digest_sum, line_digest};
