//! What can be wrong with a dataflow that is put together from doors and views.

use std::panic::Location;

use crate::time::WindowError;

/// A mistake in how a dataflow is built.
///
/// The methods that build one do not fail: they note the mistake with its place, and the dry build that comes before every
/// run returns it, before any worker starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbuilt {
    /// A door's name labels its state, so it can be there once only.
    #[error("two doors are named `{name}`; the other was opened at {other}")]
    DoorTwice {
        /// The name.
        name: String,
        /// Where the other was opened.
        other: &'static Location<'static>,
    },
    /// A window, session or other door that goes by time, on records that tell none.
    #[error(
        "`{door}` goes by time, and its records tell none\n  \
         hint: say how they do: `.event_time(|record| …)` behind `flow.records(…)`"
    )]
    NoTimes {
        /// The door.
        door: String,
    },
    /// Windows that no table can keep.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A view's name is what sinks know it by.
    #[error("two views are named `{view}`; the other is shown at {other}")]
    ViewTwice {
        /// The name.
        view: String,
        /// Where the other is shown.
        other: &'static Location<'static>,
    },
    /// More or fewer names than columns.
    #[error(
        "view `{view}` has {columns} column{}, and {} are named: {names:?}\n  \
         hint: name all of them: `.columns([…])`, or where the rows are made: `.map([…], |row| …)`",
        if *columns == 1 { "" } else { "s" }, names.len()
    )]
    Columns {
        /// The view.
        view: String,
        /// How many columns its rows have.
        columns: usize,
        /// The names that were given.
        names: Vec<String>,
    },
    /// A key with a column that there is not.
    #[error("there is no column `{column}` that could be part of the key; there are {columns:?}")]
    UnknownKey {
        /// The column.
        column: String,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// A dataflow that shows nothing has nothing to do.
    #[error("the dataflow shows nothing\n  hint: end it with `.show(\"name\")` on a table")]
    NoViews,
}
