//! Properties of sliding views and window tables over any records, cut into epochs anyhow.

use proptest::prelude::*;

use crate::naive;
use crate::naive::Question;
use crate::oracle::cases;
use crate::watched::{Content, FIRST, Record, SLIDING, Seen, Stages, TABLES, run};

/// Length and slide: overlapping, not a multiple, with a pane shorter than the slide, and tumbling.
const RULES: [(u64, u64); 5] =
    [(30_000, 10_000), (30_000, 20_000), (7_000, 3_000), (10_000, 10_000), (5_000, 1_000)];
const LATENESS: [u64; 3] = [0, 10_000, 35_000];
/// Long, but not so long that an epoch moves by more slides than it has steps, even at a slide of a second.
const GAP: i64 = 20 * 86_400_000;

/// Cuts after the records at which `mask` has a bit; epochs without records are among them.
fn cut(records: &[Record], mask: u64) -> Vec<Vec<Record>> {
    let mut epochs = vec![Vec::new()];
    for (at, record) in records.iter().enumerate() {
        epochs.last_mut().unwrap().push(*record);
        if mask >> (at % 64) & 1 == 1 {
            epochs.push(Vec::new());
        }
    }
    epochs
}

/// Checks every door of one run against the records.
fn check(rule: (u64, u64), lateness: u64, stages: Stages<'_>, epochs: &[Vec<Record>], ended: bool) -> Seen {
    let seen = run(rule, lateness, stages, epochs, ended);
    let sliding: [(_, _, Question); 2] = [
        ("last count", "last count window", naive::counts),
        ("last stats", "last stats window", naive::stats),
    ];
    assert_eq!(seen.windows("last first", "last count window"), first(&seen), "the first of {epochs:?}");
    let (mut late, marks) = (0, naive::marks(epochs, lateness, ended));
    for (door, window, question) in sliding {
        let expected = naive::windows(rule, lateness, epochs, ended, question);
        assert_eq!(seen.windows(door, window), expected.answers, "{door} of {epochs:?}");
        assert_eq!(seen.refused(door), expected.refused, "what {door} refuses of {epochs:?}");
        late += expected.late();
    }
    let questions: [Question; 3] = [naive::counts, naive::stats, naive::distinct];
    for (door, question) in TABLES.into_iter().zip(questions) {
        let expected = naive::table(rule, lateness, epochs, ended, question);
        for (number, rows) in (1..).zip(&expected.answers) {
            assert_eq!(seen.after(door, number), *rows, "{door} after {number} of {epochs:?}");
        }
        assert_eq!(seen.refused(door), expected.refused, "what {door} refuses of {epochs:?}");
        late += expected.late();
        // What is final is left alone.
        for (row, (number, _), _) in
            seen.doors.get(door).into_iter().flatten().filter(|update| update.1.0 > 0)
        {
            assert!(row.0.1 > marks[*number as usize - 1], "{row:?} of {door} was final before {number}");
        }
    }
    assert_eq!(seen.counts.late, late, "refusals in {epochs:?}");
    assert_eq!((seen.counts.ahead, seen.counts.untimed), (0, 0));
    check_taken_over(&seen, stages, &marks);
    seen
}

/// The first rows of the sliding count, from all of its rows.
fn first(seen: &Seen) -> Vec<(u64, (i64, i64), Content)> {
    let mut shown: Vec<(u64, (i64, i64), Content)> = Vec::new();
    for (epoch, span, content) in seen.windows("last count", "last count window") {
        let mut rows: Vec<_> = content.into_iter().map(|(key, figures)| (-figures[0], key)).collect();
        rows.sort();
        let ranked = (1..).zip(rows).take(FIRST);
        let content: Content = ranked.map(|(rank, (count, key))| (key, vec![rank, -count])).collect();
        if shown.last().is_none_or(|(_, last, before)| (*last, before) != (span, &content)) {
            shown.push((epoch, span, content));
        }
    }
    shown
}

/// A stage is given what the stage before it showed, but no rows that were final.
fn check_taken_over(seen: &Seen, stages: Stages<'_>, marks: &[i64]) {
    let [_, (_, at)] = stages[..] else { return };
    for door in SLIDING.into_iter().chain(["last count window", "last stats window"]) {
        assert_eq!(seen.taken_over(door), seen.after(door, at as u64), "{door} was handed over after {at}");
    }
    for door in TABLES {
        let mut open = seen.after(door, at as u64);
        open.retain(|(span, _), _| span.1 > marks[at]);
        assert_eq!(seen.taken_over(door), open, "{door} was handed over after {at}");
    }
}

/// The windows that a view has shown, whichever the epoch.
fn sequence(seen: &Seen, door: &'static str, window: &'static str) -> Vec<((i64, i64), Content)> {
    seen.windows(door, window).into_iter().map(|(_, span, content)| (span, content)).collect()
}

fn sequences(seen: &Seen) -> [Vec<((i64, i64), Content)>; 2] {
    [("last count", "last count window"), ("last stats", "last stats window")]
        .map(|(door, window)| sequence(seen, door, window))
}

/// Records of few keys and values, so that there are duplicates; each as far from the newest before it as `distances` says.
fn records(distances: impl Strategy<Value = i64>, count: usize) -> impl Strategy<Value = Vec<Record>> {
    let one = (distances, 0..3u8, -2..3i64);
    (-40_000..40_000i64, prop::collection::vec(one, 1..=count)).prop_map(|(start, all)| {
        let mut newest = start;
        let record = |(distance, key, value): (i64, u8, i64)| {
            let time = newest + distance;
            newest = newest.max(time);
            Record { time, key: b'a' + key, value }
        };
        all.into_iter().map(record).collect()
    })
}

/// Some on the edge of a second, some beside it.
fn near(from: i64, to: i64) -> impl Strategy<Value = i64> {
    prop_oneof![(from / 1000..=to / 1000).prop_map(|seconds| 1000 * seconds), from..=to]
}

fn anyhow() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => near(-60_000, 30_000),
        6 => near(0, 5_000),
        1 => (-3..=2i64).prop_map(|gaps| gaps * GAP),
    ]
}

fn in_time(lateness: u64) -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => near(-(lateness as i64), 15_000),
        2 => near(0, 90_000),
        1 => (1..=2i64).prop_map(|gaps| gaps * GAP),
    ]
}

fn rules() -> impl Strategy<Value = ((u64, u64), u64)> {
    (prop::sample::select(RULES.to_vec()), prop::sample::select(LATENESS.to_vec()))
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn any_records_in_any_epochs(
        (rule, lateness) in rules(),
        records in records(anyhow(), 24),
        mask in any::<u64>(),
        workers in 1..4usize,
        ended in any::<bool>(),
    ) {
        check(rule, lateness, &[(workers, 0)], &cut(&records, mask), ended);
    }

    #[test]
    fn handed_over_in_the_middle(
        (rule, lateness) in rules(),
        records in records(anyhow(), 24),
        mask in any::<u64>(),
        workers in (1..4usize, 1..4usize),
        at in any::<prop::sample::Index>(),
        ended in any::<bool>(),
    ) {
        let epochs = cut(&records, mask);
        let at = at.index(epochs.len());
        check(rule, lateness, &[(workers.0, 0), (workers.1, at)], &epochs, ended);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// What is in time is never refused, and is shown in the same windows whatever the cut, the workers and the hand-over.
    #[test]
    fn records_in_time_have_one_sequence_of_windows(
        ((rule, lateness), records) in rules().prop_flat_map(|rule| (Just(rule), records(in_time(rule.1), 40))),
        masks in prop::collection::vec(any::<u64>(), 2),
        workers in (1..4usize, 1..4usize),
        ended in any::<bool>(),
    ) {
        let whole = run(rule, lateness, &[(1, 0)], &cut(&records, 0), ended);
        prop_assert_eq!(whole.counts.late, 0);
        for mask in masks {
            let epochs = cut(&records, mask);
            let other = check(rule, lateness, &[(workers.0, 0), (workers.1, epochs.len() / 2)], &epochs, ended);
            prop_assert_eq!(other.counts.late, 0);
            prop_assert_eq!(sequences(&other), sequences(&whole));
        }
    }
}

/// Every way to cut short inputs, most on one worker, some on two or three.
#[test]
fn every_cut_of_short_inputs() {
    let times = |seconds: [i64; 8]| {
        let record =
            |(at, seconds)| Record { time: 1000 * seconds, key: b"aba"[at % 3], value: at as i64 % 2 };
        seconds.into_iter().enumerate().map(record).collect::<Vec<_>>()
    };
    // In time by ten seconds, the second with a gap and before 1970.
    for records in [times([1, 12, 9, 9, 30, 20, 31, 75]), times([-75, -66, -70, 0, -10, 4000, 3990, 4007])] {
        for rule in [(30_000, 20_000), (7_000, 3_000)] {
            let whole = sequences(&check(rule, 10_000, &[(1, 0)], &cut(&records, 0), true));
            for mask in 1..1 << (records.len() - 1) {
                let epochs = cut(&records, mask);
                let workers = [1, 1, 1, 2, 1, 1, 3][mask as usize % 7];
                let seen = check(rule, 10_000, &[(workers, 0)], &epochs, true);
                assert_eq!(seen.counts.late, 0, "{epochs:?}");
                assert_eq!(sequences(&seen), whole, "{epochs:?}");
            }
        }
    }
}
