//! The real Apache pipes its log to a shipper, and is reloaded and restarted under load: every line that it has logged arrives.

use std::collections::BTreeSet;

use crate::cluster_support::{LONG, poll};
use crate::receiver::Receiver;
use crate::services::{Apache, Load};

/// Reloads and restarts Apache under load, until `done`; returns the lines that it has logged.
pub fn reloaded(sink: &str) -> Option<BTreeSet<String>> {
    let shipper = format!("{} ship - {sink}", env!("CARGO_BIN_EXE_thalweg"));
    let mut apache = Apache::start(&shipper)?;
    for round in 0..6 {
        let before = apache.logged().len();
        let load = Load::start(&apache, 3_000);
        poll(LONG, "requests", || (apache.logged().len() > before + 200).then_some(()));
        // `apachectl graceful`, and `apachectl restart`, which breaks off what is under way.
        apache.signal(if round % 3 == 2 { "HUP" } else { "USR1" });
        let now = apache.logged().len();
        poll(LONG, "requests after it", || (apache.logged().len() > now + 200).then_some(()));
        load.end();
    }
    apache.stop();
    Some(apache.logged().into_iter().collect())
}

#[test]
fn apache_is_reloaded_and_restarted_under_load() {
    let receiver = Receiver::new();
    let Some(logged) = reloaded(&receiver.uri()) else { return };
    assert!(logged.len() > 2_000, "{} lines", logged.len());
    // Shippers end after the server, each when it has sent what it has.
    poll(2 * LONG, "what was logged", || {
        let received: BTreeSet<_> = receiver.lines().into_iter().collect();
        logged.is_subset(&received).then_some(())
    });
}
