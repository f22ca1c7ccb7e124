//! Plain text for word counts.

use crate::generate::clock::Moment;
use crate::generate::draws::Draws;
use crate::generate::text::word;
use crate::generate::zipf::Zipf;
use crate::generate::{Lines, Options};

#[derive(Debug)]
pub(super) struct Words {
    words: Zipf,
}

impl Words {
    pub(super) fn new(options: &Options) -> Self {
        Words { words: Zipf::new(options.keys, options.skew) }
    }
}

impl Lines for Words {
    fn write(&mut self, draws: &mut Draws, _moment: Moment, out: &mut Vec<u8>) {
        let mut draw = draws.draw();
        word(self.words.rank(draws), out);
        for _ in 0..4 + draw.below(11) {
            // Now and then a wide gap, which a split on single spaces gets wrong.
            let gap: &[u8] = match draws.draw().below(50) {
                0 => b"  ",
                1 => b"\t",
                _ => b" ",
            };
            out.extend_from_slice(gap);
            word(self.words.rank(draws), out);
        }
    }

    /// Any text is well-formed, so a malformed line is one that is no text: it has a Latin-1 letter among its
    /// ASCII ones, which UTF-8 does not allow.
    fn spoil(&self, draws: &mut Draws, start: usize, out: &mut Vec<u8>) {
        let at = start + draws.draw().below((out.len() - start) as u64 + 1) as usize;
        out.insert(at, 0xe9);
    }
}
