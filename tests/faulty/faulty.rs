//! `faulty`: the `thalweg` command with dataflows that do what a dataflow must not, for `tests/cluster.rs`
//! and `tests/json.rs`.
//!
//! Public API only, like any dataflow outside this repository.

use std::process::ExitCode;
use std::time::Duration;

use differential_dataflow::AsCollection;
use thalweg::format::{Json, JsonMode};
use thalweg::prelude::*;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

fn main() -> ExitCode {
    thalweg::cli::main(&[
        AnyDataflow::of::<Panics>(),
        AnyDataflow::of::<HoldsCapability>(),
        AnyDataflow::of::<Dangles>(),
        AnyDataflow::of::<Sleeps>(),
        AnyDataflow::of::<Slow>(),
        AnyDataflow::of::<Strict>(),
    ])
}

/// The columns of the view `initials`: lines by their first byte.
const INITIALS: [&str; 2] = ["byte", "lines"];

fn initials<'scope>(flow: &mut Flow<'scope>) -> Table<'scope, (u8, isize)> {
    flow.records(Text).by(column::<u8>("byte"), |line| line.first().copied()).count("initials")
}

/// Panics at a line that begins with `!`, on the worker that reads it.
#[derive(clap::Args)]
struct Panics;

impl Dataflow for Panics {
    const NAME: &'static str = "panics";

    const ABOUT: &'static str = "panics at a line that begins with `!`";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let initials = flow.records(Text).by(column::<u8>("byte"), |line| {
            assert!(line.first() != Some(&b'!'), "the dataflow's own bug");
            line.first().copied()
        });
        initials.count("initials").columns(INITIALS).show("initials");
        Ok(())
    }
}

/// Keeps a capability of epoch 0 for ever.
#[derive(clap::Args)]
struct HoldsCapability;

impl Dataflow for HoldsCapability {
    const NAME: &'static str = "holds-capability";

    const ABOUT: &'static str = "has an operator, `Miser`, that keeps a capability";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let initials = initials(flow).rows().inner;
        let rows = initials.unary::<CapacityContainerBuilder<_>, _, _, _>(Pipeline, "Miser", |kept, _| {
            move |input, output| {
                let _kept = &kept;
                input.for_each(|capability, updates| output.session(&capability).give_container(updates));
            }
        });
        flow.table(INITIALS, rows.as_collection()).show("initials");
        Ok(())
    }
}

/// Keeps a capability in an operator that leads to no view: every view is complete, and the dataflow does not end.
#[derive(clap::Args)]
struct Dangles;

impl Dataflow for Dangles {
    const NAME: &'static str = "dangles";

    const ABOUT: &'static str = "has an operator, `Straggler`, that keeps a capability and leads to no view";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let initials = initials(flow);
        let rows = initials.rows().inner;
        initials.columns(INITIALS).show("initials");
        rows.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Straggler", |kept, _| {
            move |input, _output| {
                let _kept = &kept;
                input.for_each(|_, _| ());
            }
        });
        Ok(())
    }
}

/// Sleeps for an hour at a line that begins with `z`, on worker `--worker`, whoever read it.
#[derive(clap::Args)]
struct Sleeps {
    /// the worker that sleeps
    #[arg(long, value_name = "N", default_value_t = 0)]
    worker: u64,
}

impl Dataflow for Sleeps {
    const NAME: &'static str = "sleeps";

    const ABOUT: &'static str =
        "has an operator, `Sleeper`, that does not come back from a line that begins with `z`";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let worker = self.worker;
        let lines = flow.records(Text).by(text("line"), |line| Some(line.line())).collect("lines");
        let lines = lines.rows().inner;
        let to_worker = Exchange::new(move |_: &(Bytes, Epoch, isize)| worker);
        let rows = lines.unary::<CapacityContainerBuilder<_>, _, _, _>(to_worker, "Sleeper", |_, _| {
            move |input, output| {
                input.for_each(|capability, updates| {
                    if updates.iter().any(|(line, ..)| line.first() == Some(&b'z')) {
                        std::thread::sleep(Duration::from_secs(3600));
                    }
                    output.session(&capability).give_container(updates);
                });
            }
        });
        flow.facts(["line"], rows.as_collection()).about("all lines").show("lines");
        Ok(())
    }
}

/// Counts as it should, but takes its time for each line that does not begin with a capital.
#[derive(clap::Args)]
struct Slow {
    /// how long a line takes
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1)]
    pause: u64,
}

impl Dataflow for Slow {
    const NAME: &'static str = "slow";

    const ABOUT: &'static str =
        "sleeps for --pause milliseconds at each line that does not begin with a capital";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let pause = Duration::from_millis(self.pause);
        let lines = flow.records(Text);
        lines.input().map(["lines"], |counts| counts.lines).about("how many lines there are").show("input");
        let initials = lines.by(column::<u8>("byte"), move |line| {
            if !line.first().is_some_and(u8::is_ascii_uppercase) {
                std::thread::sleep(pause);
            }
            line.first().copied()
        });
        initials.count("initials").columns(INITIALS).show("initials");
        Ok(())
    }
}

/// Ends at a line that is not one JSON object.
#[derive(clap::Args)]
struct Strict;

impl Dataflow for Strict {
    const NAME: &'static str = "strict";

    const ABOUT: &'static str = "counts actions in JSON lines, and ends at one that is malformed";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let json = Json::new([("action", "action")]).expect("a path").with_mode(JsonMode::FailFast);
        let actions = flow
            .records(json)
            .by(text("action"), |record| Some(record.escaped("action")?.as_bytes()))
            .count("actions");
        actions.columns(["action", "lines"]).about("lines by their action").show("actions");
        Ok(())
    }
}
