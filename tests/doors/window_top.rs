//! The largest rows of each window against sorting what the window holds.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use thalweg::dataflow::{BuildError, Dataflow, Flow};
use thalweg::door::number as column;
use thalweg::testing::Script;
use thalweg::time::Window;

use crate::oracle::cases;
use crate::story::{LATENESS, Record, Story, changes, number, records, shown, story};

/// The most frequent pairs of key and value of each window of ten seconds, one every five.
#[derive(clap::Args)]
struct Top {
    #[arg(long, default_value_t = 2)]
    k: usize,
}

impl Dataflow for Top {
    const NAME: &'static str = "top";
    const ABOUT: &'static str = "most frequent";
    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let k = self.k;
        let window = Window::new(Duration::from_secs(10), Duration::from_secs(5)).expect("five go into ten");
        let lines = flow.records(thalweg::format::Text).event_time(|line| number(line.line(), 0));
        let pairs = lines.by((column("key"), column("value")), |line| {
            Some((number(line.line(), 2)?, number(line.line(), 3)?))
        });
        let top = pairs.by_window(window).count("counts").top(k);
        let columns = ["start", "rank", "key", "value", "count"];
        let top = top.map(columns, |(span, rank, pair, n)| (span.start.0, rank, pair, n));
        top.about("by rank").show("top");
        Ok(())
    }
}

/// The rows of all windows once `story` has come to each of its epochs, and those that are then final.
fn naive(story: &Story, k: usize) -> (Vec<Vec<String>>, Vec<String>) {
    let mut counts: BTreeMap<i64, BTreeMap<(u8, u8), usize>> = BTreeMap::new();
    let mut before = i64::MIN;
    let mut contents = Vec::new();
    let rows = |(start, counts): (&i64, &BTreeMap<(u8, u8), usize>)| {
        let mut all: Vec<_> = counts.iter().collect();
        all.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        let row = |(rank, ((key, value), n)): (usize, (&(u8, u8), &usize))| {
            format!("{start}\t{rank}\t{key}\t{value}\t{n}")
        };
        (1..).zip(all).take(k).map(row).collect::<Vec<_>>()
    };
    for (epoch, (_, after)) in story.epochs.iter().zip(story.judged()) {
        for Record { time, key, value, .. } in epoch {
            let last = time.div_euclid(5000) * 5000;
            for start in [last - 5000, last].into_iter().filter(|start| start + 10_000 > before) {
                *counts.entry(start).or_default().entry((*key, *value)).or_default() += 1;
            }
        }
        before = after;
        contents.push(counts.iter().flat_map(rows).collect());
    }
    contents.push(contents.last().cloned().unwrap_or_default());
    let finals = counts.iter().flat_map(rows).collect();
    (contents, finals)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn ranks_are_those_of_sorting(story in story(2 * LATENESS, 40), k in prop::sample::select(vec![0usize, 1, 2, 100])) {
        let answer = story.tell(Script::new(Top { k }));
        let (contents, finals) = naive(&story, k);
        prop_assert_eq!(shown(&answer, "top", contents.len()), changes(&contents));
        let mut shown = answer.finals("top");
        shown.sort_unstable();
        let mut finals: Vec<_> = finals.iter().map(String::as_str).collect();
        finals.sort_unstable();
        prop_assert_eq!(shown, finals);
    }

    #[test]
    fn the_cut_does_not_matter(records in records(LATENESS, 40), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let whole = Story::new(&records, &[], 0, (1, 1)).run(Top { k: 2 });
        let cut = Story::new(&records, &cuts, 0, (3, 3)).run(Top { k: 2 });
        prop_assert_eq!(whole.view("top"), cut.view("top"));
    }
}
