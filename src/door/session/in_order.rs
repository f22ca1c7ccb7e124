//! The open sessions of one key, in the order of their times.
//!
//! Nearly every key has one, which needs no room of its own. A key may also have hundreds of thousands (an old log whose lines
//! are in no order), each of which is found, put and taken in logarithmic time.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::machine::Burst;
use crate::data::Total;
use crate::time::{Gap, Millis};

/// Sessions that are a gap apart, by the time of their first record; and where their key's live entry in the queue is.
///
/// Each form has the entry's time, because beside the form it would take the room of two: there may be millions of these.
#[derive(Debug)]
pub(super) enum InOrder<A> {
    /// None.
    Nothing(Millis),
    /// One.
    One(Millis, Burst<A>),
    /// More, at most [`InOrder::FEW`].
    Few(Millis, Vec<Burst<A>>),
    /// However many.
    Many(Millis, BTreeMap<Millis, Burst<A>>),
}

impl<A: Total> InOrder<A> {
    const FEW: usize = 16;

    /// Where the key's live entry in the queue is.
    pub(super) fn queued(&self) -> Millis {
        let (InOrder::Nothing(at) | InOrder::One(at, _) | InOrder::Few(at, _) | InOrder::Many(at, _)) = self;
        *at
    }

    pub(super) fn queue(&mut self, to: Millis) {
        let (InOrder::Nothing(at) | InOrder::One(at, _) | InOrder::Few(at, _) | InOrder::Many(at, _)) = self;
        *at = to;
    }

    /// Those that stand in a list.
    fn list(&self) -> &[Burst<A>] {
        match self {
            InOrder::Nothing(_) | InOrder::Many(..) => &[],
            InOrder::One(_, one) => std::slice::from_ref(one),
            InOrder::Few(_, few) => few,
        }
    }

    /// The first of them.
    pub(super) fn first(&self) -> Option<&Burst<A>> {
        match self {
            InOrder::Many(_, many) => many.first_key_value().map(|(_, session)| session),
            _ => self.list().first(),
        }
    }

    /// The one whose first record is of `first`.
    pub(super) fn get(&self, first: Millis) -> Option<&Burst<A>> {
        match self {
            InOrder::Many(_, many) => many.get(&first),
            _ => self.list().iter().find(|session| session.first == first),
        }
    }

    /// Takes those out that are less than a gap from `burst`.
    pub(super) fn take_near(&mut self, burst: &Burst<A>, gap: Gap) -> SmallVec<[Burst<A>; 2]> {
        if let InOrder::Many(_, many) = self {
            let mut near = SmallVec::new();
            while let Some((first, session)) = many.range(..burst.end(gap)).next_back() {
                if session.end(gap) <= burst.first {
                    break;
                }
                let first = *first;
                near.extend(many.remove(&first));
            }
            return near;
        }
        let list = self.list();
        let from = list.partition_point(|session| session.end(gap) <= burst.first);
        let to = from + list[from..].iter().take_while(|session| session.first < burst.end(gap)).count();
        self.take_out(from..to)
    }

    /// Takes those out that stand there in the list.
    fn take_out(&mut self, places: std::ops::Range<usize>) -> SmallVec<[Burst<A>; 2]> {
        if places.is_empty() {
            return SmallVec::new();
        }
        let queued = self.queued();
        let mut few = match std::mem::replace(self, InOrder::Nothing(queued)) {
            InOrder::One(_, one) => return SmallVec::from_iter([one]),
            InOrder::Few(_, few) => few,
            other => {
                *self = other;
                return SmallVec::new();
            }
        };
        let out = few.drain(places).collect();
        *self = match few.pop() {
            None => InOrder::Nothing(queued),
            Some(one) if few.is_empty() => InOrder::One(queued, one),
            Some(last) => {
                few.push(last);
                InOrder::Few(queued, few)
            }
        };
        out
    }

    /// Puts one in that is a gap from all others.
    pub(super) fn put(&mut self, session: Burst<A>) {
        let at = self.list().partition_point(|other| other.first < session.first);
        let queued = self.queued();
        *self = match std::mem::replace(self, InOrder::Nothing(queued)) {
            InOrder::Nothing(_) => InOrder::One(queued, session),
            InOrder::One(_, one) if at == 0 => InOrder::Few(queued, vec![session, one]),
            InOrder::One(_, one) => InOrder::Few(queued, vec![one, session]),
            InOrder::Few(_, mut few) if few.len() < Self::FEW => {
                few.insert(at, session);
                InOrder::Few(queued, few)
            }
            InOrder::Few(_, few) => {
                let all = few.into_iter().chain([session]);
                InOrder::Many(queued, all.map(|session| (session.first, session)).collect())
            }
            InOrder::Many(_, mut many) => {
                many.insert(session.first, session);
                InOrder::Many(queued, many)
            }
        };
    }

    /// Takes the first out, if it is so.
    pub(super) fn pop_if(&mut self, so: impl FnOnce(&Burst<A>) -> bool) -> Option<Burst<A>> {
        self.first().filter(|first| so(first))?;
        let InOrder::Many(queued, many) = self else { return self.take_out(0..1).pop() };
        let (_, first) = many.pop_first()?;
        if many.len() <= Self::FEW / 4 {
            *self = InOrder::Few(*queued, std::mem::take(many).into_values().collect());
        }
        Some(first)
    }

    /// All of them, in order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &Burst<A>> + '_> {
        match self {
            InOrder::Many(_, many) => Box::new(many.values()),
            _ => Box::new(self.list().iter()),
        }
    }
}
