//! From files that are written and rotated, into three databases and three forms of files at once. The databases are killed, too.

use std::path::Path;

use crate::certificates::{Authority, Valid};
use crate::databases::Database;
use crate::growing::{Growing, access_log, follows};
use crate::rounds::Rounds;
use crate::services::databases::{Mariadb, Postgres};
use crate::tables::{Directory, committed, progress, same, same_tables};

const ROUNDS: usize = 48;
const TABLES: [&str; 5] = ["input", "status_counts", "content_size", "frequent_clients", "top_endpoints"];
const FORMS: [&str; 3] = ["jsonl", "csv", "parquet"];

/// The databases that there are, each with the mode of a sink.
fn databases() -> Vec<(&'static str, Database, &'static str)> {
    let authority = Authority::new();
    authority.sign("server", "db.example", Valid::Now);
    let server = authority.file("server");
    let mut all = vec![("SQLite", Database::sqlite(), "complete")];
    all.extend(Postgres::start(&server).map(|it| ("PostgreSQL", Database::Postgres(it), "update")));
    all.extend(Mariadb::start(&server).map(|it| ("MariaDB", Database::Mariadb(it), "changes")));
    all
}

#[test]
fn files_that_are_rotated_go_once_into_databases_and_files() {
    let mut rounds = Rounds::new(21);
    let mut databases = databases();
    let mut log = Growing::new(&rounds.path("a.log"), &access_log(20_000, 200.0));
    let path = |name: &str| rounds.path(name);
    let sinks = |whose: &str| {
        let tables = databases.iter().map(|(_, database, mode)| {
            format!(" --sink {}", database.uri(&format!("prefix={whose}_&mode={mode}")))
        });
        let files = FORMS.iter().map(|form| {
            format!(" --sink {form}:{}/?mode=changes&roll=16KiB,1h", path(&format!("{whose}-{form}")))
        });
        tables.chain(files).collect::<String>()
    };
    let run = format!(
        "run access-log --source {} --state {} --tick 5ms --snapshot-every 40ms --log info{}",
        follows(&path("a.log")),
        path("state"),
        sinks("run"),
    );
    let oracle = format!("run access-log {}{}", path("whole.log"), sinks("oracle"));
    let rows = databases[0].1.uri("");
    let rows = rows.trim_start_matches("sqlite:").trim_end_matches('?').to_owned();
    let seen = || committed(&rows);

    let mut outages = 0;
    for round in 0..ROUNDS {
        let mut live = rounds.start(&run, &seen);
        let life = rounds.life();
        // A server is killed now and then; in half of the cases it is back before the run is killed.
        let away = (round % 5 == 4 && databases.len() > 1).then(|| 1 + round / 5 % (databases.len() - 1));
        if let Some(away) = away {
            log.live(&mut rounds.draws, life / 2);
            databases[away].1.kill();
            outages += 1;
        }
        log.live(&mut rounds.draws, life);
        let mut is_away = away;
        if let Some(away) = is_away.take_if(|_| round % 2 == 0) {
            databases[away].1.again();
            log.live(&mut rounds.draws, life);
        }
        if round % 3 == 1 && is_away.is_none() {
            rounds.wait(&mut live, &seen);
        }
        rounds.kill(live, &seen);
        if rounds.draws.below(3) == 0 {
            // While nobody looks.
            log.rotate(rounds.draws.below(3) > 0);
        }
        if let Some(away) = is_away {
            databases[away].1.again();
        }
    }
    rounds.have_happened(ROUNDS);
    assert!(databases.len() == 1 || outages >= 8, "{outages} outages");
    assert!(log.rotations > 15 && log.compressed > 8, "{} and {}", log.rotations, log.compressed);

    rounds.finish(&format!("{run} --trigger once -w 2"));
    std::fs::write(rounds.path("whole.log"), &log.whole).unwrap();
    rounds.finish(&oracle);
    let mut come_to = Vec::new();
    for (name, database, _) in &databases {
        same_tables(database, name, &TABLES);
        come_to.push(progress(database, name));
    }
    come_to.dedup();
    let [(last, incarnation)] = come_to[..] else { panic!("databases have come to {come_to:?}") };
    assert!(incarnation > ROUNDS as u64 / 2, "incarnation {incarnation} after {ROUNDS} kills");
    let read = |whose: &str, form: &str| Directory::read(Path::new(&rounds.path(&format!("{whose}-{form}"))));
    let [json, csv, parquet] = FORMS.map(|form| read("run", form));
    assert!(json.epochs == csv.epochs && csv.epochs == parquet.epochs, "files have different epochs");
    assert!(json.epochs.len() > ROUNDS / 4 && json.epochs.keys().all(|epoch| *epoch <= last));
    for (form, found) in FORMS.iter().zip([json, csv, parquet]) {
        let [found, expected] =
            [found, read("oracle", form)].map(|it| it.sums.into_iter().collect::<Vec<_>>());
        same(form, &found, &expected);
    }
}
