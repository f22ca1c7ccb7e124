//! The real Apache pipes its log to a shipper, and is reloaded and restarted under load: every line
//! that it has logged arrives.

use std::collections::BTreeSet;
use std::thread;

use thalweg::runtime::now;

use crate::cluster_support::{LONG, poll};
use crate::receiver::Receiver;
use crate::services::{Apache, Load};

/// Reloads and restarts Apache under load, and then holds that every line that it has logged
/// arrives: `received` looks at what has.
pub fn reloaded(sink: &str, mut received: impl FnMut() -> BTreeSet<String>) {
    let shipper = format!("{} ship - {sink}", env!("CARGO_BIN_EXE_thalweg"));
    let Some(mut apache) = Apache::start(&shipper) else { return };
    for round in 0..6 {
        let before = apache.logged().len();
        let load = Load::start(&apache, 20_000);
        poll(LONG, "requests", || (apache.logged().len() > before + 200).then_some(()));
        // `apachectl graceful`, and `apachectl restart`, which breaks off what is under way.
        apache.signal(if round % 3 == 2 { "HUP" } else { "USR1" });
        let now = apache.logged().len();
        poll(LONG, "requests after it", || (apache.logged().len() > now + 200).then_some(()));
        load.end();
    }
    apache.stop();
    let logged: BTreeSet<_> = apache.logged().into_iter().collect();
    assert!(logged.len() > 2_000, "{} lines", logged.len());
    // Shippers end after the server, each when it has sent what it has.
    let begun = now();
    loop {
        let received = received();
        let missing = logged.difference(&received).count();
        if missing == 0 {
            return;
        }
        let (all, said) = (logged.len(), apache.said());
        assert!(
            begun.elapsed() < 3 * LONG,
            "{missing} of {all} lines are missing, and shippers have said:\n{said}"
        );
        thread::park_timeout(LONG / 100);
    }
}

#[test]
fn apache_is_reloaded_and_restarted_under_load() {
    let receiver = Receiver::new();
    reloaded(&receiver.uri(), || receiver.lines().into_iter().collect());
}
