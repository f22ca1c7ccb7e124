//! JSON lines: what is accepted and what the fields say, against serde_json's values; and RFC 3339 times against
//! chrono.
//!
//! `Json` passes over what it is not asked for; `serde_json::Value` builds everything. They are held equal on generated
//! lines, on the same with bytes changed, and on real ones. Where they are meant to differ is said in
//! [`differs`].

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::io::Read;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use thalweg::format::time::parse_rfc3339;
use thalweg::format::{Json, JsonError, JsonMode, JsonRecord, JsonValue, LineFormat};
use thalweg::time::Time;

#[path = "cluster_support/mod.rs"]
#[allow(dead_code, clippy::disallowed_methods, reason = "only the path of the failing dataflows is needed")]
mod cluster_support;
mod support;
use support::{Running, shared_data};

/// Pointers that meet objects, arrays, each other's middle, keys with a dot, and nothing.
const POINTERS: [&str; 10] =
    ["/a", "/a/a", "/a/b", "/a/b/1", "/b/0", "/b/0/a", "/c.d/a", "/0", "/b/a/0/c.d", "/x"];

fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::SourceParallel("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(beside)), ..ProptestConfig::default() }
}

fn json(mode: JsonMode) -> Json {
    Json::new(POINTERS.map(|pointer| (pointer, pointer))).unwrap().with_mode(mode)
}

/// Whether the oracle refuses what RFC 8259 allows, and so do we: numbers that are no `f64`, half a surrogate pair,
/// and more than 128 levels.
fn differs(error: &serde_json::Error) -> bool {
    let allowed = [
        "number out of range",
        "lone leading surrogate",
        "unexpected end of hex escape",
        "recursion limit exceeded",
    ];
    allowed.iter().any(|allowed| error.to_string().starts_with(allowed))
}

/// Holds everything that can be asked of a line equal to what the oracle says.
fn check(line: &[u8]) {
    let shown = line.escape_ascii();
    let record = json(JsonMode::DropMalformed).parse(line);
    let lenient = json(JsonMode::Permissive).parse(line).expect("permissive drops nothing");
    let mut strict = json(JsonMode::FailFast);
    assert_eq!(strict.parse(line), record, "line: {shown}");
    assert_eq!(strict.fatal(line).is_some(), record.is_none(), "line: {shown}");
    match &record {
        Some(record) => assert_eq!(lenient, *record, "line: {shown}"),
        None => {
            assert_eq!(lenient.corrupt(), Some(line), "line: {shown}");
            assert!(POINTERS.iter().all(|pointer| lenient.raw(*pointer).is_none()), "line: {shown}");
        }
    }
    match serde_json::from_slice::<Value>(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)) {
        Ok(value) if value.is_object() => match record {
            Some(record) => fields_are(&record, &value),
            None => panic!("it is refused: {shown}"),
        },
        Ok(_) => assert_eq!(record, None, "line: {shown}"),
        Err(error) if differs(&error) => {}
        Err(error) => assert_eq!(record, None, "{error} in line: {shown}"),
    }
}

fn fields_are(record: &JsonRecord<'_>, value: &Value) {
    for (index, pointer) in POINTERS.iter().enumerate() {
        let expected = value.pointer(pointer);
        assert_eq!(record.raw(*pointer).is_some(), expected.is_some(), "{pointer} of {value}");
        assert_eq!(record.get(index), record.get(*pointer));
        assert_same(&record.get(index), expected.unwrap_or(&Value::Null));
    }
}

fn assert_same(found: &JsonValue<'_>, expected: &Value) {
    let same = match expected {
        Value::Null => found.is_null(),
        Value::Bool(value) => found.bool() == Some(*value),
        Value::Number(number) => {
            // To the oracle `-0` is no integer; here it is 0.
            let zero = number.as_f64().filter(|number| *number == 0.0).and(found.int());
            found.int() == number.as_i64().or(zero)
                && found.real().zip(number.as_f64()).is_some_and(nearly_equal)
        }
        Value::String(text) => found.text() == Some(text),
        Value::Array(elements) => {
            let found: Vec<_> = found.elements().collect();
            assert_eq!(found.len(), elements.len(), "{found:?} and {elements:?}");
            found.iter().zip(elements).for_each(|(found, expected)| assert_same(found, expected));
            true
        }
        Value::Object(members) => {
            assert!(matches!(found, JsonValue::Object(_)), "{found:?}");
            members.iter().for_each(|(key, expected)| assert_same(&found.member(key), expected));
            true
        }
    };
    assert!(same, "{found:?} is not {expected}");
}

/// The oracle's numbers may be off in the last digit; ours are those of the standard library.
fn nearly_equal((found, oracle): (f64, f64)) -> bool {
    // Near zero numbers stand no closer together than the smallest one.
    (found - oracle).abs() <= (oracle.abs() * 4.0 * f64::EPSILON).max(4.0 * f64::from_bits(1))
}

// ---- generated lines -----------------------------------------------------------------------------------------------

fn string() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "é",
        "🦀",
        "\u{7f}",
        " ",
        "/",
        r"\n",
        r"\/",
        r#"\""#,
        r"\\",
        r"\u0061",
        r"\u00E9",
        r"\ud83e\udd80",
        r"\ud800",
        r"\udead",
        r"\ud800\ud83e\udd80",
        r"\u0000",
    ]);
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn value() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "7",
        "-1.5e-3",
        "1E5",
        "0.0",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "123456789012345678901234567890",
        "1e308",
        "1e999",
    ];
    let leaf = prop_oneof![
        prop::sample::select(fixed.map(str::to_owned).to_vec()),
        string(),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let array =
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(" , ")));
        prop_oneof![array, object(inner)]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop_oneof![
        8 => prop::sample::select(["a", "b", "c.d", "0", r"\u0061", r"c\u002ed"].map(|key| format!("\"{key}\"")).to_vec()),
        1 => string(),
    ];
    let member = (key, prop::sample::select(vec![":", " : ", ":\t"]), value);
    prop::collection::vec(member, 0..5).prop_map(|members| {
        let members: Vec<_> = members.into_iter().map(|(key, colon, value)| key + colon + &value).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Bytes put in, taken away or changed, at places given as parts of the whole.
fn mutate(line: &mut Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) {
    for (place, kind, byte) in changes {
        let at = place.index(line.len() + 1);
        match kind {
            0 => line.insert(at, *byte),
            1 => line.truncate(at),
            2 if at < line.len() => drop(line.remove(at)),
            _ if at < line.len() => line[at] = *byte,
            _ => line.push(*byte),
        }
    }
}

fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => prop::sample::select(b"{}[],:\"\\u0-+.eE tn\r\n\t\0\x1f\x7f\xef\xbb\xbf\xff\xc3".to_vec()),
        1 => any::<u8>(),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn objects_say_what_their_values_say(line in object(value())) {
        assert!(json(JsonMode::DropMalformed).parse(line.as_bytes()).is_some(), "{line}");
        check(line.as_bytes());
    }

    #[test]
    fn other_values_are_no_records(line in value()) {
        check(line.as_bytes());
    }

    #[test]
    fn changed_lines_are_accepted_alike(
        line in object(value()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, telling_byte()), 1..4),
    ) {
        let mut line = line.into_bytes();
        mutate(&mut line, &changes);
        check(&line);
    }

    #[test]
    fn any_bytes_are_accepted_alike(line in prop::collection::vec(telling_byte(), 0..40)) {
        check(&line);
    }

    #[test]
    fn rfc_3339_is_what_chrono_says(
        time in r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt _][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,12})?(Z|z|[+-][0-2][0-9]:?[0-6][0-9])",
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, telling_byte()), 0..2),
    ) {
        let mut time = time.into_bytes();
        mutate(&mut time, &changes);
        let by_chrono = std::str::from_utf8(&time).ok().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
        prop_assert_eq!(parse_rfc3339(&time), by_chrono.map(|time| Time(time.timestamp_millis())));
    }

    #[test]
    fn times_come_back_from_every_form(millis in -62_167_219_200_000_i64..253_402_300_800_000) {
        let time = chrono::DateTime::from_timestamp_millis(millis).unwrap();
        let rfc3339 = time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        let (sign, size) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
        let seconds = format!("{sign}{}.{:03}", size / 1000, size % 1000);
        let line = format!(r#"{{"a":{millis},"0":{seconds},"x":"{rfc3339}","b":[{millis}e-3]}}"#);
        let record = json(JsonMode::FailFast).parse(line.as_bytes()).map(|record| {
            [record.millis("/a"), record.seconds("/0"), record.millis("/x"), record.seconds("/x"), record.seconds("/b/0")]
        });
        prop_assert_eq!(record, Some([Some(Time(millis)); 5]), "{}", line);
    }

    #[test]
    fn fractions_of_seconds_are_rounded_down(seconds in -1e9..1e9_f64) {
        let line = format!("{{\"a\":{seconds:e}}}");
        let millis = json(JsonMode::FailFast).parse(line.as_bytes()).unwrap().seconds("/a");
        let below = seconds * 1000.0 - millis.expect("few digits").0 as f64;
        prop_assert!((-1e-3..1.001).contains(&below), "{} gives {:?}", line, millis);
    }
}

// ---- decisions, by example -----------------------------------------------------------------------------------------

fn parsed(line: &[u8]) -> Option<JsonRecord<'_>> {
    json(JsonMode::DropMalformed).parse(line)
}

#[test]
fn of_equal_keys_the_last_counts_with_all_that_is_in_it() {
    let record = parsed(br#"{"a":{"a":1,"b":2},"a":{"b":3},"c.d":{"a":1},"c.d":7}"#).unwrap();
    assert_eq!(record.raw("/a"), Some(r#"{"b":3}"#));
    assert_eq!(record.raw("/a/a"), None);
    assert_eq!(record.int("/a/b"), Some(3));
    assert_eq!(record.raw("/c.d/a"), None);
}

#[test]
fn differences_from_the_oracle() {
    // Half a surrogate pair, in what is asked for, passed over, on the way to a field, and in a key.
    for line in [
        r#"{"a":"x\ud800y"}"#,
        r#"{"z":"\ud800"}"#,
        r#"{"c.d":"\ud800","a":"x\ud800y"}"#,
        r#"{"\ud800":1,"a":"x\ud800y"}"#,
    ] {
        let record = parsed(line.as_bytes()).expect(line);
        let text = record.text("/a");
        assert!(text.is_none() || text.as_deref() == Some("x\u{fffd}y"), "{line}");
        assert!(serde_json::from_str::<Value>(line).is_err_and(|error| differs(&error)), "{line}");
    }
    // Numbers beyond f64, likewise.
    for line in [r#"{"a":1e999}"#, r#"{"z":1e999}"#, r#"{"c.d":1e999,"a":1e999}"#] {
        let record = parsed(line.as_bytes()).expect(line);
        assert_eq!([record.real("/a"), record.seconds("/a").map(|time| time.0 as f64)], [None, None]);
        assert!(serde_json::from_str::<Value>(line).is_err_and(|error| differs(&error)), "{line}");
    }
    // A byte order mark, once.
    assert_eq!(parsed(b"\xef\xbb\xbf{\"a\":1}").unwrap().int("/a"), Some(1));
    assert_eq!(parsed(b"\xef\xbb\xbf\xef\xbb\xbf{}"), None);
}

#[test]
fn nesting_takes_no_stack() {
    let deep = |open: &str, close: &str, key: &str| {
        format!("{{\"{key}\":{}{}}}", open.repeat(500_000), close.repeat(500_000)).into_bytes()
    };
    // In what is passed over, in what is asked for, and on the way to a field.
    for key in ["z", "a", "b", "c.d"] {
        assert!(parsed(&deep("[", "]", key)).is_some(), "{key}");
        assert!(parsed(&deep("{\"b\":[", "]}", key)).is_some(), "{key}");
        assert_eq!(parsed(&deep("[", "", key)), None, "{key}");
    }
    assert_eq!(parsed(&b"[".repeat(1 << 20)), None);
    let line = deep("[", "]", "a");
    let record = parsed(&line).unwrap();
    assert_eq!(record.elements("/a").count(), 1);
}

#[test]
fn lines_that_are_not_one_object() {
    let lines: [&[u8]; 16] = [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{} x",
        b"[{}]",
        b"null",
        b"\"a\"",
        b"{'a':1}",
        b"{\"a\":01}",
        b"{\"a\":NaN}",
        b"{\"a\":1,}",
        b"{\"a\":\"\t\"}",
        b"{\"a\":\"\\x\"}",
        b"{\"z\":\"\xff\"}",
        b"{\"z\":\"\xed\xa0\x80\"}",
    ];
    for line in lines {
        check(line);
        assert_eq!(parsed(line), None, "{}", line.escape_ascii());
    }
    assert!(parsed(b" \t{ \"z\" : [ ] } \r").is_some(), "white space is allowed around all");
}

#[test]
fn reasons_name_the_byte() {
    let strict = json(JsonMode::FailFast);
    let reason = |line: &[u8]| strict.fatal(line).unwrap();
    assert_eq!(reason(b"{\"a\":x}"), "a value is missing at byte 5");
    assert_eq!(reason(b"{\"a\":\"\xff\"}"), "it is not UTF-8 from byte 6 on");
    assert_eq!(reason(b"[]"), "an object is missing at byte 0");
    assert_eq!(reason(b"{} {}"), "there is more behind the object, from byte 3 on");
    assert_eq!(strict.fatal(b"{}"), None);
    assert_eq!(json(JsonMode::Permissive).fatal(b"["), None);
    assert_eq!(json(JsonMode::DropMalformed).fatal(b"["), None);
}

#[test]
fn times_that_are_none() {
    let time = |value: &str| {
        let line = format!("{{\"a\":{value}}}");
        let record = parsed(line.as_bytes()).expect(value);
        [record.millis("/a"), record.seconds("/a")].map(|time| time.map(|Time(millis)| millis))
    };
    assert_eq!(time("18446744073709551615"), [None, None]);
    assert_eq!(time("9223372036854775807"), [Some(i64::MAX), None]);
    assert_eq!(time("-9223372036854775808"), [Some(i64::MIN), None]);
    assert_eq!(time("1.5e300"), [None, None]);
    assert_eq!(time("-1.5e300"), [None, None]);
    assert_eq!(time("0e99999999999999999999"), [None, None], "an exponent that is no i32");
    assert_eq!(time("1e-99999"), [Some(0), Some(0)]);
    assert_eq!(time("-1e-99999"), [Some(-1), Some(-1)], "rounded down");
    assert_eq!(time("253402300799"), [Some(253_402_300_799), Some(253_402_300_799_000)]);
    assert_eq!(time("\"9999-12-31T23:59:59Z\""), [Some(253_402_300_799_000); 2]);
    assert_eq!(time("-1.0005"), [Some(-2), Some(-1001)]);
    assert_eq!(time(&format!("0.{}", "1".repeat(1000))), [None, None], "more digits than can be had exactly");
    for none in ["null", "true", "[1]", "{}", "\"1632390896787\"", "\"\"", "\"2021-09-23\""] {
        assert_eq!(time(none), [None, None], "{none}");
    }
}

#[test]
fn rfc_3339_by_example() {
    let table = [
        ("2015-05-17T10:05:03Z", Some(1_431_857_103_000)),
        ("2019-01-22T03:56:14.5+03:30", Some(1_548_116_774_500)),
        ("1969-12-31T23:59:59.9999Z", Some(-1)),
        ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
        ("2016-12-31t23:59:59.123456789012z", Some(1_483_228_799_123)),
        ("2015-02-29T00:00:00Z", None),
        ("2015-00-01T00:00:00Z", None),
        ("2015-13-01T00:00:00Z", None),
        ("2015-01-01T00:00:00.Z", None),
        ("2015-01-01T00:00:00+24:00", None),
        ("2015-01-01T00:00:00", None),
        ("", None),
    ];
    for (time, millis) in table {
        assert_eq!(parse_rfc3339(time.as_bytes()), millis.map(Time), "{time}");
    }
}

#[test]
fn paths() {
    let refused = |path: &str| Json::new([("f", path)]).unwrap_err();
    let (name, path) = (|| "f".to_owned(), str::to_owned);
    for empty in ["", ".", "a.", ".a", "a..b"] {
        assert_eq!(refused(empty), JsonError::EmptyKey { name: name(), path: path(empty) });
    }
    for bad in ["/~", "/a~2", "/~~0"] {
        assert_eq!(refused(bad), JsonError::BadEscape { name: name(), path: path(bad) });
    }
    assert_eq!(refused(&["a"; 33].join(".")), JsonError::TooDeep { name: name(), keys: 33 });
    assert_eq!(
        Json::new([("a", "x"), ("a", "y")]).unwrap_err(),
        JsonError::SameName { name: "a".to_owned() }
    );
    assert_eq!(Json::new([("", ""); 0]).unwrap_err(), JsonError::NoFields);

    let deepest = ["a"; 32].join(".");
    let fields = [("slash", "/~1~0é"), ("empty", "/"), ("deep", &deepest), ("same", "a"), ("again", "a")];
    let mut json = Json::new(fields).unwrap();
    let line = format!(r#"{{"/~é":1,"":2,"a":{}5{}}}"#, r#"{"a":"#.repeat(31), "}".repeat(31));
    let record = json.parse(line.as_bytes()).unwrap();
    assert_eq!(["slash", "empty", "deep"].map(|field| record.int(field)), [Some(1), Some(2), Some(5)]);
    assert_eq!(record.raw("same"), record.raw("again"));
    assert!(record.raw("same").is_some());
    assert_eq!(record.get("unknown"), JsonValue::Null);
    assert_eq!(record.get(5), JsonValue::Null);
}

#[test]
fn text_borrows_where_it_can() {
    let record = parsed(br#"{"a":"plain","0":"esc\u0061ped"}"#).unwrap();
    assert!(matches!(record.text("/a"), Some(std::borrow::Cow::Borrowed("plain"))));
    assert_eq!(record.text("/0").as_deref(), Some("escaped"));
    assert_eq!(record.escaped("/0"), Some(r"esc\u0061ped"));
}

// ---- real lines, and the real binary -------------------------------------------------------------------------------

#[test]
fn real_tweets() {
    let Some(path) = shared_data("univalence_tweets.json.gz") else { return };
    let mut tweets = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut tweets).unwrap();
    let fields =
        [("text", "text"), ("at", "created_at"), ("name", "user.screen_name"), ("tags", "entities.hashtags")];
    let mut json = Json::new(fields).unwrap().with_mode(JsonMode::DropMalformed);
    let (mut lines, mut malformed) = (0, 0);
    for line in tweets.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        lines += 1;
        check(line);
        let Some(record) = json.parse(line) else {
            malformed += 1;
            continue;
        };
        let value: Value = serde_json::from_slice(line).unwrap();
        for (field, pointer) in [
            ("text", "/text"),
            ("at", "/created_at"),
            ("name", "/user/screen_name"),
            ("tags", "/entities/hashtags"),
        ] {
            assert_same(&record.get(field), value.pointer(pointer).unwrap_or(&Value::Null));
        }
        assert_eq!(record.millis("at"), value["created_at"].as_i64().map(Time));
    }
    assert_eq!((lines, malformed), (3206, 57));
}

#[test]
fn a_strict_run_ends_at_the_first_malformed_line() {
    let strict = |input: &[u8]| {
        let mut command = std::process::Command::new(cluster_support::faulty());
        command.args(["run", "strict", "--source", "stdin:", "--sink", "jsonl:-", "--summary", "none"]);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut running = Running::start(&mut command);
        std::io::Write::write_all(&mut running.stdin(), input).unwrap();
        running.wait()
    };
    strict(b"{\"action\":\"login\"}\n{}\n").exits(0);
    strict(b"{\"action\":\"login\"}\n{\"action\":x}\n").exits(3).says(&[
        "malformed line in ",
        "at byte 19: a value is missing at byte 10",
        "action",
    ]);
}
