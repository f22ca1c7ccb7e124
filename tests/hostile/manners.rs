//! What a user at a terminal, a shell or a pager may expect of any command.

use std::fs;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Ended, Running, command, rows, run, run_on, uri};

/// A file with so many lines that what is shown of them is far more than fits in a pipe.
fn large(dir: &Path) -> PathBuf {
    let path = dir.join("large.log");
    let lines: String = (0..40_000).map(|n| format!("error number {n} of a great many\n")).collect();
    fs::write(&path, lines).expect("written");
    path
}

/// A run that is held still: it has begun to write more than a pipe takes, and nobody reads it.
fn held(dir: &Path) -> (Running, std::process::ChildStdout) {
    let path = large(dir);
    let mut command = command();
    command.args(["run", "error-lines", "--source", &uri("file", &path, ""), "--log", "debug"]);
    command.args(["--sink", "jsonl:-?mode=changes", "--epoch-bytes", "64KiB", "--chunk-bytes", "16KiB"]);
    let mut running = Running::start(&mut command);
    let mut stdout = running.stdout();
    stdout.read_exact(&mut [0]).expect("a first byte comes");
    (running, stdout)
}

/// `timeout` sends a signal to the process and one to its group.
#[test]
fn signals_that_come_together_are_one_and_a_later_one_is_a_second() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut running, mut stdout) = held(dir.path());
    let said = running.stderr_lines();
    // The process sees both in the moment in which it goes on.
    let id = running.id();
    let kill = format!("kill -s STOP {id} && kill -s INT {id} && kill -s TERM {id} && kill -s CONT {id}");
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("`sh` runs").success(), "{kill}");
    said.until("ending in order");
    said.until("a second signal ends at once");
    std::io::copy(&mut stdout, &mut std::io::sink()).expect("the rest can be read");
    running.wait().exits(0);

    let (mut running, stdout) = held(dir.path());
    let said = running.stderr_lines();
    running.signal("INT");
    said.until("a second signal ends at once");
    running.signal("TERM");
    said.until("ended by a second signal");
    running.wait().exits(130);
    drop(stdout);
}

/// As with `| head`, and with a pager that is quit.
#[test]
fn a_reader_that_goes_away_has_seen_enough() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = uri("file", &large(dir.path()), "");
    for (sink, workers) in
        [("jsonl:-?mode=changes", "1"), ("jsonl:-?mode=changes", "2"), ("console:?at=epoch", "1")]
    {
        let mut command = command();
        command.args(["run", "error-lines", "--source", &source, "--sink", sink, "-w", workers]);
        command.args(["--epoch-bytes", "64KiB", "--chunk-bytes", "16KiB"]);
        let mut running = Running::start(&mut command);
        running.stdout().read_exact(&mut [0]).expect("a first byte comes");
        // That was all.
        let ended = running.wait().exits(0);
        assert_eq!(ended.stderr, "", "{sink} -w {workers}");
    }
    // What is written at the end alone.
    let mut running = Running::start(command().args(["run", "error-lines", "--source", &source]));
    drop(running.stdout());
    assert_eq!(running.wait().exits(0).stderr, "");
    // Live, it ends with the next change, and not only when the input does.
    let mut command = command();
    command.args(["run", "word-count", "-", "--sink", "jsonl:-?mode=changes", "--tick", "20ms"]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    drop(running.stdout());
    stdin.write_all(b"word\n").expect("it reads");
    assert_eq!(running.wait().exits(0).stderr, "");
    for args in [&["list"][..], &["--help"], &["generate", "words", "--lines", "unlimited"]] {
        let mut running = Running::start(crate::support::command().args(args));
        drop(running.stdout());
        assert_eq!(running.wait().exits(0).stderr, "", "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_takes_nothing_from_other_sinks() {
    let dir = tempfile::tempdir().expect("a directory");
    let (input, output) = (large(dir.path()), dir.path().join("out.jsonl"));
    let mut command = command();
    command.args(["run", "error-lines", "--epoch-bytes", "64KiB", "--chunk-bytes", "16KiB"]);
    command.args(["--source", &uri("file", &input, ""), "--sink", "jsonl:-?mode=changes"]);
    command.args(["--sink", &uri("jsonl", &output, "?mode=update")]);
    let mut running = Running::start(&mut command);
    drop(running.stdout());
    running.wait().exits(0).says(&["40,000 lines: 40,000 parsed"]);
    let counts = rows(&fs::read(output).expect("written"), "error_count");
    assert_eq!(counts.last(), Some(&json!({ "count": 40_000 })));
}

#[test]
fn a_closed_output_is_an_error() {
    for (args, what) in [
        ("run word-count", "cannot write to `console:`"),
        ("run word-count --sink jsonl:-", "cannot write to `jsonl:-`"),
        ("list", "cannot write to standard output"),
        ("--help", "cannot write to standard output"),
        ("generate words --lines 10", "cannot write"),
    ] {
        for closing in [">&-", "<&- >&-"] {
            let shell = format!("exec \"$0\" {args} {closing}");
            let program = command().get_program().to_owned();
            let mut sh = Command::new("sh");
            sh.current_dir(env!("CARGO_MANIFEST_DIR")).arg("-c").arg(shell).arg(program);
            sh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            Running::start(&mut sh).wait().exits(4).says(&[what, "standard output is closed"]);
        }
    }
    // Nobody who throws it away has closed it; and whoever writes elsewhere needs no standard output.
    let dir = tempfile::tempdir().expect("a directory");
    let sink = uri("jsonl", &dir.path().join("out.jsonl"), "");
    for rest in [
        "list >/dev/null".to_owned(),
        "list 1<>/dev/null".to_owned(),
        format!("run word-count --sink {sink} >&-"),
    ] {
        let mut sh = Command::new("sh");
        sh.current_dir(env!("CARGO_MANIFEST_DIR")).arg("-c").arg(format!("exec \"$0\" {rest}"));
        sh.arg(command().get_program()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(&mut sh).wait().exits(0);
    }
    assert!(!fs::read(dir.path().join("out.jsonl")).expect("written").is_empty());
}

/// The counts of words in a last state.
#[track_caller]
fn words(ended: &Ended) -> serde_json::Value {
    rows(&ended.stdout, "words").into()
}

const LAST: [&str; 4] = ["--sink", "jsonl:-?mode=complete&at=end", "--log", "error"];

#[test]
fn paths_are_read_as_they_stand() {
    let dir = tempfile::tempdir().expect("a directory");
    // The names look like a glob, a URI, a named input, and an option.
    for (name, word) in
        [("a.log", "one"), ("[a].log", "two"), ("file:b.log", "three"), ("c=d", "four"), ("-e", "five")]
    {
        fs::write(dir.path().join(name), format!("{word}\n")).expect("written");
    }
    let here = |args: &[&str]| {
        let mut command = command();
        command.current_dir(dir.path()).args(["run", "word-count"]).args(LAST).args(args);
        Running::start(&mut command).wait()
    };
    let one = |word: &str| json!([{ "word": word, "count": 1 }]);
    for (args, word) in [
        (&["a.log"][..], "one"),
        (&["./a.log"], "one"),
        (&["--source", "a.log"], "one"),
        (&["--source", "./a.log"], "one"),
        (&["[a].log"], "two"),
        (&["--source", "[a].log"], "two"),
        (&["file:b.log"], "three"),
        (&["c=d"], "four"),
        (&["--", "-e"], "five"),
    ] {
        assert_eq!(words(&here(args).exits(0)), one(word), "{args:?}");
    }
    let both = json!([{ "word": "four", "count": 1 }, { "word": "one", "count": 1 }]);
    assert_eq!(words(&here(&["a.log", "c=d"]).exits(0)), both, "several are all read");
    assert_eq!(words(&here(&["a.log", "--source", "c=d"]).exits(3)), json!([]), "a name is a name in a URI");
    assert_eq!(words(&here(&["a.log", "--source", "./c=d"]).exits(0)), both, "beside what --source says");
    fs::write(dir.path().join("config.toml"), "source = 'a.log'\n").expect("written");
    assert_eq!(words(&here(&["--config", "config.toml"]).exits(0)), one("one"));
    let instead = here(&["--config", "config.toml", "c=d"]).exits(0);
    assert_eq!(words(&instead), one("four"), "the command line counts, and not the configuration");
}

#[test]
fn a_dash_is_standard_input() {
    let expected = json!([{ "word": "dash", "count": 2 }]);
    for args in [&["-"][..], &["--source", "-"]] {
        let args = [&["run", "word-count"], &LAST[..], args].concat();
        assert_eq!(words(&run_on(&args, b"dash dash\n").exits(0)), expected, "{args:?}");
    }
    run(&["run", "word-count", "-", "-"]).exits(2).says(&["once"]);
}

/// A shell hands over a glob as names in alphabetical order; a later one of these files is late if it is read first.
#[test]
fn several_paths_are_one_sequence_in_the_order_of_a_glob() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = |hour: u32| format!("{{\"action\": \"hour {hour}\", \"time\": {}}}\n", 3600 * hour);
    // The oldest rotation is the last by name.
    let names = ["access.log", "access.log.1", "access.log.10", "access.log.2"];
    for (name, hour) in names.iter().zip([13, 12, 10, 11]) {
        fs::write(dir.path().join(name), line(hour)).expect("written");
    }
    let shown = |paths: &[String]| {
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let sink = ["--sink", "jsonl:-?mode=append", "--log", "error", "--summary", "json"];
        let tuned = ["--epoch-bytes", "16B", "--lateness", "1s"];
        let ended = run(&[&["run", "action-counts"], &paths[..], &sink, &tuned].concat()).exits(0);
        (ended.summary()["late"].clone(), ended.stdout)
    };
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain name").to_owned();
    let by_name = names.map(path);
    let glob = shown(&["--source".to_owned(), uri("file", &dir.path().join("*.log*"), "")]);
    assert_eq!(glob.0, 0, "the oldest is read first");
    assert!(!glob.1.is_empty(), "windows are shown");
    assert_eq!(shown(&by_name), glob);
    let mut backwards = by_name.clone();
    backwards.reverse();
    assert_eq!(shown(&backwards), glob);
    let twice = [&by_name[..], &by_name[..1]].concat();
    assert_eq!(shown(&twice), glob, "a file that is named twice is read once");
    let side_by_side: Vec<_> =
        by_name.iter().flat_map(|path| ["--source".to_owned(), path.clone()]).collect();
    assert_ne!(shown(&side_by_side), glob, "which is not how several sources are read");
}

#[test]
fn of_many_files_with_one_fault_a_few_are_named_and_all_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    // Each is a day older than the one before.
    for day in 1..=20 {
        let line =
            format!("1.2.3.4 - - [{:02}/May/2015:10:05:00 +0000] \"GET / HTTP/1.1\" 200 1\n", 28 - day);
        fs::write(dir.path().join(format!("{day:02}.log")), line).expect("written");
        // Gzip's magic, and nothing that can be decompressed.
        fs::write(dir.path().join(format!("{day:02}.gz")), b"\x1f\x8b\x08\0\0\0\0\0\0\0 damaged")
            .expect("written");
    }
    let read = |pattern: &str| {
        let source = uri("file", &dir.path().join(pattern), "");
        run(&["run", "log-stats", "--source", &source, "--epoch-bytes", "16B", "--sink", "jsonl:/dev/null"])
    };
    let all = "19 files or other inputs in all began with records older than what was read before them";
    let old = read("*.log").exits(0).says(&[all, "02.log so far is older", "06.log so far is older"]);
    let all = "20 files in all could not be read to their end by worker 0";
    let damaged = read("*.gz").says(&[all, "01.gz", "05.gz"]);
    for (ended, what) in [(&old, "so far is older"), (&damaged, "what comes after is lost")] {
        assert_eq!(ended.stderr.matches(what).count(), 5, "{}", ended.stderr);
    }
}

#[test]
fn where_the_default_source_is_not_the_command_says_what_to_give_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = command();
    command.current_dir(dir.path()).args(["run", "access-log"]);
    let ended = Running::start(&mut command).wait().exits(3);
    let ended =
        ended.says(&["default source file:data/access.log is not in ", "`thalweg run access-log my.log`"]);
    ended.says(&["--source", dir.path().to_str().expect("a plain name")]);
}

#[test]
fn no_output_destroys_what_the_run_goes_by() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain name").to_owned();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/networks.csv"), path("table.csv"))
        .expect("copied");
    fs::write(path("config.toml"), "top = 3\n").expect("written");
    fs::write(path("secret"), "shared\n").expect("written");
    fs::write(path("hosts"), "127.0.0.1:1\n127.0.0.1:2\n").expect("written");
    for (name, what, args) in [
        ("table.csv", "the table ", &["enrich", "--table", &path("table.csv")][..]),
        ("config.toml", "the configuration ", &["access-log", "--config", &path("config.toml")]),
        (
            "secret",
            "the cluster secret ",
            &["word-count", "-n", "2", "--cluster-secret-file", &path("secret")],
        ),
        ("hosts", "the host file ", &["word-count", "-n", "2", "-h", &path("hosts")]),
    ] {
        let before = fs::read(path(name)).expect("there");
        // Under another name, too.
        symlink(name, path("alias")).expect("linked");
        for output in [name, "alias"] {
            let sink = uri("jsonl", &dir.path().join(output), "");
            let ended = run(&[&["run"], args, &["--sink", &sink]].concat()).exits(2);
            ended.says(&[&format!("sink `{sink}` would overwrite {what}"), name, "hint: "]);
            assert_eq!(fs::read(path(name)).expect("still there"), before);
        }
        fs::remove_file(path("alias")).expect("removed");
    }
}

#[test]
fn what_a_run_goes_by_is_an_ordinary_file_of_sane_length() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain name").to_owned();
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("`mkfifo` runs").success());
    fs::write(path("long"), "#".repeat((1 << 20) + 1)).expect("written");
    for (name, reason) in [
        (path("pipe"), "not an ordinary file"),
        ("/dev/zero".to_owned(), "not an ordinary file"),
        (path("long"), "longer than 1 MiB"),
    ] {
        run(&["run", "word-count", "--config", &name]).exits(2).says(&[
            "cannot read the configuration",
            &name,
            reason,
        ]);
        run(&["run", "word-count", "-n", "2", "-h", &name]).exits(2).says(&["the host file", &name, reason]);
    }
}

/// Such as those of `/proc`.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_tells_no_length_is_read_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let tail = dir.path().join("tail.log");
    fs::write(&tail, "and a file\n").expect("written");
    // It does not change while it is looked at, and is longer than a first read of it gives.
    let path = "/proc/filesystems";
    assert_eq!(fs::metadata(path).expect("there").len(), 0);
    let lines = fs::read_to_string(path).expect("it can be read").lines().count();
    assert!(lines > 1);
    for workers in ["1", "2"] {
        let args = ["run", "word-count", path, tail.to_str().expect("a plain name"), "-w", workers];
        let ended = run(&[&args[..], &["--summary", "json"], &LAST].concat()).exits(0);
        assert_eq!(ended.summary()["lines"], lines + 1);
        assert!(words(&ended).as_array().expect("rows").iter().any(|row| row["word"] == "file"));
    }
}

/// A terminal: what is written to the second file can be read from the first.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name").into_string().expect("a plain name");
    let not_ours = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    let theirs = File::options().read(true).write(true).custom_flags(not_ours).open(name);
    let theirs = theirs.expect("the other end");
    (File::from(ours), theirs)
}

/// What stands on a terminal in the end.
fn shown_on(terminal: &mut File) -> Vec<u8> {
    let mut shown = Vec::new();
    // Linux ends it with an error when nobody has the other end any more.
    let _ = terminal.read_to_end(&mut shown);
    shown
}

#[test]
fn a_terminal_that_wants_no_escape_sequences_gets_none() {
    for (name, value, escapes) in
        [("TERM", "xterm", true), ("NO_COLOR", "", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
    {
        for args in [&["run", "word-count", "--log", "debug"][..], &["run", "wrod-count"], &["--help"]] {
            let (mut ours, theirs) = terminal();
            let mut command = command();
            command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value).args(args);
            command.stdout(theirs.try_clone().expect("another one")).stderr(theirs);
            let running = Running::start(&mut command);
            drop(command);
            let shown = shown_on(&mut ours);
            running.wait();
            assert!(!shown.is_empty(), "{args:?}");
            let text = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
            let any = text.contains('\x1b');
            // Help and mistakes are plain everywhere.
            assert_eq!(any, escapes && args.contains(&"word-count"), "{name}={value} {args:?}: {text:?}");
            assert!(escapes || !text.contains('\r'), "nothing is redrawn: {text:?}");
        }
    }
}

#[test]
fn progress_is_redrawn_on_a_terminal_and_not_on_a_plain_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = uri("file", &large(dir.path()), "");
    for (term, redrawn) in [("xterm", true), ("dumb", false)] {
        let (mut ours, theirs) = terminal();
        let mut command = command();
        command.env("TERM", term).env_remove("NO_COLOR").stderr(theirs);
        command.args(["run", "error-lines", "--source", &source, "--sink", "jsonl:-?mode=changes"]);
        command.args(["--epoch-bytes", "64KiB", "--chunk-bytes", "16KiB"]);
        let mut running = Running::start(&mut command);
        drop(command);
        let mut stdout = running.stdout();
        if redrawn {
            // It is held still until there is a bar.
            let mut byte = [0];
            while byte[0] != b'\x1b' {
                ours.read_exact(&mut byte).expect("a bar comes");
            }
        }
        let reading = std::thread::spawn(move || shown_on(&mut ours));
        std::io::copy(&mut stdout, &mut std::io::sink()).expect("the rest can be read");
        running.wait().exits(0);
        let shown = reading.join().expect("it read");
        let text = String::from_utf8_lossy(&shown);
        assert!(text.contains("40,000 lines"), "{text}");
        assert_eq!(text.contains('\x1b'), redrawn, "{text}");
    }
}
