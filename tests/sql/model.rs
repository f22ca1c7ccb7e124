//! What views hold after some epochs, drawn at random, and what tables hold.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use thalweg::data::{Bytes, Real, escape_sql};
use thalweg::time::Time;
use thalweg::view::Finality;

use crate::databases::Database;
use crate::support::Draws;
use crate::view::{Step, View, Views};

pub type Keyed = (Bytes, Time, i64);
pub type Counted = (Option<Bytes>, u64, i128, Real, bool);
pub type Fact = (Bytes, i64);
pub type Epochs = Vec<Vec<Step<Keyed, Counted, Fact>>>;
pub type Tables = [Vec<String>; 3];

/// Names that have to be quoted.
pub const KEYED: [&str; 3] = ["select", "At `\"x", "n"];
const COUNTED: [&str; 5] = ["text", "wide", "huge", "part", "yes"];
const FACTS: [&str; 2] = ["word", "count"];

/// Text that databases have been known to mistake for other text.
const TEXTS: [&[u8]; 16] = [
    b"a",
    b"A",
    b"a ",
    b"",
    "é".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{1f4a7}".as_bytes(),
    b"\0",
    br"\x00",
    b"\xff\xfe",
    br"\xff\xfe",
    b"tab\tline\r\nend\\",
    br"\N",
    br"\.",
    b"'; DROP TABLE x; --\"`%s$1?",
    &[b'x'; 5000],
];

pub fn views() -> Views<Keyed, Counted, Fact> {
    Views::new(
        View::new("By Key", &KEYED, &KEYED[..2], Finality::InTime),
        View::new("counted", &COUNTED, &[], Finality::Never),
        View::new("facts", &FACTS, &[], Finality::AtOnce),
    )
}

fn word(draws: &mut Draws) -> Vec<u8> {
    let mut text = TEXTS[draws.below(TEXTS.len())].to_vec();
    if text.len() > 1000 {
        text[4000] = b"xy"[draws.below(2)];
    }
    text
}

/// Epochs that put, change and take rows.
pub fn epochs(seed: u64, count: usize, rows: usize) -> Epochs {
    let mut draws = Draws::new(seed);
    let mut keyed: BTreeMap<(Vec<u8>, Time), i64> = BTreeMap::new();
    let mut counted: Vec<Counted> = Vec::new();
    let step = |draws: &mut Draws, keyed: &mut BTreeMap<_, _>, counted: &mut Vec<Counted>| {
        let mut step = Step { keyed: Vec::new(), counted: Vec::new(), facts: Vec::new() };
        let mut touched = std::collections::BTreeSet::new();
        for _ in 0..draws.below(rows) {
            let key = (word(draws), Time([0, 1_431_857_100_500, 253_402_300_799_999][draws.below(3)]));
            if !touched.insert(key.clone()) {
                continue;
            }
            let row = |n: i64| (Bytes::from(key.0.as_slice()), key.1, n);
            if let Some(n) = keyed.remove(&key) {
                step.keyed.push((row(n), -1));
            }
            if draws.below(4) > 0 {
                let n = draws.bits() as i64 % 100;
                keyed.insert(key.clone(), n);
                step.keyed.push((row(n), 1));
            }
        }
        for _ in 0..draws.below(rows) {
            if draws.below(3) == 0 && !counted.is_empty() {
                let gone = counted.swap_remove(draws.below(counted.len()));
                step.counted.push((gone, -1));
                continue;
            }
            let text = (draws.below(4) > 0).then(|| Bytes::from(word(draws).as_slice()));
            let wide = [0, 7, u64::MAX][draws.below(3)];
            let huge = [i128::MIN, -1, i128::from(u64::MAX) + 1, i128::MAX][draws.below(4)];
            let part = Real::from([0.5, -2.25, f64::NAN][draws.below(3)]);
            let row = (text, wide, huge, part, draws.below(2) == 0);
            counted.push(row.clone());
            step.counted.push((row, 1));
        }
        for _ in 0..draws.below(3) {
            step.facts.push((Bytes::from(word(draws).as_slice()), draws.below(2) as i64));
        }
        // A view shows each change once.
        let mut sums: BTreeMap<Counted, isize> = BTreeMap::new();
        step.counted.drain(..).for_each(|(row, diff)| *sums.entry(row).or_default() += diff);
        step.counted = sums.into_iter().filter(|(_, diff)| *diff != 0).collect();
        step
    };
    let steps = |draws: &mut Draws, keyed: &mut BTreeMap<_, _>, counted: &mut Vec<Counted>| {
        (0..draws.below(4)).map(|_| step(draws, keyed, counted)).collect()
    };
    (0..count).map(|_| steps(&mut draws, &mut keyed, &mut counted)).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text of a key as it is kept: cut where an index takes no more.
fn kept(database: &Database, bytes: &[u8]) -> String {
    let text = escape_sql(bytes);
    let limit = match database {
        Database::Sqlite(_) => usize::MAX,
        Database::Postgres(_) => 2600 - 16,
        Database::Mariadb(_) => (3000 - 16) / 4,
    };
    if text.len() <= limit {
        return hex(text.as_bytes());
    }
    let digest = format!("…sha256:{}", hex(&Sha256::digest(bytes)[..16]));
    hex(format!("{}{digest}", &text[..limit - digest.len()]).as_bytes())
}

/// The tables after `epochs`.
fn expected(database: &Database, epochs: &[Vec<Step<Keyed, Counted, Fact>>]) -> Tables {
    let mut keyed: BTreeMap<String, isize> = BTreeMap::new();
    let mut counted: BTreeMap<Counted, isize> = BTreeMap::new();
    let mut facts = Vec::new();
    for step in epochs.iter().flatten() {
        for ((text, at, n), diff) in &step.keyed {
            let at = if at.0 % 1000 == 0 { at.to_string().replace('Z', ".000Z") } else { at.to_string() };
            *keyed.entry(format!("{}|{at}|{n}", kept(database, text))).or_default() += diff;
        }
        for (row, diff) in &step.counted {
            *counted.entry(row.clone()).or_default() += diff;
        }
        for (text, n) in &step.facts {
            facts.push(format!("{}|{n}", hex(escape_sql(text).as_bytes())));
        }
    }
    keyed.retain(|_, count| *count != 0);
    let counted =
        counted.iter().filter(|(_, count)| **count != 0).map(|((text, wide, huge, part, yes), count)| {
            let text = text.as_ref().map_or("null".to_owned(), |text| hex(escape_sql(text).as_bytes()));
            let part = thalweg::data::Cell::value(part);
            let thalweg::data::Value::Float(part) = part else { panic!("{part:?} is no number") };
            format!("{text}|{wide}|{huge}|{part}|{}|{count}", i32::from(*yes))
        });
    let mut tables = [keyed.into_keys().collect(), counted.collect(), facts];
    tables.iter_mut().for_each(|rows: &mut Vec<String>| rows.sort());
    tables
}

/// The tables that there are.
fn found(database: &Database, prefix: &str) -> Tables {
    let keyed = database.query(&format!(
        "SELECT {}, {}, n FROM {prefix}by_key",
        database.bytes(KEYED[0]),
        database.time(KEYED[1])
    ));
    let counted = database.query(&format!(
        "SELECT {}, {}, {}, {}, CASE WHEN yes THEN 1 ELSE 0 END, thalweg_count FROM {prefix}counted",
        database.bytes(COUNTED[0]),
        database.number(COUNTED[1]),
        database.number(COUNTED[2]),
        database.number(COUNTED[3]),
    ));
    let facts = database.query(&format!(
        "SELECT {}, {} FROM {prefix}facts",
        database.bytes(FACTS[0]),
        database.quote(FACTS[1])
    ));
    [keyed, counted, facts]
}

/// Asserts that the tables are what `epochs` come to.
#[track_caller]
pub fn same(database: &Database, prefix: &str, epochs: &[Vec<Step<Keyed, Counted, Fact>>]) {
    let (found, expected) = (found(database, prefix), expected(database, epochs));
    for (found, expected) in found.iter().zip(&expected) {
        let more: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        let fewer: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
        assert!(found == expected, "{prefix}: {more:?} and not {fewer:?} after {} epochs", epochs.len());
    }
}
