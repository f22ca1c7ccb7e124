//! Records, on which doors are opened.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::data::{InputCounts, Key, Total};
use crate::door::reader::{BlockReader, Times};
use crate::door::refusals::Refusals;
use crate::door::running::durable_totals;
use crate::door::site::Site;
use crate::door::summing::{Door, Summing, Updates};
use crate::door::table::{Rows, Table};
use crate::door::{Event, Lines, Parsed, Partials};
use crate::format::{Fields, Format};
use crate::time::{Epoch, EventTime, Millis, Time};
use crate::view::{Misbuilt, Names};

/// Records of format `F`, on which doors are opened.
///
/// The operator that reads them is built when the last copy of this is dropped, with the doors it has by then: a chunk is
/// read and parsed once however many there are.
pub struct Records<'scope, F: Format>(Rc<Inner<'scope, F>>);

/// What all copies of some records share.
struct Inner<'scope, F: Format> {
    site: Site<'scope>,
    /// Whether these records have times.
    timed: Cell<bool>,
    /// Whether their times move the watermark: those of lines do.
    moves_watermark: bool,
    refusals: Refusals,
    /// What became of the lines, where these are read from lines.
    counts: Option<VecCollection<'scope, Epoch, (), InputCounts>>,
    parts: RefCell<Option<Parts<'scope, F>>>,
}

impl<F: Format> Clone for Records<'_, F> {
    fn clone(&self) -> Self {
        Records(Rc::clone(&self.0))
    }
}

impl<F: Format> std::fmt::Debug for Records<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("site", &self.0.site).finish_non_exhaustive()
    }
}

/// An operator that hands records to doors, while it is built.
pub(super) struct Parts<'scope, F: Format> {
    builder: OperatorBuilder<'scope, Epoch>,
    doors: Vec<Box<dyn Door<F>>>,
    fields: Fields,
    times: Option<Times<F>>,
    assemble: Box<Assemble<'scope, F>>,
}

/// Builds the operator.
type Assemble<'scope, F> =
    dyn FnOnce(OperatorBuilder<'scope, Epoch>, Vec<Box<dyn Door<F>>>, Fields, Option<Times<F>>) + 'scope;

impl<'scope, F: Format> Parts<'scope, F> {
    /// Those of an operator without doors, which `assemble` builds of `builder`.
    pub(super) fn new(
        builder: OperatorBuilder<'scope, Epoch>,
        assemble: impl FnOnce(OperatorBuilder<'scope, Epoch>, Vec<Box<dyn Door<F>>>, Fields, Option<Times<F>>)
        + 'scope,
    ) -> Self {
        Parts { builder, doors: Vec::new(), fields: Fields::ALL, times: None, assemble: Box::new(assemble) }
    }
}

impl<'scope, F: Format> Records<'scope, F> {
    /// Lines read with `format`; `first` if nobody else counts them.
    pub(super) fn of_lines(lines: &Lines<'scope>, input_number: u32, first: bool, format: F) -> Self {
        let mut builder = OperatorBuilder::new("Records".to_owned(), lines.stream.scope());
        let mut input = builder.new_input(lines.stream.clone(), Pipeline);
        let (output, counts_stream) = builder.new_output::<Updates<(), InputCounts>>();
        let mut counts = OutputBuilder::from(output);
        let observations = Rc::clone(&lines.site.shared.observations);
        let refusals = Refusals::default();
        let late = refusals.count();
        let reader = BlockReader::new(format, lines, first, refusals.marks());
        let assemble = move |builder: OperatorBuilder<'scope, Epoch>,
                             mut doors: Vec<Box<dyn Door<F>>>,
                             fields: Fields,
                             times: Option<Times<F>>| {
            let mut reader = reader;
            (reader.fields, reader.times) = (fields, times);
            let outputs = builder.shape().outputs();
            builder.build(move |_initial_capabilities| {
                // Of the epoch with a line that ends the run: it stays open, and nothing more is taken in.
                let mut held = Vec::new();
                move |_frontiers| {
                    input.for_each(|capability, events| {
                        for event in events.drain(..) {
                            if !held.is_empty() {
                                return;
                            }
                            match event {
                                Event::Chunk(chunk) if chunk.input != input_number => {}
                                Event::Chunk(chunk) => {
                                    if !reader.read(&chunk, &mut doors, &mut observations.borrow_mut()) {
                                        held.extend((0..outputs).map(|port| capability.retain(port)));
                                        return;
                                    }
                                    doors.iter_mut().for_each(|door| door.relieve(&capability));
                                }
                                Event::End => {
                                    doors.iter_mut().for_each(|door| door.close(&capability));
                                    observations.borrow_mut().ended += 1;
                                    let mut sums = std::mem::take(&mut reader.counts);
                                    sums.late += late.take();
                                    let row = ((), *capability.time(), sums);
                                    counts.activate().session(&capability).give(row);
                                }
                            }
                        }
                    });
                }
            });
        };
        let counts = Some(counts_stream.as_collection());
        let parts = Parts::new(builder, assemble);
        Records::new(lines.site.clone(), true, refusals, counts, parts)
    }

    /// Records that are not read from lines; `parts` hand them to the doors.
    pub(super) fn of_facts(site: Site<'scope>, parts: Parts<'scope, F>) -> Self {
        Records::new(site, false, Refusals::default(), None, parts)
    }

    fn new(
        site: Site<'scope>,
        moves_watermark: bool,
        refusals: Refusals,
        counts: Option<VecCollection<'scope, Epoch, (), InputCounts>>,
        parts: Parts<'scope, F>,
    ) -> Self {
        let (timed, parts) = (Cell::new(false), RefCell::new(Some(parts)));
        Records(Rc::new(Inner { site, timed, moves_watermark, refusals, counts, parts }))
    }

    fn parts<T>(&self, change: impl FnOnce(&mut Parts<'scope, F>) -> T) -> T {
        change(self.0.parts.borrow_mut().as_mut().expect("the parts are there until drop"))
    }

    /// Only these fields of the records are read, so that the format may leave out the others; without this it is
    /// [`Fields::ALL`]. What number a field has is the format's business; the formats of this crate read all fields
    /// whatever is asked for.
    ///
    /// ```
    /// use thalweg::format::{Emit, WholeLines};
    /// use thalweg::prelude::*;
    ///
    /// /// The length of each line (field 0), and how many vowels it has (field 1), which takes longer.
    /// #[derive(Clone)]
    /// struct Vowels;
    /// impl Format for Vowels {
    ///     type Record<'a> = (u64, u64);
    ///     fn read<'a>(&mut self, lines: WholeLines<'a>, fields: Fields, out: &mut impl Emit<'a, (u64, u64)>) {
    ///         for (at, line) in lines.iter() {
    ///             let vowels = || line.iter().filter(|byte| b"aeiou".contains(byte)).count() as u64;
    ///             out.record(at, line, (line.len() as u64, if fields.has(1) { vowels() } else { 0 }));
    ///         }
    ///     }
    /// }
    ///
    /// let rows = |fields| thalweg::testing::collection(Vowels, b"one\n", move |records| {
    ///     let both = (column::<u64>("bytes"), column::<u64>("vowels"));
    ///     records.reading(fields).by(both, |record| Some(**record)).collect("rows").rows()
    /// });
    /// assert_eq!(rows(Fields::ALL), [((3, 2), 1)]);
    /// assert_eq!(rows(Fields::only([0])), [((3, 0), 1)]);
    /// ```
    pub fn reading(self, fields: Fields) -> Self {
        self.parts(|parts| parts.fields = fields);
        self
    }

    /// These records, of which each happened when `time` says: a [`Time`], or milliseconds UTC since 1970; `None` if it tells
    /// no time. Windows, sessions and all else that goes by time can be opened then.
    ///
    /// The run may decide that it is the time of arrival that counts (`--time arrival`); then `time` is not asked.
    ///
    /// The times of these records move the dataflow's watermark, with those of all other records that tell theirs: there
    /// is one watermark over all partitions of all inputs. (Those of [facts](super::Facts::records) do not: they come of records
    /// that have.)
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let hours = thalweg::testing::collection(Text, b"3600000 a\n3599999 b\n- c\n", |records| {
    ///     let first = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse::<i64>().ok();
    ///     let records = records.event_time(move |record| first(record.line()));
    ///     records.by(number("hour"), |record| Some(record.time()?.0 / 3_600_000)).count("hours").rows()
    /// });
    /// assert_eq!(hours, [((0, 1), 1), ((1, 1), 1)]);
    /// ```
    #[track_caller]
    pub fn event_time<T: Into<Time>>(
        self,
        time: impl for<'a> Fn(&Parsed<'a, F>) -> Option<T> + 'static,
    ) -> Self {
        let shared = &self.0.site.shared;
        let time = move |record: &Parsed<'_, F>| time(record).map(|time| time.into().0);
        let times = Times::new(shared.options, Box::new(time), Rc::clone(&shared.now));
        self.parts(|parts| parts.times = Some(times));
        self.0.timed.set(true);
        if self.0.moves_watermark {
            shared.timed.set(true);
        } else if !shared.timed.get() {
            let door = "what is opened on these facts".to_owned();
            self.0.site.mistake(Misbuilt::NoTimes { door }, Location::caller());
        }
        self
    }

    /// The dataflow's watermark as it changes, for a door that goes by time and waits for so long `behind` a record.
    pub(super) fn event_times(
        &self,
        door: &str,
        place: &'static Location<'static>,
        behind: Millis,
    ) -> Stream<'scope, Epoch, Vec<EventTime>> {
        self.0.site.waits(behind);
        if !self.0.timed.get() {
            self.0.site.mistake(Misbuilt::NoTimes { door: door.to_owned() }, place);
        }
        self.0.site.event_times.clone()
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(super) fn site(&self) -> &Site<'scope> {
        &self.0.site
    }

    /// The door under all others, opened at `place`.
    pub(super) fn sums<K: Key, A: Total>(
        &self,
        name: &str,
        place: &'static Location<'static>,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut Partials<K, A>) + 'static,
    ) -> VecCollection<'scope, Epoch, K, A> {
        self.0.site.claim(name, place);
        self.parts(|parts| {
            let (output, stream) = parts.builder.new_output::<Updates<K, A>>();
            parts.doors.push(Box::new(Summing::new(logic, OutputBuilder::from(output))));
            stream.as_collection()
        })
    }

    /// The door under all others, for operators of differential: `logic` adds what each record says to the sums of whatever
    /// keys it likes.
    ///
    /// The result is a collection of keys whose differences are the sums of this epoch: a multiset where `A` is a
    /// count. It is not exchanged and not consolidated across workers; what stands behind it does that. It has no state.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let sums = thalweg::testing::collection(Text, b"a 2\na 3\nb 4\n", |records| {
    ///     records.sums_by("sums", |record, sums: &mut Partials<Bytes, i64>| {
    ///         if let [key, b' ', digit @ b'0'..=b'9'] = record.line() {
    ///             *sums.entry(std::slice::from_ref(key)) += i64::from(digit - b'0');
    ///         }
    ///     })
    /// });
    /// assert_eq!(sums, [(Bytes::from("a"), 5), (Bytes::from("b"), 4)]);
    /// ```
    #[track_caller]
    pub fn sums_by<K: Key, A: Total>(
        &self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut Partials<K, A>) + 'static,
    ) -> VecCollection<'scope, Epoch, K, A> {
        self.sums(name, Location::caller(), logic)
    }

    /// What became of the lines, as one row that is always there. It is a door named `input`. Of records that are facts, there
    /// are no lines.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let input = thalweg::testing::collection(AccessLog, b"not an access log\n", |records| records.input().rows());
    /// assert_eq!(input, [(InputCounts { lines: 1, malformed: 1, bytes: 18, ..InputCounts::default() }, 1)]);
    /// ```
    #[track_caller]
    pub fn input(&self) -> Table<'scope, InputCounts> {
        self.0.site.claim("input", Location::caller());
        let counts = self.input_sums().unwrap_or_else(|| {
            timely::dataflow::operators::generic::operator::empty(self.0.site.scope).as_collection()
        });
        let rows = durable_totals(&self.0.site, "input", counts, vec![()], None);
        Rows::new(rows.map(|((), counts)| counts), Names::default(), self.0.site.clone())
    }

    /// What became of the lines of each epoch, as the differences of `()`.
    pub(crate) fn input_sums(&self) -> Option<VecCollection<'scope, Epoch, (), InputCounts>> {
        self.0.counts.clone()
    }
}

impl<F: Format> Drop for Inner<'_, F> {
    fn drop(&mut self) {
        if let (Some(parts), false) = (self.parts.take(), std::thread::panicking()) {
            let Parts { builder, doors, fields, times, assemble } = parts;
            assemble(builder, doors, fields, times);
        }
    }
}
