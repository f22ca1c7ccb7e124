//! What the guide shows is what comes out: its commands are run from there.

use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::support::{Running, free_ports};

const GUIDE: &str = include_str!("../../src/guide/lessons.rs");

/// A block of the guide: commands, each behind a `$`, of which the first feeds the run, and what the run shows.
struct Recipe {
    feeds: String,
    run: String,
    shows: Vec<String>,
}

fn recipes() -> Vec<Recipe> {
    let line =
        |line: &'static str| line.strip_prefix("//! ").or(line.strip_prefix("//!")).unwrap_or_default();
    let text = GUIDE.lines().map(line).collect::<Vec<_>>().join("\n");
    let blocks = text.split("```text\n").skip(1).filter_map(|block| block.split("```").next());
    let recipe = |block: &str| {
        let mut commands = block.lines().filter_map(|line| line.strip_prefix("$ "));
        let (first, second) = (commands.next()?.to_owned(), commands.next()?.to_owned());
        let shows = block.lines().filter(|line| !line.is_empty() && *line != "…" && !line.starts_with("$ "));
        // Files are moved while the run goes on; everything else is there before.
        let (feeds, run) = if first.starts_with("thalweg") { (second, first) } else { (first, second) };
        Some(Recipe { feeds, run, shows: shows.map(str::to_owned).collect() })
    };
    blocks.filter_map(recipe).collect()
}

/// A directory as the guide has it: with `data`, and `incoming`, into which files are moved.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    std::os::unix::fs::symlink(&data, dir.path().join("data")).unwrap();
    std::fs::create_dir(dir.path().join("incoming")).unwrap();
    std::fs::copy(data.join("access.log"), dir.path().join("yesterday.log")).unwrap();
    dir
}

/// `command` with a port of its own, in `dir`.
fn shell(command: &str, ports: &[(&str, u16)], dir: &Path) -> Command {
    let mut command = command.trim_end_matches('&').trim().to_owned();
    for (port, free) in ports {
        command = command.replace(port, &free.to_string());
    }
    // A pause between chunks is for people.
    let command = command.replace("sleep 10", ":");
    let mut shell = Command::new("sh");
    let run = command.replace("thalweg run", &format!("exec {} run", env!("CARGO_BIN_EXE_thalweg")));
    shell.args(["-c", &run]).current_dir(dir).stdin(Stdio::null()).stderr(Stdio::null());
    // A group of its own, so that all of a pipe can be ended.
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    shell
}

/// Times of the clock differ from run to run.
fn timeless(text: &str) -> String {
    let time = Regex::new(r"20(2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
    // Columns are as wide as the widest time.
    let blanks = Regex::new(" +").unwrap();
    blanks.replace_all(&time.replace_all(text, "(a time)"), " ").into_owned()
}

#[test]
fn the_guide_shows_what_comes_out() {
    let recipes = recipes();
    assert!(recipes.len() >= 7, "the guide has {} recipes", recipes.len());
    for recipe in recipes {
        let dir = directory();
        let [a, b] = free_ports(2)[..] else { panic!("two ports") };
        let ports = [("9999", a), ("8888", b)];
        let mut feeding = shell(&recipe.feeds, &ports, dir.path());
        let moves = recipe.feeds.starts_with("mv ");
        let before = (!moves).then(|| Group(feeding.stdout(Stdio::null()).spawn().unwrap()));
        let mut running = Running::start(shell(&recipe.run, &ports, dir.path()).stdout(Stdio::piped()));
        let shown = running.stdout_lines();
        if moves {
            // It shows something once it has listed the directory.
            shown.until("input");
            assert!(feeding.status().unwrap().success(), "{}", recipe.feeds);
        }
        for line in recipe.shows.iter().map(|line| timeless(line)) {
            let mut passed = Vec::new();
            loop {
                let next = timeless(&shown.until(""));
                if next == line {
                    break;
                }
                passed.push(next);
                assert!(passed.len() < 10_000, "`{}` does not show `{line}`, but {passed:#?}", recipe.run);
            }
        }
        running.signal("TERM");
        shown.rest();
        running.wait().exits(0);
        drop(before);
    }
}

/// Programs that are ended together.
struct Group(std::process::Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", &format!("kill -- -{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}
