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
//! process. Equality, order, hash and serialized form are those of that function. Merging is exactly associative and
//! commutative, with the empty sketch as its identity. Nothing in here is seeded, adds up floating point numbers in an
//! order of its own, or calls a function (`ln`, `powf`) that differs from platform to platform.
//!
//! # Which package
//!
//! As of 2026 one keeps that promise, with a little help, and it is under [`Quantiles`]: `hdrhistogram` 7.6 counts whole
//! numbers in fixed buckets. Its own equality and serialized form tell how a histogram grew, its counts stop at 2^64
//! in silence, and of more than 2^53 values it loses the last; so what is compared, hashed, ordered and stored is the
//! pairs of value and count, counts are checked before they are added, and the last is asked for by another way. Its
//! price is that it has all buckets of its range, used or not.
//!
//! The others that were looked at cannot be wrapped so that they keep it:
//!
//! - `sketches-ddsketch` 0.4: where bins lie depends on history, a floating-point sum is part of the state, counts
//!   overflow, infinity panics, and 2048 bins do not span the magnitudes of a `u64`.
//! - `datasketches` 0.6 (Apache): the estimate of a HyperLogLog depends on the order of insertion (101 148 or 101 926
//!   for the same hundred thousand values), so its bytes do; KLL and REQ draw random numbers, t-digest goes by order.
//! - `cardinality-estimator` 1.0: registers go with a running 32-bit floating-point sum, whose rounding depends on
//!   order; a tagged pointer behind `unsafe`.
//! - `hyperloglockless` 0.5, `hyperloglogplus` 0.4: while small, what was inserted last waits in a buffer, so that equal
//!   sets are unequal; neither has an order.
//! - `hyperloglog` 1.0: deterministic, but never small, and panics where two do not fit each other.
//!
//! So [`Distinct`] is written here. It is little: a HyperLogLog is a maximum a register.

mod distinct;
mod quantiles;

pub use distinct::Distinct;
pub use quantiles::Quantiles;

/// Deserialized bytes are no sketch: they are damaged, or of another version.
#[derive(Debug, thiserror::Error)]
#[error("not a {0}: {1}")]
struct Damaged(&'static str, &'static str);
