//! The access-log parser against its specification, and formats by example.
//!
//! `AccessLog` is written by hand for speed; `reference` is the same language as a regular expression, plain splits
//! and chrono. They are held equal here on arbitrary bytes, on lines that are nearly well formed, and on real
//! logs. `PROPTEST_CASES` sets how many of each are tried.

use std::path::PathBuf;

use chrono::Datelike;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use regex::bytes::Regex;
use thalweg::format::reference::{self, Reference};
use thalweg::format::time::parse_clf;
use thalweg::format::{AccessLog, AccessRecord, LineFormat, Pattern, PatternError, Size};
use thalweg::time::Time;

#[path = "format/generate.rs"]
mod generate;
use generate::{clf_time, grammatical, mutated, odd_time, telling_bytes};

/// Parses `line` both ways, holds everything equal that can be asked of the two, and returns the record.
#[track_caller]
fn check<'a>(reference: &mut Reference, line: &'a [u8]) -> Option<AccessRecord<'a>> {
    let shown = line.escape_ascii();
    let record = AccessLog.parse(line);
    assert_eq!(record, reference.parse(line), "line: {shown}");
    let record = record?;
    let request = reference::split_request(record.request);
    let request = request.as_ref();
    assert_eq!(record.method(), request.map(|request| &request.method[..]), "line: {shown}");
    assert_eq!(record.endpoint(), request.map(|request| &request.endpoint[..]), "line: {shown}");
    assert_eq!(record.protocol(), request.and_then(|request| request.protocol.as_deref()), "line: {shown}");
    assert_eq!(record.event_time(), reference::event_time(record.time), "line: {shown}");
    Some(record)
}

/// A reference that is compiled once for all cases of a property.
fn cached<T>(ask: impl FnOnce(&mut Reference) -> T) -> T {
    thread_local!(static REFERENCE: std::cell::RefCell<Reference> = Reference::new().into());
    REFERENCE.with_borrow_mut(ask)
}

/// The defaults, but for where failures are kept: beside this file, to be committed.
fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(beside)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn parser_is_the_reference_on_arbitrary_bytes(line in prop::collection::vec(any::<u8>(), 0..200)) {
        cached(|reference| check(reference, &line));
    }

    #[test]
    fn parser_is_the_reference_on_telling_bytes(line in telling_bytes(60)) {
        cached(|reference| check(reference, &line));
    }

    #[test]
    fn parser_is_the_reference_near_the_grammar(line in mutated(grammatical())) {
        cached(|reference| check(reference, &line));
    }

    #[test]
    fn time_is_chrono_on_canonical_times(time in mutated(clf_time())) {
        prop_assert_eq!(parse_clf(&time), reference::event_time(&time), "time: {}", time.escape_ascii());
    }

    #[test]
    fn time_is_chrono_on_odd_times(time in mutated(odd_time())) {
        prop_assert_eq!(parse_clf(&time), reference::event_time(&time), "time: {}", time.escape_ascii());
    }

    #[test]
    fn reference_is_the_readme_on_lines(line in mutated(grammatical())) {
        // The reference lets `.` match an LF, the README does not; on a line, which has none, that is the same.
        thread_local!(static README: Regex = Regex::new(&format!("(?-u){}", readme_line())).unwrap());
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let matches = README.with(|readme| readme.is_match(line));
        prop_assert_eq!(cached(|reference| reference.parse(line).is_some()), matches);
    }
}

/// The rule for lines as `../shared/data/README.md` states it.
fn readme_line() -> &'static str {
    reference::LINE.strip_prefix("(?s-u)").expect("the flags come first")
}

#[test]
fn generated_lines_are_a_fair_mix() {
    // Held equal on nothing but malformed lines, two parsers would have shown little.
    let mut runner = TestRunner::deterministic();
    let (lines, times) = (mutated(grammatical()), odd_time());
    let (mut parsed, mut timed, mut odd) = (0, 0, 0);
    for _ in 0..1000 {
        let line = lines.new_tree(&mut runner).unwrap().current();
        let record = AccessLog.parse(&line);
        parsed += u32::from(record.is_some());
        timed += u32::from(record.is_some_and(|record| record.event_time().is_some()));
        odd += u32::from(parse_clf(&times.new_tree(&mut runner).unwrap().current()).is_some());
    }
    assert!((300..700).contains(&parsed), "{parsed} of 1000 lines parse");
    assert!(timed > 200, "{timed} of 1000 lines parse and have a time");
    assert!(odd > 100, "{odd} of 1000 odd times are times");
}

/// A line of which everything but the request is usual.
fn with_request(request: &str) -> Vec<u8> {
    format!(r#"h - - [17/May/2015:10:05:03 +0000] "{request}" 200 1 "-" "agent""#).into_bytes()
}

#[test]
fn lines_by_example() {
    const HEAD: &str = r#"h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1""#;
    let well_formed: &[(&str, &[u8], Size)] = &[
        ("common", b" 200 7", Size::Bytes(7)),
        ("combined", br#" 200 7 "http://a/" "agent""#, Size::Bytes(7)),
        ("combined, cut inside the agent", br#" 200 7 "http://a/" "age"#, Size::Bytes(7)),
        ("nginx with a field of its own", br#" 200 7 "-" "agent" "-""#, Size::Bytes(7)),
        ("no size", br#" 304 - "-" "agent""#, Size::Missing),
        ("no size at the end", b" 304 -", Size::Missing),
        ("zero", b" 200 0", Size::Bytes(0)),
        ("leading zeros", b" 200 000000000000000000000000000000007", Size::Bytes(7)),
        ("the largest size", b" 200 18446744073709551615", Size::Bytes(u64::MAX)),
        ("one more", b" 200 18446744073709551616", Size::TooLarge),
        ("many more", b" 200 99999999999999999999999999999999999999999 x", Size::TooLarge),
        ("status 000", b" 000 1", Size::Bytes(1)),
        ("status 999", b" 999 1", Size::Bytes(1)),
        ("a space behind the size", b" 200 7 ", Size::Bytes(7)),
        ("a tab behind the size", b" 200 7\tx", Size::Bytes(7)),
        ("a vertical tab behind the size", b" 200 7\x0bx", Size::Bytes(7)),
        ("a form feed behind the size", b" 200 7\x0c", Size::Bytes(7)),
        ("a CR behind the size, of two", b" 200 7\r", Size::Bytes(7)),
        ("not UTF-8 behind the size", b" 200 7 \xff\x80\x00", Size::Bytes(7)),
    ];
    let mut reference = Reference::new();
    for (what, tail, size) in well_formed {
        let line = [HEAD.as_bytes(), tail].concat();
        assert_eq!(check(&mut reference, &line).map(|record| record.size), Some(*size), "{what}");
    }

    let malformed: &[(&str, &[u8])] = &[
        ("no space before the status", b"200 7"),
        ("a tab before the status", b"\t200 7"),
        ("two spaces before the status", b"  200 7"),
        ("no status", b""),
        ("short status", b" 20 7"),
        ("long status", b" 2000 7"),
        ("status that is no number", b" 2x0 7"),
        ("status alone", b" 200"),
        ("empty size", b" 200 "),
        ("negative size", b" 200 -7"),
        ("signed size", b" 200 +7"),
        ("size with a fraction", b" 200 7.5"),
        ("size with letters", b" 200 7k"),
        ("a byte that only Unicode calls a space", b" 200 7\x85"),
        ("a file separator, which only Python's str calls a space", b" 200 7\x1c"),
    ];
    for (what, tail) in malformed {
        let line = [HEAD.as_bytes(), tail].concat();
        assert_eq!(check(&mut reference, &line), None, "{what}");
    }
}

#[test]
fn heads_by_example() {
    let well_formed: &[(&str, &[u8])] = &[
        ("IPv6", b"2001:db8::1 - - [t]"),
        ("a host name of many letters", b"a-very-long-host-name.of.a.customer.example.org - - [t]"),
        ("a user who is an address", b"h - pyllyukko@EXAMPLE.COM [t]"),
        ("an empty time", b"h - - []"),
        ("a time with anything but a bracket", b"h - - [ \t[\"\\\xff]"),
        ("not UTF-8", b"\xff\xfe \x80 \xc3 [t]"),
        ("control bytes that are no white space", b"\x00\x08\x0e\x1f\x7f - \x1b[31m [t]"),
        ("a no-break space, which is none over bytes", b"h\xc2\xa0h - - [t]"),
        ("brackets and quotes as words", b"[h] \"\" \\\" [t]"),
    ];
    let mut reference = Reference::new();
    for (what, head) in well_formed {
        let line = [head, &br#" "GET / HTTP/1.1" 200 7"#[..]].concat();
        assert!(check(&mut reference, &line).is_some(), "{what}");
    }

    let malformed: &[(&str, &[u8])] = &[
        ("nothing", b""),
        ("a vhost:port in front", b"a.example:443 10.1.1.2 - - [t]"),
        ("one word too few", b"h - [t]"),
        ("a user with a space", b"h - Jane Doe [t]"),
        ("an empty client", b" - - [t]"),
        ("two spaces", b"h  - - [t]"),
        ("a tab for a space", b"h\t- - [t]"),
        ("a vertical tab for a space", b"h -\x0b- [t]"),
        ("a CR in a word", b"h - a\rb [t]"),
        ("no bracket", b"h - - t]"),
        ("a bracket that does not close", b"h - - [t"),
        ("a bracket in the time", b"h - - [t]]"),
        ("two spaces before the request", b"h - - [t] "),
    ];
    for (what, head) in malformed {
        let line = [head, &br#" "GET / HTTP/1.1" 200 7"#[..]].concat();
        assert_eq!(check(&mut reference, &line), None, "{what}");
    }
}

#[test]
fn requests_by_example() {
    type Parts<'a> = Option<(&'a str, &'a str, Option<&'a str>)>;
    let table: &[(&str, Parts<'_>)] = &[
        ("GET /a HTTP/1.1", Some(("GET", "/a", Some("HTTP/1.1")))),
        ("GET /a b  c HTTP/1.1", Some(("GET", "/a b  c", Some("HTTP/1.1")))),
        ("GET  HTTP/1.1", Some(("GET", "", Some("HTTP/1.1")))),
        ("GET   HTTP/1.1", Some(("GET", " ", Some("HTTP/1.1")))),
        ("GET /a HTTP/", Some(("GET", "/a", Some("HTTP/")))),
        ("GET /a HTTP/1.1 HTTP/2.0", Some(("GET", "/a HTTP/1.1", Some("HTTP/2.0")))),
        ("GET HTTP/1.1", Some(("GET", "HTTP/1.1", None))),
        (" HTTP/1.1", Some(("", "HTTP/1.1", None))),
        ("GET /a", Some(("GET", "/a", None))),
        ("GET /a b", Some(("GET", "/a b", None))),
        ("GET /a http/1.1", Some(("GET", "/a http/1.1", None))),
        ("GET /a HTTP", Some(("GET", "/a HTTP", None))),
        ("GET /a HTTP/1.1 ", Some(("GET", "/a HTTP/1.1 ", None))),
        ("GET ", Some(("GET", "", None))),
        (" ", Some(("", "", None))),
        ("  ", Some(("", " ", None))),
        ("GET\t/a\tHTTP/1.1", None),
        ("HTTP/1.1", None),
        ("GET", None),
        ("-", None),
        ("", None),
        (r"\x16\x03\x01", None),
        (r#"GET /\"a\" HTTP/1.1"#, Some(("GET", r#"/\"a\""#, Some("HTTP/1.1")))),
        (r"GET /\\ HTTP/1.1", Some(("GET", r"/\\", Some("HTTP/1.1")))),
        ("GET /\u{6cb3} HTTP/1.1", Some(("GET", "/\u{6cb3}", Some("HTTP/1.1")))),
    ];
    let mut reference = Reference::new();
    for (request, parts) in table {
        let line = with_request(request);
        let record = check(&mut reference, &line).expect(request);
        let endpoint = parts.map(|(_, endpoint, _)| endpoint.as_bytes());
        assert_eq!(record.request, request.as_bytes());
        assert_eq!(record.method(), parts.map(|(method, _, _)| method.as_bytes()), "{request:?}");
        assert_eq!(record.endpoint(), endpoint, "{request:?}");
        assert_eq!(
            record.protocol(),
            parts.and_then(|(_, _, protocol)| protocol).map(str::as_bytes),
            "{request:?}"
        );
    }
    for request in [r#"GET /a?x="y" HTTP/1.1"#, r"GET /a\", r#"GET /\\" HTTP/1.1"#] {
        assert_eq!(check(&mut reference, &with_request(request)), None, "{request:?}");
    }
}

#[test]
fn times_by_example() {
    let table = [
        ("17/May/2015:10:05:03 +0000", Some(1_431_857_103_000)),
        ("22/Jan/2019:03:56:14 +0330", Some(1_548_116_774_000)),
        ("16/Nov/2019:09:46:42 -1130", Some(1_573_939_002_000)),
        ("31/Dec/1969:23:59:59 +0000", Some(-1_000)),
        ("29/Feb/2000:00:00:00 +0000", Some(951_782_400_000)),
        ("29/Feb/1900:00:00:00 +0000", None),
        ("31/Apr/2015:00:00:00 +0000", None),
        ("00/Apr/2015:00:00:00 +0000", None),
        ("01/Jan/0000:00:00:00 +0000", Some(-62_167_219_200_000)),
        ("01/Jan/0001:00:00:00 +2359", Some(-62_135_683_140_000)),
        ("31/Dec/9999:23:59:60 -2359", Some(253_402_387_140_000)),
        ("31/Dec/2016:23:59:60 +0000", Some(1_483_228_800_000)),
        ("31/Dec/2016:23:59:61 +0000", None),
        ("31/Dec/2016:24:00:00 +0000", None),
        ("31/Dec/2016:23:60:00 +0000", None),
        ("31/Dec/2016:23:00:00 +2400", None),
        ("31/Dec/2016:23:00:00 +0060", None),
        ("7/may/2015:1:2:3   +00:00", Some(1_430_960_523_000)),
        ("01/January/2015:00:00:00 +0000", None),
        ("01/Jan/2015:00:00:00 Z", None),
        ("01/Jan/2015:00:00:00", None),
        ("01/Jan/+262142:00:00:00 +0000", Some(8_210_235_340_800_000)),
        ("01/Jan/+999999999999999999999:00:00:00 +0000", None),
        ("", None),
        ("-", None),
    ];
    for (time, millis) in table {
        assert_eq!(parse_clf(time.as_bytes()), millis.map(Time), "{time}");
        assert_eq!(reference::event_time(time.as_bytes()), millis.map(Time), "{time}");
    }
    assert_eq!(parse_clf(b"\xff7/May/2015:10:05:03 +0000"), None);
}

#[test]
fn every_day_of_ten_thousand_years() {
    let mut day = chrono::NaiveDate::from_ymd_opt(0, 1, 1).unwrap();
    let mut expected = -62_167_219_200_000;
    while day.year() < 10_000 {
        let time = day.format("%d/%b/%Y:00:00:00 +0000").to_string();
        assert_eq!(parse_clf(time.as_bytes()), Some(Time(expected)), "{time}");
        day = day.succ_opt().unwrap();
        expected += 86_400_000;
    }
}

#[test]
fn real_logs() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.is_dir() {
        eprintln!("skipped: the real logs are not at {}", data.display());
        return;
    }
    let readme = std::fs::read_to_string(data.join("README.md")).unwrap();
    assert!(readme.contains(readme_line()), "the README's rule for lines is not the one that is tested here");

    let mut reference = Reference::new();
    let mut logs = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    assert!(!logs.is_empty(), "no logs in {}", data.display());
    for path in logs {
        let name = path.display();
        let log = std::fs::read(&path).unwrap();
        let answers = std::fs::read(path.with_extension("expected.json")).unwrap();
        let answers: serde_json::Value = serde_json::from_slice(&answers).unwrap();

        let (mut parsed, mut malformed, mut no_endpoint, mut no_size, mut no_time) = (0, 0, 0, 0, 0);
        for line in lines(&log) {
            match check(&mut reference, line) {
                None => malformed += 1,
                Some(record) => {
                    parsed += 1;
                    no_endpoint += u64::from(record.endpoint().is_none());
                    no_size += u64::from(record.size == Size::Missing);
                    no_time += u64::from(record.event_time().is_none());
                }
            }
        }
        let counted = serde_json::json!([parsed, malformed, no_endpoint, no_size, no_time]);
        let general = &answers["general"];
        let expected = ["parsed", "malformed", "missing_endpoint", "dash_size", "bad_time"];
        assert_eq!(counted, serde_json::json!(expected.map(|key| &general[key])), "{name}: {expected:?}");
    }
}

/// Lines as the project has them: up to LF, less one CR; what follows the last LF is a line if it is not empty.
fn lines(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = log.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[test]
fn patterns_by_example() {
    let mut pattern = Pattern::new(r"(?<a>\w+)(-(?<b>\w+))?=(?<c>.*)").unwrap();
    assert_eq!(pattern.fields(), ["a", "b", "c"]);
    assert_eq!(pattern.index_of("c"), Some(2), "unnamed groups are no fields");

    // Anywhere in the line, whatever the bytes.
    let record = pattern.parse(b"\xff k-v=\xff\xfe").unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|index| record.field(index)),
        [Some(&b"k"[..]), Some(b"v"), Some(b"\xff\xfe"), None]
    );
    // The scratch keeps nothing of the line before.
    let mut copy = pattern.clone();
    let record = pattern.parse(b"k=").unwrap();
    assert_eq!([0, 1, 2].map(|index| record.field(index)), [Some(&b"k"[..]), None, Some(b"")]);
    assert_eq!(copy.parse(b"k="), Some(record));
    assert_eq!(pattern.parse(b"="), None);
    assert_eq!(pattern.parse(b""), None);
}

#[test]
fn patterns_that_are_refused() {
    for unnamed in ["", ".*", r"(\S+) (\d+)", r"(?:a|b)"] {
        assert_eq!(
            Pattern::new(unnamed).unwrap_err(),
            PatternError::NoFields { pattern: unnamed.to_owned() }
        );
    }
    for (bad, says) in [
        ("(?<a>", "unclosed group"),
        ("(?<a>x)(?<a>y)", "duplicate capture group name"),
        (r"(?<a>\p{Greek})", "Unicode not allowed here"),
        (r"(?<a>[é])", "Unicode not allowed here"),
        (r"(?<a>x{1000}{1000}{1000})", "exceeds size limit"),
    ] {
        let error = Pattern::new(bad).unwrap_err();
        assert!(matches!(error, PatternError::Regex(_)), "{bad}");
        assert!(error.to_string().contains(says), "{bad}: {error}");
    }
    assert!(Pattern::new(r"(?u:(?<a>\p{Greek}[é]))").is_ok(), "the hint helps");
}
