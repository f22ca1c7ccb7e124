//! A week of ten million events: every window is right, and what is kept is what is open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg::prelude::*;
use thalweg::testing::Script;

const WEEK: i64 = 7 * 86_400;
/// Events of each second: a line stands for so many, each with a key of its own.
const EVENTS: i64 = 17;
const KEYS: i64 = 50;

/// The sum of the counts of each window, and how many rows the run was given when it began.
type Totals = BTreeMap<Span, (isize, usize)>;

/// The events of a line, which is a number of seconds: their keys.
fn events(line: &[u8]) -> impl Iterator<Item = u64> {
    let second: i64 = std::str::from_utf8(line).unwrap().parse().unwrap();
    (0..EVENTS).map(move |event| ((second + 3 * event) % KEYS + KEYS * (second / 86_400)) as u64)
}

/// A number of each line, which is that of all of its events: all from 0 to 16 within seconds.
fn value(line: &[u8]) -> i64 {
    let second: i64 = std::str::from_utf8(line).unwrap().parse().unwrap();
    second % EVENTS
}

/// A week, with other keys every day.
fn week(windows: &Arc<Mutex<Totals>>) -> Build {
    let windows = Arc::clone(windows);
    Build::new("week", move |flow| {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let (last, table) =
            (Window::new(minutes(5), minutes(1)).unwrap(), Window::tumbling(minutes(1)).unwrap());
        let records = flow
            .records(Text)
            .event_time(|line| Some(1000 * std::str::from_utf8(line.line()).ok()?.parse::<i64>().ok()?));
        let keys = || records.by_each(column::<u64>("key"), |line, each| events(line.line()).for_each(each));
        let counts = keys().over_last(last).count("counts");
        let values = keys().over_last(last).stats("values", |line| Some(value(line.line())));
        let table = keys().by_window(table).count("table");
        let windows = Arc::clone(&windows);
        let table = table.rows().inspect(move |((span, _, count), time, diff)| {
            let mut windows = windows.lock().unwrap();
            let (sum, given) = windows.entry(*span).or_default();
            if time.number() == 0 { *given += 1 } else { *sum += count * diff }
        });
        counts.about("by key").show("last");
        flow.table(["one"], table.map(|_| 1)).about("as many as the table has").show("rows");
        let columns = ["key", "count", "min", "max"];
        let values = values.map(columns, |(key, stats)| (key, stats.count, stats.min, stats.max));
        values.about("by key").show("values");
        Ok(())
    })
}

#[test]
fn a_week_of_ten_million_events_keeps_no_more_than_its_windows() {
    const { assert!(EVENTS * WEEK > 10_000_000) };
    let windows = Arc::default();
    let mut script = Script::new(week(&windows)).epoch("");
    let hours: Vec<_> = (0..WEEK / 3600).collect();
    for hour in &hours {
        // Neighbours are out of order, within the lateness.
        let lines: String = (0..3600).map(|second| format!("{}\n", 3600 * hour + (second ^ 5))).collect();
        script = if hour % 50 == 49 { script.workers(1 + (*hour as usize / 50) % 2) } else { script };
        script = script.epoch(lines);
    }
    let answer = script.end().run();
    assert_eq!(answer.counts().late, 0);

    // Every window has had all of its events, once.
    let windows = std::mem::take(&mut *windows.lock().unwrap());
    assert_eq!(windows.len() as i64, WEEK / 60);
    assert!(windows.values().all(|(sum, _)| *sum as i64 == 60 * EVENTS));
    // Whoever goes on is given only the minute that was open.
    let given: Vec<_> =
        windows.iter().filter(|(_, (_, given))| *given > 0).map(|(span, _)| span.start.0).collect();
    assert_eq!(given.len(), 3);
    assert!(given.iter().all(|start| (start + 60_000) % 3_600_000 == 0), "{given:?}");

    for (epoch, _) in (1..).zip(&hours) {
        let figure = |view, column: usize| {
            let rows = answer.view_at(view, epoch).into_iter();
            rows.map(|row| row.split('\t').nth(column).unwrap().parse::<i64>().unwrap()).collect::<Vec<_>>()
        };
        for view in ["last", "values"] {
            let counts = figure(view, 1);
            assert_eq!(
                (counts.len() as i64, counts.iter().sum()),
                (KEYS, 300 * EVENTS),
                "{view} after {epoch}"
            );
        }
        assert_eq!(
            (figure("values", 2).into_iter().min(), figure("values", 3).into_iter().max()),
            (Some(0), Some(16))
        );
    }
}
