//! The one pass over a line: everything is checked, and what is asked for is kept.

use std::ops::Range;

use smallvec::SmallVec;

use crate::format::escapes::unescape;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The paths that are asked for, as a tree of keys.
#[derive(Clone, Debug, Default)]
pub(in crate::format) struct Node {
    /// The fields whose path ends here.
    fields: Vec<usize>,
    /// The fields whose path ends here or goes on from here.
    below: Vec<usize>,
    children: Vec<(Key, Node)>,
    /// By the length of their names, what these begin with, and which child that is.
    by_length: Vec<Vec<(u64, usize)>>,
}

/// A step of a path: a key where there is an object, and an index where there is an array.
#[derive(Clone, Debug)]
struct Key {
    name: String,
    index: Option<usize>,
}

impl Key {
    fn new(name: &str) -> Self {
        // `01` and `+1` are keys, but no indices.
        let index = name.parse().ok().filter(|index: &usize| index.to_string() == name);
        Key { name: name.to_owned(), index }
    }
}

/// A string without its quotes.
#[inline]
pub(super) fn inner(string: &str) -> &str {
    string.get(1..string.len().saturating_sub(1)).unwrap_or_default()
}

/// Why a line is not one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::format) enum Malformed {
    #[error("it is not UTF-8 from byte {} on", .0.valid_up_to())]
    Utf8(#[from] std::str::Utf8Error),
    #[error("{wanted} is missing at byte {at}")]
    Missing { wanted: &'static str, at: usize },
    #[error("there is more behind the object, from byte {at} on")]
    More { at: usize },
}

impl Node {
    /// Adds the path of `field`.
    pub(in crate::format) fn add(&mut self, path: &[String], field: usize) {
        self.below.push(field);
        let Some((first, rest)) = path.split_first() else { return self.fields.push(field) };
        let known = self.children.iter().position(|(key, _)| key.name == *first);
        let at = known.unwrap_or_else(|| {
            let at = self.children.len();
            self.children.push((Key::new(first), Node::default()));
            self.by_length.resize_with(self.by_length.len().max(first.len() + 1), Vec::new);
            self.by_length[first.len()].push((beginning(first.as_bytes()), at));
            at
        });
        self.children[at].1.add(rest, field);
    }

    /// The child of a key, which is as the line has it.
    #[inline]
    fn child(&self, written: &str, is_escaped: bool) -> Option<&Node> {
        // That which is written so, also where it could be read otherwise.
        self.named(written).or_else(|| if is_escaped { self.named(&unescape(written)) } else { None })
    }

    #[inline]
    fn named(&self, name: &str) -> Option<&Node> {
        let mut same_length = self.by_length.get(name.len()).filter(|all| !all.is_empty())?.iter();
        let begins = beginning(name.as_bytes());
        // A short name is all in that.
        let is_it = |at: usize| name.len() <= 8 || self.children[at].0.name == name;
        let (_, at) = same_length.find(|(other, at)| *other == begins && is_it(*at))?;
        Some(&self.children[*at].1)
    }

    fn at_index(&self, index: usize) -> Option<&Node> {
        self.children.iter().find(|(child, _)| child.index == Some(index)).map(|(_, node)| node)
    }

    /// Puts into `values`, by field and as the line has them, what is asked for of `line`. If it is malformed, they
    /// are all `None`.
    #[inline]
    pub(in crate::format) fn find<'a>(
        &self,
        line: &'a [u8],
        values: &mut [Option<&'a str>],
    ) -> Result<(), Malformed> {
        self.find_in(text(line)?, values)
    }

    /// The same, of a line whose encoding has been looked at.
    #[inline]
    pub(super) fn find_in<'a>(&self, line: &'a str, values: &mut [Option<&'a str>]) -> Result<(), Malformed> {
        let mut walk = Walk { line, at: 0, values };
        let found = walk.line(self);
        if found.is_err() {
            values.fill(None);
        }
        found
    }
}

/// `line` as text, without a byte order mark.
#[inline]
pub(super) fn text(line: &[u8]) -> Result<&str, Malformed> {
    Ok(std::str::from_utf8(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))?)
}

/// What `name` begins with, in a register: of names of one length up to eight bytes, all.
#[inline]
fn beginning(name: &[u8]) -> u64 {
    match (name.first_chunk(), name.first_chunk(), name.last_chunk()) {
        (Some(eight), _, _) => u64::from_le_bytes(*eight),
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        _ => name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The walk over a line.
pub(super) struct Walk<'v, 'a> {
    line: &'a str,
    /// How far it has come.
    at: usize,
    values: &'v mut [Option<&'a str>],
}

/// Whether a value that begins so is none that holds others.
pub(super) fn is_scalar(byte: u8) -> bool {
    matches!(byte, b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
}

impl<'a> Walk<'_, 'a> {
    /// At the beginning of `line`, of which nothing is asked for.
    pub(super) fn new(line: &'a str) -> Self {
        Walk { line, at: 0, values: &mut [] }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Passes over `piece`, if that is what comes.
    #[inline]
    pub(super) fn passes(&mut self, piece: &[u8]) -> bool {
        let passes = self.bytes()[self.at..].starts_with(piece);
        self.at += if passes { piece.len() } else { 0 };
        passes
    }

    pub(super) fn pass_byte(&mut self) {
        self.at += 1;
    }

    /// Passes over a value that holds no others.
    #[inline]
    pub(super) fn scalar(&mut self) -> Walked {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.missing("a value"),
        }
    }
}

pub(super) type Walked<T = ()> = Result<T, Malformed>;

impl<'a> Walk<'_, 'a> {
    fn line(&mut self, root: &Node) -> Walked {
        match self.next() {
            Some(b'{') => self.object(root)?,
            _ => return self.missing("an object"),
        }
        match self.next() {
            None => Ok(()),
            Some(_) => Err(Malformed::More { at: self.at }),
        }
    }

    #[cold]
    fn missing<T>(&self, wanted: &'static str) -> Walked<T> {
        Err(Malformed::Missing { wanted, at: self.at })
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.line.as_bytes()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// The next byte that is no white space, at which it stops.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    #[inline]
    fn since(&self, begin: usize) -> &'a str {
        self.line.get(begin..self.at).unwrap_or_default()
    }

    /// An object, at whose brace it stands, and what `node` asks for of it.
    fn object(&mut self, node: &Node) -> Walked {
        self.at += 1;
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let (key, is_escaped) = self.key()?;
            match node.child(key, is_escaped) {
                Some(child) => self.value(child)?,
                None => self.pass()?,
            }
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.missing("a comma or the end of an object"),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A key without its quotes, whether it has escapes, and the colon behind it.
    #[inline]
    fn key(&mut self) -> Walked<(&'a str, bool)> {
        if self.next() != Some(b'"') {
            return self.missing("a key");
        }
        let begin = self.at;
        let is_escaped = self.string()?;
        let key = inner(self.since(begin));
        if self.next() != Some(b':') {
            return self.missing("a colon");
        }
        self.at += 1;
        Ok((key, is_escaped))
    }

    /// An array, at whose bracket it stands, and what `node` asks for of it.
    fn array(&mut self, node: &Node) -> Walked {
        self.at += 1;
        if self.next() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        for index in 0.. {
            match node.at_index(index) {
                Some(child) => self.value(child)?,
                None => self.pass()?,
            }
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.missing("a comma or the end of an array"),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A value, and what `node` asks for of it. It goes no deeper than paths do.
    fn value(&mut self, node: &Node) -> Walked {
        // Of equal keys, the last one counts.
        node.below.iter().for_each(|field| self.values[*field] = None);
        let next = self.next();
        let begin = self.at;
        match next {
            Some(b'{') if !node.children.is_empty() => self.object(node)?,
            Some(b'[') if !node.children.is_empty() => self.array(node)?,
            _ => self.pass()?,
        }
        let value = self.since(begin);
        node.fields.iter().for_each(|field| self.values[*field] = Some(value));
        Ok(())
    }

    /// Passes over a value, however deep it is.
    fn pass(&mut self) -> Walked {
        // What the values are in that are open: objects or not, by level.
        let mut open: SmallVec<[bool; 32]> = SmallVec::new();
        loop {
            match self.next() {
                Some(byte) if is_scalar(byte) => self.scalar()?,
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    let is_object = bracket == b'{';
                    if self.next() == Some(bracket + 2) {
                        self.at += 1;
                    } else {
                        open.push(is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return self.missing("a value"),
            }
            // Behind a value: the end of what it is in, and of what that is in, or the next one.
            loop {
                let Some(is_object) = open.last() else { return Ok(()) };
                match self.next() {
                    Some(b',') => {
                        self.at += 1;
                        if *is_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if *is_object => {}
                    Some(b']') if !*is_object => {}
                    _ if *is_object => return self.missing("a comma or the end of an object"),
                    _ => return self.missing("a comma or the end of an array"),
                }
                self.at += 1;
                open.pop();
            }
        }
    }

    #[inline]
    fn word(&mut self, word: &'static str) -> Walked {
        if !self.bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.missing(word);
        }
        self.at += word.len();
        Ok(())
    }

    /// A string, at whose quote it stands; whether it has escapes.
    ///
    /// Most are short, so eight bytes at a time in a register beat a call to `memchr`, which would not see control characters
    /// either.
    #[inline]
    fn string(&mut self) -> Walked<bool> {
        self.at += 1;
        let mut is_escaped = false;
        loop {
            self.at += plain(&self.bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.missing("an escape for the control character"),
                None => return self.missing("the end of a string"),
            }
        }
        self.at += 1;
        Ok(is_escaped)
    }

    fn escape(&mut self) -> Walked {
        let digits: Range<usize> = match self.bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0..0,
            Some(b'u') => 0..4,
            _ => return self.missing("an escape that there is"),
        };
        let hex = self.bytes().get(self.at + 2 + digits.start..self.at + 2 + digits.end);
        if !hex.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return self.missing("an escape of four hexadecimal digits");
        }
        self.at += 2 + digits.len();
        Ok(())
    }

    fn number(&mut self) -> Walked {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Walked {
        let digits = self.bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits == 0 { self.missing("a digit") } else { Ok(()) }
    }
}

/// How many bytes there are before the first quote, backslash or control character.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES * 0x80;
    let mut rest = bytes;
    while let Some((eight, next)) = rest.split_first_chunk() {
        let eight = u64::from_le_bytes(*eight);
        // The high bit of each byte below `bound`. A borrow can spoil the bytes above the lowest hit, never that one.
        let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGH;
        let hits = below(eight, b' ')
            | below(eight ^ (ONES * u64::from(b'"')), 1)
            | below(eight ^ (ONES * u64::from(b'\\')), 1);
        if hits != 0 {
            return bytes.len() - rest.len() + (hits.trailing_zeros() / 8) as usize;
        }
        rest = next;
    }
    let end = rest.iter().position(|byte| matches!(byte, ..b' ' | b'"' | b'\\'));
    bytes.len() - rest.len() + end.unwrap_or(rest.len())
}
