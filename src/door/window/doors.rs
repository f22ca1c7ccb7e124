//! The doors of window tables: [`Grouped::by_window`].
//!
//! What a door adds up within a worker and epoch is keyed by (pane, key). A record that is too late
//! is refused there, where its line is still at hand, by the watermark as its epoch began; the
//! machine behind the door ([`super::machine`]) sees only sums.

use std::cell::Cell;
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::ExchangeData;

use crate::data::{Key, Stored, Total};
use crate::door::Records;
use crate::door::grouped::{Adds, Grouped};
use crate::door::machine::{Routes, operate};
use crate::door::opened::Opened;
use crate::door::table::{Closing, Rows, Windowed};
use crate::door::when::{Opening, When};
use crate::door::window::machine::{For, WindowTable};
use crate::door::window::panes::{pane_sums, with_rules};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::Time;
use crate::time::{Millis, Span, Watermark, Window};

/// Whether anything in the dataflow consumes some rows of an operator; where nothing does, it need not make them.
///
/// It is known when the dataflow has been built, and does not depend on what the sinks show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumed(Rc<Cell<bool>>);

impl Consumed {
    pub(crate) fn get(&self) -> bool {
        self.0.get()
    }

    pub(crate) fn set(&self) {
        self.0.set(true);
    }
}

/// By window: one row for each window and key, final when the window is complete.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    window: Window,
}

/// A record is too late when all windows that it belongs to are complete.
fn too_late(window: Window) -> impl Fn(Millis, Watermark) -> bool + Copy {
    move |time, watermark| window.is_over(time, watermark)
}

impl When for Tables {
    type Row<K: Key, A: ExchangeData> = (Span, K, A);
    type Kind = Closing;

    fn open<'scope, F: Format, K: Key, A: Total + Stored>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, K, A>,
    ) -> Windowed<'scope, (Span, K, A)> {
        let Tables { window } = self;
        let site = records.site();
        if let Err(error) = window.for_table() {
            site.mistake(error, opening.place);
        }
        let event_times = records.event_times(&opening.name, opening.place, window.length());
        let sums = pane_sums(records, &opening, window, too_late(window), adds);
        let names = opening.names(&["start", "end"]);
        let consumed = Consumed::default();
        let name = &opening.name;
        let machine = WindowTable::new(name, window, For::Panes, consumed.clone());
        let identity = with_rules(Identity::of::<(Time, K), A>(name, "window table"), window);
        let durable = site.open(identity);
        let routes = Routes { datum: |(_, key): &(Millis, K)| route(key), key: |(_, key)| route(key) };
        let (rows, finals) = operate(name, sums, routes, event_times, machine, durable, vec![]);
        Rows::new(rows, names, site.clone()).of_windows(finals, consumed)
    }

    fn distinct<'scope, F: Format, K: Key, M: Key>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, (K, M), isize>,
    ) -> Windowed<'scope, (Span, K, isize)> {
        let names = opening.names(&["start", "end"]);
        let (members, label) = opening.of_members::<M>();
        let members = self.open(records, members, adds);
        count_rows(&label, self.window, members, |(_, (key, _), _)| key.clone()).named(names)
    }
}

/// How many rows each window has of each key that `key` makes of them.
///
/// State: a row for each open window and key, on the worker that the key is routed to. It follows from that of the rows' door.
fn count_rows<'scope, R, K>(
    name: &str,
    window: Window,
    rows: Windowed<'scope, R>,
    key: impl Fn(&R) -> K + 'static,
) -> Windowed<'scope, (Span, K, isize)>
where
    R: crate::time::InWindow,
    K: ExchangeData + Hash + Stored,
{
    let keys = rows.rows().map(move |row| (row.span().start.0, key(&row)));
    let consumed = Consumed::default();
    let table = WindowTable::new(name, window, For::Windows, consumed.clone());
    let event_times = rows.site().event_times.clone();
    let routes = Routes { datum: |(_, key)| route(key), key: |(_, key)| route(key) };
    let durable = Opened::transient();
    let (counted, finals) = operate(name, keys, routes, event_times, table, durable, vec![]);
    let names = rows.names().clone();
    rows.behind(counted, finals, consumed, names)
}

impl<'scope, F: Format, K: Key, G> Grouped<'scope, F, K, G> {
    /// A window table: rows by window and key that are exact while their window is open, and final when the watermark has
    /// reached its end.
    ///
    /// Each epoch retracts the rows that changed and inserts them as they are now; a record that is late, but not too late for
    /// a window, corrects it in the same way. State: the rows of the open windows, each on the worker that its key is
    /// routed to; they are freed when they are final, which retracts nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let build = Build::new("minutes", |flow| {
    ///     let minutes = Window::tumbling(Duration::from_secs(60))?;
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()).map(|seconds: i64| 1000 * seconds));
    ///     let keys = lines.by(text("key"), |line| line.rsplit(|byte| *byte == b' ').next());
    ///     keys.by_window(minutes).count("minutes").show("minutes");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"1 a\n59 a\n60 a\n");
    /// assert_eq!(answer.view("minutes")[0], "1970-01-01T00:00:00Z\t1970-01-01T00:01:00Z\ta\t2");
    /// assert_eq!(answer.view("minutes").len(), 2);
    /// ```
    pub fn by_window(self, window: Window) -> Grouped<'scope, F, K, G, Tables> {
        self.during(Tables { window })
    }
}
