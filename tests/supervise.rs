//! `thalweg cluster`: real processes, which die, are killed, or are asked to end.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;

use cluster_support::{Cluster, LONG, Process, faulty, poll, thalweg};

/// The processes that have been started by process `parent` and run.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // What stands behind the name: the state, and the parent.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let is_running = !matches!(rest.next()?, "Z" | "X");
        (rest.next()?.parse::<u32>().ok()? == parent && is_running).then_some(id)
    });
    let mut ids: Vec<_> = processes.collect();
    ids.sort_unstable();
    ids
}

fn is_running(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.split_whitespace().next(), Some("Z" | "X")))
}

fn kill(id: u32) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}

/// A count of the words of a file that grows, in two processes.
fn follow(cluster: &Cluster) -> Process {
    cluster.write("log", "one\ntwo\n");
    cluster.alone(
        "cluster -n 2 --restarts 9 -- run word-count --follow log --tick 20ms --sink jsonl:out?mode=changes --log info",
    )
}

fn wait_for(process: &Process, text: &str, times: usize) {
    poll(LONG, text, || (process.stderr().matches(text).count() >= times).then_some(()));
}

fn append(cluster: &Cluster, text: &str) {
    let content = cluster.read("log") + text;
    cluster.write("log", content);
}

#[test]
fn an_input_that_ends_is_answered_as_by_one_process() {
    let cluster = Cluster::new(thalweg(), 1);
    cluster.write("log", "b a\na c\n".repeat(1000));
    cluster.alone("run word-count log --sink jsonl:alone?at=end").ends_with(0, &[]);
    let mut both = cluster.alone("cluster -n 2 -- run word-count log --sink jsonl:out?at=end -w 2");
    both.ends_with(0, &["[0] ", "[1] process 1: done", "without --state nothing is kept"]);
    assert!(cluster.read("out").contains("\"count\":2000"), "{}", cluster.read("out"));
    assert_eq!(cluster.read("out"), cluster.read("alone"));
    assert!(!both.stderr().contains("started again"), "{}", both.stderr());
}

#[test]
fn when_one_is_killed_all_are_started_again() {
    let cluster = Cluster::new(thalweg(), 1);
    let mut supervisor = follow(&cluster);
    for victim in [0, 1] {
        cluster.await_text("out", "\"two\"");
        let before = children(supervisor.id());
        assert_eq!(before.len(), 2, "{}", supervisor.stderr());
        kill(before[victim]);
        wait_for(&supervisor, "all processes are started again", victim + 1);
        poll(LONG, "other processes", || {
            let now = children(supervisor.id());
            (now.len() == 2 && now.iter().all(|id| !before.contains(id))).then_some(())
        });
        append(&cluster, &format!("three{victim}\n"));
        cluster.await_text("out", &format!("\"three{victim}\""));
    }
    let said = supervisor.stderr();
    assert!(said.contains("was ended by signal 9"), "{said}");
    supervisor.signal("TERM");
    supervisor.ends_with(0, &[]);
}

#[test]
fn nobody_is_left_when_the_supervisor_is_killed() {
    let cluster = Cluster::new(thalweg(), 1);
    let supervisor = follow(&cluster);
    cluster.await_text("out", "\"two\"");
    let processes = children(supervisor.id());
    assert_eq!(processes.len(), 2);
    kill(supervisor.id());
    poll(LONG, "the end of all", || processes.iter().all(|id| !is_running(*id)).then_some(()));
}

#[test]
fn signals_end_all_in_order() {
    for signal in ["INT", "TERM"] {
        let cluster = Cluster::new(thalweg(), 1);
        let mut supervisor = follow(&cluster);
        cluster.await_text("out", "\"two\"");
        let processes = children(supervisor.id());
        supervisor.signal(signal);
        supervisor.ends_with(0, &["[0] interrupted after 2 lines", "[1] process 1: done"]);
        assert!(processes.iter().all(|id| !is_running(*id)));
        assert!(!supervisor.stderr().contains("started again"), "{}", supervisor.stderr());
    }
}

#[test]
fn a_line_that_kills_each_time_is_named_and_given_up() {
    let cluster = Cluster::new(faulty(), 1);
    cluster.write("log", "fine\n!poison\n");
    let mut supervisor = cluster.alone("cluster -n 2 -- run panics log --sink jsonl:out");
    supervisor.ends_with(70, &["gave up: 3 times at the same place", "it worked on", "log"]);
    let said = supervisor.stderr();
    assert_eq!(said.matches("all processes are started again").count(), 2, "{said}");
    let mut once = cluster.alone("cluster -n 2 --restarts 0 -- run panics log --sink jsonl:out");
    once.ends_with(70, &["gave up: 1 failures within 10m"]);
}

#[test]
fn what_cannot_be_is_not_tried_again() {
    let cluster = Cluster::new(thalweg(), 1);
    cluster.write("log", "one\n");
    for (arguments, words) in [
        ("cluster -n 2 -- run word-count log --tick soon", "gave up: another attempt would end the same way"),
        ("cluster -n 2 -- run word-count log -n 3", "`-n` is for the cluster to say"),
        ("cluster -n 2 -- list", "what a cluster does is a run"),
        ("cluster -n 0 -- run word-count log", "it must be from 1 to 64"),
    ] {
        let mut process = cluster.alone(arguments);
        process.ends_with(2, &[words]);
        assert!(!process.stderr().contains("started again"), "{}", process.stderr());
    }
}
