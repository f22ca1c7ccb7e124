//! Bugs that are planted to see that they are found.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A snapshot is published before the sinks have committed what is in it.
    PublishAhead,
    /// Sinks are shown what the run goes on from.
    RestoredIsShown,
    /// The manifest is not synced.
    ManifestIsNotSynced,
    /// The journal is not synced before sinks are shown an epoch.
    JournalIsNotSynced,
    /// A sink commits an epoch's number without its rows.
    ProgressApart,
    /// A door is missing in snapshots.
    HalfASnapshot,
    /// The last epoch of the journal is not read again.
    OffByOne,
    /// What an end of the input makes of the state is kept.
    EndIsKept,
    /// State of other rules is taken.
    RulesIgnored,
    /// A start that was overtaken goes on with its snapshots.
    NoFence,
}

impl Bug {
    pub(crate) const ALL: [Bug; 10] = [
        Bug::PublishAhead,
        Bug::RestoredIsShown,
        Bug::ManifestIsNotSynced,
        Bug::JournalIsNotSynced,
        Bug::ProgressApart,
        Bug::HalfASnapshot,
        Bug::OffByOne,
        Bug::EndIsKept,
        Bug::RulesIgnored,
        Bug::NoFence,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants `bug` for what this thread does, or nothing.
pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub(super) fn planted() -> Option<Bug> {
    PLANTED.get()
}

/// Whether this thread has `bug`.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
