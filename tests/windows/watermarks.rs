//! Watermarks of several partitions, by either clock, and with times that nobody would expect.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::time::{Clock, TimeOptions};

use crate::naive;
use crate::oracle::cases;
use crate::watched::{Record, SLIDING, TABLES, case, lines};

const SECOND: i64 = 1000;
/// Windows of a second, one after the other.
const SECONDS: (u64, u64) = (1000, 1000);

fn at(time: i64) -> Record {
    Record { time, key: b'a', value: 0 }
}

/// Some seconds after the last epoch, records of these partitions.
type Heard = (i64, Vec<(usize, i64)>);

const PARTITIONS: [&str; 3] = ["test:a", "test:b", "test:c"];

/// Which lines a table of seconds refuses, by the definition of the watermark.
fn refused(options: TimeOptions, epochs: &[Heard]) -> BTreeMap<(u64, String), isize> {
    let (lateness, idle) = (options.lateness.as_millis() as i64, options.idle_timeout.as_millis() as i64);
    let (mut newest, mut heard) = ([None; 3], [0; 3]);
    let (mut now, mut watermark) = (0, None);
    let mut refused = BTreeMap::new();
    for (number, (pause, records)) in (1..).zip(epochs) {
        now += pause * SECOND;
        for (partition, time) in records {
            if watermark.is_some_and(|watermark| time.div_euclid(SECOND) * SECOND + SECOND <= watermark) {
                *refused.entry((number, at(*time).line())).or_default() += 1;
            }
            newest[*partition] = newest[*partition].max(Some(*time));
            heard[*partition] = now;
        }
        let active = (0..3).filter(|at| newest[*at].is_some() && now - heard[*at] < idle);
        let least = active.filter_map(|at| newest[at]).min();
        watermark = watermark.max(least.map(|least| least - lateness));
        // In a silence, it goes on from where the newest record has brought it, at the pace of the clock.
        let silent = now - heard.iter().max().expect("three of them") - idle;
        let furthest = newest.iter().flatten().max().filter(|_| silent >= 0);
        watermark = watermark.max(furthest.map(|newest| newest - lateness + silent));
    }
    refused
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn partitions_hold_each_other_back_until_they_are_idle(
        epochs in prop::collection::vec(
            (0..40i64, prop::collection::vec((0..3usize, 0..100_000i64), 0..5)), 1..12),
        lateness in prop::sample::select(vec![0, 5, 30]),
        workers in (1..4usize, 1..4usize),
        half in 0..6usize,
    ) {
        let lateness = Duration::from_secs(lateness);
        let options = TimeOptions { lateness, idle_timeout: Duration::from_secs(60), ..TimeOptions::default() };
        let seen = case(SECONDS, options, |script| {
            let mut now = 1_000_000_000;
            let mut script = script.arriving(now).workers(workers.0).epoch("");
            for (number, (pause, records)) in epochs.iter().enumerate() {
                now += pause * SECOND;
                let of = |partition| {
                    let mine = records.iter().filter(move |(other, _)| *other == partition);
                    lines(&mine.map(|(_, time)| at(*time)).collect::<Vec<_>>())
                };
                let texts = [of(0), of(1), of(2)];
                let parts: Vec<_> = PARTITIONS.iter().zip(&texts).map(|(name, text)| (*name, text.as_bytes())).collect();
                script = if number == half { script.workers(workers.1) } else { script };
                script = script.arriving(now).epoch_of(&parts);
            }
            script
        });
        prop_assert_eq!(seen.refused("table count"), refused(options, &epochs));
    }
}

/// Whoever is heard in an epoch is not idle in it, even if nothing may be idle for any time.
#[test]
fn no_time_to_be_idle() {
    let options =
        TimeOptions { lateness: Duration::ZERO, idle_timeout: Duration::ZERO, ..TimeOptions::default() };
    let seen = case(SECONDS, options, |script| {
        script.arriving(0).epoch("").epoch(lines(&[at(5000)])).epoch(lines(&[at(4999), at(5000)]))
    });
    assert_eq!(seen.refused("table count"), BTreeMap::from([((2, at(4999).line()), 1)]));
}

#[test]
fn by_arrival_nothing_is_late_whatever_the_clocks_do() {
    let options = TimeOptions { clock: Clock::Arrival, ..TimeOptions::default() };
    for workers in [1, 2, 3] {
        let seen = case(SECONDS, options, |script| {
            let script = script.workers(workers).arriving(99_000).epoch("");
            let script = script.arriving(100_500).epoch("7 a 0\n-5 a 0\nno time b 0\n");
            let script = script.arriving(101_500).epoch("9223372036854775807 a 0\n");
            // The clock was set back; what has arrived then did not arrive before the second that is being counted.
            let script = script.arriving(50_000).epoch("8 a 0\n").workers(1).epoch("9 a 0\n");
            script.arriving(103_000).epoch("10 a 0\n").end()
        });
        assert_eq!((seen.counts.late, seen.counts.untimed, seen.counts.ahead), (0, 0, 0));
        let counts = seen.after("table count", u64::MAX);
        let second = |start: i64, count| (((start, start + SECOND), "a".to_owned()), vec![count]);
        assert_eq!(counts, BTreeMap::from([second(100_000, 2), second(101_000, 3), second(103_000, 1)]));
        let last: Vec<_> =
            seen.windows("last count", "last count window").into_iter().map(|(_, span, _)| span).collect();
        assert_eq!(last, [(100_000, 101_000), (101_000, 102_000), (102_000, 103_000), (103_000, 104_000)]);
    }
}

/// A clock that is wrong by a year is counted, and moves nothing.
#[test]
fn what_is_too_far_ahead_disturbs_nobody() {
    let (now, most) = (1_000_000, 600_000);
    let calm = [at(now), at(now - 9_000), at(now + 2_000)];
    let ahead = [at(now + most + 1), at(now + 365 * 86_400 * SECOND), at(i64::MAX)];
    for workers in [1, 2, 3] {
        let options = TimeOptions::default();
        let alone = case(SECONDS, options, |script| {
            let script = script.workers(workers).arriving(now).epoch("");
            calm.iter().fold(script, |script, record| script.epoch(lines(&[*record]))).end()
        });
        let mut disturbed = case(SECONDS, options, |script| {
            let script = script.workers(workers).arriving(now).epoch("");
            let with = |record: &Record| lines(&[&ahead[..], &[*record], &ahead[..]].concat());
            calm.iter().fold(script, |script, record| script.epoch(with(record))).end()
        });
        assert_eq!((disturbed.counts.ahead, disturbed.how_many("ahead")), (18, 18));
        // What is refused is the only difference.
        disturbed.doors.remove("refused");
        assert_eq!((disturbed.counts.late, alone.counts.late), (0, 0));
        for updates in alone.doors.values().chain(disturbed.doors.values()) {
            assert!(updates.iter().all(|update| update.1.0 > 0));
        }
        let mut alone = alone;
        alone.doors.values_mut().chain(disturbed.doors.values_mut()).for_each(|updates| updates.sort());
        assert_eq!(disturbed.doors, alone.doors);
        // The last that is not too far ahead.
        let edge =
            case(SECONDS, options, |script| script.arriving(now).epoch("").epoch(lines(&[at(now + most)])));
        assert_eq!((edge.counts.ahead, edge.after("table count", 1).len()), (0, 1));
    }
}

const YEAR_1: i64 = -62_135_596_800_000;
const YEAR_9999: i64 = 253_402_300_799_999;
const MOST: i64 = 1 << 53;

/// From one end of time to the other, in any order and any cut: no time is waited for, and none is gone through slide by
/// slide.
#[test]
fn the_ends_of_time_are_two_times_like_others() {
    let times = [YEAR_1, 1_767_225_600_000, YEAR_9999, -MOST, MOST, 0, -1];
    let none = [i64::MIN, -MOST - 1, i64::MAX, MOST + 1];
    for rule in [(1000, 1000), (30_000, 20_000), (1000, 10)] {
        for turn in 0..times.len() {
            let mut records: Vec<_> = times.iter().map(|time| at(*time)).collect();
            records.rotate_left(turn);
            for cut in [1, 3, records.len()] {
                let epochs: Vec<_> = records.chunks(cut).map(<[Record]>::to_vec).collect();
                // In such company no clock can be told to be wrong.
                let (lateness, max_ahead) = (Duration::ZERO, Duration::MAX);
                let options = TimeOptions { lateness, max_ahead, ..TimeOptions::default() };
                let seen = case(rule, options, |script| {
                    let script = script.workers(1 + turn % 3).arriving(i64::MAX).epoch("");
                    let with = |epoch: &Vec<Record>| lines(epoch) + &lines(&none.map(at));
                    epochs.iter().fold(script, |script, epoch| script.epoch(with(epoch))).end()
                });
                let expected = naive::table(rule, 0, &epochs, true, naive::counts);
                let sliding = naive::windows(rule, 0, &epochs, true, naive::counts);
                let epochs = epochs.len() as i64;
                assert_eq!((seen.counts.untimed, seen.counts.ahead), (2 * epochs, 2 * epochs));
                assert_eq!(seen.refused("table count"), expected.refused);
                assert_eq!((seen.how_many("untimed"), seen.how_many("ahead")), (2 * epochs, 2 * epochs));
                assert_eq!(seen.refused("last count"), sliding.refused);
                let [tables, views] = [TABLES.len() as i64, SLIDING.len() as i64];
                assert_eq!(seen.counts.late, tables * expected.late() + views * sliding.late());
                assert_eq!(Some(&seen.after("table count", epochs as u64)), expected.answers.last());
                // An epoch with more slides than steps shows the oldest in one, but ends where it should.
                let shown =
                    seen.windows("last count", "last count window").pop().map(|(_, span, now)| (span, now));
                assert_eq!(shown, sliding.answers.last().map(|(_, span, now)| (*span, now.clone())));
            }
        }
    }
}
