//! What holds for every database.

use std::collections::BTreeMap;

use thalweg::data::Bytes;
use thalweg::sink::{At, Mode, Sinks};
use thalweg::time::Time;

use crate::certificates::Authority;
use crate::cluster_support::{Cluster, LONG, poll, thalweg};
use crate::databases::Database;
use crate::model::{Counted, Epochs, Fact, Keyed, epochs, hex, same, views};
use crate::proxy::Proxy;
use crate::support::Draws;
use crate::view::{Driven, Start, Step};

/// A state that is drawn once for each table.
const STATE: u128 = 0xfeed_beef;

type Driver = Driven<Keyed, Counted, Fact>;

fn open(uri: &str, start: Start, epochs: &Epochs) -> Result<Driver, String> {
    views().open(uri, start, epochs).map_err(|error| error.to_string())
}

/// Shows all epochs that `driven` has not seen, and has them committed.
fn to_the_end(driven: &mut Driver, epochs: &Epochs) {
    for (number, steps) in epochs.iter().enumerate().skip(driven.next as usize) {
        driven.epoch(number as u64, steps).unwrap();
    }
    driven.sink.finish().unwrap();
}

/// Everything, on one database.
pub fn all(database: &mut Database) {
    tables_equal_the_views_after_each_epoch(database);
    a_second_run_replaces_what_the_first_has_left(database);
    what_is_appended_stays(database);
    many_rows_are_written_at_once(database);
    a_run_goes_on_where_the_tables_are(database);
    a_zombie_is_refused(database);
    a_gap_is_refused_or_filled(database);
    other_tables_are_refused(database);
    rows_are_written_at_the_end(database);
    a_key_is_one(database);
    times_without_a_place_are_left_out_of_keys(database);
    connections_that_are_cut_lose_nothing(database);
    refusals_end_it_at_once(database);
    a_server_that_is_killed_loses_nothing(database);
    a_run_ends_although_its_server_is_away(database);
    the_command_writes_what_it_shows(database);
}

fn tables_equal_the_views_after_each_epoch(database: &Database) {
    for (seed, mode) in [(1, Mode::Update), (2, Mode::Complete), (3, Mode::Changes)] {
        let (prefix, epochs) = (format!("equal{seed}_"), epochs(seed, 10, 24));
        let uri = database.uri(&format!("prefix={prefix}"));
        let mut driven = open(&uri, Start::without_state(mode), &Epochs::new()).unwrap();
        assert_eq!(driven.committed, None);
        for (number, steps) in epochs.iter().enumerate() {
            driven.epoch(number as u64, steps).unwrap();
            driven.settle().unwrap();
            same(database, &prefix, &epochs[..=number]);
        }
        driven.sink.finish().unwrap();
    }
    // Put off, in whatever parts.
    let (prefix, epochs) = ("together_", epochs(4, 150, 10));
    let mut driven =
        open(&database.uri("prefix=together_"), Start::without_state(Mode::Update), &Epochs::new()).unwrap();
    let mut put_off = 0;
    for (number, steps) in epochs.iter().enumerate() {
        driven.epoch(number as u64, steps).unwrap();
        put_off = put_off.max(driven.sink.behind());
        let has = (number as u64 + 1 - driven.sink.behind()) as usize;
        if number % 40 == 3 {
            same(database, prefix, &epochs[..has]);
        }
    }
    assert!(put_off > 10, "{put_off} epochs");
    driven.sink.finish().unwrap();
    same(database, prefix, &epochs);
}

fn a_second_run_replaces_what_the_first_has_left(database: &Database) {
    let (first, second) = (epochs(5, 5, 20), epochs(6, 5, 20));
    let uri = database.uri("prefix=again_");
    to_the_end(&mut open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap(), &first);
    let mut driven = open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap();
    assert_eq!(driven.committed, None);
    same(database, "again_", &first);
    to_the_end(&mut driven, &second);
    same(database, "again_", &second);
    // A view without rows has a table without.
    let empty = vec![vec![]];
    to_the_end(&mut open(&uri, Start::without_state(Mode::Complete), &Epochs::new()).unwrap(), &empty);
    same(database, "again_", &empty);
    // And a state of another name is another run, too.
    to_the_end(&mut open(&uri, Start::of(STATE, 5, Mode::Update), &Epochs::new()).unwrap(), &first);
    to_the_end(&mut open(&uri, Start::of(STATE + 1, 1, Mode::Update), &Epochs::new()).unwrap(), &second);
    same(database, "again_", &second);
}

fn what_is_appended_stays(database: &Database) {
    let fact = |text: &str| Step { facts: vec![(Bytes::from(text), 1)], ..Step::default() };
    let row = |n| ((Bytes::from("a"), Time(0), n), 1);
    // What is appended is final, and the view's key need not be the table's.
    let epochs = vec![vec![fact("a"), Step { keyed: vec![row(1)], ..Step::default() }], vec![fact("a")]];
    let uri = database.uri("prefix=appended_");
    for runs in 1..3 {
        to_the_end(&mut open(&uri, Start::without_state(Mode::Append), &Epochs::new()).unwrap(), &epochs);
        let [keyed, _] = ["by_key", "facts"].map(|table| {
            let rows = database.query(&format!("SELECT count(*) FROM appended_{table}"));
            rows[0].parse::<usize>().unwrap()
        });
        assert_eq!(keyed, runs);
        assert_eq!(database.query("SELECT count(*) FROM appended_facts"), [(2 * runs).to_string()]);
    }
}

fn a_run_goes_on_where_the_tables_are(database: &Database) {
    let epochs = epochs(7, 40, 12);
    let uri = database.uri("prefix=resumed_");
    let mut draws = Draws::new(8);
    let (mut incarnation, mut next) = (1, 0);
    while next < epochs.len() as u64 {
        let driven = open(&uri, Start::of(STATE, incarnation, Mode::Update), &epochs);
        let mut driven = driven.unwrap_or_else(|error| panic!("{error}"));
        assert!(driven.next >= next, "{next} were committed, and it says {:?}", driven.committed);
        let stop = driven.next as usize + draws.below(9);
        for (number, steps) in epochs.iter().enumerate().take(stop).skip(driven.next as usize) {
            driven.epoch(number as u64, steps).unwrap();
            if draws.below(3) == 0 {
                driven.settle().unwrap();
            }
        }
        next = driven.next - driven.sink.behind();
        // Some of an epoch that is never completed.
        if let Some(steps) = epochs.get(driven.next as usize) {
            driven.part(driven.next, steps).unwrap();
            driven.sink.settle(thalweg::sink::Pause::Lull).unwrap();
            next = driven.next;
        }
        same(database, "resumed_", &epochs[..next as usize]);
        incarnation += 1;
    }
    assert!(incarnation > 5);
}

fn a_zombie_is_refused(database: &Database) {
    let epochs = epochs(9, 6, 10);
    let uri = database.uri("prefix=zombie_");
    for start in [Start::of(STATE, 3, Mode::Update), Start::without_state(Mode::Update)] {
        let mut old = open(&uri, start, &epochs).unwrap();
        old.epoch(0, &epochs[0]).unwrap();
        old.settle().unwrap();
        let later = Start { incarnation: start.incarnation + 1, ..start };
        let mut new = open(&uri, if start.state.is_some() { later } else { start }, &epochs).unwrap();
        assert_eq!(new.committed, start.state.map(|_| 0));
        old.epoch(1, &epochs[1]).unwrap();
        let error = old.sink.settle(thalweg::sink::Pause::Lull).unwrap_err().to_string();
        assert!(error.contains("another run has taken over the table `zombie_by_key`"), "{error}");
        // Neither when it begins anew ...
        if start.state.is_some() {
            let error = open(&uri, start, &epochs).unwrap_err();
            assert!(
                error.contains("another run has taken over") && error.contains("incarnation 4"),
                "{error}"
            );
        }
        // ... nor has it done any harm.
        to_the_end(&mut new, &epochs);
        same(database, "zombie_", &epochs);
    }
}

fn a_gap_is_refused_or_filled(database: &Database) {
    let epochs = epochs(10, 8, 16);
    let uri = database.uri("prefix=gap_");
    let at = |incarnation, first, mode| Start { first, ..Start::of(STATE, incarnation, mode) };
    let error = open(&uri, at(1, 3, Mode::Update), &epochs).unwrap_err();
    assert!(error.contains("`gap_by_key` is new") && error.contains("mode=complete"), "{error}");
    let mut driven = open(&uri, at(2, 3, Mode::Complete), &epochs).unwrap();
    assert_eq!((driven.committed, driven.next), (None, 3));
    driven.epoch(3, &epochs[3]).unwrap();
    driven.settle().unwrap();
    same(database, "gap_", &epochs[..4]);
    let error = open(&uri, at(3, 6, Mode::Update), &epochs).unwrap_err();
    assert!(error.contains("has come to epoch 3"), "{error}");
    let mut driven = open(&uri, at(4, 6, Mode::Complete), &epochs).unwrap();
    to_the_end(&mut driven, &epochs);
    same(database, "gap_", &epochs);
}

fn other_tables_are_refused(database: &Database) {
    let uri = database.uri("prefix=mode_");
    drop(open(&uri, Start::without_state(Mode::Append), &Epochs::new()).unwrap());
    let error = open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap_err();
    assert!(error.contains("`mode_by_key`") && error.contains("primary key"), "{error}");
    let uri = database.uri("prefix=other_");
    for (columns, part) in [
        ("word int", "no column `count`"),
        ("word varchar(9), count int, more int", "column `more`"),
        ("word varchar(9), count int", "its column `word` is"),
    ] {
        database.execute(&format!("CREATE TABLE other_facts ({columns})"));
        let error = open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap_err();
        assert!(error.contains("`other_facts`") && error.contains(part), "{error}");
        database.execute("DROP TABLE other_facts");
    }
    let long = "x".repeat(if matches!(database, Database::Sqlite(_)) { 1000 } else { 60 });
    let error =
        open(&database.uri(&format!("prefix={long}")), Start::without_state(Mode::Update), &Epochs::new());
    assert!(error.unwrap_err().contains("longer name"));
}

fn rows_are_written_at_the_end(database: &Database) {
    let epochs = epochs(11, 6, 16);
    let uri = database.uri("prefix=end_&at=end");
    for _ in 0..2 {
        let mut driven =
            views().at(At::End).open(&uri, Start::without_state(Mode::Complete), &epochs).unwrap();
        for (number, steps) in epochs.iter().enumerate() {
            driven.unshown(number as u64, steps).unwrap();
        }
        driven.last(epochs.len() as u64 - 1).unwrap();
        driven.sink.finish().unwrap();
        same(database, "end_", &epochs);
    }
    assert!(Sinks::builtin().parse(&database.uri("mode=append&at=end")).is_err());
}

fn a_key_is_one(database: &Database) {
    let row = |n| ((Bytes::from("a"), Time(0), n), 1);
    let mut driven =
        open(&database.uri("prefix=key_"), Start::without_state(Mode::Update), &Epochs::new()).unwrap();
    let error = driven.epoch(0, &[Step { keyed: vec![row(1), row(2)], ..Step::default() }]).unwrap_err();
    assert!(error.to_string().contains("two rows for the table `key_by_key` have the same key"), "{error}");
}

fn times_without_a_place_are_left_out_of_keys(database: &Database) {
    let row = |at| ((Bytes::from("a"), Time(at), 1), 1);
    let epochs = vec![vec![Step { keyed: vec![row(0), row(i64::MAX), row(i64::MIN)], ..Step::default() }]];
    let uri = database.uri("prefix=times_");
    to_the_end(&mut open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap(), &epochs);
    let rows = database.query("SELECT count(*) FROM times_by_key");
    assert_eq!(rows, [if matches!(database, Database::Sqlite(_)) { "3" } else { "1" }]);
}

/// At each piece that a client sends a connection is cut, before the server has it or after.
fn connections_that_are_cut_lose_nothing(database: &Database) {
    let Some(port) = database.port() else { return };
    let epochs = epochs(12, 4, 8);
    for delivers in [false, true] {
        let proxy = Proxy::new(port, delivers);
        let run = |prefix: &str| {
            let uri = database.uri_by(Some(proxy.port), &format!("prefix={prefix}"));
            let mut driven = open(&uri, Start::of(STATE, 1, Mode::Update), &epochs).unwrap();
            for (number, steps) in epochs.iter().enumerate() {
                driven.epoch(number as u64, steps).unwrap();
                driven.settle().unwrap();
            }
            driven.sink.finish().unwrap();
            same(database, prefix, &epochs);
        };
        run("whole_");
        let pieces = proxy.seen() as i64;
        let mut piece = 0;
        while piece < pieces {
            proxy.cut_after(piece);
            run(&format!("cut{}_{piece}_", u8::from(delivers)));
            assert!(proxy.has_cut(), "{piece} of {pieces}");
            piece += 1 + pieces / 12;
        }
        database.execute("DROP TABLE whole_by_key; DROP TABLE whole_counted; DROP TABLE whole_facts");
        database.execute("DELETE FROM thalweg_progress");
    }
}

fn refusals_end_it_at_once(database: &Database) {
    let uri = match database {
        Database::Sqlite(dir) => {
            std::fs::write(dir.path().join("text"), "this is no database, however long it is\n".repeat(99))
                .unwrap();
            let path = dir.path().join("text");
            let none = dir.path().join("none/rows.db");
            let error = open(
                &format!("sqlite:{}", none.display()),
                Start::without_state(Mode::Update),
                &Epochs::new(),
            );
            assert!(error.unwrap_err().contains("none/rows.db"));
            format!("sqlite:{}", path.display())
        }
        database => {
            let wrong = database.uri("").replace("hush", "wrong");
            let error = open(&wrong, Start::without_state(Mode::Update), &Epochs::new()).unwrap_err();
            assert!(error.contains("me:***@") && !error.contains("wrong"), "{error}");
            database.uri("").replace("/postgres?", "/nowhere?").replace("/logs?", "/nowhere?")
        }
    };
    let error = open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap_err();
    assert!(error.contains("the database refuses") && !error.contains("hush"), "{error}");
    if database.port().is_some() {
        // Nobody is there: the wait is over before it begins.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let uri = database.uri_by(Some(nobody), "wait=0s");
        let error = open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap_err();
        assert!(error.contains("cannot be reached") && error.contains("`wait=TIME`"), "{error}");
    }
}

/// The real command, fed while the server is killed again and again.
fn a_server_that_is_killed_loses_nothing(database: &mut Database) {
    if database.port().is_none() {
        return;
    }
    let cluster = Cluster::new(thalweg(), 1);
    let sink = database.uri("prefix=killed_");
    let mut run =
        cluster.alone(&format!("run word-count --source stdin: --tick 5ms --sink {sink} --sink jsonl:out"));
    run.say("begun\n");
    poll(LONG, "the first word", || cluster.read("out").contains("begun").then_some(()));
    let mut sum = 1;
    for round in 0..3 {
        for line in 0..2_000 {
            run.say(&format!("w{} w{line}\n", line % 7));
            sum += 2;
            if line == 700 {
                database.kill();
            }
        }
        // The other sink goes on without it.
        let word = format!("\"word\":\"w1999\",\"count\":{}", round + 1);
        poll(LONG, "the other sink", || cluster.read("out").contains(&word).then_some(()));
        database.again();
        let sql = "SELECT coalesce(CAST(sum(n) AS char(20)), '0') FROM killed_words";
        let sql = sql.replace("(n)", &format!("({})", database.quote("count")));
        poll(2 * LONG, "all words", || (database.query(&sql)[0].trim() == sum.to_string()).then_some(()));
    }
    run.hang_up();
    run.ends_within(2 * LONG, 0, &["trying again", "the database answers again"]);
    assert!(!run.stderr().contains("hush"), "{}", run.stderr());
    let sql = format!("SELECT word, {} FROM killed_words", database.quote("count"));
    let mut counts: BTreeMap<String, usize> = BTreeMap::from([("begun".to_owned(), 1)]);
    for line in (0..3).flat_map(|_| 0..2_000) {
        for word in [line % 7, line] {
            *counts.entry(format!("w{word}")).or_default() += 1;
        }
    }
    let mut rows: Vec<_> = counts.iter().map(|(word, count)| format!("{word}|{count}")).collect();
    rows.sort();
    assert_eq!(database.query(&sql), rows);
}

/// A signal ends a run that would wait without end, as soon as it has waited for as long as it says.
fn a_run_ends_although_its_server_is_away(database: &mut Database) {
    if database.port().is_none() {
        return;
    }
    let cluster = Cluster::new(thalweg(), 1);
    let sink = database.uri("prefix=away_&wait=1s");
    let mut run =
        cluster.alone(&format!("run word-count --source stdin: --tick 5ms --sink {sink} --sink jsonl:out"));
    for word in ["begun", "more"] {
        run.say(&format!("{word}\n"));
        poll(LONG, word, || cluster.read("out").contains(word).then_some(()));
        if word == "begun" {
            database.kill();
        }
    }
    poll(LONG, "an attempt", || run.stderr().contains("trying again").then_some(()));
    run.signal("TERM");
    run.ends_within(LONG, 4, &["cannot be reached", "wait=TIME"]);
    database.again();
}

/// What the lesson on structured streaming does by JDBC: the actions of each window, in a table.
fn the_command_writes_what_it_shows(database: &Database) {
    let cluster = Cluster::new(thalweg(), 1);
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/data/actions.jsonl");
    for round in 0..2 {
        let sink = database.uri("prefix=lesson_");
        let run = format!(
            "run action-counts --source file:{data} --sink {sink} --sink jsonl:out{round}?at=end -w 2"
        );
        let mut run = cluster.alone(&run);
        run.ends_within(2 * LONG, 0, &[]);
        let shown = cluster.read(&format!("out{round}"));
        let rows = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let rows = rows.filter(|line| line["view"] == "actions").map(|line| {
            let row = &line["row"];
            let time = |name: &str| row[name].as_str().unwrap().replace('Z', ".000Z");
            let action = hex(row["action"].as_str().unwrap().as_bytes());
            format!("{}|{}|{action}|{}", time("start"), time("end"), row["count"])
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        assert!(rows.len() > 10, "{shown}");
        let columns = ["start", "end"].map(|name| database.time(name)).join(", ");
        let sql = format!(
            "SELECT {columns}, {}, {} FROM lesson_actions",
            database.bytes("action"),
            database.quote("count")
        );
        assert_eq!(database.query(&sql), rows);
    }
}

/// By TLS: the server shows who it is, and one that cannot is told nothing.
pub fn tls(database: &Database, authority: &Authority) {
    let other = Authority::new();
    let epochs = epochs(13, 3, 8);
    let uri = database.uri(&format!("prefix=tls_&tls={}&tls-name=db.example", authority.file("ca.pem")));
    to_the_end(&mut open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap(), &epochs);
    same(database, "tls_", &epochs);
    for (parameters, part) in [
        (format!("tls={}&tls-name=db.example", other.file("ca.pem")), "UnknownIssuer"),
        (format!("tls={}", authority.file("ca.pem")), "not valid for name"),
        ("tls=/no/such.pem".to_owned(), "/no/such.pem"),
        (format!("tls={}", authority.file("ca.key")), ""),
    ] {
        let error = open(&database.uri(&parameters), Start::without_state(Mode::Update), &Epochs::new());
        let error = error.unwrap_err();
        assert!(error.contains(part) && !error.contains("hush"), "{parameters}: {error}");
    }
}

/// As many rows as go in several pieces, all changed twice.
fn many_rows_are_written_at_once(database: &Database) {
    const ROWS: i64 = 50_000;
    let row = |n: i64, count| (Bytes::from(&*format!("/a/path/to/page/{n}")), Time(n), count);
    let all = |from: i64, diff: isize, count| (from..ROWS).map(move |n| (row(n, count), diff));
    let steps = [
        all(0, 1, 1).collect::<Vec<_>>(),
        all(0, -1, 1).chain(all(0, 1, 2)).collect(),
        all(10, -1, 2).collect(),
    ];
    let uri = database.uri("prefix=many_");
    let mut driven = open(&uri, Start::without_state(Mode::Update), &Epochs::new()).unwrap();
    for (number, keyed) in (0..).zip(steps) {
        driven.epoch(number, &[Step { keyed, ..Step::default() }]).unwrap();
        driven.settle().unwrap();
        let sql = "SELECT count(*), min(n), max(n) FROM many_by_key";
        assert_eq!(database.query(sql), [["50000|1|1", "50000|2|2", "10|2|2"][number as usize]]);
    }
    driven.sink.finish().unwrap();
}
