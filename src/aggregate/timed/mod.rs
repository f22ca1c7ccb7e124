//! Doors that depend on event time.
//!
//! ```text
//! Records: a record's time is asked for, and judged by the watermark as its epoch began (what is too late is refused here)
//!    │  sums by (pane, key), sessions, values, events: added up by worker and epoch as by any other door
//!    ▼
//! machine: at the end of an epoch, on the worker that owns the key, a state machine takes in what arrived and where the
//!    │     watermark has come to; it is told nothing else, so it is the same at any number of workers
//!    ▼
//! rows (−old, +new), what became final
//! ```
//!
//! | modules | |
//! |---|---|
//! | `event_time`, `watermark` | what a time is, and how far it has come |
//! | `machine`, `deadlines` | the common body of the doors' operators; what is due when |
//! | `window`, `panes`, `by_window`, `table`, `windowed`, `window_top` | windows, and tables of them |
//! | `over_last`, `sliding`, `two_stacks`, `ranking` | the sliding view |
//! | `gap`, `sessions`, `session` | sessions |
//! | `keyed`, `states` | state by key, with timeouts |
//! | `in_time` | which records a door takes |
//! | `dedup`, `join`, `within` | events: the first of each key, and pairs |
//!
//! Of each pair such as `sessions` and `session`, the first has the doors, which know records, and the second the machine,
//! which knows sums.

pub(crate) mod by_window;
pub(crate) mod deadlines;
pub(crate) mod dedup;
pub(crate) mod event_time;
pub(crate) mod gap;
pub(crate) mod in_time;
pub(crate) mod join;
pub(crate) mod keyed;
pub(crate) mod machine;
pub(crate) mod over_last;
pub(crate) mod panes;
pub(crate) mod ranking;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod sliding;
pub(crate) mod states;
pub(crate) mod table;
pub(crate) mod two_stacks;
pub(crate) mod watermark;
pub(crate) mod window;
pub(crate) mod window_top;
pub(crate) mod windowed;
pub(crate) mod within;
