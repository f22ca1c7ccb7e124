//! Syslog, as a format and around other lines.

#![allow(clippy::disallowed_methods, reason = "the environment says which tests go without their servers")]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use thalweg::envelope::{Envelope, EnvelopeKind};
use thalweg::format::{LineFormat, Syslog, SyslogRecord};
use thalweg::prelude::*;
use thalweg::runtime::now;
use thalweg::testing::{Script, collection};

use super::{access_log, sample, shown_views};
use crate::support::{DEADLINE, Running, command, run, uri};

/// 2024-03-14 09:00 UTC.
const NOW: Time = Time(1_710_406_800_000);

fn text(bytes: Option<&[u8]>) -> &str {
    bytes.map_or("-", |bytes| std::str::from_utf8(bytes).unwrap())
}

/// What a record says, in a line: priority, time, host, program, process, kind and message.
fn said(record: &SyslogRecord<'_>) -> String {
    let priority = record.priority().map_or("-".to_owned(), |priority| priority.to_string());
    let time = record.time(NOW).map_or("-".to_owned(), |time| time.to_string());
    let of = [record.host(), record.app(), record.procid(), record.msgid()].map(text).join(" ");
    format!("{priority} {time} {of} | {}", text(Some(record.message())))
}

#[test]
fn the_dialects_are_read() {
    let t = "2024-03-11T22:14:15Z";
    for (line, expected) in [
        // RFC 3164: its own examples.
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "34 2023-10-11T22:14:15Z mymachine su - - | 'su root' failed for lonvick on /dev/pts/8"
                .to_owned(),
        ),
        (
            "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
            "13 2024-02-05T17:32:18Z 10.0.0.99 - - - | Use the BFG!".to_owned(),
        ),
        // Files of rsyslog, and a socket of this machine.
        ("Mar 11 22:14:15 web su[42]: x", format!("- {t} web su 42 - | x")),
        (
            "2024-03-11T22:14:15.123456+00:00 web su[42]: x",
            "- 2024-03-11T22:14:15.123Z web su 42 - | x".to_owned(),
        ),
        ("<30>Mar 11 22:14:15 su[42]: x", format!("30 {t} - su 42 - | x")),
        ("Mar 11 22:14:15 web kernel: [    0.5] x", format!("- {t} web kernel - - | [    0.5] x")),
        (
            "Mar 11 22:14:15 web last message repeated 2 times",
            format!("- {t} web - - - | last message repeated 2 times"),
        ),
        ("Mar 11 22:14:15 web postfix/smtpd[7]: a: b", format!("- {t} web postfix/smtpd 7 - | a: b")),
        ("Mar 11 22:14:15 fe80::1 su: x", format!("- {t} fe80::1 su - - | x")),
        ("Mar 11 22:14:15 web http://x/ is down", format!("- {t} web - - - | http://x/ is down")),
        ("Mar 11 22:14:15 web su:", format!("- {t} web su - - | ")),
        ("Mar 11 22:14:15 web", format!("- {t} - - - - | web")),
        ("Mar 11 22:14:15", format!("- {t} - - - - | ")),
        // Network devices.
        (
            "<187>29: *Mar 11 22:14:15.003 UTC: %SYS-5-CONFIG_I: x",
            "187 2024-03-11T22:14:15.003Z - %SYS-5-CONFIG_I - - | x".to_owned(),
        ),
        (
            "<187>Mar 11 2019 22:14:15 asa : %ASA-6-1: x",
            "187 2019-03-11T22:14:15Z asa - - - | : %ASA-6-1: x".to_owned(),
        ),
        ("<187>Mar 11 22:14:15 2019 asa: x", "187 2019-03-11T22:14:15Z - asa - - | x".to_owned()),
        ("<187>2019 Mar 11 22:14:15 web su: x", "187 2019-03-11T22:14:15Z web su - - | x".to_owned()),
        // Hardly anything.
        ("<13>x", "13 - - - - - | x".to_owned()),
        ("<13>su: x", "13 - - su - - | x".to_owned()),
        ("<13>", "13 - - - - - | ".to_owned()),
        // RFC 5424: its own examples.
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed",
            "34 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 | 'su root' failed".to_owned(),
        ),
        (
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
            "165 2003-08-24T12:14:15Z 192.0.2.1 myproc 8710 - | %% It's time".to_owned(),
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [e@1 a=\"1\"][f@1 b=\"]\\]\"]",
            "165 2003-10-11T22:14:15.003Z h evntslog - ID47 | ".to_owned(),
        ),
        ("<14>1 - - - - - -", "14 - - - - - | ".to_owned()),
        // Heroku has no structured data.
        (
            "<40>1 2012-11-30T06:45:29+00:00 host app web.3 - State changed",
            "40 2012-11-30T06:45:29Z host app web.3 - | State changed".to_owned(),
        ),
    ] {
        let record = Syslog::default().read(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(said(&record).replace(".000Z", "Z"), expected, "{line}");
    }
}

#[test]
fn what_is_no_syslog_is_malformed() {
    for line in [
        "",
        "x",
        "<>x",
        "<192>x",
        "<1234>x",
        "<-1>x",
        "<13x",
        "Mar 32 22:14:15 web x",
        "Mar 11 24:14:15 web x",
        "Mai 11 22:14:15 x",
        "Mar 11 22:14 web x",
        "198.51.100.7 - - [14/Mar/2024:09:00:00 +0000] \"GET / HTTP/1.1\" 200 7",
        "<14>1 2003-10-11T22:14:15Z h a - - [x",
        "<14>1 2003-10-11T22:14:15Z h a - - [x a=\"1]",
        "<14>1 2003-10-11T22:14:15Z h a - - []",
        "<14>1 2003-10-11T22:14:15Z h a - - [x]y",
        "<14>1 2003-10-11T22:14:15Z h",
    ] {
        assert_eq!(Syslog::default().parse(line.as_bytes()), None, "{line}");
    }
    let counts = collection(Syslog::default(), b"<13>a\nb\n<13>c\n", |records| records.input().rows());
    assert_eq!((counts[0].0.parsed, counts[0].0.malformed), (2, 1));
}

/// The year is one in which the time is not ahead, whatever the day: February's last, the year's first and last.
#[test]
fn the_year_goes_with_the_arrival() {
    let year = |line: &str, near: &str, syslog: Syslog| {
        let near = thalweg::format::time::parse_rfc3339(near.as_bytes()).unwrap();
        let time = syslog.read(line.as_bytes()).unwrap().time(near);
        time.map_or("none".to_owned(), |time| time.to_string()[..16].to_owned())
    };
    let plain = Syslog::default();
    for (line, near, expected) in [
        ("Dec 31 23:59:59 h a: x", "2024-01-01T00:00:05Z", "2023-12-31T23:59"),
        ("Jan  1 00:00:00 h a: x", "2023-12-31T23:59:58Z", "2024-01-01T00:00"),
        ("Jan  3 00:00:00 h a: x", "2023-12-31T23:59:58Z", "2023-01-03T00:00"),
        ("Feb 29 12:00:00 h a: x", "2027-06-01T00:00:00Z", "2024-02-29T12:00"),
        ("Feb 29 12:00:00 h a: x", "1903-06-01T00:00:00Z", "1896-02-29T12:00"),
        ("Feb 30 12:00:00 h a: x", "2027-06-01T00:00:00Z", "none"),
        ("Jun 30 23:59:60 h a: x", "2027-08-01T00:00:00Z", "2027-07-01T00:00"),
    ] {
        assert_eq!(year(line, near, plain), expected, "{line} near {near}");
    }
    let tokyo = plain.in_zone("Asia/Tokyo".parse().unwrap());
    assert_eq!(year("Jan  1 08:00:00 h a: x", "2023-12-31T23:00:01Z", tokyo), "2023-12-31T23:00");
    assert_eq!(
        year("Jan  1 08:00:00 h a: x", "2023-12-31T23:00:01Z", tokyo.of_year(2001)),
        "2000-12-31T23:00"
    );
}

/// A replay finds the same years, because the arrival is the ledger's.
#[test]
fn times_without_a_year_are_those_of_the_arrival_in_a_replay_too() {
    let build = Build::new("days", |flow| {
        let log = flow.records(Text).event_time(|_| None::<Time>);
        log.by(number("day"), |line| Some(line.time()?.0 / 86_400_000)).count("days").show("days");
        Ok(())
    });
    let script = || {
        let script = Script::new(build.clone()).in_envelope(Envelope::new(EnvelopeKind::Syslog)).digested();
        script.arriving(NOW).epoch("<13>Mar 13 00:00:00 h a: x\n<13>Mar 20 00:00:00 h a: x\n")
    };
    let first = script().run();
    assert_eq!(first.view("days"), ["19436\t1", "19795\t1"]);
    let again = script().arriving(Time(0)).replaying(first.records().to_vec()).run();
    assert_eq!(first, again);
}

/// The real rsyslogd, which writes what comes to a socket to files.
struct Rsyslog {
    child: Child,
    dir: tempfile::TempDir,
}

/// Its templates for files and for other machines, each to a file of its name.
const TEMPLATES: [&str; 5] = [
    "RSYSLOG_TraditionalFileFormat",
    "RSYSLOG_FileFormat",
    "RSYSLOG_TraditionalForwardFormat",
    "RSYSLOG_ForwardFormat",
    "RSYSLOG_SyslogProtocol23Format",
];

impl Rsyslog {
    /// Starts it, with `more` in its configuration.
    fn start(more: &str) -> Option<Self> {
        let skipped = std::env::var("THALWEG_SKIP_SERVICES").unwrap_or_default();
        if skipped.split(',').any(|name| name.trim() == "rsyslog") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut config = format!(
            "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\" UseSysTimeStamp=\"off\")\n",
            dir.path().display(),
            path("socket")
        );
        for template in TEMPLATES {
            // Those for other machines end no line.
            let file = path(template);
            let text = match template {
                "RSYSLOG_TraditionalForwardFormat" => {
                    "<%PRI%>%TIMESTAMP% %HOSTNAME% %syslogtag:1:32%%msg:::sp-if-no-1st-sp%%msg%\\n"
                }
                "RSYSLOG_ForwardFormat" => {
                    "<%PRI%>%TIMESTAMP:::date-rfc3339% %HOSTNAME% %syslogtag:1:32%%msg:::sp-if-no-1st-sp%%msg%\\n"
                }
                _ => "",
            };
            let mut name = template.to_owned();
            if !text.is_empty() {
                name = format!("{template}Line");
                config.push_str(&format!("template(name=\"{name}\" type=\"string\" string=\"{text}\")\n"));
            }
            config.push_str(&format!("*.* action(type=\"omfile\" file=\"{file}\" template=\"{name}\")\n"));
        }
        config.push_str(more);
        std::fs::write(path("conf"), config).unwrap();
        let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].iter().find(|path| Path::new(path).exists());
        let program =
            program.expect("rsyslog is installed: tests/run does that; or THALWEG_SKIP_SERVICES=rsyslog");
        let mut command = Command::new(program);
        command
            .args(["-n", "-f", &path("conf"), "-i", &path("pid")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let rsyslog = Rsyslog { child, dir };
        wait("the socket", || UnixDatagram::unbound().unwrap().connect(rsyslog.path("socket")).is_ok());
        Some(rsyslog)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sends messages, and waits until they are in all files.
    fn send(&self, messages: &[String]) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(self.path("socket")).unwrap();
        for message in messages {
            socket.send(message.as_bytes()).unwrap();
        }
        for template in TEMPLATES {
            let lines = || {
                std::fs::read(self.path(template)).map_or(0, |text| text.split(|it| *it == b'\n').count() - 1)
            };
            // What rsyslogd says itself is there, too.
            let ours = || {
                let text = std::fs::read_to_string(self.path(template)).unwrap_or_default();
                text.lines().filter(|line| !line.contains("rsyslogd")).count()
            };
            wait(template, || lines() >= messages.len() && ours() == messages.len());
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = now();
    while !done() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Of each template, lines say what was sent; and around an access log, it has the same counts as without.
#[test]
fn what_rsyslogd_writes_is_read() {
    let Some(rsyslog) = Rsyslog::start("") else { return };
    let log: Vec<String> = sample().lines().take(300).map(str::to_owned).collect();
    let messages = log.iter().zip(0..).map(|(line, at)| {
        let tag = if at % 2 == 0 { "nginx".to_owned() } else { format!("nginx[{at}]") };
        format!("<190>Mar 11 22:14:15 {tag}: {line}")
    });
    rsyslog.send(&messages.collect::<Vec<_>>());
    let plain = rsyslog.path("plain");
    std::fs::write(&plain, format!("{}\n", log.join("\n"))).unwrap();
    let expected = access_log(&format!("file:{}", plain.display()));
    for template in TEMPLATES {
        let path = rsyslog.path(template);
        let written = std::fs::read_to_string(&path).unwrap();
        let written: Vec<_> = written.lines().filter(|line| !line.contains("rsyslogd")).collect();
        for (at, (line, message)) in written.iter().zip(&log).enumerate() {
            let record =
                Syslog::default().read(line.as_bytes()).unwrap_or_else(|| panic!("{template}: {line}"));
            let pid = at.to_string();
            let expected = (Some(&b"nginx"[..]), (at % 2 == 1).then_some(pid.as_bytes()));
            assert_eq!((record.app(), record.procid()), expected, "{template}: {line}");
            assert_eq!(record.message().trim_ascii_start(), message.as_bytes(), "{template}");
            assert!(record.host().is_some() && record.time(NOW).is_some());
            let has_priority = !template.ends_with("FileFormat");
            assert_eq!(record.severity_name(), has_priority.then_some("info"), "{template}");
        }
        std::fs::write(&path, format!("{}\n", written.join("\n"))).unwrap();
        for source in [format!("syslog+file:{}", path.display()), format!("file:{}", path.display())] {
            assert_eq!(access_log(&source), expected, "{source}");
        }
    }
}

/// rsyslogd sends to a run that listens, as it does to other machines.
#[test]
fn what_rsyslogd_sends_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, answer) = (dir.path().join("plain"), dir.path().join("answer"));
    let log: Vec<String> = sample().lines().take(300).map(str::to_owned).collect();
    std::fs::write(&plain, format!("{}\n", log.join("\n"))).unwrap();
    let last = uri("jsonl", &answer, "?mode=complete&at=end");
    let args = ["--sink", "jsonl:-?mode=changes", "--sink", &last, "--tick", "20ms", "--log", "info"];
    let source = "syslog+tcp-listen://127.0.0.1:0";
    let mut running = Running::start(command().args(["run", "access-log", "--source", source]).args(args));
    let (shown, said) = (running.stdout_lines(), running.stderr_lines());
    let port = said.until("listening on tcp-listen://127.0.0.1:");
    let port = port.rsplit(':').next().unwrap();
    let forward = format!(
        "if $programname == 'nginx' then action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" \
         template=\"RSYSLOG_SyslogProtocol23Format\")\n"
    );
    let Some(rsyslog) = Rsyslog::start(&forward) else { return };
    rsyslog.send(&log.iter().map(|line| format!("<190>Mar 11 22:14:15 nginx: {line}")).collect::<Vec<_>>());
    loop {
        let line = shown.until("\"parsed\":");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["row"]["lines"] == log.len() && line["diff"].as_i64() > Some(0) {
            break;
        }
    }
    running.signal("TERM");
    drop(shown.rest());
    running.wait().exits(0);
    let answer = std::fs::read(&answer).unwrap();
    assert_eq!(shown_views(&answer), access_log(&format!("file:{}", plain.display())));
}

/// JSON behind a header, and text behind one that is not like any other line of the file.
#[test]
fn a_message_may_be_json_and_lines_that_are_none_are_malformed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = r#"<190>Mar 11 22:14:15 web nginx: {"remote_addr":"198.51.100.7","request":"GET /a HTTP/1.1","status":"200","body_bytes_sent":"7"}"#;
    std::fs::write(&path, format!("{line}\n{line}\nno syslog\n<190>Mar 11 22:14:15 web cron: ran\n"))
        .unwrap();
    for source in [format!("file:{}", path.display()), format!("syslog:{}?follow=false", path.display())] {
        let rejects = dir.path().join("rejects");
        let rejects = rejects.to_str().unwrap();
        let ended =
            run(&["run", "access-log", "--source", &source, "--summary", "json", "--rejects", rejects])
                .exits(0);
        let summary = ended.summary();
        assert_eq!(
            (&summary["parsed"], &summary["malformed"]),
            (&2.into(), &2.into()),
            "{source}: {summary}"
        );
        let rejected = std::fs::read_to_string(rejects).unwrap();
        let mut rejected: Vec<_> = rejected.lines().collect();
        rejected.sort_unstable();
        assert_eq!(
            rejected,
            ["<190>Mar 11 22:14:15 web cron: ran", "no syslog"],
            "{source}: raw lines are rejected"
        );
    }
}
