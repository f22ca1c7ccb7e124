//! What a sink shows of its views, and when.

use crate::view::{Deliveries, Delivery, Keep};

/// What a sink writes of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each row once, when it is final: when no record can change it any more.
    ///
    /// Only tables of windows and of sessions have final rows, and views that are only appended to. Other views are left
    /// out, and where all are, it is an error ([`SinkError::NoFinals`](crate::sink::SinkError::NoFinals)).
    Append,
    /// Every change, with its difference: −old, +new.
    Changes,
    /// The rows that are new or have changed, as they are now; a row that goes away is not shown.
    Update,
    /// The whole of each view that has changed, with as much of what is final as [`Keep`] says.
    Complete,
}

/// When a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// As each epoch is closed.
    EveryEpoch,
    /// Once, when the input has ended.
    End,
}

/// What a sink shows, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shows {
    /// What it writes.
    pub mode: Mode,
    /// When.
    pub at: At,
    /// How much of what is final it keeps where it keeps rows.
    pub keep: Keep,
}

impl Shows {
    /// Whether the rows as they are have to be kept for it, and not only what changes.
    pub fn whole(self) -> bool {
        self.at == At::End || self.mode == Mode::Complete
    }

    /// What a dataflow must deliver to serve all of `sinks`.
    pub fn deliveries(sinks: impl IntoIterator<Item = Shows>) -> Deliveries {
        sinks.into_iter().fold(Deliveries::default(), |all, sink| {
            if sink.mode == Mode::Append {
                return Deliveries { finals: true, ..all };
            }
            // What is final is only to be known where it leaves; and it leaves as it comes.
            let bounded = sink.whole() && sink.keep != Keep::ALL;
            let rows = if sink.at == At::End && !bounded { Delivery::LastState } else { Delivery::Changes };
            Deliveries { rows: all.rows.and(rows), finals: all.finals || bounded }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{SinkSpec, Sinks};

    #[test]
    fn no_more_is_delivered_than_the_sinks_show() {
        use Delivery::{Changes, LastState, Nothing};
        for (uris, bounded, rows, finals) in [
            (&[][..], true, Nothing, false),
            (&["console:"], true, LastState, false),
            (&["jsonl:-?mode=changes"], true, Changes, false),
            (&["jsonl:-?mode=update", "jsonl:a?mode=changes"], true, Changes, false),
            (&["jsonl:-"], true, Changes, false),
            (&["console:", "jsonl:-?mode=changes"], true, Changes, false),
            (&["console:?mode=append"], true, Nothing, true),
            (&["jsonl:-?mode=append&at=end"], true, Nothing, true),
            (&["console:", "jsonl:-?mode=append"], true, LastState, true),
            (&["console:?keep=10"], true, Changes, true),
            // Without an end, what changes; and whole views have a bound.
            (&["console:"], false, Changes, false),
            (&["jsonl:-?mode=complete"], false, Changes, true),
            (&["jsonl:-?at=end"], false, Changes, true),
            (&["jsonl:-?at=end&keep=all"], false, LastState, false),
        ] {
            let sinks = uris.iter().map(|uri| Sinks::builtin().parse(uri).expect("valid"));
            let sinks: Vec<SinkSpec> = sinks.collect();
            let shows = sinks.iter().map(|sink| sink.shows(bounded));
            assert_eq!(Shows::deliveries(shows), Deliveries { rows, finals }, "{uris:?}, {bounded}");
        }
    }
}
