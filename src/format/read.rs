//! How formats read: chunks of whole lines in, records out.

/// Whole lines that follow one another, and some readable bytes behind them.
///
/// Lines end at LF; bytes after the last LF are a line if there are any. A parser that works on 64 bytes at a time
/// may read a little beyond the last line: what it finds there means nothing, but it is there to be read.
///
/// ```
/// use thalweg::format::WholeLines;
/// let lines = WholeLines::new(b"one\r\n\ntwo");
/// let each: Vec<_> = lines.iter().collect();
/// assert_eq!(each, [(0, &b"one"[..]), (5, &b""[..]), (6, &b"two"[..])]);
/// ```
#[derive(Clone, Copy)]
pub struct WholeLines<'a> {
    /// The lines, and what may be read behind them.
    readable: &'a [u8],
    /// How many of the bytes are lines.
    length: usize,
}

impl<'a> WholeLines<'a> {
    /// How many bytes behind the lines a parser may ask for.
    pub const BEHIND: usize = 256;

    /// These lines, with nothing behind them.
    pub fn new(lines: &'a [u8]) -> Self {
        WholeLines { readable: lines, length: lines.len() }
    }

    /// The first `length` bytes of `readable` as lines, and up to [`WholeLines::BEHIND`] of the bytes behind them to
    /// be read; `None` if there are not so many.
    ///
    /// ```
    /// use thalweg::format::WholeLines;
    /// let lines = WholeLines::with_readable(b"one\nleft over", 4).unwrap();
    /// assert_eq!((lines.bytes(), lines.readable()), (&b"one\n"[..], &b"one\nleft over"[..]));
    /// assert!(WholeLines::with_readable(b"one\n", 5).is_none());
    /// ```
    pub fn with_readable(readable: &'a [u8], length: usize) -> Option<Self> {
        let most = readable.len().min(length.saturating_add(Self::BEHIND));
        (length <= readable.len()).then(|| WholeLines { readable: &readable[..most], length })
    }

    /// The lines, with their ends.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        &self.readable[..self.length]
    }

    /// The lines, and up to [`WholeLines::BEHIND`] bytes more; perhaps none.
    #[inline]
    pub fn readable(self) -> &'a [u8] {
        self.readable
    }

    /// Each line with the place at which it begins, without its LF or CR LF, and without what stands before its first
    /// character: NULs, which a log has where it was emptied under the hands of who wrote it, and a byte order mark, which
    /// each of several files put together may bring.
    ///
    /// ```
    /// use thalweg::format::WholeLines;
    /// let lines = WholeLines::new(b"\xef\xbb\xbfone\n\0\0\0two\n");
    /// assert!(lines.iter().eq([(3, &b"one"[..]), (10, &b"two"[..])]));
    /// ```
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let bytes = self.bytes();
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let begin = at;
            let line = match memchr::memchr(b'\n', rest) {
                Some(end) => {
                    at += end + 1;
                    &rest[..end]
                }
                None => {
                    at = bytes.len();
                    rest
                }
            };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            Some(match line.first() {
                Some(0 | 0xef) => without_mark(begin, line),
                _ => (begin, line),
            })
        })
    }
}

/// What begins behind NULs and a byte order mark.
#[cold]
fn without_mark(begin: usize, line: &[u8]) -> (usize, &[u8]) {
    let nuls = line.iter().take_while(|byte| **byte == 0).count();
    let rest = &line[nuls..];
    let rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    (begin + line.len() - rest.len(), rest)
}

impl std::fmt::Debug for WholeLines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the bytes: there may be a million, and they may be anyone's log lines.
        f.debug_struct("WholeLines").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Which fields of its records somebody reads; a format that can do without the others may leave them out.
///
/// Fields have the numbers that their format gives them. From 63 on they share one bit: one of them is all of them.
///
/// ```
/// use thalweg::format::Fields;
/// let fields = Fields::only([0, 2]);
/// assert!(fields.has(0) && !fields.has(1) && fields.has(2));
/// assert!(Fields::default().has(1));
/// assert!(Fields::only([100]).has(64) && !Fields::only([100]).has(62));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(u64);

impl Fields {
    /// All fields.
    pub const ALL: Fields = Fields(u64::MAX);

    /// The fields of these numbers.
    pub fn only(numbers: impl IntoIterator<Item = usize>) -> Self {
        Fields(numbers.into_iter().fold(0, |mask, number| mask | Self::bit(number)))
    }

    /// Whether field `number` is read.
    #[inline]
    pub fn has(self, number: usize) -> bool {
        self.0 & Self::bit(number) != 0
    }

    #[inline]
    fn bit(number: usize) -> u64 {
        1 << number.min(63)
    }
}

impl Default for Fields {
    /// [`Fields::ALL`].
    fn default() -> Self {
        Fields::ALL
    }
}

/// Memory for what a record says and its line does not: text without its escapes, or an address in its usual form.
///
/// It lives as long as the lines of the chunk, so that a record may borrow from it and a door may use it as a key.
///
/// ```
/// let scratch = thalweg::format::Scratch::default();
/// let joined = scratch.bytes(&[b"/list", b"?", b"page=2"]);
/// assert_eq!(joined, b"/list?page=2");
/// ```
#[derive(Debug, Default)]
pub struct Scratch(bumpalo::Bump);

impl Scratch {
    /// A copy of `parts`, one behind the other.
    pub fn bytes(&self, parts: &[&[u8]]) -> &[u8] {
        let mut bytes =
            bumpalo::collections::Vec::with_capacity_in(parts.iter().map(|it| it.len()).sum(), &self.0);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.into_bump_slice()
    }

    /// A copy of `value`.
    #[inline]
    pub fn value<T: Copy>(&self, value: T) -> &T {
        self.0.alloc(value)
    }

    /// Forgets everything, and holds on to a part of the memory.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }
}

/// Takes what a [`Format`] makes of its lines, in their order. It gathers records in blocks and hands each block to the
/// doors, so a format needs no buffer of its own.
pub trait Emit<'a, R> {
    /// Takes the record of `line`, which begins at `offset` of its chunk and has lost its line end.
    fn record(&mut self, offset: usize, line: &'a [u8], record: R);

    /// Takes a line that is no record: it is counted, perhaps shown, and the run goes on.
    fn malformed(&mut self, offset: usize, line: &'a [u8]);

    /// Takes a line that is no record and ends the run, and why it does. Nothing that comes after it is taken.
    fn fatal(&mut self, offset: usize, line: &'a [u8], reason: String);

    /// Memory for what a record cannot borrow from its line.
    fn scratch(&self) -> &'a Scratch;
}

/// A way to read lines as records.
///
/// Most formats look at one line at a time: implement [`LineFormat`], and this comes with it. What is implemented here
/// is given a whole chunk at once, so that it can look for line ends and fields in one go.
///
/// Each worker clones the format once and keeps it, so it may use scratch space in `self`.
///
/// ```
/// use thalweg::format::{Emit, Fields, Format, WholeLines};
/// use thalweg::prelude::*;
///
/// /// Fields of eight bytes, without line ends between them.
/// #[derive(Clone)]
/// struct Fixed;
///
/// impl Format for Fixed {
///     type Record<'a> = &'a [u8];
///
///     fn read<'a>(&mut self, lines: WholeLines<'a>, _: Fields, out: &mut impl Emit<'a, &'a [u8]>) {
///         for (at, field) in lines.bytes().chunks(8).enumerate() {
///             match field.len() {
///                 8 => out.record(8 * at, field, field),
///                 _ => out.malformed(8 * at, field),
///             }
///         }
///     }
/// }
///
/// let fields = thalweg::testing::collection(Fixed, b"aaaaaaaabbbbbbbbaaaaaaaarest", |records| {
///     records.by(text("field"), |field| Some(field.line())).count("fields").rows()
/// });
/// assert_eq!(fields, [((Bytes::from("aaaaaaaa"), 2), 1), ((Bytes::from("bbbbbbbb"), 1), 1)]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no format: it does not say how lines become records",
    label = "no format",
    note = "implement `LineFormat` for it: `type Record<'a>`, and `parse`, which reads one line",
    note = "a format is also `Clone + Send + Sync + 'static`: each worker has a clone of its own"
)]
pub trait Format: Clone + Send + Sync + 'static {
    /// What a line becomes; it borrows from the chunk.
    type Record<'a>;

    /// Reads `lines` and hands `out` each of them, as a record or as malformed. Only `fields` of the records are read; the
    /// others may be left out, or be anything.
    fn read<'a>(&mut self, lines: WholeLines<'a>, fields: Fields, out: &mut impl Emit<'a, Self::Record<'a>>);

    /// What lines of it are called, where one that is not is told of: `not a line of …`. As provided, the name of its type.
    fn name() -> &'static str {
        let name = std::any::type_name::<Self>();
        let plain = name.split('<').next().unwrap_or(name);
        plain.rsplit("::").next().unwrap_or(plain)
    }

    /// What is read next is of partition number `partition`, which begins with `head`: for formats that have to know more
    /// than a line, such as the names of its columns.
    ///
    /// It is called before the first lines of a partition and whenever lines of another one were read in between. `head` is
    /// empty where a partition cannot be looked at before it is read, as a pipe; then all its lines come here, from the first on.
    /// As provided, it does nothing.
    fn partition(&mut self, partition: u32, head: &[u8]) {
        let _ = (partition, head);
    }
}

/// A way to read one line as a record: the easy form of a [`Format`].
///
/// ```
/// use thalweg::prelude::*;
///
/// /// `key=value`.
/// #[derive(Clone)]
/// struct Pairs;
///
/// impl LineFormat for Pairs {
///     type Record<'a> = (&'a [u8], &'a [u8]);
///
///     fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Self::Record<'a>> {
///         let mut parts = line.splitn(2, |byte| *byte == b'=');
///         parts.next().zip(parts.next())
///     }
/// }
///
/// let keys = thalweg::testing::collection(Pairs, b"a=1\nmalformed\na=2\n", |records| {
///     records.by(text("key"), |pair| Some(pair.0)).count("keys").rows()
/// });
/// assert_eq!(keys, [((Bytes::from("a"), 2), 1)]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how one line becomes a record",
    label = "no format of lines",
    note = "implement `LineFormat` for it: `type Record<'a>`, and `parse`, which reads one line"
)]
pub trait LineFormat: Clone + Send + Sync + 'static {
    /// What a line becomes; it borrows from the line.
    type Record<'a>;

    /// Reads `line`, which has neither its LF nor the one CR before it, or returns `None` if it is malformed.
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Self::Record<'a>>;

    /// Why `line`, which [`parse`](LineFormat::parse) found malformed, is to end the run, for a format that was asked to
    /// be so strict. `None`, as provided: it is counted, and the run goes on.
    fn fatal(&self, line: &[u8]) -> Option<String> {
        let _ = line;
        None
    }
}

impl<F: LineFormat> Format for F {
    type Record<'a> = <F as LineFormat>::Record<'a>;

    #[inline]
    fn read<'a>(&mut self, lines: WholeLines<'a>, _: Fields, out: &mut impl Emit<'a, Self::Record<'a>>) {
        for (offset, line) in lines.iter() {
            match self.parse(line) {
                Some(record) => out.record(offset, line, record),
                None => match self.fatal(line) {
                    None => out.malformed(offset, line),
                    Some(reason) => return out.fatal(offset, line, reason),
                },
            }
        }
    }
}
