//! The README is true: its commands run, its picture is what comes out, and its program compiles (a doc test).

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use thalweg::runtime::environment;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("the README is there")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The contents of the fenced blocks of `language`.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Runs `command` in the project's root, with the tested binary as `thalweg`, and as what cargo would run.
fn shell(command: &str) -> Output {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_thalweg"));
    let binaries = binary.parent().expect("the binary is in a directory");
    let path = format!("{}:{}", binaries.display(), environment("PATH").unwrap_or_default());
    let command = command.replace("cargo run --release -- ", "thalweg ");
    // A log that is followed has no end: it is ended in order, as a user would.
    let command = match command.strip_prefix("thalweg ").filter(|rest| rest.contains("--follow")) {
        Some(rest) => format!("timeout --preserve-status -s TERM 3 thalweg {rest}"),
        None => command,
    };
    let command = command.replace("/var/log/nginx/access.log", "data/access.log");
    // The ports that timely takes by default may be taken.
    let hosts = tempfile::NamedTempFile::new().expect("a file");
    let ports = support::free_ports(2).into_iter().map(|port| format!("127.0.0.1:{port}\n"));
    std::fs::write(hosts.path(), ports.collect::<String>()).expect("written");
    let command = command.replace(" -n 2 ", &format!(" -n 2 -h {} ", hosts.path().display()));
    Command::new("sh")
        .args(["-c", &command])
        .current_dir(root())
        .env("PATH", path)
        .output()
        .expect("there is a shell")
}

#[test]
fn commands_run() {
    let text = readme();
    let blocks = blocks(&text, "sh");
    let commands: Vec<_> =
        blocks.iter().flat_map(|block| block.lines()).filter(|line| *line != "tests/run").collect();
    assert!(commands.len() >= 8, "the README shows only {commands:?}");
    for command in commands {
        let output = shell(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{command}` ended with {}: {said}", output.status);
        assert!(!output.stdout.is_empty(), "`{command}` says nothing");
    }
}

#[test]
fn the_picture_is_what_comes_out() {
    let text = readme();
    let picture = blocks(&text, "text")[0];
    // As a terminal would show it.
    let output = shell("thalweg run access-log --sink 'console:?rows=20'");
    let shown = String::from_utf8(output.stdout).expect("tables are text");
    let mut rest = shown.lines();
    for line in picture.lines().filter(|line| *line != "…") {
        assert!(rest.any(|shown| shown == line), "the README shows `{line}`, but what comes out is\n{shown}");
    }
}

#[test]
fn what_commands_are_said_to_show_they_show() {
    let text = readme();
    let said =
        blocks(&text, "text").into_iter().filter_map(|block| block.strip_prefix("$ ")?.split_once('\n'));
    let mut shown = 0;
    for (command, expected) in said {
        let output = shell(command);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected.trim(), "`{command}`");
        shown += 1;
    }
    assert!(shown > 0, "the README shows what a command prints");
}

#[test]
fn the_test_command_is_what_continuous_integration_runs() {
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect("it is there");
    assert!(blocks(&readme(), "sh").iter().any(|block| block.trim() == "tests/run"));
    assert!(ci.lines().any(|line| line == "tests/run"), "{ci}");
}
