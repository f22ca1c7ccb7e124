//! Lines of one log are mostly alike: the same keys in the same order, with other values.
//!
//! A [`Skeleton`] is what a line has around its values. A line that has the same is valid JSON with the same fields in the same
//! places, if its values are values: that is seen by comparing bytes, where a walk looks each key up. Whatever is
//! not alike is walked, and learnt from when that has happened for a while. Where several lines in a row were not alike, comparing
//! stops until then: lines with lists of any length (tweets) would only be gone through twice.

use super::walk::{Malformed, Node, Walk, is_scalar, text};

/// What is around the values of a line.
#[derive(Clone, Debug, Default)]
pub(in crate::format) struct Skeleton {
    /// What stands before, between and behind the values, one after the other.
    text: Vec<u8>,
    /// Where each of these pieces ends there. There are none before a line was learnt from.
    ends: Vec<usize>,
    /// The fields, with where their values begin and end.
    fields: Vec<(usize, [Anchor; 2])>,
    /// Where the pieces begin in the line that is looked at.
    begins: Vec<usize>,
    /// How many lines in a row were not alike.
    misses: u32,
    /// Lines that are still walked before one is learnt from.
    wait: u32,
    /// How many the next time.
    next_wait: u32,
}

/// A place in a line: so many bytes behind the beginning of a piece.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    piece: usize,
    behind: usize,
}

impl Skeleton {
    /// Lines that are walked at most between two that are learnt from.
    const MOST: u32 = 1024;

    /// Lines in a row that are not alike, after which none is compared.
    const TRIES: u32 = 3;

    /// As [`Node::find`] with `root`, which is the same at each call.
    #[inline]
    pub(in crate::format) fn find<'a>(
        &mut self,
        root: &Node,
        line: &'a [u8],
        values: &mut [Option<&'a str>],
    ) -> Result<(), Malformed> {
        let line = text(line)?;
        if !self.ends.is_empty() && self.misses < Self::TRIES {
            if self.fits(line) {
                self.misses = 0;
                self.next_wait /= 2;
                for (field, [begin, end]) in &self.fields {
                    let place = |anchor: &Anchor| self.begins[anchor.piece] + anchor.behind;
                    values[*field] = line.get(place(begin)..place(end));
                }
                return Ok(());
            }
            self.misses += 1;
        }
        root.find_in(line, values)?;
        if self.wait == 0 {
            self.learn(line, values);
        } else {
            self.wait -= 1;
        }
        Ok(())
    }

    /// Whether `line` is the pieces with values between them; notes where they begin.
    #[inline]
    fn fits(&mut self, line: &str) -> bool {
        let mut walk = Walk::new(line);
        let mut from = 0;
        for (piece, end) in self.ends.iter().enumerate() {
            if piece > 0 && walk.scalar().is_err() {
                return false;
            }
            self.begins[piece] = walk.at();
            if !walk.passes(&self.text[from..*end]) {
                return false;
            }
            from = *end;
        }
        walk.at() == line.len()
    }

    /// Learns from `line`, which is valid and has these `values`.
    #[cold]
    fn learn(&mut self, line: &str, values: &[Option<&str>]) {
        self.next_wait = (2 * self.next_wait + 1).min(Self::MOST);
        self.wait = self.next_wait;
        self.misses = 0;
        let (mut text, mut ends, mut begins, mut from) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (begin, end) in scalars(line) {
            text.extend_from_slice(&line.as_bytes()[from..begin]);
            ends.push(text.len());
            begins.push(from);
            from = end;
        }
        text.extend_from_slice(&line.as_bytes()[from..]);
        ends.push(text.len());
        begins.push(from);
        let anchor = |place: usize, before: bool| {
            // The beginning of a value is behind the piece before it; its end begins a piece.
            let piece = begins.partition_point(|begin| if before { *begin < place } else { *begin <= place });
            let piece = piece.saturating_sub(1);
            Anchor { piece, behind: place - begins[piece] }
        };
        let mut fields = Vec::new();
        for (field, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let begin = value.as_ptr() as usize - line.as_ptr() as usize;
            let end = begin + value.len();
            let is_value = value.as_bytes().first().is_some_and(|byte| is_scalar(*byte));
            fields.push((field, [anchor(begin, true), anchor(end, !is_value)]));
        }
        (self.text, self.ends, self.begins, self.fields) = (text, ends, begins, fields);
    }
}

/// Where the scalar values of `line`, which is valid, begin and end.
fn scalars(line: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut walk = Walk::new(line);
    while let Some(byte) = walk.next() {
        let begin = walk.at();
        if !is_scalar(byte) {
            walk.pass_byte();
            continue;
        }
        if walk.scalar().is_err() {
            break;
        }
        let end = walk.at();
        // What a colon follows is a key.
        if walk.next() != Some(b':') {
            found.push((begin, end));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values, most of them valid.
    fn values() -> impl Strategy<Value = String> {
        let scalar = prop::sample::select(vec![
            "1",
            "-2.5e3",
            "01",
            "\"\"",
            "\"a\"",
            "\"a\\\"b\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "true",
            "false",
            "null",
            "nul",
            "\"é\"",
        ]);
        scalar.prop_map(str::to_owned).prop_recursive(2, 6, 3, |inner| {
            let pair = (prop::sample::select(vec!["a", "b", "0", "longer name"]), inner.clone());
            let pairs = prop::collection::vec(pair, 0..3);
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(|all| format!("[{}]", all.join(", "))),
                pairs.prop_map(|all| {
                    let all: Vec<_> = all.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                    format!("{{{}}}", all.join(","))
                }),
            ]
        })
    }

    proptest! {
        /// Lines that are alike, and some that are not, have the values that a walk finds.
        #[test]
        fn lines_have_the_values_that_a_walk_finds(
            shapes in prop::collection::vec((prop::sample::select(vec!["a", "b", "longer name", "a"]), 0..4usize, any::<bool>()), 1..4),
            lines in prop::collection::vec(prop::collection::vec(values(), 4), 1..40),
        ) {
            let mut root = Node::default();
            for (field, path) in [&["a"][..], &["b", "a"], &["b", "0"], &["longer name"], &["a", "b"], &["b"]].iter().enumerate() {
                root.add(&path.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), field);
            }
            let mut skeleton = Skeleton::default();
            for values in &lines {
                let pair = |(key, value, wide): &(&str, usize, bool)| {
                    let space = if *wide { " " } else { "" };
                    format!("{space}\"{key}\"{space}:{space}{}", values[*value])
                };
                let line = format!("{{{}}}", shapes.iter().map(pair).collect::<Vec<_>>().join(","));
                let (mut walked, mut found) = ([None; 6], [None; 6]);
                let expected = root.find(line.as_bytes(), &mut walked);
                prop_assert_eq!(skeleton.find(&root, line.as_bytes(), &mut found), expected, "{}", &line);
                prop_assert_eq!(found, walked, "{}", &line);
            }
        }
    }

    /// Other values in the same places are found without a walk.
    #[test]
    fn a_line_like_the_last_fits() {
        let mut skeleton = Skeleton::default();
        let mut root = Node::default();
        root.add(&["a".to_owned(), "b".to_owned()], 0);
        let mut values = [None];
        assert_eq!(
            skeleton.find(&root, br#"{"a": {"b": "x", "c": [1, {}]}, "d": null}"#, &mut values),
            Ok(())
        );
        let like = r#"{"a": {"b": "longer \" text", "c": [-2, {}]}, "d": true}"#;
        assert!(skeleton.fits(like));
        assert_eq!(skeleton.find(&root, like.as_bytes(), &mut values), Ok(()));
        assert_eq!(values, [Some(r#""longer \" text""#)]);
        for unlike in
            [r#"{"a": {"b": [], "c": [1, {}]}, "d": null}"#, r#"{"a": {"b": "x", "c": [1, {}]}, "d": nul}"#]
        {
            assert!(!skeleton.fits(unlike), "{unlike}");
        }
    }
}
