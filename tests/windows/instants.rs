//! Access logs' own times in windows: an instant is an instant, however a server writes it.

use std::time::Duration;

use thalweg::prelude::*;

/// How many requests there are in each window of a second.
fn seconds(times: &[String]) -> Vec<(i64, isize)> {
    let lines: String =
        times.iter().map(|time| format!("h - - [{time}] \"GET /a HTTP/1.1\" 200 -\n")).collect();
    let second = Window::tumbling(Duration::from_secs(1)).unwrap();
    let rows = thalweg::testing::collection(AccessLog, lines.as_bytes(), move |records| {
        let records = records.event_time(|record| record.event_time());
        let statuses = records.by(column::<u16>("status"), |record| Some(record.status));
        statuses.by_window(second).count("seconds").rows()
    });
    rows.into_iter().map(|((span, _, count), _)| (span.start.0, count)).collect()
}

/// 12:00:00 UTC at the end of May 2015, as it is written where the clocks are `minutes` ahead.
fn noon(minutes: i64) -> String {
    let clock = 12 * 60 + minutes;
    let (day, clock) = (16 + clock.div_euclid(1440), clock.rem_euclid(1440));
    let (sign, offset) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
    let zone = format!("{sign}{:02}{:02}", offset / 60, offset % 60);
    format!("{day:02}/May/2015:{:02}:{:02}:00 {zone}", clock / 60, clock % 60)
}

#[test]
fn all_zones_share_their_windows() {
    // Every quarter of an hour that is used as an offset, and more, up to a day in either direction.
    let times: Vec<_> = (-95..=95).map(|quarters| noon(15 * quarters)).collect();
    assert_eq!(seconds(&times), [(1_431_777_600_000, 191)]);
}

/// The hour that is left out and the one that comes twice: offsets change, and time goes on.
#[test]
fn a_change_of_the_clocks_changes_no_window() {
    let spring = ["29/Mar/2026:01:59:59 +0100", "29/Mar/2026:03:00:00 +0200", "29/Mar/2026:03:00:01 +0200"];
    let start = 1_774_745_999_000;
    assert_eq!(seconds(&spring.map(String::from)), [(start, 1), (start + 1000, 1), (start + 2000, 1)]);
    let autumn = [
        "25/Oct/2026:02:30:00 +0200",
        "25/Oct/2026:02:59:59 +0200",
        "25/Oct/2026:02:00:00 +0100",
        "25/Oct/2026:02:30:00 +0100",
    ];
    let first = 1_792_888_200_000;
    let expected = [(first, 1), (first + 1_799_000, 1), (first + 1_800_000, 1), (first + 3_600_000, 1)];
    assert_eq!(seconds(&autumn.map(String::from)), expected);
}

/// A leap second is in the window of the second after it, in every zone.
#[test]
fn leap_seconds_have_a_window() {
    let times = [
        "31/Dec/2016:23:59:59 +0000",
        "31/Dec/2016:23:59:60 +0000",
        "01/Jan/2017:00:59:60 +0100",
        "31/Dec/2016:18:59:60 -0500",
        "01/Jan/2017:00:00:00 +0000",
    ];
    assert_eq!(seconds(&times.map(String::from)), [(1_483_228_799_000, 1), (1_483_228_800_000, 4)]);
}
