//! The conductor of the ledger, told by hand what workers say: when epochs are opened, how they end, and what a later run
//! goes on from.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::ledger::{Afterwards, Conductor, Ended, LedgerOptions, Message, Moment, Opened, Reached};
use thalweg::source::{Memory, OnDataLoss, Source};
use thalweg::time::{Time, TimeOptions};

fn pace(peers: usize, epoch_bytes: u64) -> LedgerOptions {
    LedgerOptions {
        peers,
        time: TimeOptions::default(),
        tick: Duration::from_millis(100),
        epoch_bytes,
        chunk_bytes: 10,
        max_open_epochs: 3,
        max_open_bytes: u64::MAX,
        event_time: false,
        horizon: Duration::ZERO,
        digest: false,
        on_data_loss: OnDataLoss::Fail,
        once: false,
        incarnation: 0,
    }
}

fn at(millis: u64) -> Moment {
    Moment { at: Time(1_000_000 + millis as i64), elapsed: Duration::from_millis(millis) }
}

fn live() -> Arc<dyn Source> {
    Arc::new(Memory::pushed(vec!["live:".into()]).0)
}

fn fixed(bytes: usize) -> Arc<dyn Source> {
    Arc::new(Memory::fixed(vec![("fixed:".into(), Arc::from(vec![b'\n'; bytes].as_slice()))]))
}

/// The epochs that are opened at `now`.
fn opened(conductor: &mut Conductor, now: Moment, closed: u64) -> Vec<Opened> {
    let messages = conductor.turn(now, closed, true).into_iter();
    messages
        .filter_map(|message| if let Message::Opened(opened) = message { Some(opened) } else { None })
        .collect()
}

/// One worker has read all that `opened` says, and caught up with what is live.
fn end(conductor: &mut Conductor, opened: &Opened, caught_up: bool, ended: bool) {
    let reached = opened.limits.iter().map(|limit| {
        let mut one = Reached::nothing(limit.partition);
        (one.offset, one.caught_up, one.ended) = (limit.upto.min(1000), caught_up, ended);
        one
    });
    conductor.receive(Message::Ended(Ended { epoch: opened.epoch, reached: reached.collect() }));
}

#[test]
fn a_quiet_source_opens_no_epoch_and_one_that_speaks_at_most_one_a_tick() {
    let mut conductor = Conductor::new(pace(1, 1000), &[live()]).unwrap();
    // The first shows what is there without a line.
    let first = opened(&mut conductor, at(0), 0).remove(0);
    assert!(!first.hold && !first.stop);
    end(&mut conductor, &first, true, false);
    for millis in [0, 50, 100, 5000] {
        assert_eq!(opened(&mut conductor, at(millis), 1), [], "at {millis}");
        assert_eq!(conductor.due(), None);
    }
    conductor.receive(Message::Ready { full: false });
    let second = opened(&mut conductor, at(5001), 1).remove(0);
    assert_eq!((second.epoch, second.arrived), (1, Time(1_005_001)));
    end(&mut conductor, &second, true, false);
    // It speaks again at once, and waits for the tick.
    conductor.receive(Message::Ready { full: false });
    assert_eq!(opened(&mut conductor, at(5002), 2), []);
    assert_eq!(conductor.due(), Some(Duration::from_millis(5101)));
    assert_eq!(opened(&mut conductor, at(5101), 2).len(), 1);
}

#[test]
fn a_source_that_is_full_is_read_at_once_and_until_the_tick_is_over() {
    let mut conductor = Conductor::new(pace(1, 1000), &[live()]).unwrap();
    let first = opened(&mut conductor, at(0), 0).remove(0);
    end(&mut conductor, &first, true, false);
    opened(&mut conductor, at(0), 1);
    conductor.receive(Message::Ready { full: true });
    let second = opened(&mut conductor, at(1), 1).remove(0);
    assert!(second.hold);
    assert_eq!(conductor.turn(at(100), 1, true), []);
    assert_eq!(conductor.turn(at(101), 1, true), [Message::Close(1)]);
    // What was cut short goes on at once: its tick is over.
    end(&mut conductor, &second, false, false);
    assert_eq!(opened(&mut conductor, at(102), 2).len(), 1);
}

/// Messages of a topic may take longer to come again than a tick lasts.
#[test]
fn what_is_read_again_has_all_that_it_had_however_long_that_takes() {
    let sources = [live()];
    let mut earlier = Conductor::new(pace(1, 1000), &sources).unwrap();
    let first = opened(&mut earlier, at(0), 0).remove(0);
    end(&mut earlier, &first, true, false);
    earlier.turn(at(0), 0, false);
    let mut later = Conductor::without_partitions(pace(1, 1000), &sources);
    later.replay(earlier.take_sealed(), Afterwards::GoOn);
    let again = opened(&mut later, at(0), 0).remove(0);
    assert!(again.exact && again.limits[0].upto == 1000, "{again:?}");
    assert_eq!(later.turn(at(10_000), 0, true), []);
    end(&mut later, &again, true, false);
    // And then it goes on with what there is.
    later.receive(Message::Ready { full: false });
    let next = opened(&mut later, at(10_000), 1).remove(0);
    assert!(!next.exact && next.limits[0].from == 1000, "{next:?}");
}

#[test]
fn a_sink_that_lags_behind_and_open_epochs_hold_it_back() {
    let mut conductor = Conductor::new(pace(1, 20), &[fixed(1000)]).unwrap();
    assert_eq!(conductor.turn(at(0), 0, false).len(), 1, "but for where the run begins, nothing is said");
    let three = opened(&mut conductor, at(0), 0);
    assert_eq!(three.iter().map(|opened| opened.epoch).collect::<Vec<_>>(), [0, 1, 2]);
    three.iter().for_each(|opened| end(&mut conductor, opened, false, false));
    assert_eq!(opened(&mut conductor, at(0), 0), [], "sealed, and not closed");
    assert_eq!(opened(&mut conductor, at(0), 2).len(), 2);
}

#[test]
fn what_is_live_is_read_to_its_end_when_the_run_is_to_stop() {
    for speaks in [false, true] {
        let mut conductor = Conductor::new(pace(1, 1000), &[live()]).unwrap();
        let first = opened(&mut conductor, at(0), 0).remove(0);
        if speaks {
            conductor.receive(Message::Ready { full: false });
        }
        conductor.receive(Message::Stop);
        // What is open ends, as far as it has come.
        end(&mut conductor, &first, true, false);
        let last = opened(&mut conductor, at(1), 1).remove(0);
        assert!(last.stop && last.limits.iter().all(|limit| limit.upto == u64::MAX));
        end(&mut conductor, &last, true, false);
        let messages = conductor.turn(at(2), 2, true);
        assert!(matches!(&messages[..], [Message::Sealed(1, _), Message::Finished]), "{messages:?}");
        assert!(conductor.has_finished());
    }
}

#[test]
fn the_end_of_the_input_is_an_epoch_where_anything_goes_by_event_time() {
    for event_time in [false, true] {
        let options = LedgerOptions { event_time, ..pace(2, 1000) };
        let mut conductor = Conductor::new(options, &[fixed(50)]).unwrap();
        let mut epochs = Vec::new();
        while !conductor.has_finished() {
            let closed = conductor.sealed_before();
            for opened in opened(&mut conductor, at(0), closed) {
                (0..2).for_each(|_| end(&mut conductor, &opened, false, true));
                epochs.push(opened.limits.len());
            }
        }
        assert_eq!(epochs, if event_time { vec![1, 0] } else { vec![1] });
        let ends: Vec<_> = conductor.take_sealed().iter().map(|record| record.end).collect();
        assert_eq!(ends, if event_time { vec![false, true] } else { vec![false] });
        assert_eq!(conductor.mark().next_epoch(), epochs.len() as u64);
    }
}

proptest! {
    /// Stopped after any epoch, and gone on with by any number of workers, a run reads the same epochs.
    #[test]
    fn a_run_that_goes_on_is_cut_as_one_that_was_never_stopped(
        lengths in prop::collection::vec(1..200usize, 1..4),
        epoch_bytes in 1..120u64,
        stop in 0..6u64,
        peers in (1..4usize, 1..4usize),
    ) {
        let sources: Vec<_> = lengths.iter().enumerate().map(|(at, length)| {
            let part = (format!("fixed:{at}").into(), Arc::from(vec![b'\n'; *length].as_slice()));
            Arc::new(Memory::fixed(vec![part])) as Arc<dyn Source>
        }).collect();
        // Until `upto` epochs are sealed; what each of them read.
        let run = |conductor: &mut Conductor, peers: usize, upto: u64| {
            let mut limits = Vec::new();
            while !conductor.has_finished() && conductor.sealed_before() < upto {
                let closed = conductor.sealed_before();
                for opened in opened(conductor, at(0), closed) {
                    for _ in 0..peers {
                        let reached = opened.limits.iter().map(|limit| {
                            let mut one = Reached::nothing(limit.partition);
                            let length = lengths[limit.partition.0 as usize] as u64;
                            (one.offset, one.ended, one.lines) = (limit.upto, limit.upto == length, 1);
                            one
                        });
                        conductor.receive(Message::Ended(Ended { epoch: opened.epoch, reached: reached.collect() }));
                    }
                    limits.push((opened.epoch, opened.limits));
                }
                conductor.turn(at(0), conductor.sealed_before(), false);
            }
            limits
        };
        let options = |peers| LedgerOptions { max_open_epochs: 1, ..pace(peers, epoch_bytes) };
        let mut whole = Conductor::new(options(peers.0), &sources).unwrap();
        let expected = run(&mut whole, peers.0, u64::MAX);

        let mut first = Conductor::new(options(peers.0), &sources).unwrap();
        let mut seen = run(&mut first, peers.0, stop);
        let text = serde_json::to_string(&first.mark()).unwrap();
        let mut second = Conductor::new(options(peers.1), &sources).unwrap();
        second.resume(serde_json::from_str(&text).unwrap());
        if !first.has_finished() {
            seen.extend(run(&mut second, peers.1, u64::MAX));
        }
        prop_assert_eq!(seen, expected);
    }
}
