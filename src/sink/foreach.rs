//! A function of the user's that is handed each epoch's rows.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::data::Cells;
use crate::sink::rows::{KeptRow, shown};
use crate::sink::{Closed, Mode, Opening, Sink, SinkError};
use crate::view::Schema;

type Reason = Box<dyn Error + Send + Sync>;
type Committed = dyn FnMut(&Opening<'_>) -> Result<Option<u64>, Reason> + Send;
type Each = dyn FnMut(&EpochRows) -> Result<(), Reason> + Send;

/// A sink that hands the rows of each epoch, all together, to a function.
///
/// The function is called once for each closed epoch, in order, also for those without rows. It is exactly-once if it stores the
/// number of the epoch together with what it makes of the rows, in one transaction, and the other function, which is asked as
/// the run begins, says what was stored last: the run shows nothing up to that again. If it refuses what a smaller
/// [`Opening::incarnation`] writes, it keeps a run out that was given up for dead.
///
/// The rows of one epoch are held in memory until it is closed. An error of either function ends the run with that error.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use thalweg::sink::{EpochRows, Foreach, Opening, Sinks};
///
/// /// What a database would hold: sums, and how far they go.
/// #[derive(Default)]
/// struct Stored { sums: i128, upto: Option<u64> }
///
/// let stored = Arc::new(Mutex::new(Stored::default()));
/// let own = Arc::clone(&stored);
/// let sinks = Sinks::builtin().with("sums", move |_| {
///     let (asked, told) = (Arc::clone(&own), Arc::clone(&own));
///     let committed = move |_: &Opening<'_>| Ok::<_, String>(asked.lock().map_err(|error| error.to_string())?.upto);
///     let each = move |rows: &EpochRows| {
///         let mut stored = told.lock().map_err(|error| error.to_string())?;
///         for row in rows {
///             if let Some(thalweg::data::Value::Int(number)) = row.cells.last() {
///                 let change = number.checked_mul(row.diff as i128).ok_or("a sum overflows")?;
///                 stored.sums = stored.sums.checked_add(change).ok_or("a sum overflows")?;
///             }
///         }
///         stored.upto = Some(rows.epoch());
///         Ok(())
///     };
///     Ok(Box::new(Foreach::new("sums:", committed, each)))
/// });
/// assert!(sinks.parse("sums:?mode=changes").is_ok());
/// # use std::any::Any;
/// # use thalweg::data::{CellType, Kind, Value};
/// # use thalweg::sink::Closed;
/// # use thalweg::time::Epoch;
/// # use thalweg::view::{Batch, Column, Contents, Finality, Retracted, Schema};
/// # #[derive(Debug)]
/// # struct View(Schema);
/// # impl Contents for View {
/// #     fn schema(&self) -> &Schema { &self.0 }
/// #     fn apply(&mut self, _: Epoch, _: Option<Batch>, _: Option<Batch>) -> Result<(), Retracted> { Ok(()) }
/// #     fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
/// #         show(-1, &[Value::Bytes(b"a"), Value::Int(2)]);
/// #         show(1, &[Value::Bytes(b"a"), Value::Int(44)]);
/// #     }
/// #     fn values(&self) -> Box<dyn Any + Send + Sync> { Box::new(()) }
/// #     fn has_changed(&self) -> bool { true }
/// #     fn rows(&self, _: usize, _: &mut dyn FnMut(&[Value<'_>])) {}
/// #     fn len(&self) -> usize { 0 }
/// #     fn left_out(&self) -> u64 { 0 }
/// # }
/// # let schema = Schema { name: "v".into(), about: "".into(), columns: vec![], finality: Finality::Never };
/// # let spec = sinks.parse("sums:?mode=changes")?;
/// # let mut attached = spec.attach(true)?;
/// # let known = [Arc::new(schema.clone())];
/// # let opening = Opening { incarnation: 0, state: None, first: 0, shows: attached.shows, views: &known, ending: Default::default() };
/// # assert_eq!(attached.sink.open(&opening)?, None);
/// # let views: Vec<Box<dyn Contents>> = vec![Box::new(View(schema))];
/// # attached.sink.write(&Closed { epoch: 6, step: 0, views: &views, last: false })?;
/// # attached.sink.commit(6)?;
/// // A run has changed a row from 2 to 44 in epoch 6.
/// assert_eq!(stored.lock().unwrap().sums, 42);
/// assert_eq!(stored.lock().unwrap().upto, Some(6));
/// # assert_eq!(attached.sink.open(&opening)?, Some(6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Foreach {
    name: String,
    committed: Box<Committed>,
    each: Box<Each>,
    mode: Mode,
    rows: EpochRows,
}

impl fmt::Debug for Foreach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreach").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Foreach {
    /// A sink that errors call `name`. `committed` is asked as the run begins, and says which epoch was stored last, if any;
    /// `each` stores the rows of an epoch.
    pub fn new<E: Into<Reason>>(
        name: &str,
        mut committed: impl FnMut(&Opening<'_>) -> Result<Option<u64>, E> + Send + 'static,
        mut each: impl FnMut(&EpochRows) -> Result<(), E> + Send + 'static,
    ) -> Self {
        Foreach {
            name: name.to_owned(),
            committed: Box::new(move |opening| committed(opening).map_err(Into::into)),
            each: Box::new(move |rows| each(rows).map_err(Into::into)),
            mode: Mode::Complete,
            rows: EpochRows::default(),
        }
    }

    fn hand_over(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.rows.epoch = epoch;
        let result = (self.each)(&self.rows).map_err(|reason| SinkError::own(&self.name, reason));
        self.rows.bytes.clear();
        self.rows.count = 0;
        result
    }
}

impl Sink for Foreach {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        self.mode = opening.shows.mode;
        self.rows = EpochRows { views: opening.views.to_vec(), ..EpochRows::default() };
        (self.committed)(opening).map_err(|reason| SinkError::own(&self.name, reason))
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let EpochRows { bytes, count, .. } = &mut self.rows;
        for (at, view) in closed.views.iter().enumerate() {
            shown(&**view, closed, self.mode, &mut |diff, values| {
                KeptRow::new(at, closed, diff, values).append_to(bytes);
                *count += 1;
            });
        }
        if closed.last {
            self.rows.last_state = true;
            self.hand_over(closed.epoch)?;
        }
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.hand_over(epoch)
    }
}

/// The rows of one epoch, in the order in which a sink shows them.
#[derive(Default)]
pub struct EpochRows {
    epoch: u64,
    last_state: bool,
    views: Vec<Arc<Schema>>,
    bytes: Vec<u8>,
    count: usize,
}

impl fmt::Debug for EpochRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EpochRows { epoch, count, .. } = self;
        f.debug_struct("EpochRows").field("epoch", epoch).field("rows", count).finish_non_exhaustive()
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub struct EpochRow<'a> {
    /// Its view.
    pub view: &'a Schema,
    /// The step within the epoch, from 0.
    pub step: u32,
    /// How often it comes, or with `mode=changes` goes, which is less than zero. 1 in all other modes.
    pub diff: isize,
    /// What stands in its columns.
    pub cells: Cells<'a>,
}

impl EpochRows {
    /// The number of the epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether they are the last state of all views (`at=end`) rather than what an epoch has changed.
    pub fn is_last_state(&self) -> bool {
        self.last_state
    }

    /// The rows, one after the other.
    pub fn iter(&self) -> Iter<'_> {
        Iter { views: &self.views, rest: &self.bytes }
    }
}

impl<'a> IntoIterator for &'a EpochRows {
    type Item = EpochRow<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes through the rows of an epoch: see [`EpochRows::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    views: &'a [Arc<Schema>],
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = EpochRow<'a>;

    fn next(&mut self) -> Option<EpochRow<'a>> {
        let (row, rest) = KeptRow::take(self.rest).ok()?;
        self.rest = rest;
        let view = self.views.get(row.view as usize)?;
        let diff = row.diff.map_or(1, |diff| diff as isize);
        Some(EpochRow { view, step: row.step, diff, cells: row.values() })
    }
}
