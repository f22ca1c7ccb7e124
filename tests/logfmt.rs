//! logfmt against a reader that works byte by byte, and lines that a logger wrote.

use std::borrow::Cow;

use proptest::prelude::*;
use thalweg::format::{LineFormat, Logfmt, LogfmtRecord, LogfmtValue};
use thalweg::time::Time;

fn parse(line: &[u8]) -> Option<LogfmtRecord<'_>> {
    Logfmt.parse(line)
}

#[test]
fn lines_of_real_programs_are_read() {
    // Heroku's router, and Grafana.
    let router = br#"at=info method=GET path="/a?b=c" host=x.herokuapp.com fwd="204.204.204.204" dyno=web.1 connect=1ms service=18ms status=200 bytes=13"#;
    let record = parse(router).expect("logfmt");
    assert_eq!(record.raw("path"), Some(&b"/a?b=c"[..]));
    assert_eq!((record.int("status"), record.int("service")), (Some(200), None));
    assert_eq!(record.pairs().count(), 10);

    let grafana = br#"logger=context userId=0 orgId=0 uname= t=2023-08-15T10:12:13.456789+02:00 level=info msg="Request Completed" size=-1.5"#;
    let record = parse(grafana).expect("logfmt");
    assert_eq!(record.millis("t"), Some(Time(1_692_087_133_456)));
    assert_eq!(record.get("uname"), Some(LogfmtValue::Plain(b"")));
    assert_eq!((record.real("size"), record.int("size")), (Some(-1.5), None));
}

#[test]
fn what_is_malformed_is() {
    for line in
        ["", "  \t", "=1", "a=1 =2", "a=\"", "a=\"\\\"", "a=\"b\"c", "\"a\"=1", "a\"b=1", "a=\"x\"\"y\""]
    {
        assert_eq!(parse(line.as_bytes()), None, "{line}");
    }
    for line in ["a", "a=", "a=\"\"", " a=1 ", "a==", "a=b\"c", "a=\"\\\\\"", "\u{e9}=\u{e9}"] {
        assert!(parse(line.as_bytes()).is_some(), "{line}");
    }
}

#[test]
fn the_last_of_two_keys_counts() {
    let record = parse(b"a=1 b=2 a").expect("logfmt");
    assert_eq!((record.get("a"), record.raw("a"), record.has("a")), (Some(LogfmtValue::Flag), None, true));
}

#[test]
fn numbers_that_are_none_are_none() {
    for value in ["", "x", "1x", "0x1", "9223372036854775808", "inf", "nan", "-", ".", "1:2", "\u{661}"] {
        let line = format!("n={value}");
        let record = parse(line.as_bytes()).expect("logfmt");
        assert_eq!((record.int("n"), record.millis("n"), record.seconds("n")), (None, None, None), "{value}");
    }
}

/// The pairs of `line`, byte by byte, with quoted values as they stand there; `None` if it is malformed.
fn slow(line: &[u8]) -> Option<Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    let mut bytes = line.iter().copied().peekable();
    let mut pairs = Vec::new();
    loop {
        while bytes.next_if(|byte| *byte <= b' ').is_some() {}
        if bytes.peek().is_none() {
            return (!pairs.is_empty()).then_some(pairs);
        }
        let mut key = Vec::new();
        while let Some(byte) = bytes.next_if(|byte| *byte > b' ' && *byte != b'=' && *byte != b'"') {
            key.push(byte);
        }
        if key.is_empty() || bytes.peek() == Some(&b'"') {
            return None;
        }
        if bytes.next_if_eq(&b'=').is_none() {
            pairs.push((key, None));
            continue;
        }
        let mut value = Vec::new();
        if bytes.next_if_eq(&b'"').is_some() {
            loop {
                match bytes.next()? {
                    b'"' => break,
                    b'\\' => value.extend([b'\\', bytes.next()?]),
                    byte => value.push(byte),
                }
            }
            if bytes.peek().is_some_and(|byte| *byte > b' ') {
                return None;
            }
        } else {
            while let Some(byte) = bytes.next_if(|byte| *byte > b' ') {
                value.push(byte);
            }
        }
        pairs.push((key, Some(value)));
    }
}

/// Bytes of which lines are made, and few others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        8 => prop::sample::select(b"ab =\"\\\tu0dn1".to_vec()),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..40)
}

proptest! {
    /// Whatever the bytes are: no panic, the pairs of the slow reader, and keys and values that are pieces of the line.
    #[test]
    fn any_bytes_are_read_as_byte_by_byte(line in hostile()) {
        let record = parse(&line);
        let pairs = record.map(|record| {
            record.pairs().map(|(key, value)| (key.to_vec(), value.raw().map(<[u8]>::to_vec))).collect::<Vec<_>>()
        });
        prop_assert_eq!(pairs, slow(&line));
        let within = line.as_ptr_range();
        for (key, value) in record.iter().flat_map(LogfmtRecord::pairs) {
            let inside = |piece: &[u8]| piece.is_empty() || within.contains(&piece.as_ptr());
            prop_assert!(inside(key) && value.raw().is_none_or(inside));
            match (value, value.text()) {
                (LogfmtValue::Flag, text) => prop_assert_eq!(text, None),
                (LogfmtValue::Plain(raw), text) => prop_assert_eq!(text.as_deref(), Some(raw)),
                (LogfmtValue::Quoted(raw), Some(text)) => {
                    prop_assert_eq!(matches!(text, Cow::Borrowed(_)), !raw.contains(&b'\\'));
                }
                (LogfmtValue::Quoted(_), None) => prop_assert!(false, "a quoted value says something"),
            }
            let key = String::from_utf8_lossy(key);
            let record = record.expect("it has pairs");
            let _ = (record.int(&key), record.real(&key), record.millis(&key), record.seconds(&key));
        }
    }

    /// What a logger quotes can be had back.
    #[test]
    fn quoted_text_comes_back(text in any::<String>(), before in "[a-z]{0,3}") {
        let quoted = serde_json::to_string(&text).expect("text is JSON");
        let line = format!("{before} msg={quoted} level=info");
        let record = parse(line.as_bytes()).expect("logfmt");
        let read = record.text("msg");
        prop_assert_eq!(read.as_deref(), Some(text.as_bytes()));
        prop_assert_eq!(record.raw("level"), Some(&b"info"[..]));
    }
}
