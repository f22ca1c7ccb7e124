//! From a pipe, by the spool, into PostgreSQL: what was shown there is not lost, and nothing is counted twice.

use std::collections::BTreeSet;

use crate::certificates::{Authority, Valid};
use crate::rounds::{Rounds, Shape, doze};
use crate::services::databases::Postgres;
use crate::tables::{Directory, same};

const ROUNDS: usize = 30;
/// Lines that are written at once.
const LINES: usize = 25;

#[test]
fn what_came_by_a_pipe_and_was_shown_in_a_table_stays_there_once() {
    let authority = Authority::new();
    authority.sign("server", "db.example", Valid::Now);
    let Some(mut postgres) = Postgres::start(&authority.file("server")) else { return };
    let mut rounds = Rounds::new(41);
    let path = |name: &str| rounds.path(name);
    let run = format!(
        "run word-count - --state {} --tick 3ms --snapshot-every 25ms --log info --sink {} --sink jsonl:{}/?mode=changes",
        path("state"),
        postgres.uri(postgres.port, "prefix=run_"),
        path("changes"),
    );
    let seen_in = |postgres: &Postgres| {
        let sql = "SELECT coalesce(max(epoch) + 1, 0) FROM thalweg_progress";
        postgres.try_query(sql).ok().and_then(|rows| rows.first()?.parse().ok()).unwrap_or(0)
    };
    let words = |postgres: &Postgres| {
        let rows = postgres.try_query("SELECT word, count FROM run_words").unwrap_or_default();
        let word = |row: &String| {
            let (word, count) = row.split_once('|').unwrap();
            assert_eq!(count, "1", "{word} was counted more than once");
            word.to_owned()
        };
        rows.iter().map(word).collect::<BTreeSet<_>>()
    };
    let mut shown = BTreeSet::new();
    let (mut growth, mut outages) = (0, 0);
    for round in 0..ROUNDS {
        let mut live = rounds.start(&run, &|| seen_in(&postgres));
        for batch in 0..1 + rounds.draws.below(60) {
            let lines: String = (0..LINES).map(|line| format!("r{round}b{batch}l{line}\n")).collect();
            assert!(live.say(&lines), "round {round}: nobody reads");
            doze(&mut rounds.draws, 10);
        }
        let away = round % 7 == 6;
        if away {
            postgres.kill();
            outages += 1;
            doze(&mut rounds.draws, 200);
            live.say(&format!("r{round}away\n"));
        } else if round % 3 == 1 {
            rounds.wait(&mut live, &|| seen_in(&postgres));
        }
        rounds.kill(live, &|| if away { 0 } else { seen_in(&postgres) });
        if away {
            postgres.again();
        }
        let now = words(&postgres);
        let lost: Vec<_> = shown.difference(&now).collect();
        assert!(lost.is_empty(), "round {round}: shown, and then lost: {lost:?}");
        growth += usize::from(now.len() > shown.len());
        shown = now;
    }
    rounds.have_happened(ROUNDS);
    assert!(growth >= ROUNDS / 4 && outages >= 4, "{growth} and {outages}");

    // The last one has a pipe that nobody writes to.
    let mut last = rounds.start_as(Shape::Alone(2), &run, &|| 0);
    last.ends_at_hang_up();
    let all = words(&postgres);
    assert!(shown.is_subset(&all), "shown, and then lost: {:?}", shown.difference(&all));
    // Of each run, what was counted is what was written first.
    for round in 0..ROUNDS {
        let prefix = format!("r{round}b");
        let count = all.iter().filter(|word| word.starts_with(&prefix)).count();
        let written = (0..).flat_map(|batch| (0..LINES).map(move |line| format!("r{round}b{batch}l{line}")));
        let missing: Vec<_> = written.take(count).filter(|word| !all.contains(word)).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {count}");
    }
    // And the files have the same.
    let files = Directory::read(&rounds.cluster.path("changes"));
    let mut found: Vec<_> = files.sums.into_iter().map(|((_, row), count)| (row, count)).collect();
    let row = |word: &String| (serde_json::json!({ "word": word, "count": 1 }).to_string(), 1);
    let mut expected: Vec<_> = all.iter().map(row).collect();
    found.sort();
    expected.sort();
    same("files", &found, &expected);
}
