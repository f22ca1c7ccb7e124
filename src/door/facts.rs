//! Facts as records: so that doors can be opened on pairs, first records and whatever else doors have said.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;

use crate::door::reader::{BlockReader, Origin, Times};
use crate::door::records::Parts;
use crate::door::summing::Door;
use crate::door::table::Facts;
use crate::door::{Parsed, Records};
use crate::format::{Emit, Fields, Format, WholeLines};
use crate::source::PartitionId;
use crate::time::{Epoch, EventTime, Millis, Watermark};

/// Rows of type `R` as the records of a [`Records`]; there are no lines of them to read.
#[derive(Debug)]
pub struct AsRecords<R>(PhantomData<fn() -> R>);

impl<R> Clone for AsRecords<R> {
    fn clone(&self) -> Self {
        AsRecords(PhantomData)
    }
}

impl<R: 'static> Format for AsRecords<R> {
    type Record<'a> = &'a R;

    /// No line is such a record.
    fn read<'a>(&mut self, lines: WholeLines<'a>, _: Fields, out: &mut impl Emit<'a, &'a R>) {
        lines.iter().for_each(|(at, line)| out.malformed(at, line));
    }
}

impl<'scope, R: ExchangeData> Facts<'scope, R> {
    /// These facts as records, on which doors are opened: windows, sessions and keyed state where
    /// [`event_time`](Records::event_time) says which of their times counts.
    ///
    /// A fact inserted several times is as many records. Those of an epoch are in order of their times and then their own.
    /// Times do not move the watermark, which is that of the lines: a fact has to tell a time that is not before the watermark as
    /// its epoch began, or it may be late. A pair is in time by the later of its two times; a lone left event
    /// of a left join by its time and the upper bound.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// // How many questions are answered in each ten seconds.
    /// let build = Build::new("answers", |flow| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.get(..2)?).ok()?.parse().ok().map(|seconds: i64| 1000 * seconds);
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()));
    ///     let of = |kind: u8| move |line: &Parsed<'_, Text>| (line.get(3) == Some(&kind)).then_some(());
    ///     let asked = lines.by(text("question"), |line| line.get(5..)).events("asked", (), of(b'?'));
    ///     let answers = lines.by(text("question"), |line| line.get(5..)).events("answers", (), of(b'!'));
    ///     let pairs = asked.join("answered", answers, Within::after(Duration::from_secs(5)));
    ///     let pairs = pairs.records().event_time(|pair| Some(pair.2.0));
    ///     pairs.all().by_window(Window::tumbling(Duration::from_secs(10))?).count("by ten seconds").show("answers");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"01 ? a\n03 ! a\n08 ? b\n09 ? c\n09 ! c\n11 ! b\n");
    /// let counts: Vec<_> = answer.view("answers").iter().map(|row| row.rsplit('\t').next().unwrap()).collect();
    /// assert_eq!(counts, ["2", "1"]);
    /// ```
    pub fn records(&self) -> Records<'scope, AsRecords<R>> {
        let site = self.site().clone();
        let blocks = by_epoch(self.rows(), site.event_times.clone());
        let mut builder = OperatorBuilder::new("Facts as records".to_owned(), site.scope);
        let mut input = builder.new_input(blocks, Pipeline);
        let assemble = move |builder: OperatorBuilder<'scope, Epoch>,
                             mut doors: Vec<Box<dyn Door<AsRecords<R>>>>,
                             _: Fields,
                             times: Option<Times<AsRecords<R>>>| {
            builder.build(move |_initial_capabilities| {
                move |_frontiers| {
                    input.for_each(|capability, blocks| {
                        for Block { watermark, rows } in blocks.drain(..) {
                            hand_over(&mut doors, &rows, watermark, times.as_ref());
                            doors.iter_mut().for_each(|door| door.close(&capability));
                        }
                    });
                }
            });
        };
        Records::of_facts(site, Parts::new(builder, assemble))
    }
}

/// The facts of one worker and epoch.
#[derive(Clone, Debug)]
struct Block<R> {
    /// As the epoch began.
    watermark: Watermark,
    rows: Vec<(R, isize)>,
}

/// `rows` by epoch, once these are closed. Doors emit facts at the first step of an epoch alone, so a time is an epoch.
fn by_epoch<'scope, R: ExchangeData>(
    rows: VecCollection<'scope, Epoch, R, isize>,
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
) -> Stream<'scope, Epoch, Vec<Block<R>>> {
    rows.inner.binary_frontier::<_, CapacityContainerBuilder<Vec<Block<R>>>, _, _, _, _>(
        event_times,
        Pipeline,
        Pipeline,
        "Facts by epoch",
        |_, _| {
            let mut open = BTreeMap::<Epoch, (Capability<Epoch>, Vec<(R, isize)>)>::new();
            // What was known as each epoch ended.
            let mut known = BTreeMap::<Epoch, EventTime>::new();
            let mut before = Watermark::NONE;
            move |(rows, rows_frontier), (times, times_frontier), output| {
                rows.for_each(|capability, updates| {
                    for (row, time, diff) in updates.drain(..) {
                        let held = || (capability.delayed(&time, 0), Vec::new());
                        open.entry(time).or_insert_with(held).1.push((row, diff));
                    }
                });
                times.for_each(|capability, times| {
                    known.extend(times.drain(..).map(|now| (*capability.time(), now)));
                });
                let closed =
                    |time: &Epoch| !rows_frontier.less_equal(time) && !times_frontier.less_equal(time);
                while let Some(first) = open.first_entry().filter(|first| closed(first.key())) {
                    let (epoch, (capability, mut rows)) = first.remove_entry();
                    forget_before(&mut known, epoch, &mut before);
                    consolidate(&mut rows);
                    output.session(&capability).give(Block { watermark: before, rows });
                }
                // Most epochs may have no facts; what is known of them is not to pile up.
                let still_to_come = rows_frontier.frontier().first().copied();
                if let Some(next) = open.keys().next().copied().into_iter().chain(still_to_come).min() {
                    forget_before(&mut known, next, &mut before);
                }
            }
        },
    )
}

/// Takes from `known` what was known as the epochs before `epoch` ended; the last of it is the watermark `before`.
fn forget_before(known: &mut BTreeMap<Epoch, EventTime>, epoch: Epoch, before: &mut Watermark) {
    while let Some(earlier) = known.first_entry().filter(|at| at.key().number() < epoch.number()) {
        *before = earlier.remove().watermark;
    }
}

/// Hands `rows` to `doors` as records.
fn hand_over<R: ExchangeData>(
    doors: &mut [Box<dyn Door<AsRecords<R>>>],
    rows: &[(R, isize)],
    watermark: Watermark,
    times: Option<&Times<AsRecords<R>>>,
) {
    let arrived = watermark.millis().unwrap_or(Millis::MIN);
    let partition = PartitionId(0);
    let origin = Origin { partition, name: "".into(), arrived, watermark, wrapping: None };
    let each =
        rows.iter().flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(*count).unwrap_or(0)));
    let records = each.map(|row| {
        let fact = Parsed::<AsRecords<R>>::fact(row, 0, &origin);
        let time = times.and_then(|times| times.of(&fact));
        fact.at(time)
    });
    // In blocks, so that a fact that was inserted a million times is not a million records in memory.
    let mut records = records.peekable();
    while records.peek().is_some() {
        let block: Vec<_> = records.by_ref().take(BlockReader::<AsRecords<R>>::BLOCK).collect();
        doors.iter_mut().for_each(|door| door.absorb(&block));
    }
}
