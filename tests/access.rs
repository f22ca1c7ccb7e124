//! Access logs of any form: that nothing which may stand in a line brings a reader down, that the lenient forms agree with the strict
//! one wherever that reads a line, and that a partition's form depends on its bytes alone.

use proptest::prelude::*;
use thalweg::format::time::{Zone, parse_clf, parse_time};
use thalweg::format::{
    AccessForm, AccessLog, AnyAccessLog, AnyAccessRecord, Emit, Fields, Format, LineFormat, Scratch,
    WholeLines,
};

#[path = "format/generate.rs"]
#[allow(dead_code, reason = "shared with tests/format.rs")]
mod generate;
use generate::{grammatical, mutated, odd_time, telling_bytes};

/// Records and malformed lines, by where they begin.
struct Read<'a> {
    scratch: &'a Scratch,
    records: Vec<(usize, AnyAccessRecord<'a>)>,
    malformed: Vec<usize>,
}

impl<'a> Emit<'a, AnyAccessRecord<'a>> for Read<'a> {
    fn record(&mut self, offset: usize, _: &'a [u8], record: AnyAccessRecord<'a>) {
        self.records.push((offset, record));
    }

    fn malformed(&mut self, offset: usize, _: &'a [u8]) {
        self.malformed.push(offset);
    }

    fn fatal(&mut self, offset: usize, _: &'a [u8], reason: String) {
        panic!("no line of an access log ends a run, and the one at {offset} did: {reason}");
    }

    fn scratch(&self) -> &'a Scratch {
        self.scratch
    }
}

/// What a reader tells of `lines`, in pieces of whole lines that are `cut` long, after a look at `head`.
fn told(mut format: AnyAccessLog, lines: &[u8], cut: usize, head: &[u8]) -> (Vec<String>, Vec<usize>) {
    let (mut records, mut malformed, mut from) = (Vec::new(), Vec::new(), 0);
    format.partition(0, head);
    for piece in pieces(lines, cut) {
        let scratch = Scratch::default();
        let mut read = Read { scratch: &scratch, records: Vec::new(), malformed: Vec::new() };
        format.read(WholeLines::new(piece), Fields::ALL, &mut read);
        records.extend(read.records.iter().map(|(at, record)| format!("{}: {}", from + at, all_of(record))));
        malformed.extend(read.malformed.iter().map(|at| from + at));
        from += piece.len();
    }
    (records, malformed)
}

/// Whole lines, some of them at a time.
fn pieces(lines: &[u8], cut: usize) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut rest = lines;
    while !rest.is_empty() {
        let at = cut.clamp(1, rest.len());
        let end = rest[at - 1..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| at + end);
        let (piece, next) = rest.split_at(end);
        all.push(piece);
        rest = next;
    }
    all
}

/// All that can be asked of a record.
fn all_of(record: &AnyAccessRecord<'_>) -> String {
    let texts = [
        record.client(),
        record.user(),
        record.method(),
        record.endpoint(),
        record.protocol(),
        record.referer(),
        record.agent(),
        record.vhost(),
    ];
    let texts = texts.map(|text| text.map(|text| text.escape_ascii().to_string()));
    format!(
        "{texts:?} {:?} {:?} {:?} {:?}",
        record.status(),
        record.size(),
        record.event_time(),
        record.duration()
    )
}

const FORMS: [AccessForm; 6] = [
    AccessForm::Auto,
    AccessForm::Common,
    AccessForm::Text,
    AccessForm::Json,
    AccessForm::W3c,
    AccessForm::Alb,
];

/// A line of every form, for mutation to spoil.
fn any_line() -> BoxedStrategy<Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"198.51.100.7, 203.0.113.10 - - [14/Mar/2024:09:00:00 +0000] \"GET / HTTP/1.1\" 200 7 \"-\" \"a\"",
        b"a.example:443 [2001:db8::9]:443 - Ada L [14/Mar/2024:09:00:00.5] \"GET /q=\"x\" HTTP/1.1\" - -1 \"-\" \"\"b\"\"",
        b"{\"ts\":1710406800.125,\"request\":{\"remote_ip\":\"::1\",\"uri\":\"/\\u0026\",\"headers\":{\"Referer\":[\"x\"]}},\"status\":200,\"size\":1}",
        b"{\"remote_addr\":\"192.0.2.1\",\"request\":\"GET / HTTP/1.1\",\"status\":\"200\",\"body_bytes_sent\":\"9\",\"request_time\":\"0.1\"}",
        b"#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status sc-bytes time-taken",
        b"2024-03-14 09:00:00 198.51.100.0 GET /a b=c 500 3 36",
        b"#Software: x",
        b"h2 2024-03-14T09:00:00.186641Z app/x 192.0.2.1:2817 - 0.0 0.1 0.2 200 200 34 366 \"GET https://a:443/p HTTP/1.1\" \"curl\" x",
        b"2024-03-14T09:00:00.186641Z x 192.0.2.1:2817 - 0.0 0.1 -1 200 200 34 366 \"GET https://a HTTP/1.1\" \"curl\" - -",
    ];
    prop_oneof![
        3 => mutated(prop::sample::select(known).prop_map(<[u8]>::to_vec).boxed()),
        1 => mutated(grammatical()),
        1 => telling_bytes(60),
    ]
    .boxed()
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any_line(), 0..24).prop_map(|lines| lines.join(&b"\n"[..]))
}

proptest! {
    #[test]
    fn a_form_depends_on_the_bytes_of_a_partition_alone(lines in lines(), cut in 1..400usize, at in 0..FORMS.len()) {
        let form = || AnyAccessLog::new(FORMS[at]);
        let whole = told(form(), &lines, usize::MAX, b"");
        prop_assert_eq!(&told(form(), &lines, cut, b""), &whole);
        let count = lines.split_inclusive(|byte| *byte == b'\n').count();
        prop_assert!(whole.0.len() + whole.1.len() <= count, "each line comes to one record at most");
        // Whoever reads from the middle knows as much from the head, where that has all of the first lines.
        // (Columns that are named further down are those of what is read in order, as a pipe is and such a file is not.)
        let in_order = FORMS[at] != AccessForm::W3c || lines.starts_with(b"#");
        if lines.contains(&b'\n') && in_order {
            prop_assert_eq!(&told(form(), &lines, cut, &lines), &whole);
        }
    }

    #[test]
    fn a_line_of_the_common_form_is_the_same_in_every_form(line in mutated(grammatical())) {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        prop_assume!(!matches!(line.first(), Some(0 | 0xef | b'#')));
        let Some(record) = AccessLog.parse(line) else { return Ok(()) };
        // Nor one with a virtual host where the client stands.
        let is_address = |word: &[u8]| std::str::from_utf8(word).is_ok_and(|word| word.parse::<std::net::IpAddr>().is_ok());
        prop_assume!(!is_address(record.identity));
        for form in [AccessForm::Auto, AccessForm::Common, AccessForm::Text] {
            let scratch = Scratch::default();
            let mut read = Read { scratch: &scratch, records: Vec::new(), malformed: Vec::new() };
            AnyAccessLog::new(form).read(WholeLines::new(line), Fields::ALL, &mut read);
            let [(0, any)] = read.records[..] else { panic!("one record: {:?}", read.records) };
            prop_assert_eq!((any.status(), any.size(), any.endpoint()), (Some(record.status), record.size, record.endpoint()));
            prop_assert!(any.event_time() == record.event_time() || record.event_time().is_none());
            // A port, another spelling of an address, or a virtual host in the client's place.
            prop_assert!(any.client() == Some(record.client) || line.contains(&b':'));
        }
    }

    #[test]
    fn what_the_common_form_calls_a_time_is_that_time(time in mutated(odd_time())) {
        if let Some(known) = parse_clf(&time) {
            prop_assert_eq!(parse_time(&time, Zone::UTC), Some(known));
        }
        for zone in ["Asia/Tokyo", "-03:30", "Europe/Berlin"] {
            let _ = parse_time(&time, zone.parse().expect("a zone"));
        }
    }
}
