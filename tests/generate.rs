//! Generated lines keep what `thalweg::generate` promises: the same bytes for ever, well-formed unless they are
//! meant not to be, times within their bounds, and keys by Zipf's law.

use std::collections::HashMap;
use std::io;

use chrono::DateTime;
use proptest::prelude::*;
use regex::bytes::Regex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use thalweg::generate::{GenerateError, Generator, Kind, Options, Summary, generate};

fn bytes(kind: Kind, options: &Options) -> Vec<u8> {
    let mut out = Vec::new();
    let summary = generate(kind, options, &mut out).expect("a Vec takes everything");
    assert_eq!(summary.bytes, out.len() as u64);
    assert_eq!(Some(summary.lines), options.lines);
    out
}

/// The lines without their LF; there is one after each, and nothing after the last.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b""[..]));
    lines
}

fn few(kind: Kind, lines: u64) -> Options {
    Options { lines: Some(lines), seed: 1, ..Options::default_for(kind) }
}

/// The rule for well-formed access-log lines, as it stands in `shared/data/README.md`.
fn access_rule() -> Regex {
    let rule = r#"^(\S+) (\S+) (\S+) \[([^\]]*)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)(?:\s.*)?$"#;
    Regex::new(&format!("(?-u){rule}")).expect("the rule is a valid pattern")
}

fn is_well_formed(kind: Kind, access_rule: &Regex, line: &[u8]) -> bool {
    match kind {
        Kind::AccessLog => access_rule.is_match(line),
        Kind::Words => std::str::from_utf8(line).is_ok_and(|text| !text.is_empty()),
        _ => serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object()),
    }
}

#[test]
fn the_bytes_never_change() {
    // If one of these fails, the generator is broken, not the test: figures and golden files of others, made from
    // a command line and a seed, rest on these bytes. A new look for lines is a new kind.
    let golden = [
        (
            Kind::AccessLog,
            "e35e13277a5f0848142e1ec89e30403bd2d80cce0217653b9ff5cf058f488723",
            "cd4ffb44754a0ab675724b958b1cdcc67b2ba6ee5edb8fddfcced19375c5e47c",
        ),
        (
            Kind::Tweets,
            "2bae01b8c57e07048dd42431af40c27475fd85adffd7692df8f0acc409123a16",
            "f16927ad08e5378857cc59aca7051f32a203b26e52583437f53a525bcbf284db",
        ),
        (
            Kind::Words,
            "fafbd9a794b517575a9c5c114fce4fad362341ea1ca922742360c1a05c138669",
            "9bf41427fcc6af97cf0fdbf379aa673392584ba84367901f72c259a3bea77487",
        ),
        (
            Kind::Actions,
            "5e1c208b95ac616fd96ff8b83cb2948b8819f1a68dc43904239efcd434d7fc28",
            "86758d03279ad108f8fb857ea7c49948403e3f28de5682327a451dde050638e4",
        ),
    ];
    let hash = |kind, options: &Options| -> String {
        Sha256::digest(bytes(kind, options)).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let made = golden.map(|(kind, ..)| {
        let plain = Options { lines: Some(10_000), ..Options::default_for(kind) };
        // The paths that the plain one does not take: keys by rejection, malformed lines, another exponent.
        let odd =
            Options { seed: 9, keys: 3_000_000, skew: 0.8, malformed: 0.2, disorder: 90.5, ..plain.clone() };
        (kind, hash(kind, &plain), hash(kind, &odd))
    });
    assert_eq!(made, golden.map(|(kind, plain, odd)| (kind, plain.to_owned(), odd.to_owned())));
}

#[test]
fn whole_lines_are_well_formed() {
    let rule = access_rule();
    for &kind in Kind::ALL {
        for line in lines(&bytes(kind, &few(kind, 20_000))) {
            assert!(is_well_formed(kind, &rule, line), "{kind}: {}", String::from_utf8_lossy(line));
        }
    }
}

#[test]
fn malformed_lines_are_malformed_and_as_many_as_asked() {
    const LINES: u64 = 20_000;
    let rule = access_rule();
    for &kind in Kind::ALL {
        let whole = bytes(kind, &few(kind, LINES));
        let broken = bytes(kind, &Options { malformed: 0.1, ..few(kind, LINES) });
        let mut malformed = 0u64;
        for (whole, broken) in lines(&whole).into_iter().zip(lines(&broken)) {
            // A line is broken or as it would have been.
            let well_formed = is_well_formed(kind, &rule, broken);
            assert_eq!(well_formed, whole == broken, "{kind}: {}", String::from_utf8_lossy(broken));
            malformed += u64::from(!well_formed);
        }
        // Six standard deviations of the binomial are 255.
        assert!(malformed.abs_diff(LINES / 10) < 255, "{kind}: {malformed}");

        let all = bytes(kind, &Options { malformed: 1.0, ..few(kind, LINES) });
        assert!(lines(&all).iter().all(|line| !is_well_formed(kind, &rule, line)), "{kind}");
    }
}

/// The event time of a line and the milliseconds that it is given in.
fn event_time(kind: Kind, rule: &Regex, line: &[u8]) -> (i64, i64) {
    if kind == Kind::AccessLog {
        let time = &rule.captures(line).expect("well-formed")[4];
        let text = std::str::from_utf8(time).expect("ASCII");
        let time = DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z").expect("a time");
        return (time.timestamp_millis(), 1000);
    }
    let value: Value = serde_json::from_slice(line).expect("JSON");
    match kind {
        Kind::Tweets => (value["created_at"].as_i64().expect("milliseconds"), 1),
        _ => (value["time"].as_i64().expect("seconds") * 1000, 1000),
    }
}

#[test]
fn event_times_rise_at_the_rate_and_lag_within_the_disorder() {
    let rule = access_rule();
    for kind in [Kind::AccessLog, Kind::Tweets, Kind::Actions] {
        for (rate, disorder) in [(50.0, 30.0), (0.25, 0.0), (0.25, 3600.0)] {
            let options = Options { rate, disorder, ..few(kind, 5000) };
            let mut lagged = 0;
            for (number, line) in lines(&bytes(kind, &options)).into_iter().enumerate() {
                let (time, unit) = event_time(kind, &rule, line);
                let due = options.start + (number as f64 * 1000.0 / rate) as i64;
                let earliest = due - (disorder * 1000.0) as i64;
                assert!(
                    time <= due && time >= earliest.div_euclid(unit) * unit,
                    "{kind} line {number}: {time}"
                );
                lagged += u32::from(time < due - unit);
            }
            assert_eq!(lagged > 0, disorder > 0.0, "{kind} at {rate} with {disorder}");
        }
    }
}

#[test]
fn tweets_carry_their_hashtags_twice() {
    let mut tags = 0;
    let mut escapes = HashMap::from([("\\u", 0), ("\\\"", 0), ("\\n", 0), ("\\\\", 0), ("🚀", 0), ("…", 0)]);
    for line in lines(&bytes(Kind::Tweets, &few(Kind::Tweets, 5000))) {
        let tweet: Value = serde_json::from_slice(line).expect("JSON");
        let in_text = tweet["text"]
            .as_str()
            .expect("text")
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('#'));
        let entities = tweet["entities"]["hashtags"].as_array().expect("an array");
        assert!(in_text.eq(entities.iter().map(|tag| tag["text"].as_str().expect("a tag"))));
        assert!(tweet["id"].is_u64() && tweet["user"]["screen_name"].is_string());
        tags += entities.len();
        let text = std::str::from_utf8(line).expect("UTF-8");
        for (escape, count) in &mut escapes {
            *count += text.matches(escape).count();
        }
    }
    assert!((8_000..10_000).contains(&tags), "{tags}");
    assert!(escapes.values().all(|count| *count > 20), "{escapes:?}");
}

#[test]
fn lines_have_the_stated_lengths() {
    let mean = |kind| bytes(kind, &few(kind, 20_000)).len() / 20_000;
    assert!((195..205).contains(&mean(Kind::AccessLog)), "{}", mean(Kind::AccessLog));
    assert!((300..400).contains(&mean(Kind::Tweets)), "{}", mean(Kind::Tweets));
    for line in lines(&bytes(Kind::Words, &few(Kind::Words, 5000))) {
        let text = std::str::from_utf8(line).expect("UTF-8");
        assert!((5..=15).contains(&text.split_whitespace().count()), "{text}");
    }
}

#[test]
fn keys_follow_zipfs_law() {
    const LINES: u64 = 200_000;
    let options = Options { keys: 1000, ..few(Kind::AccessLog, LINES) };
    let mut clients: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut endpoints: HashMap<Vec<u8>, u64> = HashMap::new();
    for line in lines(&bytes(Kind::AccessLog, &options)) {
        let mut fields = line.split(|byte| *byte == b' ');
        *clients.entry(fields.next().expect("a client").to_vec()).or_default() += 1;
        *endpoints.entry(fields.nth(5).expect("an endpoint").to_vec()).or_default() += 1;
    }
    assert_eq!(clients.len(), 1000);
    for (counts, keys, share) in [(clients, 1000, 1.0), (endpoints, 100, 0.999)] {
        let mut counts: Vec<f64> = counts.into_values().map(|count| count as f64).collect();
        counts.sort_by(|a, b| b.total_cmp(a));
        let total: f64 = (1..=keys).map(|k| 1.0 / f64::from(k)).sum();
        for rank in 1..=10 {
            let expected = LINES as f64 * share / (f64::from(rank) * total);
            let seen = counts[rank as usize - 1];
            assert!((seen - expected).abs() < 6.0 * expected.sqrt(), "rank {rank}: {seen} of {expected:.0}");
        }
    }
    let even = Options { keys: 10, skew: 0.0, ..few(Kind::Actions, 50_000) };
    let mut devices: HashMap<String, u64> = HashMap::new();
    for line in lines(&bytes(Kind::Actions, &even)) {
        let value: Value = serde_json::from_slice(line).expect("JSON");
        *devices.entry(value["device"].to_string()).or_default() += 1;
    }
    assert_eq!(devices.len(), 10);
    assert!(devices.values().all(|count| count.abs_diff(5000) < 410), "{devices:?}");
}

#[test]
fn a_refused_write_says_how_far_it_got() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            self.0 -= 1;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let endless = Options { lines: None, ..Options::default_for(Kind::Words) };
    match generate(Kind::Words, &endless, &mut Full(3)) {
        Err(GenerateError::Write { written, source }) => {
            assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
            assert!((3 * 262_144..3 * 264_000).contains(&written), "{written}");
        }
        other => panic!("{other:?}"),
    }
    let none = Options { lines: Some(0), ..endless };
    let summary = generate(Kind::Words, &none, &mut Full(1)).expect("nothing to refuse");
    assert_eq!(summary, Summary::default());
}

#[test]
fn an_unknown_kind_is_told_the_known_ones() {
    let error = "acess-log".parse::<Kind>().expect_err("no such kind");
    let expected =
        "unknown kind of lines `acess-log`\n  hint: the kinds are access-log, tweets, words, actions";
    assert_eq!(error.to_string(), expected);
}

fn any_options() -> impl Strategy<Value = Options> {
    // Up to thousands of keys for the table, beyond 2²⁰ for rejection; what is between only costs time.
    let keys = prop_oneof![1..5000u64, (1u64 << 20) + 1..=Options::MAX_KEYS];
    let rate = prop_oneof![1e-3..1e4, Just(f64::MIN_POSITIVE), Just(Options::MAX_RATE)];
    let start = prop_oneof![0..2_000_000_000_000i64, Just(Options::MAX_TIME)];
    let disorder = prop_oneof![Just(0.0), 0.0..=Options::MAX_DISORDER];
    (any::<u64>(), keys, 0.0..=Options::MAX_SKEW, rate, start, disorder).prop_map(
        |(seed, keys, skew, rate, start, disorder)| {
            let lines = Some(60);
            Options { lines, seed, rate, keys, skew, disorder, malformed: 0.0, start }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_valid_options_give_well_formed_lines(options in any_options()) {
        let rule = access_rule();
        for &kind in Kind::ALL {
            let bytes = bytes(kind, &options);
            prop_assert_eq!(lines(&bytes).len(), 60);
            for line in lines(&bytes) {
                prop_assert!(is_well_formed(kind, &rule, line), "{kind}: {}", String::from_utf8_lossy(line));
            }
        }
    }

    #[test]
    fn a_shorter_run_is_the_beginning_of_a_longer_one(mut options in any_options(), shorter in 0..60u64) {
        options.malformed = 0.3;
        for &kind in Kind::ALL {
            let long = bytes(kind, &options);
            let short = bytes(kind, &Options { lines: Some(shorter), ..options.clone() });
            prop_assert!(long.starts_with(&short));
            prop_assert_eq!(lines(&short).len() as u64, shorter);

            let mut generator = Generator::new(kind, &options).expect("valid options");
            let mut streamed = Vec::new();
            while generator.next_line(&mut streamed) {}
            prop_assert!(!generator.next_line(&mut streamed));
            prop_assert_eq!(streamed, long);
        }
    }

    #[test]
    fn another_seed_gives_other_lines(seed in any::<u64>(), bit in 0..64u32) {
        for &kind in Kind::ALL {
            let options = Options { seed, keys: 1000, ..few(kind, 20) };
            let other = Options { seed: seed ^ (1 << bit), ..options.clone() };
            prop_assert_ne!(bytes(kind, &options), bytes(kind, &other));
        }
    }
}
