//! The ground floor of time: what an epoch, a moment and a window are.
//!
//! An [`Epoch`] is the dataflow's timestamp. *Event time* is data ([`event_time`]). The two never mix: no time of a
//! record is ever a timely timestamp. This module knows no record, no source and no clock.

mod backoff;
pub mod epoch;
pub mod event_time;
pub mod gap;
pub mod length;
pub mod moment;
pub mod window;
pub mod within;

pub use epoch::{Delay, Epoch};
pub use event_time::{Clock, TimeOptions, Watermark};
pub use gap::{Gap, GapError};
pub use length::{Length, LengthError};
pub use moment::Time;
pub use window::{InWindow, Span, Window, WindowError, WindowReadError};
pub use within::{Within, WithinError};

pub(crate) use backoff::Backoff;
pub(crate) use event_time::{EventTime, MOST, Millis, TimeRange, length, millis};
