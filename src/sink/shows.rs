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
            let rows = if sink.at == At::End { Delivery::LastState } else { Delivery::Changes };
            let keep = Some(sink.keep).filter(|_| sink.whole());
            let whole = all.whole.into_iter().chain(keep).reduce(Keep::and);
            Deliveries { rows: all.rows.and(rows), whole, ..all }
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
        for (uris, has_end, rows, finals, bounded) in [
            (&[][..], true, Nothing, false, false),
            (&["console:"], true, LastState, false, false),
            (&["jsonl:-?mode=changes"], true, Changes, false, false),
            (&["jsonl:-?mode=update", "jsonl:a?mode=changes"], true, Changes, false, false),
            (&["jsonl:-"], true, Changes, false, false),
            (&["console:", "jsonl:-?mode=changes"], true, Changes, false, false),
            (&["console:?mode=append"], true, Nothing, true, false),
            (&["jsonl:-?mode=append&at=end"], true, Nothing, true, false),
            (&["console:", "jsonl:-?mode=append"], true, LastState, true, false),
            (&["console:?keep=10"], true, LastState, false, true),
            // Without an end, what changes; and whole views have a bound.
            (&["console:"], false, Changes, false, false),
            (&["jsonl:-?mode=complete"], false, Changes, false, true),
            (&["jsonl:-?at=end"], false, LastState, false, true),
            (&["jsonl:-?at=end&keep=all"], false, LastState, false, false),
        ] {
            let sinks = uris.iter().map(|uri| Sinks::builtin().parse(uri).expect("valid"));
            let sinks: Vec<SinkSpec> = sinks.collect();
            let shows = sinks.iter().map(|sink| sink.shows(has_end));
            let Deliveries { rows: found, finals: found_finals, whole } = Shows::deliveries(shows);
            let found = (found, found_finals, whole.is_some_and(|keep| keep != Keep::ALL));
            assert_eq!(found, (rows, finals, bounded), "{uris:?}, {has_end}");
        }
    }
}
