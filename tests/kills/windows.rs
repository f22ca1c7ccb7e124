//! What is said once: rows of windows and sessions that have become final, and lines that are let through, are appended once.
//! They stand beside tables of the same views as they are.

use std::path::Path;

use crate::databases::Database;
use crate::growing::{Growing, access_log, follows};
use crate::rounds::Rounds;
use crate::tables::{Directory, committed, progress, same, same_tables};

const ROUNDS: usize = 20;

#[test]
fn windows_become_final_once() {
    is_said_once(31, "visitors", "--length 1m", "visitors");
}

#[test]
fn sessions_end_once() {
    is_said_once(32, "sessions", "--gap 30s", "sessions");
}

#[test]
fn lines_are_let_through_once() {
    is_said_once(33, "error-lines", "--contains 404", "errors");
}

fn is_said_once(seed: u64, dataflow: &str, options: &str, view: &str) {
    let mut rounds = Rounds::new(seed);
    let mut log = Growing::new(&rounds.path("a.log"), &access_log(20_000, 60.0));
    let (finals, tables) = (Database::sqlite(), Database::sqlite());
    let path = |name: &str| rounds.path(name);
    let run = |whose: &str| {
        let sinks = [
            finals.uri(&format!("prefix={whose}_&mode=append")),
            tables.uri(&format!("prefix={whose}_")),
            format!("jsonl:{}/?mode=append&roll=8KiB,1h", path(&format!("{whose}-finals"))),
            format!("jsonl:{}/?mode=changes&roll=8KiB,1h", path(&format!("{whose}-changes"))),
        ];
        let sinks = sinks.map(|sink| format!(" --sink {sink}")).concat();
        let source = follows(&path("a.log"));
        format!("run {dataflow} {options} --source {source} --tick 5ms{sinks}")
    };
    let oracle = format!("{} --trigger once", run("oracle"));
    let durable = format!("{} --state {} --snapshot-every 40ms --log info", run("run"), path("state"));
    let rows = tables.uri("");
    let rows = rows.trim_start_matches("sqlite:").trim_end_matches('?').to_owned();
    let seen = || committed(&rows);
    for round in 0..ROUNDS {
        let mut live = rounds.start(&durable, &seen);
        let life = rounds.life();
        log.live(&mut rounds.draws, life);
        if round % 3 == 1 {
            rounds.wait(&mut live, &seen);
        }
        rounds.kill(live, &seen);
        if rounds.draws.below(2) == 0 {
            log.rotate(rounds.draws.below(3) > 0);
        }
    }
    rounds.have_happened(ROUNDS);
    assert!(log.rotations > 4 && log.compressed > 1, "{} and {}", log.rotations, log.compressed);

    rounds.finish(&format!("{durable} --trigger once -w 2"));
    // What nobody has killed reads the same files, as they are now.
    rounds.finish(&oracle);
    for (what, database) in [("final rows", &finals), ("rows", &tables)] {
        same_tables(database, &format!("{dataflow}, {what}"), &[view]);
        assert!(progress(database, what).1 > ROUNDS as u64 / 2);
    }
    assert_eq!(progress(&finals, "final rows"), progress(&tables, "rows"));
    for what in ["finals", "changes"] {
        let read = |whose: &str| Directory::read(Path::new(&rounds.path(&format!("{whose}-{what}"))));
        let [found, expected] =
            ["run", "oracle"].map(|whose| read(whose).sums.into_iter().collect::<Vec<_>>());
        same(&format!("{dataflow}, files of {what}"), &found, &expected);
    }
}
