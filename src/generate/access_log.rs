//! Access logs in Apache's combined format.
//!
//! `client - user [time] "request" status size "referer" "agent"`. Well-formed does not mean tidy: among some
//! thousand lines are requests that never came (`"-"`, 408) and TLS hellos at the plain port, as in real logs. They
//! parse, but have no endpoint.

use std::io::Write;

use chrono::DateTime;

use crate::generate::access_parts::{REFERERS, agent, client, endpoint};
use crate::generate::clock::Moment;
use crate::generate::draws::{Draw, Draws};
use crate::generate::text::{decimal, pair, word};
use crate::generate::zipf::Zipf;
use crate::generate::{Lines, Options};

const METHODS: [(u64, &[u8]); 6] = [
    (880, b"GET "),
    (955, b"POST "),
    (980, b"HEAD "),
    (990, b"PUT "),
    (996, b"OPTIONS "),
    (1000, b"DELETE "),
];

const PROTOCOLS: [(u64, &[u8]); 3] = [(820, b" HTTP/1.1"), (920, b" HTTP/2.0"), (1000, b" HTTP/1.0")];

const STATUSES: [(u64, &[u8; 3]); 12] = [
    (880, b"200"),
    (925, b"304"),
    (947, b"404"),
    (962, b"301"),
    (976, b"302"),
    (981, b"206"),
    (987, b"500"),
    (990, b"503"),
    (994, b"403"),
    (997, b"401"),
    (999, b"400"),
    (1000, b"204"),
];

#[derive(Debug)]
pub(super) struct AccessLog {
    clients: Zipf,
    endpoints: Zipf,
    day: Day,
    marks: Marks,
}

/// Where the parts of the last line are that `spoil` breaks, in bytes from its beginning.
#[derive(Debug, Default)]
struct Marks {
    /// The quote after the request.
    quote: usize,
    size: usize,
    size_end: usize,
}

impl AccessLog {
    pub(super) fn new(options: &Options) -> Self {
        AccessLog {
            clients: Zipf::new(options.keys, options.skew),
            endpoints: Zipf::new(options.endpoints(), options.skew),
            day: Day::default(),
            marks: Marks::default(),
        }
    }
}

impl Lines for AccessLog {
    fn write(&mut self, draws: &mut Draws, moment: Moment, out: &mut Vec<u8>) {
        let start = out.len();
        let visitor = self.clients.rank(draws);
        let target = self.endpoints.rank(draws);
        let mut draw = draws.draw();

        client(visitor, out);
        out.extend_from_slice(b" - ");
        if draw.below(50) == 0 {
            word(visitor, out);
        } else {
            out.push(b'-');
        }
        out.extend_from_slice(b" [");
        self.day.time(moment, out);
        out.extend_from_slice(b" +0000] \"");
        let status = request(&mut draw, target, out);
        self.marks.quote = out.len() - start;
        out.extend_from_slice(b"\" ");
        out.extend_from_slice(status);
        out.push(b' ');
        self.marks.size = out.len() - start;
        size(draws.draw(), status, out);
        self.marks.size_end = out.len() - start;
        let mut draw = draws.draw();
        out.extend_from_slice(b" \"");
        if draw.below(100) < 55 {
            out.push(b'-');
        } else {
            out.extend_from_slice(draw.pick_low(&REFERERS));
        }
        out.extend_from_slice(b"\" \"");
        out.extend_from_slice(agent(visitor));
        out.push(b'"');
    }

    fn spoil(&self, draws: &mut Draws, start: usize, out: &mut Vec<u8>) {
        let Marks { quote, size, size_end } = self.marks;
        let mut draw = draws.draw();
        match draw.below(6) {
            // A line that was cut off before its size.
            0 => out.truncate(start + 1 + draw.below(size as u64 - 1) as usize),
            // No status.
            1 => drop(out.drain(start + size - 4..start + size)),
            // A letter in the size.
            2 => {
                let at = start + size + draw.below((size_end - size) as u64 + 1) as usize;
                out.insert(at, b'a' + draw.below(26) as u8);
            }
            // A quote that does not close.
            3 => drop(out.remove(start + quote)),
            // An empty line.
            4 => out.truncate(start),
            // Bytes of something else altogether.
            _ => super::json::binary(draw, start, out),
        }
    }
}

/// Appends the request without its quotes, and returns the status that answers it.
fn request(draw: &mut Draw, target: u64, out: &mut Vec<u8>) -> &'static [u8; 3] {
    match draw.below(2000) {
        0 => {
            out.push(b'-');
            b"408"
        }
        1 => {
            out.extend_from_slice(b"\\x16\\x03\\x01\\x02");
            b"400"
        }
        _ => {
            out.extend_from_slice(draw.pick_per_mille(&METHODS));
            endpoint(target, out);
            out.extend_from_slice(draw.pick_per_mille(&PROTOCOLS));
            draw.pick_per_mille(&STATUSES)
        }
    }
}

/// Appends the size of the answer: `-` where there is no body, else of any order of magnitude up to a mebibyte.
fn size(mut draw: Draw, status: &[u8; 3], out: &mut Vec<u8>) {
    match status {
        b"304" | b"204" | b"408" => out.push(b'-'),
        b"200" | b"206" => {
            // From 2ⁿ − 1 to 2ⁿ⁺¹ − 2 for an n below 20, the greater the likelier.
            let least = 1 << (19 - draw.low(20));
            decimal(least - 1 + draw.below(least), out);
        }
        _ => decimal(150 + draw.below(600), out),
    }
}

/// The date of the last line, kept because the next is nearly always of the same day.
#[derive(Debug, Default)]
struct Day {
    number: i64,
    /// `17/May/2015:`, or nothing before the first line.
    text: Vec<u8>,
}

impl Day {
    /// Appends `17/May/2015:10:05:03`.
    fn time(&mut self, moment: Moment, out: &mut Vec<u8>) {
        const DAY: i64 = 86_400;
        let seconds = moment.seconds();
        let number = seconds.div_euclid(DAY);
        if number != self.number || self.text.is_empty() {
            self.number = number;
            self.text.clear();
            let date = DateTime::from_timestamp(seconds, 0).expect("event times are between 1969 and 9999");
            write!(self.text, "{}:", date.format("%d/%b/%Y")).expect("writing to a Vec cannot fail");
        }
        out.extend_from_slice(&self.text);
        let second = seconds.rem_euclid(DAY) as u64;
        let ([a, b], [c, d], [e, f]) = (pair(second / 3600), pair(second / 60 % 60), pair(second % 60));
        out.extend_from_slice(&[a, b, b':', c, d, b':', e, f]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(millis: i64) -> String {
        let mut out = Vec::new();
        Day::default().time(Moment { number: 0, millis }, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn times_are_in_the_format_of_apache() {
        assert_eq!(time(1_431_857_103_999), "17/May/2015:10:05:03");
        assert_eq!(time(-1), "31/Dec/1969:23:59:59");
        assert_eq!(time(Options::MAX_TIME), "31/Dec/9999:23:59:59");
    }

    #[test]
    fn the_kept_date_follows_the_day() {
        let mut day = Day::default();
        let mut out = Vec::new();
        for millis in [0, 86_399_999, 86_400_000, 86_399_999] {
            day.time(Moment { number: 0, millis }, &mut out);
            out.push(b' ');
        }
        let expected = "01/Jan/1970:00:00:00 01/Jan/1970:23:59:59 02/Jan/1970:00:00:00 01/Jan/1970:23:59:59 ";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn weights_are_running_totals() {
        fn check<T>(items: &[(u64, T)]) {
            assert!(items.is_sorted_by_key(|(total, _)| *total));
            assert_eq!(items.last().map(|(total, _)| *total), Some(1000));
        }
        check(&METHODS);
        check(&PROTOCOLS);
        check(&STATUSES);
    }
}
