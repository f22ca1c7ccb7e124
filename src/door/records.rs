//! Records, and the doors that are opened on them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{InputHandleCore, OutputBuilder};

use crate::data::{InputCounts, Key, Stats, Stored, Total};
use crate::door::feed::Observations;
use crate::door::opened::Doors;
use crate::door::reader::{BlockReader, Times};
use crate::door::running::durable_totals;
use crate::door::summing::{Door, Summing, Updates, UpdatesOutput};
use crate::door::{Event, Lines, Parsed, Partials, Shared};
use crate::format::{Fields, Format};
use crate::time::Epoch;
use crate::time::EventTime;

type EventInput =
    InputHandleCore<Epoch, Vec<Event>, <Pipeline as ParallelizationContract<Epoch, Vec<Event>>>::Puller>;

/// Records of format `F`, on which doors are opened.
///
/// The operator that reads them is built when this is dropped, with the doors it has by then.
///
/// A door's name labels its state, on the dashboard and in a checkpoint: two doors of one dataflow that are named alike
/// panic as the second is opened, with both places.
pub struct Records<'scope, F: Format> {
    doors: Rc<RefCell<Doors>>,
    shared: Rc<Shared>,
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    /// Whether these are the records that tell the time.
    timed: bool,
    /// Refusals of late records since this was last taken; all doors add to it.
    late: Rc<Cell<i64>>,
    counts: VecCollection<'scope, Epoch, (), InputCounts>,
    parts: Option<Parts<'scope, F>>,
}

impl<F: Format> std::fmt::Debug for Records<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("doors", &self.doors).finish_non_exhaustive()
    }
}

struct Parts<'scope, F: Format> {
    builder: OperatorBuilder<'scope, Epoch>,
    input: EventInput,
    doors: Vec<Box<dyn Door<F>>>,
    reader: BlockReader<F>,
    counts: UpdatesOutput<(), InputCounts>,
    /// Which input is read.
    input_number: u32,
    observations: Rc<RefCell<Observations>>,
    late: Rc<Cell<i64>>,
}

impl<'scope, F: Format> Records<'scope, F> {
    /// Lines read with `format`.
    pub(super) fn new(lines: &Lines<'scope>, input_number: u32, first: bool, format: F) -> Self {
        let mut builder = OperatorBuilder::new("Records".to_owned(), lines.stream.scope());
        let input = builder.new_input(lines.stream.clone(), Pipeline);
        let (output, counts) = builder.new_output();
        let reader = BlockReader::new(format, Arc::clone(&lines.progress), lines.faults(), first);
        let late: Rc<Cell<i64>> = Rc::default();
        let parts = Parts {
            builder,
            input,
            doors: Vec::new(),
            reader,
            counts: OutputBuilder::from(output),
            input_number,
            observations: Rc::clone(&lines.shared.observations),
            late: Rc::clone(&late),
        };
        Records {
            doors: Rc::clone(&lines.doors),
            shared: Rc::clone(&lines.shared),
            event_times: lines.event_times.clone(),
            timed: false,
            late,
            counts: counts.as_collection(),
            parts: Some(parts),
        }
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
    ///     records.reading(fields).collect::<(u64, u64)>("rows", |record| Some(**record))
    /// });
    /// assert_eq!(rows(Fields::ALL), [((3, 2), 1)]);
    /// assert_eq!(rows(Fields::only([0])), [((3, 0), 1)]);
    /// ```
    pub fn reading(&mut self, fields: Fields) -> &mut Self {
        self.parts.as_mut().expect("the parts are there until drop").reader.fields = fields;
        self
    }

    /// From now on, each record happened when `time` says, in milliseconds UTC since 1970; `None` if it tells no time.
    ///
    /// Windows, sessions and all else that depends on time can be opened after this. The run may decide that it is the time
    /// of arrival that counts (`--time arrival`); then `time` is not asked.
    ///
    /// The times of these records move the dataflow's watermark, with those of all other records that tell theirs: there
    /// is one watermark over all partitions of all inputs.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let hours = thalweg::testing::collection(Text, b"3600000 a\n3599999 b\n- c\n", |records| {
    ///     let first = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     records.event_time(move |record| first(record.line())).count_by::<u64>("hours", |record| Some(record.time()? as u64 / 3_600_000))
    /// });
    /// assert_eq!(hours, [((0, 1), 1), ((1, 1), 1)]);
    /// ```
    pub fn event_time(
        &mut self,
        time: impl for<'a> Fn(&Parsed<'a, F>) -> Option<i64> + 'static,
    ) -> &mut Self {
        let parts = self.parts.as_mut().expect("the parts are there until drop");
        parts.reader.tell_times(Times::new(self.shared.options, Box::new(time), Rc::clone(&self.shared.now)));
        self.shared.timed.set(true);
        self.timed = true;
        self
    }

    /// What `datum` makes of the records that are quarantined: dated further ahead of their arrival than the run allows.
    /// They have no time, so no window, session or other door that goes by time has them. Stateless.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let ahead = thalweg::testing::collection(Text, b"1\n99999999999999\n", |records| {
    ///     records.event_time(|line| std::str::from_utf8(line.line()).ok()?.parse().ok());
    ///     records.quarantined::<Bytes>("ahead", |line| Some(line.line()))
    /// });
    /// assert_eq!(ahead, [(Bytes::from("99999999999999"), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door has the same name.
    #[track_caller]
    pub fn quarantined<D: Key>(
        &mut self,
        name: &str,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        self.collect(name, move |record| if record.is_ahead() { datum(record) } else { None })
    }

    /// The dataflow's watermark as it changes.
    ///
    /// # Panics
    ///
    /// If nobody has said how these records tell their times.
    #[track_caller]
    pub(super) fn event_times(&self) -> Stream<'scope, Epoch, Vec<EventTime>> {
        assert!(
            self.timed,
            "records without times have no windows: say how they tell them with `event_time`"
        );
        self.event_times.clone()
    }

    /// Where doors count the records that they refuse as too late.
    pub(super) fn late(&self) -> Rc<Cell<i64>> {
        Rc::clone(&self.late)
    }

    /// The doors of the dataflow.
    pub(super) fn doors(&self) -> &Rc<RefCell<Doors>> {
        &self.doors
    }

    /// The door under all others: `logic` adds what each record says to the sums of whatever keys it likes.
    ///
    /// The result is a collection of keys whose differences are the sums of this epoch: a multiset where `A` is a
    /// count. It is not exchanged and not consolidated across workers; what stands behind it does that.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let sums = thalweg::testing::collection(Text, b"a 2\na 3\nb 4\n", |records| {
    ///     records.sums_by::<Bytes, i64>("sums", |record, sums| {
    ///         if let [key, b' ', digit] = record.line() {
    ///             *sums.entry(std::slice::from_ref(key)) += i64::from(digit - b'0');
    ///         }
    ///     })
    /// });
    /// assert_eq!(sums, [(Bytes::from("a"), 5), (Bytes::from("b"), 4)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn sums_by<K: Key, A: Total>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut Partials<K, A>) + 'static,
    ) -> VecCollection<'scope, Epoch, K, A> {
        self.doors.borrow_mut().claim(name);
        let parts = self.parts.as_mut().expect("the parts are there until drop");
        let (output, stream) = parts.builder.new_output::<Updates<K, A>>();
        let output = OutputBuilder::from(output);
        parts.doors.push(Box::new(Summing::new(logic, output)));
        stream.as_collection()
    }

    /// As [`Records::sums_by`], with the running totals of the sums, as rows `(key, total)`, which are durable; keys whose
    /// total is zero are left out.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let sizes = thalweg::testing::collection(Text, b"ax\nb\nayy\n", |records| {
    ///     records.totals_by::<u8, (isize, i64)>("sizes", |record, sums| {
    ///         if let Some(first) = record.line().first() {
    ///             let (lines, bytes) = sums.entry(*first);
    ///             *lines += 1;
    ///             *bytes += record.line().len() as i64;
    ///         }
    ///     })
    /// });
    /// assert_eq!(sizes, [((b'a', (2, 5)), 1), ((b'b', (1, 1)), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name; while running, if a total does not fit its type.
    #[track_caller]
    pub fn totals_by<K: Key, A: Total + Stored>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut Partials<K, A>) + 'static,
    ) -> VecCollection<'scope, Epoch, (K, A), isize> {
        let sums = self.sums_by(name, logic);
        self.totals(name, sums, vec![])
    }

    /// How often each key occurs, as rows `(key, count)`; records without a key (`None`) are left out.
    ///
    /// Each epoch retracts the rows that changed and inserts them as they are now. State: one row a key, on the worker
    /// that the key is routed to.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let counts = thalweg::testing::collection(Text, b"a\nb\n\na\n", |records| {
    ///     records.count_by::<u8>("first bytes", |record| record.line().first().copied())
    /// });
    /// assert_eq!(counts, [((b'a', 2), 1), ((b'b', 1), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn count_by<K: Key>(
        &mut self,
        name: &str,
        key: impl for<'a> Fn(&Parsed<'a, F>) -> Option<K::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, (K, isize), isize> {
        let keys = self.collect(name, key);
        self.totals(name, keys, vec![])
    }

    /// What `value` says, added up for each key, as rows `(key, sum)`; keys whose sum is zero are left out.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let lengths = thalweg::testing::collection(Text, b"ax\nb\nayy\n", |records| {
    ///     records.sum_by::<u8, _>("lengths", |record| Some((*record.line().first()?, record.line().len() as i64)))
    /// });
    /// assert_eq!(lengths, [((b'a', 5), 1), ((b'b', 1), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name; while running, if a sum does not fit in 128 bits.
    #[track_caller]
    pub fn sum_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> VecCollection<'scope, Epoch, (K, i128), isize> {
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<K, i128>| {
            if let Some((key, value)) = value(record) {
                *sums.entry(key) += value.into();
            }
        };
        let sums = self.sums_by(name, logic);
        self.totals(name, sums, vec![])
    }

    /// Count, sum, smallest and largest of what `value` says for each key, as rows `(key, stats)`.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let lengths = thalweg::testing::collection(Text, b"ax\nb\nayy\n", |records| {
    ///     records.stats_by::<u8, _>("lengths", |record| Some((*record.line().first()?, record.line().len() as i128)))
    /// });
    /// let stats = |values: &[i128]| values.iter().copied().collect::<Stats>();
    /// assert_eq!(lengths, [((b'a', stats(&[2, 3])), 1), ((b'b', stats(&[1])), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn stats_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> VecCollection<'scope, Epoch, (K, Stats), isize> {
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<K, Stats>| {
            if let Some((key, value)) = value(record) {
                sums.entry(key).record(value);
            }
        };
        let sums = self.sums_by(name, logic);
        self.totals(name, sums, vec![])
    }

    /// One row that is always there, also before the first record: the sum over all records of what `logic` adds.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let longest = |lines: &'static [u8]| {
    ///     thalweg::testing::collection(Text, lines, |records| {
    ///         records.sum_all("lengths", |record, stats: &mut Stats| stats.record(record.line().len() as i64))
    ///     })
    /// };
    /// assert_eq!(longest(b"one\nthree\n")[0].0.max, Some(5));
    /// assert_eq!(longest(b""), [(Stats::default(), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn sum_all<A: Total + Stored>(
        &mut self,
        name: &str,
        logic: impl for<'a> Fn(&Parsed<'a, F>, &mut A) + 'static,
    ) -> VecCollection<'scope, Epoch, A, isize> {
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<(), A>| logic(record, sums.entry(()));
        let sums = self.sums_by(name, logic);
        self.totals(name, sums, vec![()]).map(|((), sum)| sum)
    }

    /// The records themselves, or what `datum` makes of them, as a multiset.
    ///
    /// Equal data of one worker and epoch become one update. Stateless.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let errors = thalweg::testing::collection(Text, b"ok\nbad\nbad\n", |records| {
    ///     records.collect::<Bytes>("errors", |record| (record.line() == b"bad").then_some(record.line()))
    /// });
    /// assert_eq!(errors, [(Bytes::from("bad"), 2)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn collect<D: Key>(
        &mut self,
        name: &str,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<D, isize>| {
            if let Some(key) = datum(record) {
                *sums.entry(key) += 1;
            }
        })
    }

    /// As [`Records::collect`], for records that are any number of data each: `each` is called with the record and a
    /// function that takes them.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let words = thalweg::testing::collection(Text, b"to be or\nnot to be\n", |records| {
    ///     records.collect_each::<Bytes>("words", |record, each| record.line().split(|byte| *byte == b' ').for_each(each))
    /// });
    /// assert_eq!(words.len(), 4);
    /// assert!(words.contains(&(Bytes::from("be"), 2)));
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn collect_each<D: Key>(
        &mut self,
        name: &str,
        each: impl for<'a> Fn(&Parsed<'a, F>, &mut dyn FnMut(D::Ref<'_>)) + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<D, isize>| {
            each(record, &mut |key| *sums.entry(key) += 1);
        })
    }

    /// How often each datum occurs in records that are any number of them each, as rows `(key, count)`; `each` as in
    /// [`Records::collect_each`], all else as in [`Records::count_by`].
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let words = thalweg::testing::collection(Text, b"to be or\nnot to be\n", |records| {
    ///     records.count_each::<Bytes>("words", |record, each| record.line().split(|byte| *byte == b' ').for_each(each))
    /// });
    /// assert!(words.contains(&((Bytes::from("be"), 2), 1)));
    /// ```
    ///
    /// This is also how records are joined with a table that does not change: a key that `each` is given need not be
    /// borrowed from the record, so it can come from a [`Lookup`](crate::lookup::Lookup) that the function owns. An inner join
    /// leaves out what the table does not have, a left join gives it a key of its own.
    ///
    /// ```
    /// use thalweg::prelude::*;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("sites.csv");
    /// std::fs::write(&path, "network,site\n10.0.0.0/8,office\n10.1.0.0/16,lab\n")?;
    /// let sites = Lookup::read(&path, "network", LookupKeys::Networks)?;
    ///
    /// let inner = sites.clone();
    /// let counts = thalweg::testing::collection(Text, b"10.0.0.1\n10.1.0.1\n10.0.0.2\n192.0.2.1\n", move |records| {
    ///     let sites = inner.clone();
    ///     records.count_each::<Bytes>("by site", move |client, each| {
    ///         sites.get(client.line()).into_iter().for_each(|row| each(row.column(0)));
    ///     })
    /// });
    /// assert_eq!(counts, [((Bytes::from("lab"), 1), 1), ((Bytes::from("office"), 2), 1)]);
    ///
    /// let counts = thalweg::testing::collection(Text, b"10.0.0.1\n192.0.2.1\n", move |records| {
    ///     let sites = sites.clone();
    ///     records.count_each::<Bytes>("by site", move |client, each| {
    ///         each(sites.get(client.line()).map_or(b"-", |row| row.column(0)));
    ///     })
    /// });
    /// assert_eq!(counts, [((Bytes::from("-"), 1), 1), ((Bytes::from("office"), 1), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn count_each<K: Key>(
        &mut self,
        name: &str,
        each: impl for<'a> Fn(&Parsed<'a, F>, &mut dyn FnMut(K::Ref<'_>)) + 'static,
    ) -> VecCollection<'scope, Epoch, (K, isize), isize> {
        let keys = self.collect_each(name, each);
        self.totals(name, keys, vec![])
    }

    /// The running totals of door `name`, which are durable.
    fn totals<K: Key, A: Total + Stored>(
        &self,
        name: &str,
        sums: VecCollection<'scope, Epoch, K, A>,
        always: Vec<K>,
    ) -> VecCollection<'scope, Epoch, (K, A), isize> {
        durable_totals(&mut self.doors.borrow_mut(), name, sums, always, None)
    }

    /// What became of the lines, as one row that is always there. It is a door named `input`.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let input = thalweg::testing::collection(AccessLog, b"not an access log\n", |records| records.input());
    /// assert_eq!(input, [(InputCounts { lines: 1, malformed: 1, bytes: 18, ..InputCounts::default() }, 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door of this dataflow has the same name.
    #[track_caller]
    pub fn input(&mut self) -> VecCollection<'scope, Epoch, InputCounts, isize> {
        self.doors.borrow_mut().claim("input");
        self.totals("input", self.counts.clone(), vec![()]).map(|((), counts)| counts)
    }

    /// What became of the lines of each epoch, as the differences of `()`.
    pub(crate) fn input_sums(&self) -> VecCollection<'scope, Epoch, (), InputCounts> {
        self.counts.clone()
    }
}

impl<F: Format> Drop for Records<'_, F> {
    fn drop(&mut self) {
        if let (Some(parts), false) = (self.parts.take(), std::thread::panicking()) {
            parts.build();
        }
    }
}

impl<F: Format> Parts<'_, F> {
    fn build(self) {
        let Parts { builder, mut input, mut doors, mut reader, mut counts, input_number, observations, late } =
            self;
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
                                counts.activate().session(&capability).give(((), *capability.time(), sums));
                            }
                        }
                    }
                });
            }
        });
    }
}
