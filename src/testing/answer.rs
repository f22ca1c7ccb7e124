//! What came of a run, and how it is recorded.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::data::{InputCounts, Row, Value, escape_json};
use crate::ledger::EpochRecord;
use crate::sink::{Closed, Opening, Sink, SinkError};
use crate::time::Time;

/// What the views of a dataflow held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By view, and by epoch and step at which it changed.
    pub(super) views: BTreeMap<String, BTreeMap<(u64, u32), Shown>>,
    /// Final rows by view, as they were shown.
    finals: BTreeMap<String, Vec<String>>,
    /// The rows of each view in the end, as values.
    values: Values,
    pub(super) counts: InputCounts,
    pub(super) records: Vec<EpochRecord>,
}

/// Rows of views as values. Answers are compared by what is shown.
#[derive(Clone, Default)]
struct Values(BTreeMap<String, Arc<dyn Any + Send + Sync>>);

impl PartialEq for Values {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Values {}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A view at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    rows: Vec<String>,
    changes: Vec<String>,
}

impl Answer {
    /// One without rows in these views.
    pub(super) fn of(views: BTreeMap<String, BTreeMap<(u64, u32), Shown>>) -> Self {
        Answer { views, ..Answer::default() }
    }

    /// The rows of view `name` in the end, in its order, cells separated by tabs.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn view(&self, name: &str) -> Vec<&str> {
        self.view_at(name, u64::MAX)
    }

    /// The rows of view `name` in the end, in its order, as values of the type that they have in the dataflow.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// let build = Build::new("lengths", |flow| {
    ///     flow.records(Text).by(number("bytes"), |line| Some(line.len() as i64)).count("lengths").show("lengths");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"a\nbb\ncc\n");
    /// assert_eq!(answer.rows::<(i64, isize)>("lengths"), [(1, 1), (2, 2)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no such view, or its rows are of another type.
    pub fn rows<R: Row>(&self, name: &str) -> Vec<R> {
        // Panics where there is none.
        let _ = self.times(name);
        let Some(rows) = self.values.0.get(name) else { return Vec::new() };
        let rows = rows.downcast_ref::<Vec<R>>();
        rows.cloned()
            .unwrap_or_else(|| panic!("the rows of view `{name}` are no `{}`", std::any::type_name::<R>()))
    }

    /// The rows of view `name` as of `epoch`.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn view_at(&self, name: &str, epoch: u64) -> Vec<&str> {
        let then = self.times(name).range(..=(epoch, u32::MAX)).next_back();
        then.into_iter().flat_map(|(_, shown)| &shown.rows).map(String::as_str).collect()
    }

    /// How view `name` changed in `epoch`: its rows with their differences in front, those of each step retractions first.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn changes(&self, name: &str, epoch: u64) -> Vec<&str> {
        let steps = self.times(name).range((epoch, 0)..=(epoch, u32::MAX));
        steps.flat_map(|(_, shown)| &shown.changes).map(String::as_str).collect()
    }

    /// What view `name` held whenever it had changed, by epoch and step. Windows that slide do so at steps from 1 on; all else
    /// changes at step 0.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn steps(&self, name: &str) -> Vec<((u64, u32), Vec<&str>)> {
        let times = self.times(name).iter();
        times.map(|(time, shown)| (*time, shown.rows.iter().map(String::as_str).collect())).collect()
    }

    /// What became of the lines.
    pub fn counts(&self) -> InputCounts {
        self.counts
    }

    /// The records of the ledger, one an epoch.
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    fn times(&self, name: &str) -> &BTreeMap<(u64, u32), Shown> {
        let known: Vec<_> = self.views.keys().collect();
        self.views.get(name).unwrap_or_else(|| panic!("no view is named `{name}`; there are {known:?}"))
    }

    /// The rows of view `name` that have become final, by when they did, and at one time in the view's order.
    ///
    /// # Panics
    ///
    /// If there is no such view, or none of its rows ever become final.
    pub fn finals(&self, name: &str) -> Vec<&str> {
        let known: Vec<_> = self.finals.keys().collect();
        let rows = self.finals.get(name);
        let rows =
            rows.unwrap_or_else(|| panic!("no view `{name}` has final rows; those that have are {known:?}"));
        rows.iter().map(String::as_str).collect()
    }
}

/// A sink that writes whole views, or the rows that have become final, into an [`Answer`].
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) answer: Arc<Mutex<Answer>>,
    pub(super) finals: bool,
}

impl Sink for Recorder {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        if self.finals {
            let mut answer = self.answer.lock().expect("no worker panicked");
            for schema in opening.views {
                answer.finals.entry(schema.name.clone()).or_default();
            }
        }
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let mut answer = self.answer.lock().expect("no worker panicked");
        let line = |values: &[Value<'_>]| values.iter().map(text).collect::<Vec<_>>().join("\t");
        for view in closed.views.iter().filter(|view| view.has_changed()) {
            let name = view.schema().name.clone();
            if self.finals {
                let finals = answer.finals.entry(name).or_default();
                view.changes(&mut |diff, values| (0..diff).for_each(|_| finals.push(line(values))));
            } else {
                let mut shown = Shown::default();
                view.rows(usize::MAX, &mut |values| shown.rows.push(line(values)));
                view.changes(&mut |diff, values| shown.changes.push(format!("{diff:+}\t{}", line(values))));
                answer.values.0.insert(name.clone(), view.values().into());
                answer.views.entry(name).or_default().insert((closed.epoch, closed.step), shown);
            }
        }
        Ok(())
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Time(millis) => Time(*millis).to_string(),
        Value::Bytes(bytes) => escape_json(bytes).into_owned(),
    }
}
