//! The open sessions of one key, in the order of their times.
//!
//! Nearly every key has one, which needs no room of its own. A key may also have hundreds of thousands (an old log whose lines
//! are in no order), each of which is found, put and taken in logarithmic time.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::machine::{Burst, Session};
use crate::data::Total;
use crate::time::{Gap, Millis};

/// Sessions that are a gap apart, by the time of their first record.
#[derive(Debug)]
pub(super) enum InOrder<A> {
    /// At most [`InOrder::FEW`].
    Few(SmallVec<[Session<A>; 1]>),
    /// However many.
    Many(BTreeMap<Millis, Session<A>>),
}

impl<A: Total> InOrder<A> {
    const FEW: usize = 16;

    pub(super) fn new() -> Self {
        InOrder::Few(SmallVec::new())
    }

    /// The first of them.
    pub(super) fn first(&self) -> Option<&Session<A>> {
        match self {
            InOrder::Few(few) => few.first(),
            InOrder::Many(many) => many.first_key_value().map(|(_, session)| session),
        }
    }

    /// The one whose first record is of `first`.
    pub(super) fn get_mut(&mut self, first: Millis) -> Option<&mut Session<A>> {
        match self {
            InOrder::Few(few) => few.iter_mut().find(|session| session.burst.first == first),
            InOrder::Many(many) => many.get_mut(&first),
        }
    }

    /// Takes those out that are less than a gap from `burst`.
    pub(super) fn take_near(&mut self, burst: &Burst<A>, gap: Gap) -> SmallVec<[Session<A>; 2]> {
        match self {
            InOrder::Few(few) => {
                let from = few.partition_point(|session| session.burst.end(gap) <= burst.first);
                let near = |session: &&Session<A>| session.burst.first < burst.end(gap);
                let to = from + few[from..].iter().take_while(near).count();
                few.drain(from..to).collect()
            }
            InOrder::Many(many) => {
                let mut near = SmallVec::new();
                while let Some((first, session)) = many.range(..burst.end(gap)).next_back() {
                    if session.burst.end(gap) <= burst.first {
                        break;
                    }
                    let first = *first;
                    near.extend(many.remove(&first));
                }
                near
            }
        }
    }

    /// Puts one in that is a gap from all others.
    pub(super) fn put(&mut self, session: Session<A>) {
        match self {
            InOrder::Few(few) if few.len() < Self::FEW => {
                let at = few.partition_point(|other| other.burst.first < session.burst.first);
                few.insert(at, session);
            }
            InOrder::Few(few) => {
                let all = few.drain(..).chain([session]);
                *self = InOrder::Many(all.map(|session| (session.burst.first, session)).collect());
            }
            InOrder::Many(many) => drop(many.insert(session.burst.first, session)),
        }
    }

    /// Takes the first out, if it is so.
    pub(super) fn pop_if(&mut self, so: impl FnOnce(&Session<A>) -> bool) -> Option<Session<A>> {
        self.first().filter(|first| so(first))?;
        match self {
            InOrder::Few(few) => Some(few.remove(0)),
            InOrder::Many(many) => {
                let (_, first) = many.pop_first()?;
                if many.len() <= Self::FEW / 4 {
                    *self = InOrder::Few(std::mem::take(many).into_values().collect());
                }
                Some(first)
            }
        }
    }

    /// All of them, in order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &Session<A>> + '_> {
        match self {
            InOrder::Few(few) => Box::new(few.iter()),
            InOrder::Many(many) => Box::new(many.values()),
        }
    }
}
