//! The views of a dataflow while it is built: each is registered as it is shown.

use std::panic::Location;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::probe;

use crate::data::Row;
use crate::time::Epoch;
use crate::view::{Compare, Deliveries, Misbuilt, Outlets, Schema, Views};

/// What was shown so far, and what is wrong with how the dataflow is built.
#[derive(Debug, Default)]
pub struct Register {
    deliveries: Deliveries,
    probe: probe::Handle<Epoch>,
    outlets: Vec<Outlets>,
    /// Where each was shown.
    places: Vec<&'static Location<'static>>,
    mistakes: Vec<(Misbuilt, &'static Location<'static>)>,
}

impl Register {
    /// For views of which `deliveries` say how much leaves the dataflow.
    pub fn new(deliveries: Deliveries) -> Self {
        Register { deliveries, ..Register::default() }
    }

    /// How much of the views leaves the dataflow.
    pub(crate) fn deliveries(&self) -> Deliveries {
        self.deliveries
    }

    /// What has been delivered of all that is shown.
    pub fn probe(&self) -> &probe::Handle<Epoch> {
        &self.probe
    }

    /// Notes a mistake that was made at `place`.
    pub(crate) fn mistake(&mut self, mistake: impl Into<Misbuilt>, place: &'static Location<'static>) {
        self.mistakes.push((mistake.into(), place));
    }

    /// The first mistake, if there is one, and where it was made.
    pub fn first_mistake(&self) -> Option<(Misbuilt, &'static Location<'static>)> {
        self.mistakes.first().cloned()
    }

    /// Shows `rows`, and those that become final, as a view of `schema`.
    pub(crate) fn show<'scope, R: Row>(
        &mut self,
        schema: Result<Schema, Misbuilt>,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: Option<VecCollection<'scope, Epoch, R, isize>>,
        compare: impl Compare<R>,
        place: &'static Location<'static>,
    ) {
        let schema = match schema {
            Ok(schema) => schema,
            Err(mistake) => return self.mistake(mistake, place),
        };
        let known = self.outlets.iter().position(|outlets| outlets.schema().name == schema.name);
        if let Some(at) = known {
            let mistake = Misbuilt::ViewTwice { view: schema.name, other: self.places[at] };
            return self.mistake(mistake, place);
        }
        self.outlets.push(Outlets::new(schema, self.deliveries, rows, finals, compare, &self.probe));
        self.places.push(place);
    }

    /// The views, in the order in which they were shown.
    pub fn take_views(&mut self) -> Views {
        Views::new(std::mem::take(&mut self.outlets))
    }
}
