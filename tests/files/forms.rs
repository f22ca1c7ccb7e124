//! What the files hold, form by form; how they are rolled, and how long they stay.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use thalweg::data::{Kind, Value};
use thalweg::sink::Closed;
use thalweg::time::Time;
use thalweg::view::Contents;

use crate::stand::{Given, Stand, column, expected, found, listed, schema};

/// Values of each kind, and none.
fn all_kinds(dir: &Path, form: &str) {
    let int = |bits, signed| Kind::Int { bits, signed };
    let columns = vec![
        column("small", int(8, true), false),
        column("large", int(64, false), true),
        column("wide", int(128, true), false),
        column("real", Kind::Float, true),
        column("flag", Kind::Bool, false),
        column("time", Kind::Time, true),
        column("text", Kind::Bytes, true),
        column("_epoch", int(32, false), false),
    ];
    let views = [schema("all kinds", columns)];
    let first = vec![
        Value::Int(-128),
        Value::Int(u64::MAX.into()),
        Value::Int(-(10i128.pow(38)) + 1),
        Value::Float(0.5),
        Value::Bool(true),
        Value::Time(1_431_857_100_000),
        Value::Bytes(b"a,\"b\"\n\xff\\"),
        Value::Int(u32::MAX.into()),
    ];
    let second = vec![
        Value::Int(0),
        Value::Null,
        Value::Int(7),
        Value::Null,
        Value::Bool(false),
        Value::Null,
        Value::Null,
        Value::Int(0),
    ];
    let uri = format!("{form}:{}/?mode=changes", dir.display());
    let mut stand = Stand::open_with(&uri, 0, None, &views).unwrap();
    let given = Given { schema: views[0].clone(), rows: vec![(-2, first), (1, second)] };
    let given: Vec<Box<dyn Contents>> = vec![Box::new(given)];
    stand.sink.write(&Closed { epoch: 5, step: 3, views: &given, last: false }).unwrap();
    stand.sink.commit(5).unwrap();
    stand.sink.finish().unwrap();
    let files = listed(dir);
    assert!(files[0].1.display().to_string().contains("/view=all%20kinds/0"), "{files:?}");
}

#[test]
fn csv_has_a_line_of_names_and_quotes_what_it_must() {
    let dir = tempfile::tempdir().unwrap();
    all_kinds(dir.path(), "csv");
    let text = std::fs::read_to_string(&listed(dir.path())[0].1).unwrap();
    assert_eq!(
        text,
        "__epoch,_step,_diff,small,large,wide,real,flag,time,text,_epoch\n\
         5,3,-2,-128,18446744073709551615,-99999999999999999999999999999999999999,0.5,true,2015-05-17T10:05:00Z,\"a,\"\"b\"\"\n\
         \\xff\\\",4294967295\n\
         5,3,1,0,,7,,false,,,0\n"
    );
}

#[test]
fn parquet_has_typed_columns() {
    let dir = tempfile::tempdir().unwrap();
    all_kinds(dir.path(), "parquet");
    let reader = SerializedFileReader::new(File::open(&listed(dir.path())[0].1).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let fields = |at: usize| rows[at].get_column_iter().map(|(_, field)| field.clone()).collect::<Vec<_>>();
    let first = fields(0);
    assert_eq!(
        first[..5],
        [Field::ULong(5), Field::UInt(3), Field::Long(-2), Field::Byte(-128), Field::ULong(u64::MAX)]
    );
    assert!(
        matches!(&first[5], Field::Decimal(wide) if wide.data() == (-(10i128.pow(38)) + 1).to_be_bytes())
    );
    assert_eq!(first[6..8], [Field::Double(0.5), Field::Bool(true)]);
    assert_eq!(first[8], Field::TimestampMillis(1_431_857_100_000));
    assert_eq!(first[9..], [Field::Str("a,\"b\"\n\\xff\\".to_owned()), Field::UInt(u32::MAX)]);
    let second = fields(1);
    assert_eq!(
        (&second[4], &second[6], &second[8], &second[9]),
        (&Field::Null, &Field::Null, &Field::Null, &Field::Null)
    );
}

#[test]
fn a_number_that_no_column_holds_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let views = [schema("v", vec![column("n", Kind::Int { bits: 128, signed: true }, false)])];
    let uri = format!("parquet:{}/?mode=append", dir.path().display());
    let mut stand = Stand::open_with(&uri, 0, None, &views).unwrap();
    let given = Given { schema: views[0].clone(), rows: vec![(1, vec![Value::Int(i128::MAX)])] };
    let given: Vec<Box<dyn Contents>> = vec![Box::new(given)];
    stand.sink.write(&Closed { epoch: 0, step: 0, views: &given, last: false }).unwrap();
    stand.sink.commit(0).unwrap();
    let error = stand.sink.finish().unwrap_err().to_string();
    assert!(error.contains("view=v") && error.contains("38 digits"), "{error}");
}

/// Ticks of 10 ms do not make a hundred files a second.
#[test]
fn files_are_rolled_by_time_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=1h,1GiB", dir.path().display());
    let mut stand = Stand::open(&uri, 0, None).unwrap();
    let second = |stand: &mut Stand, second: i64| stand.sink.clock(Time(second * 1000)).unwrap();
    for now in 0..3 * 3600 + 10 {
        second(&mut stand, now);
        if now % 60 == 0 {
            stand.epoch(now as u64 / 60).unwrap();
            stand.settle().unwrap();
        }
    }
    // Without another epoch, too.
    assert_eq!(listed(dir.path()).iter().filter(|(view, _)| view == "n").count(), 3);
    stand.sink.finish().unwrap();
    assert_eq!(listed(dir.path()).iter().filter(|(view, _)| view == "n").count(), 4);
    assert!(found(dir.path()) == expected(181));

    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=2KiB", dir.path().display());
    let mut stand = Stand::open(&uri, 0, None).unwrap();
    for epoch in 0..1000 {
        stand.epoch(epoch).unwrap();
        stand.settle().unwrap();
    }
    stand.sink.finish().unwrap();
    let files = listed(dir.path()).len();
    assert!((20..200).contains(&files), "{files} files");
    assert!(found(dir.path()) == expected(1000));
}

#[test]
fn what_is_old_or_too_much_goes_and_the_newest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=1B&retain=1h", dir.path().display());
    let mut stand = Stand::open(&uri, 0, None).unwrap();
    for epoch in 0..200 {
        stand.sink.clock(Time(epoch as i64 * 60_000)).unwrap();
        stand.epoch(epoch).unwrap();
        stand.settle().unwrap();
    }
    let mut last_hour = expected(200);
    last_hour.retain(|(_, epoch), _| *epoch >= 200 - 61);
    assert!(found(dir.path()) == last_hour);
    drop(stand);

    let dir = tempfile::tempdir().unwrap();
    let uri = format!("jsonl:{}/?mode=append&roll=1B&retain=4KiB", dir.path().display());
    let mut stand = Stand::open(&uri, 0, None).unwrap();
    for epoch in 0..200 {
        stand.epoch(epoch).unwrap();
        stand.settle().unwrap();
    }
    let bytes: u64 = listed(dir.path()).iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
    assert!((2048..=4096).contains(&bytes), "{bytes} bytes");
    let found = found(dir.path());
    assert!(found.contains_key(&("n".to_owned(), 198)) && !found.contains_key(&("n".to_owned(), 0)));
}
