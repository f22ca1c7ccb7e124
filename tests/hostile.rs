//! Hostile input and hostile surroundings, through the real binary.
//!
//! - `bytes`: whatever may be in a line, and lines of any length; bad input is data, and memory is bounded.
//! - `refusals`: what cannot be done is refused with the documented exit code, and a text that says what to do.
//! - `manners`: what a user at a terminal, a shell or a pager may expect of any command.
//! - `rejects`: lines of which no records come, and the file that has all of them.
//! - `live`: a run that is watched, signalled, blocked and cut off while it goes on.

#[path = "hostile/bytes.rs"]
mod bytes;
#[path = "hostile/live.rs"]
mod live;
#[path = "hostile/manners.rs"]
mod manners;
#[path = "hostile/refusals.rs"]
mod refusals;
#[path = "hostile/rejects.rs"]
mod rejects;
mod support;
