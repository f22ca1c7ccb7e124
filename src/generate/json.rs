//! Ways in which a line comes to be broken, shared by the kinds.

use crate::generate::draws::{Draw, Draws};

/// Breaks the JSON object `out[start..]`, in which a string's text begins with a letter at `text`.
pub(super) fn spoil(draws: &mut Draws, start: usize, text: usize, out: &mut Vec<u8>) {
    let mut draw = draws.draw();
    match draw.below(5) {
        // A line that was cut off: no proper beginning of an object is an object.
        0 => out.truncate(start + 1 + draw.below((out.len() - start - 1) as u64) as usize),
        // A control character that is not escaped.
        1 => out.insert(text, [0x01, 0x08, 0x0b, 0x1b, b'\t'][draw.below(5) as usize]),
        // A quote that is not escaped.
        2 => out.insert(text, b'"'),
        // An empty line.
        3 => out.truncate(start),
        // Bytes of something else altogether.
        _ => binary(draw, start, out),
    }
}

/// Replaces `out[start..]` by 16 to 63 bytes, all above 0x7F: neither text nor, for certain, any line end.
pub(super) fn binary(mut draw: Draw, start: usize, out: &mut Vec<u8>) {
    out.truncate(start);
    let length = 16 + draw.below(48);
    out.extend((0..length).map(|at| 0x80 | Draw::hash(draw.rest() ^ at).below(128) as u8));
}
