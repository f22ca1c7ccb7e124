//! What cannot be done is refused: with the documented exit code, and a text that says what to do instead.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Ended, rows, run, uri};

#[test]
fn what_cannot_be_read_ends_with_3_and_says_which_and_where() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let from = |name: &str| run(&["run", "word-count", "--source", &uri("file", &path(name), "")]).exits(3);

    from("missing.log").says(&["missing.log", "working directory"]);
    from("*.none").says(&["no file matches", "*.none"]);
    from("[").says(&["[", "not a valid glob"]);
    from("").says(&["is a directory", "hint: "]);
    // Paths that stand without a flag, a file that is there among them.
    fs::write(path("here.log"), "words\n").expect("written");
    let (here, missing) = (path("here.log"), path("missing.log"));
    let paths = [&here, &missing].map(|path| path.to_str().expect("a plain name"));
    run(&["run", "word-count", paths[0], paths[1]]).exits(3).says(&["no file matches", "missing.log"]);
    run(&["run", "word-count", "--source", paths[1]]).exits(3).says(&["no file matches", "missing.log"]);
    let uri = "file:data/access.log";
    run(&["run", "word-count", uri]).exits(2).says(&[uri, "hint: a URI is given as `--source file:data/"]);

    symlink("nowhere", path("dangling")).expect("linked");
    from("dangling").says(&["dangling"]);

    let status = std::process::Command::new("mkfifo").arg(path("pipe")).status().expect("`mkfifo` runs");
    assert!(status.success());
    from("pipe").says(&["named pipe", "stdin:"]);

    fs::write(path("secret"), "x").expect("written");
    fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o000)).expect("it is ours");
    if fs::read(path("secret")).is_err() {
        from("secret").says(&["cannot open", "secret", "ermission denied"]);
    } else {
        let _ = writeln!(std::io::stderr(), "skipped: root may read every file");
    }
}

#[test]
fn broken_compression_ends_with_3_and_names_path_and_offset() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = "some words and an error\n".repeat(20_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    let gzip = encoder.finish().expect("memory takes it");
    let zstd = zstd::encode_all(text.as_bytes(), 1).expect("memory takes it");
    let cut = |bytes: &[u8]| bytes[..bytes.len() * 2 / 3].to_vec();
    let damaged = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20].fill(0xff);
        bytes
    };
    for (name, bytes, reason) in [
        ("cut.gz", cut(&gzip), "truncated"),
        ("cut.zst", cut(&zstd), "truncated"),
        ("head.gz", gzip[..5].to_vec(), "truncated"),
        ("damaged.gz", damaged(&gzip), "corrupt"),
        ("damaged.zst", damaged(&zstd), "corrupt"),
        ("tail.gz", [&gzip[..], b"and bytes of another kind"].concat(), "not gzip"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        for workers in ["1", "2"] {
            let ended = run(&["run", "word-count", "-w", workers, "--source", &uri("file", &path, "")]);
            let ended = ended.exits(3).says(&[name, reason, "hint: "]);
            if name != "head.gz" {
                ended.says(&["at byte "]);
            }
        }
    }
}

#[test]
fn a_bad_command_line_ends_with_2_and_shows_the_usage() {
    for (args, hint) in [
        (&[][..], "Usage: thalweg"),
        (&["run"], "Dataflows:"),
        (&["run", "acess-log"], "access-log"),
        (&["runn", "access-log"], "'run'"),
        (&["run", "access-log", "--sorce", "stdin:"], "--source"),
        (&["run", "access-log", "--min-requets", "3"], "--min-requests"),
        (&["run", "access-log", "--top"], "--top"),
        (&["run", "word-count", "--top", "3"], "--top"),
        (&["generate", "words", "--lnes", "3"], "--lines"),
        (&["list", "acess-log"], "access-log"),
    ] {
        let ended = run(args).exits(2).says(&[hint]);
        assert!(ended.stdout.is_empty(), "{args:?} says it on standard error");
    }
}

#[test]
fn help_is_on_standard_output_and_ends_with_0() {
    for args in [&["--help"][..], &["run", "--help"], &["run", "access-log", "--help"], &["--version"]] {
        let ended = run(args).exits(0);
        assert!(ended.text().contains("thalweg") && ended.stderr.is_empty(), "{args:?}: {}", ended.stderr);
    }
    // -h is timely's host file, not help.
    run(&["run", "access-log", "-n", "2", "-h", "/nonexistent/hosts"]).exits(2).says(&["/nonexistent/hosts"]);
}

#[test]
fn a_bad_value_ends_with_2_and_says_what_would_do() {
    for (args, hints) in [
        (&["--workers", "0"][..], &["--workers 0", "1 to 1024"][..]),
        (&["-w", "1025"], &["--workers 1025", "1 to 1024"]),
        (&["-w", "99999999999999999999999"], &["--workers 9", "1 to 1024"]),
        (&["-n", "1025"], &["--processes 1025", "1 to 1024"]),
        (&["-w", "-1"], &["'-1'"]),
        (&["-w", "two"], &["--workers two"]),
        (&["-n", "2", "-p", "2"], &["--process 2", "numbered from 0"]),
        (&["--tick", "5"], &["--tick 5", "500ms"]),
        (&["--tick", "0s"], &["--tick 0s", "more than nothing"]),
        (&["--epoch-bytes", "0"], &["--epoch-bytes 0"]),
        (&["--chunk-bytes", "much"], &["--chunk-bytes much"]),
        (&["--max-line", "0"], &["--max-line 0"]),
        (&["--summary", "yaml"], &["text, json, none"]),
        (&["--log", "loud"], &["--log loud"]),
        (&["--top", "ten"], &["--top ten"]),
        (&["--min-requests", "-1"], &["'-1'"]),
        (&["--pattern", "("], &["--pattern ("]),
        (&["--pattern", "(?<cleint>.)"], &["cleint", "client"]),
        (&["--source", "htp://x"], &["htp://x", "file:PATH"]),
        (&["--source", "file:"], &["which file"]),
        (&["--source", "stdin:", "--source", "stdin:"], &["once"]),
        (&["--sink", "stdout"], &["a sink is a URI", "console:"]),
        (&["--sink", "jsnl:x"], &["jsnl", "`jsonl:`"]),
        (&["--sink", "jsonl:"], &["jsonl:-"]),
        (&["--sink", "jsonl:-?mode=all"], &["changes, update, complete"]),
        (
            &["--sink", "jsonl:-?mode=append"],
            &["jsonl:-?mode=append", "frequent_clients", "top_endpoints", "mode=update"],
        ),
        (&["--sink", "jsonl:-?at=noon"], &["epoch, end"]),
        (&["--sink", "jsonl:-?mod=update"], &["`mod`", "mode, at"]),
        (&["--sink", "console:?rows=many"], &["rows `many`"]),
        (&["--config", "/nonexistent/thalweg.toml"], &["/nonexistent/thalweg.toml"]),
    ] {
        let args = [&["run", "access-log"], args].concat();
        let ended = run(&args);
        let ended = ended.exits(2).says(hints);
        assert!(ended.stdout.is_empty(), "{args:?} writes nothing");
    }
    run(&["run", "error-lines", "--contains", ""]).exits(2).says(&["--contains", "empty text"]);
}

/// Runs access-log with `toml` as its configuration.
fn configured(toml: &str, args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("thalweg.toml");
    fs::write(&path, toml).expect("written");
    let config = path.to_str().expect("a plain name");
    run(&[&["run", "access-log", "--log", "error", "--config", config], args].concat())
}

#[test]
fn a_bad_configuration_ends_with_2_and_names_the_key() {
    for (toml, hints) in [
        ("wrokers = 2", &["`wrokers`", "did you mean `workers`?", "thalweg.toml"][..]),
        ("min-requets = 1", &["did you mean `min-requests`?"]),
        ("min_requests = 1", &["did you mean `min-requests`?"]),
        ("contains = 'x'", &["unknown key `contains`"]),
        ("config = 'other.toml'", &["unknown key `config`"]),
        ("workers = 0", &["1 to 1024"]),
        ("workers = [1, 2]", &["`workers` is a list"]),
        ("source = [['file:x']]", &["`source` is a list"]),
        ("[sink]\nuri = 'console:'", &["`sink` is a table"]),
        ("workers = = 2", &["not TOML", "line 1"]),
        ("workers = 1\nworkers = 2", &["not TOML", "line 2"]),
        ("\u{1}", &["not TOML"]),
    ] {
        configured(toml, &[]).exits(2).says(hints);
    }
}

#[test]
fn a_configuration_is_used_and_flags_win_over_it() {
    let toml = "source = ['file:data/access.log']\nsink = 'jsonl:-?mode=complete&at=end'\ntop = 3\nworkers = 2\n\
                min-requests = 1000\nchunk-bytes = '16KiB'\nepoch-bytes = '64KiB'\nlog = 'error'\nsummary = 'json'\n";
    let ended = configured(toml, &[]).exits(0);
    assert_eq!(rows(&ended.stdout, "top_endpoints").len(), 3);
    assert_eq!(rows(&ended.stdout, "frequent_clients").len(), 0);
    assert!(ended.summary()["epochs"].as_u64() > Some(3), "{}", ended.stderr);

    let ended = configured(toml, &["--top", "5", "--min-requests", "0", "--epoch-bytes", "1GiB"]).exits(0);
    assert_eq!(rows(&ended.stdout, "top_endpoints").len(), 5);
    assert!(rows(&ended.stdout, "frequent_clients").len() > 10);
    assert_eq!(ended.summary()["epochs"], 1);
    // Lists too: a flag replaces what the file says.
    configured(toml, &["--source", "file:/nonexistent"]).exits(3).says(&["/nonexistent"]);
}

#[test]
fn what_cannot_be_written_ends_with_4_and_says_where() {
    let dir = tempfile::tempdir().expect("a directory");
    for (path, reason) in [
        (dir.path().join("no/such/out.jsonl"), "No such file or directory"),
        (dir.path().to_owned(), "Is a directory"),
        ("/dev/full".into(), "No space left on device"),
    ] {
        let shown = path.display().to_string();
        for workers in ["1", "2"] {
            let args = ["run", "word-count", "-w", workers, "--sink", &uri("jsonl", &path, "")];
            run(&args).exits(4).says(&["cannot ", &shown, reason]);
        }
    }
}

#[test]
fn a_sink_does_not_destroy_the_input_or_another_sink() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    fs::write(path("words.log"), "precious words\n").expect("written");
    symlink("words.log", path("alias.log")).expect("linked");
    for sink in ["words.log", "alias.log"] {
        let (source, sink) = (uri("file", &path("words.log"), ""), uri("jsonl", &path(sink), ""));
        run(&["run", "word-count", "--source", &source, "--sink", &sink])
            .exits(2)
            .says(&["overwrite", "words.log"]);
        assert_eq!(fs::read(path("words.log")).expect("still there"), b"precious words\n");
    }
    let twice = |query: &str| uri("jsonl", &path("out.jsonl"), query);
    run(&["run", "word-count", "--sink", &twice(""), "--sink", &twice("?mode=update")])
        .exits(2)
        .says(&["overwrite", "out.jsonl"]);
    // Whoever appends has no rows of word-count to append, and so does not empty the file.
    fs::write(path("out.jsonl"), "precious\n").expect("written");
    run(&["run", "word-count", "-w", "2", "--sink", &twice("?mode=append")])
        .exits(2)
        .says(&["(words)", "hint: "]);
    assert_eq!(fs::read(path("out.jsonl")).expect("still there"), b"precious\n");
}
