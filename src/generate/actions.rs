//! What devices did and when: the JSON lines of structured streaming's lesson on windows.

use crate::generate::clock::Moment;
use crate::generate::draws::Draws;
use crate::generate::text::{signed, word};
use crate::generate::zipf::Zipf;
use crate::generate::{Lines, Options, json};

const ACTIONS: [(u64, &[u8]); 5] =
    [(400, b"Open"), (780, b"Close"), (900, b"Update"), (980, b"Ping"), (1000, b"Error")];

#[derive(Debug)]
pub(super) struct Actions {
    devices: Zipf,
    /// Where the last line's action begins, in bytes from the line's beginning.
    action: usize,
}

impl Actions {
    pub(super) fn new(options: &Options) -> Self {
        Actions { devices: Zipf::new(options.keys, options.skew), action: 0 }
    }
}

impl Lines for Actions {
    fn write(&mut self, draws: &mut Draws, moment: Moment, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"{\"time\":");
        signed(moment.seconds(), out);
        out.extend_from_slice(b",\"action\":\"");
        self.action = out.len() - start;
        out.extend_from_slice(draws.draw().pick_per_mille(&ACTIONS));
        out.extend_from_slice(b"\",\"device\":\"");
        word(self.devices.rank(draws), out);
        out.extend_from_slice(b"\"}");
    }

    fn spoil(&self, draws: &mut Draws, start: usize, out: &mut Vec<u8>) {
        json::spoil(draws, start, start + self.action, out);
    }
}
