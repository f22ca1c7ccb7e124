//! Bytes, times and lines on which two parsers may come to differ.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Bytes on which the grammar turns, and a few on which it must not.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => select(&b" \t\n\x0b\x0c\r\"\\[]-09/:+"[..]),
        2 => select(&b"\x00\x08\x0e\x1f!\x20\x7f\x80\x85\xa0\xffAz"[..]),
        1 => any::<u8>(),
    ]
}

/// Any bytes, but often those on which the grammar turns.
pub fn telling_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(telling_byte(), 0..=most)
}

fn text(pattern: &'static str) -> BoxedStrategy<Vec<u8>> {
    proptest::string::bytes_regex(pattern).expect("a pattern of this file").boxed()
}

/// One of the usual, or now and then anything.
fn mostly(usual: BoxedStrategy<Vec<u8>>) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![40 => usual, 1 => telling_bytes(20)].boxed()
}

fn word() -> BoxedStrategy<Vec<u8>> {
    mostly(text(r"-|[a-z.]{1,20}|[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f:]{2,39}|(?-u:[!-~\x80-\xff]{1,40})"))
}

/// Times that servers write, and such that are nearly so.
pub fn clf_time() -> BoxedStrategy<Vec<u8>> {
    let month =
        select(&["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][..]);
    let date = (0..=32_u32, month, 0..=9999_u32);
    let clock = (0..=24_u32, 0..=60_u32, 0..=61_u32);
    let offset = (select(&["+", "-"][..]), 0..=25_u32, 0..=60_u32);
    (date, clock, offset)
        .prop_map(|((day, month, year), (hour, minute, second), (sign, oh, om))| {
            format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} {sign}{oh:02}{om:02}")
                .into_bytes()
        })
        .boxed()
}

/// Times that no server writes, many of which chrono accepts: one digit, white space, far years.
pub fn odd_time() -> BoxedStrategy<Vec<u8>> {
    let date = "[ \t]?(0?[1-9]|[12][0-9])/(Jan|feb|MAR|may|Sep|April)/ ?([0-9]{1,4}|[+-]0*[0-9]{1,6}|[+-]26214[0-9])";
    let clock = ": ?(0?[0-9]|1[0-9]): ?(0?[0-9]|[1-5][0-9]):[ ]?(0?[0-9]|[1-5][0-9]|60)";
    let offset = "[ \t\u{85}]{0,2}([+\u{2212}-]([01][0-9]|2[0-3]): ?[0-5][0-9]|[+-][01][0-9][0-9]{2}|Z)";
    (text(date), text(clock), text(offset))
        .prop_map(|(date, clock, offset)| [date, clock, offset].concat())
        .boxed()
}

fn request() -> BoxedStrategy<Vec<u8>> {
    let token = || {
        text(
            r#"|GET|POST|-|/|/[a-z%?=&;|]{0,60}|HTTP/1\.[01]|HTTP/|http/1.1|HTTP|\\x16|\\"|\\\\|\\n|[!-~&&[^"\\]]{0,9}"#,
        )
    };
    let usual = text(r"(GET|HEAD|POST) /[a-z/]{0,80} HTTP/(1\.[01]|2\.0)");
    let odd = prop::collection::vec(token(), 0..6).prop_map(|tokens| tokens.join(&b' '));
    mostly(prop_oneof![usual, odd].boxed())
}

/// Well-formed lines for the most part, with all kinds of fields.
pub fn grammatical() -> BoxedStrategy<Vec<u8>> {
    let time = mostly(prop_oneof![8 => clf_time(), 1 => odd_time(), 1 => text(r"[^\]]{0,30}")].boxed());
    let status = mostly(text("[0-9]{3}"));
    let size = mostly(text("-|0|[0-9]{1,7}|[0-9]{18,22}|0{0,30}1844674407370955161[0-9]"));
    let tail =
        prop_oneof![Just(Vec::new()), text(r#"[ \t\r\n\x0b\x0c](".{0,20}" ".{0,20}")?"#), telling_bytes(20)];
    (word(), word(), word(), time, request(), status, size, tail)
        .prop_map(|(client, identity, user, time, request, status, size, tail)| {
            let before =
                [&client[..], b" ", &identity[..], b" ", &user[..], b" [", &time[..], b"] \""].concat();
            let after = [&request[..], b"\" ", &status[..], b" ", &size[..], &tail[..]].concat();
            [before, after].concat()
        })
        .boxed()
}

/// What may befall a line.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Flip(Index, u32),
    Insert(Index, u8),
    Delete(Index),
    Cut(Index),
    Double(Index, Index),
}

impl Mutation {
    fn apply(&self, line: &mut Vec<u8>) {
        if line.is_empty() {
            return;
        }
        match self {
            Mutation::Replace(at, byte) => *at.get_mut(line) = *byte,
            Mutation::Flip(at, bit) => *at.get_mut(line) ^= 1 << bit,
            Mutation::Insert(at, byte) => line.insert(at.index(line.len()), *byte),
            Mutation::Delete(at) => {
                line.remove(at.index(line.len()));
            }
            Mutation::Cut(at) => line.truncate(at.index(line.len())),
            Mutation::Double(from, at) => {
                let from = from.index(line.len());
                let run = line[from..].iter().take(9).copied().collect::<Vec<_>>();
                let at = at.index(line.len());
                line.splice(at..at, run);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), telling_byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<Index>(), 0..8_u32).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), telling_byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Delete),
        any::<Index>().prop_map(Mutation::Cut),
        (any::<Index>(), any::<Index>()).prop_map(|(from, at)| Mutation::Double(from, at)),
    ]
}

/// The same with up to two mutations.
pub fn mutated(what: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (what, prop::collection::vec(mutation(), 0..3)).prop_map(|(mut bytes, mutations)| {
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        bytes
    })
}
