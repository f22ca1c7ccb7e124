//! Sketches: totals that stay small by being approximate.
//!
//! [`Distinct`] says about how many different values there were, [`Quantiles`] about how large they were. Both are
//! [`Total`](super::Total)s: they add up by key, epoch and pane like any other sum, and like [`Stats`](super::Stats)
//! they have no negation. They know nothing of keys, windows or dataflow.
//!
//! # Canonical
//!
//! The same journal gives the same output, byte for byte, at any number of workers, so what a sketch holds must be a
//! function of *what* it has seen (the set of values for one, the multiset for the other) and of nothing else: neither
//! of the order, nor of how the values were shared out among workers and in which order those were merged, nor of the
//! process. Equality, order, hash and serialized form are then simply those of the fields. Merging is exactly
//! associative and commutative, with the empty sketch as its identity. Nothing in here is seeded, adds up floating
//! point numbers in an order of its own, or calls a function (`ln`, `powf`) that differs from platform to platform.
//!
//! # Why not a package
//!
//! As of 2026 none keeps that promise, and none can be wrapped so that it does:
//!
//! - `datasketches` (Apache): a HyperLogLog carries an estimator that depends on the order of insertion, and a list or
//!   hash table in that order while it is small; its KLL, REQ and t-digest depend on order, or draw random numbers.
//! - `cardinality-estimator`, `hyperloglockless`: registers go with a running floating-point sum, whose rounding
//!   depends on order; the first also is a tagged pointer behind `unsafe`.
//! - `hyperloglogplus`: a buffer in order of insertion, and no comparison.
//! - `hyperloglog`: deterministic, but never small, and panics where arguments do not fit each other.
//! - `sketches-ddsketch`: bins are laid out by history, a floating-point sum is part of the state, counts overflow,
//!   infinity panics, and an empty chunk is a kilobyte.
//! - `hdrhistogram`, `histogram`: no negative values and no fractions; dense, or fixed at configuration.
//!
//! What is left to write is little: a HyperLogLog is a maximum a register, and the buckets of [`Quantiles`] are the
//! leading bits of the floating-point number itself.

mod distinct;
mod quantiles;

pub use distinct::Distinct;
pub use quantiles::Quantiles;

/// Deserialized bytes are no sketch: they are damaged, or of another version.
#[derive(Debug, thiserror::Error)]
#[error("not a {0}: {1}")]
struct Damaged(&'static str, &'static str);
