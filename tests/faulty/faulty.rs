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
    thalweg::cli::main(&[&Panics, &HoldsCapability, &Dangles, &Sleeps, &Slow, &Strict])
}

const INPUT: View = View { name: "input", columns: &["lines"], about: "how many lines there are" };
const INITIALS: View =
    View { name: "initials", columns: &["byte", "lines"], about: "lines by their first byte" };
const ACTIONS: View = View { name: "actions", columns: &["action", "lines"], about: "lines by their action" };
const WORKER: Opt = Opt { name: "worker", value: "N", default: "0", about: "the worker that sleeps" };
const PAUSE: Opt = Opt { name: "pause", value: "MILLISECONDS", default: "1", about: "how long a line takes" };

/// Panics at a line that begins with `!`, on the worker that reads it.
struct Panics;

impl Dataflow for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn about(&self) -> &'static str {
        "panics at a line that begins with `!`"
    }

    fn views(&self) -> &'static [View] {
        &[INITIALS]
    }

    fn default_source(&self) -> &'static str {
        "stdin:"
    }

    fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
        Ok(Build::new(|flow| {
            let initials = flow.records(Text).count_by::<u8>("initials", |line| {
                assert!(line.first() != Some(&b'!'), "the dataflow's own bug");
                line.first().copied()
            });
            flow.view("initials", initials);
        }))
    }
}

/// Keeps a capability of epoch 0 for ever.
struct HoldsCapability;

impl Dataflow for HoldsCapability {
    fn name(&self) -> &'static str {
        "holds-capability"
    }

    fn about(&self) -> &'static str {
        "has an operator, `Miser`, that keeps a capability"
    }

    fn views(&self) -> &'static [View] {
        &[INITIALS]
    }

    fn default_source(&self) -> &'static str {
        "stdin:"
    }

    fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
        Ok(Build::new(|flow| {
            let initials = flow.records(Text).count_by::<u8>("initials", |line| line.first().copied()).inner;
            let rows =
                initials.unary::<CapacityContainerBuilder<_>, _, _, _>(Pipeline, "Miser", |kept, _| {
                    move |input, output| {
                        let _kept = &kept;
                        input.for_each(|capability, updates| {
                            output.session(&capability).give_container(updates)
                        });
                    }
                });
            flow.view("initials", rows.as_collection());
        }))
    }
}

/// Keeps a capability in an operator that leads to no view: every view is complete, and the dataflow does not end.
struct Dangles;

impl Dataflow for Dangles {
    fn name(&self) -> &'static str {
        "dangles"
    }

    fn about(&self) -> &'static str {
        "has an operator, `Straggler`, that keeps a capability and leads to no view"
    }

    fn views(&self) -> &'static [View] {
        &[INITIALS]
    }

    fn default_source(&self) -> &'static str {
        "stdin:"
    }

    fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
        Ok(Build::new(|flow| {
            let initials = flow.records(Text).count_by::<u8>("initials", |line| line.first().copied());
            flow.view("initials", initials.clone());
            let rows = initials.inner;
            rows.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Straggler", |kept, _| {
                move |input, _output| {
                    let _kept = &kept;
                    input.for_each(|_, _| ());
                }
            });
        }))
    }
}

/// Sleeps for an hour at a line that begins with `z`, on worker `--worker`, whoever read it.
struct Sleeps;

impl Dataflow for Sleeps {
    fn name(&self) -> &'static str {
        "sleeps"
    }

    fn about(&self) -> &'static str {
        "has an operator, `Sleeper`, that does not come back from a line that begins with `z`"
    }

    fn views(&self) -> &'static [View] {
        &[View { name: "lines", columns: &["line"], about: "all lines" }]
    }

    fn options(&self) -> &'static [Opt] {
        &[WORKER]
    }

    fn default_source(&self) -> &'static str {
        "stdin:"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let worker: u64 = options.get(WORKER.name)?;
        Ok(Build::new(move |flow| {
            let lines =
                flow.records(Text).collect::<Bytes>("lines", |line| Some(line)).map(|line| (line,)).inner;
            let to_worker = Exchange::new(move |_: &((Bytes,), Epoch, isize)| worker);
            let rows = lines.unary::<CapacityContainerBuilder<_>, _, _, _>(to_worker, "Sleeper", |_, _| {
                move |input, output| {
                    input.for_each(|capability, updates| {
                        if updates.iter().any(|((line,), ..)| line.first() == Some(&b'z')) {
                            std::thread::sleep(Duration::from_secs(3600));
                        }
                        output.session(&capability).give_container(updates);
                    });
                }
            });
            flow.view("lines", rows.as_collection());
        }))
    }
}

/// Counts as it should, but takes its time for each line that does not begin with a capital.
struct Slow;

impl Dataflow for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn about(&self) -> &'static str {
        "sleeps for --pause milliseconds at each line that does not begin with a capital"
    }

    fn views(&self) -> &'static [View] {
        &[INPUT, INITIALS]
    }

    fn options(&self) -> &'static [Opt] {
        &[PAUSE]
    }

    fn default_source(&self) -> &'static str {
        "stdin:"
    }

    fn prepare(&self, options: &Options) -> Result<Build, OptionError> {
        let pause = Duration::from_millis(options.get(PAUSE.name)?);
        Ok(Build::new(move |flow| {
            let mut lines = flow.records(Text);
            let input = lines.input();
            flow.view("input", input.map(|counts| (counts.lines,)));
            let initials = lines.count_by::<u8>("initials", move |line| {
                if !line.first().is_some_and(u8::is_ascii_uppercase) {
                    std::thread::sleep(pause);
                }
                line.first().copied()
            });
            flow.view("initials", initials);
        }))
    }
}

/// Ends at a line that is not one JSON object.
struct Strict;

impl Dataflow for Strict {
    fn name(&self) -> &'static str {
        "strict"
    }

    fn about(&self) -> &'static str {
        "counts actions in JSON lines, and ends at one that is malformed"
    }

    fn views(&self) -> &'static [View] {
        &[ACTIONS]
    }

    fn default_source(&self) -> &'static str {
        "stdin:"
    }

    fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
        let json = Json::new([("action", "action")]).expect("a path").with_mode(JsonMode::FailFast);
        Ok(Build::new(move |flow| {
            let actions = flow
                .records(json.clone())
                .count_by::<Bytes>("actions", |record| Some(record.escaped("action")?.as_bytes()));
            flow.view("actions", actions);
        }))
    }
}
