//! The access-log parser against its specification, on whatever the fuzzer thinks of.
//!
//! `split -l 1 some.log fuzz/corpus/access_log/seed-` gives it a start, then `cargo +nightly fuzz run access_log`
//! (or, on the stable compiler, `RUSTC_BOOTSTRAP=1 cargo fuzz run access_log`).

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use thalweg::format::reference::{Reference, event_time, split_request};
use thalweg::format::time::parse_clf;
use thalweg::format::{AccessLog, LineFormat};

thread_local! {
    /// Compiled once: its scratch space is worth more than the parsing.
    static REFERENCE: RefCell<Reference> = Reference::new().into();
}

fuzz_target!(|line: &[u8]| {
    assert_eq!(parse_clf(line), event_time(line));
    let record = AccessLog.parse(line);
    assert_eq!(record, REFERENCE.with_borrow_mut(|reference| reference.parse(line)));
    let Some(record) = record else { return };
    let request = split_request(record.request);
    let request = request.as_ref();
    assert_eq!(record.method(), request.map(|request| &request.method[..]));
    assert_eq!(record.endpoint(), request.map(|request| &request.endpoint[..]));
    assert_eq!(record.protocol(), request.and_then(|request| request.protocol.as_deref()));
    assert_eq!(record.event_time(), event_time(record.time));
});
