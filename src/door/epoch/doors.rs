//! The doors that add up each epoch by itself: [`Grouped::by_epoch`].

use differential_dataflow::ExchangeData;
use timely::dataflow::operators::generic::operator::empty;

use super::machine::Epochs;
use crate::data::{Key, Members, Stored, Total};
use crate::door::grouped::{Adds, Collecting, Grouped, Sums};
use crate::door::machine::{Routes, operate};
use crate::door::opened::Opened;
use crate::door::table::{Facts, Final, Rows};
use crate::door::when::{Opening, When};
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::operators::route;
use crate::time::Time;

/// The sums of the epoch that arrived at a time.
struct EpochSums<'a, K, A> {
    arrived: i64,
    sums: &'a mut Partials<(i64, K), A>,
}

impl<K: Key, A: Total> Sums<K, A> for EpochSums<'_, K, A> {
    #[inline]
    fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        self.sums.entry((self.arrived, key))
    }
}

/// The records of each epoch by themselves.
#[derive(Clone, Copy, Debug)]
pub struct ByEpoch;

impl When for ByEpoch {
    type Row<K: Key, A: ExchangeData> = (Time, K, A);
    type Kind = Final;

    fn open<'scope, F: Format, K: Key, A: Total + Stored>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        mut adds: impl Adds<F, K, A>,
    ) -> Facts<'scope, (Time, K, A)> {
        let site = records.site();
        let names = opening.names(&["arrived"]);
        let Opening { name, place, .. } = opening;
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), A>| {
            adds.add(record, &mut EpochSums { arrived: record.arrived().0, sums });
        };
        let sums = records.sums(&name, place, logic);
        let routes = Routes { datum: |(_, key): &(i64, K)| route(key), key: |()| 0 };
        let (machine, durable) = (Epochs::new(&name), Opened::transient());
        let (rows, _) = operate(&name, sums, routes, empty(site.scope), machine, durable, vec![]);
        Rows::new(rows, names, site.clone())
    }

    fn distinct<'scope, F: Format, K: Key, M: Key>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, (K, M), isize>,
    ) -> Facts<'scope, (Time, K, isize)> {
        let names = opening.names(&["arrived"]);
        let members = self.open::<F, K, Members<M>>(records, opening, Collecting(adds));
        members.map((), |(arrived, key, members)| (arrived, key, members.len() as isize)).named(names)
    }
}

impl<'scope, F: Format, K: Key, G> Grouped<'scope, F, K, G> {
    /// Each epoch by itself, what batches are elsewhere: for each key that it has, a row with the time at which the epoch
    /// arrived, said once.
    ///
    /// Live, an epoch is what came within a tick; of input that has an end, as much as an epoch holds, all of which
    /// arrives as the run begins. Which lines are in which epoch is in the ledger, so that a replay gives the same rows. They are facts: nothing retracts
    /// them, and an epoch without records has none. State: none beyond the open epoch.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("words by epoch", |flow| {
    ///     let words = flow.records(Text).by_each(text("word"), |line, each| line.line().split(|byte| *byte == b' ').for_each(each));
    ///     words.by_epoch().count("words").show("words");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build).epoch("hello hello world\n").epoch("hello\n").run();
    /// let words: Vec<_> = answer.view("words").iter().map(|row| row.split_once('\t').unwrap().1).collect();
    /// assert_eq!(words, ["hello\t1", "hello\t2", "world\t1"]);
    /// ```
    pub fn by_epoch(self) -> Grouped<'scope, F, K, G, ByEpoch> {
        self.during(ByEpoch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use crate::prelude::*;
    use crate::testing::Script;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Every epoch has the rows that its own lines make, whatever the others have.
        #[test]
        fn epochs_are_added_up_by_themselves(
            epochs in prop::collection::vec(prop::collection::vec(0u8..5, 0..12), 1..6),
        ) {
            let build = Build::new("by epoch", |flow| {
                let lines = flow.records(Text);
                let keys = || lines.by(text("key"), |line| line.get(..1)).by_epoch();
                keys().count("counts").show("counts");
                keys().distinct("members", text("member"), |line| Some(line.line())).show("members");
                Ok(())
            });
            let mut script = Script::new(build);
            let (mut counts, mut members) = (Vec::new(), Vec::new());
            for epoch in &epochs {
                let lines: Vec<String> = epoch.iter().map(|n| format!("{}{n}", ["a", "b"][usize::from(n % 2)])).collect();
                let mut by_key = BTreeMap::<&str, Vec<&String>>::new();
                lines.iter().for_each(|line| by_key.entry(&line[..1]).or_default().push(line));
                for (key, mut lines) in by_key {
                    counts.push(format!("{key}\t{}", lines.len()));
                    lines.sort();
                    lines.dedup();
                    members.push(format!("{key}\t{}", lines.len()));
                }
                script = script.epoch(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            }
            let answer = script.run();
            for (view, mut expected) in [("counts", counts), ("members", members)] {
                let mut rows: Vec<_> = answer
                    .view(view)
                    .iter()
                    .map(|row| row.split_once('\t').map_or("", |(_, rest)| rest).to_owned())
                    .collect();
                rows.sort();
                expected.sort();
                prop_assert_eq!(rows, expected);
            }
        }
    }
}
