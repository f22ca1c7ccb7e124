//! Most patterns for log lines need no automaton: each part ends where the next begins.
//!
//! A regular expression prefers some of its ways to match over others: as much as possible for `\S+`, as little for `.*?`, the
//! left of two alternatives. What it matches is the most preferred way that comes to its end. Here only *the* most preferred way is
//! tried, from the start of the line, and mostly it comes to its end; then that is the match. Where it does not, this knows
//! nothing, and the [regex crate](regex) is asked. So the answers are the same, and only the time differs: a part such as `[^"]+` is one
//! search for a byte, where an automaton takes each byte in turn and notes groups as it goes.

use memchr::{memchr, memchr2, memchr3, memmem};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, Hir, HirKind, Look};

/// An expression whose parts are literals, bytes of a class, and choices of such.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    parts: Vec<Part>,
    /// Two for each match of the expression that this did not find, less one for each that it did.
    wasted: u32,
}

/// Where each group is, by its number.
pub(super) type Groups = [Option<(usize, usize)>];

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<[u8]>),
    /// Bytes of a class, as many as there are or as few as will do.
    Run(Run),
    Group(usize, Vec<Part>),
    /// The first of these that matches; their groups are of these numbers.
    Either(Vec<Vec<Part>>, std::ops::Range<usize>),
    Start,
    End,
}

#[derive(Clone, Debug)]
struct Run {
    class: ByteSet,
    min: usize,
    max: usize,
    /// What stands behind a run of as few as will do.
    lazy: Option<Box<[u8]>>,
}

/// Why there is no match on the way that was taken.
enum Miss {
    /// There was no other way.
    Certain,
    /// Another way might do.
    Unknown,
}

impl Direct {
    /// The expression as parts, if it is made of such; groups have the numbers that they have there.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()?;
        Some(Direct { parts: closed(&hir)?, wasted: 0 })
    }

    /// Where the groups are of the match at the start of `line`, if the most preferred way leads to one.
    #[inline]
    pub(super) fn find(&mut self, line: &[u8], groups: &mut Groups) -> bool {
        if self.wasted > Self::ENOUGH {
            return false;
        }
        groups.fill(None);
        let found = run(&self.parts, line, 0, groups, &mut false).is_ok();
        if found {
            self.wasted = self.wasted.saturating_sub(1);
        }
        found
    }

    /// The expression has a match in a line where this had none.
    pub(super) fn missed(&mut self) {
        self.wasted = self.wasted.saturating_add(2);
    }

    /// So many lines are enough to see that it is not worth it.
    const ENOUGH: u32 = 1000;
}

/// Matches `parts` at `at`, and returns where they end. Sets `chosen` where there would have been another way.
fn run(
    parts: &[Part],
    line: &[u8],
    mut at: usize,
    groups: &mut Groups,
    chosen: &mut bool,
) -> Result<usize, Miss> {
    let miss = |chosen: bool| if chosen { Miss::Unknown } else { Miss::Certain };
    for part in parts {
        let rest = line.get(at..).unwrap_or_default();
        match part {
            Part::Literal(literal) if rest.starts_with(literal) => at += literal.len(),
            Part::Run(part) => {
                let most = part.class.run(&rest[..rest.len().min(part.max)]);
                let length = match &part.lazy {
                    None => most,
                    Some(behind) => {
                        part.least(rest, behind).filter(|least| *least <= most).ok_or(miss(*chosen))?
                    }
                };
                if length < part.min {
                    return Err(miss(*chosen));
                }
                // As few as will do has another way in more; as many as there are, in less.
                *chosen |= if part.lazy.is_some() { length < most } else { length > part.min };
                at += length;
            }
            Part::Group(number, parts) => {
                let end = run(parts, line, at, groups, chosen)?;
                if let Some(group) = groups.get_mut(*number) {
                    *group = Some((at, end));
                }
                at = end;
            }
            Part::Either(branches, numbers) => {
                let mut end = None;
                for (number, branch) in branches.iter().enumerate() {
                    let mut within = false;
                    match run(branch, line, at, groups, &mut within) {
                        Ok(found) => {
                            *chosen |= within || number + 1 < branches.len();
                            end = Some(found);
                            break;
                        }
                        Err(Miss::Certain) => groups[numbers.clone()].fill(None),
                        Err(Miss::Unknown) => return Err(Miss::Unknown),
                    }
                }
                at = end.ok_or(miss(*chosen))?;
            }
            Part::Start if at == 0 => {}
            Part::End if at == line.len() => {}
            _ => return Err(miss(*chosen)),
        }
    }
    Ok(at)
}

/// Tells each run of as few as will do what is behind it; the last of `parts` does not know yet.
fn follow(parts: &mut [Part]) -> Option<()> {
    for at in 1..parts.len() {
        let (before, behind) = parts.split_at_mut(at);
        if let Some(run) = before.last_mut().and_then(lazy_at_the_end) {
            run.lazy = Some(literal_at_the_start(behind.first()?)?.into());
        }
    }
    Some(())
}

/// The run that is as short as will do with which `part` ends, if what is behind it is not known yet.
fn lazy_at_the_end(part: &mut Part) -> Option<&mut Run> {
    match part {
        Part::Run(run) => Some(run).filter(|run| run.lazy.as_ref().is_some_and(|behind| behind.is_empty())),
        Part::Group(_, parts) => lazy_at_the_end(parts.last_mut()?),
        _ => None,
    }
}

fn literal_at_the_start(part: &Part) -> Option<&[u8]> {
    match part {
        Part::Literal(literal) => Some(literal),
        Part::Group(_, parts) => literal_at_the_start(parts.first()?),
        _ => None,
    }
}

/// Appends the parts of `hir`.
fn append(hir: &Hir, parts: &mut Vec<Part>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => parts.push(Part::Literal(literal.0.clone())),
        HirKind::Class(class) => {
            parts.push(Part::Run(Run { class: ByteSet::of(class)?, min: 1, max: 1, lazy: None }));
        }
        HirKind::Look(Look::Start) => parts.push(Part::Start),
        HirKind::Look(Look::End) => parts.push(Part::End),
        HirKind::Look(_) => return None,
        HirKind::Concat(all) => all.iter().try_for_each(|hir| append(hir, parts))?,
        HirKind::Capture(capture) => {
            let mut inner = Vec::new();
            append(&capture.sub, &mut inner)?;
            follow(&mut inner)?;
            parts.push(Part::Group(capture.index as usize, inner));
        }
        HirKind::Alternation(all) => {
            let branches = all.iter().map(closed).collect::<Option<_>>()?;
            parts.push(Part::Either(branches, numbers(hir)));
        }
        HirKind::Repetition(repetition) => {
            let (min, max) = (repetition.min as usize, repetition.max.map_or(usize::MAX, |max| max as usize));
            if let Some(class) = ByteSet::of_one(&repetition.sub) {
                let lazy = (!repetition.greedy && min != max).then(Box::default);
                parts.push(Part::Run(Run { class, min, max, lazy }));
            } else if (min, max, repetition.greedy) == (0, 1, true) {
                let branches = vec![closed(&repetition.sub)?, Vec::new()];
                parts.push(Part::Either(branches, numbers(hir)));
            } else {
                return None;
            }
        }
    }
    Some(())
}

/// The parts of `hir`, which know nothing of what is behind them; `None` if it has one that is not known here.
fn closed(hir: &Hir) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    append(hir, &mut parts)?;
    follow(&mut parts)?;
    match parts.last_mut().and_then(lazy_at_the_end) {
        None => Some(parts),
        Some(_) => None,
    }
}

/// The numbers of the groups within `hir`.
fn numbers(hir: &Hir) -> std::ops::Range<usize> {
    let mut numbers = (usize::MAX, 0);
    let mut all = vec![hir];
    while let Some(hir) = all.pop() {
        if let HirKind::Capture(capture) = hir.kind() {
            let number = capture.index as usize;
            numbers = (numbers.0.min(number), numbers.1.max(number + 1));
        }
        all.extend(hir.kind().subs());
    }
    numbers.0.min(numbers.1)..numbers.1
}

impl Run {
    /// The least number of bytes of `rest`, and not less than `min`, that have `behind` behind them.
    fn least(&self, rest: &[u8], behind: &[u8]) -> Option<usize> {
        Some(self.min + memmem::find(rest.get(self.min..)?, behind)?)
    }
}

/// Which bytes are of a class, and how to find one that is not.
#[derive(Clone, Debug)]
struct ByteSet {
    has: Box<[bool; 256]>,
    /// All others, if they are at most three.
    others: Vec<u8>,
}

impl ByteSet {
    fn of(class: &Class) -> Option<Self> {
        let bytes = match class {
            Class::Bytes(bytes) => bytes.clone(),
            Class::Unicode(characters) => characters.to_byte_class()?,
        };
        Some(Self::of_bytes(&bytes))
    }

    /// That of an expression that is one byte.
    fn of_one(hir: &Hir) -> Option<Self> {
        match hir.kind() {
            HirKind::Class(class) => Self::of(class),
            HirKind::Literal(literal) => match *literal.0 {
                [byte] => {
                    let range = regex_syntax::hir::ClassBytesRange::new(byte, byte);
                    Some(Self::of_bytes(&ClassBytes::new([range])))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn of_bytes(bytes: &ClassBytes) -> Self {
        let mut has = Box::new([false; 256]);
        for range in bytes.iter() {
            (range.start()..=range.end()).for_each(|byte| has[usize::from(byte)] = true);
        }
        let others = (0..=u8::MAX).filter(|byte| !has[usize::from(*byte)]).collect();
        ByteSet { has, others }
    }

    /// How many bytes of the class `bytes` begin with.
    #[inline]
    fn run(&self, bytes: &[u8]) -> usize {
        let end = match *self.others {
            [] => None,
            [one] => memchr(one, bytes),
            [one, two] => memchr2(one, two, bytes),
            [one, two, three] => memchr3(one, two, three, bytes),
            _ => bytes.iter().position(|byte| !self.has[usize::from(*byte)]),
        };
        end.unwrap_or(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;

    /// An expression of all that is known here, over few letters, so that parts run into one another.
    fn expressions() -> impl Strategy<Value = String> {
        let one =
            prop::sample::select(vec!["a", "b", "ab", "[ab]", "[^a]", ".", r"\d", "1", "b{2}", "[a1]{1,2}"]);
        let many =
            (prop::sample::select(vec!["a", "[ab]", "[^a]", ".", r"\S", r"\d"]), "[*+?]\\??|\\{1,3\\}\\??")
                .prop_map(|(class, count)| format!("{class}{count}"));
        let leaf = prop_oneof![one.prop_map(str::to_owned), many];
        let inner = leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                inner.clone().prop_map(|part| format!("({part})")),
                inner.clone().prop_map(|part| format!("(?:{part})?")),
                prop::collection::vec(inner, 2..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            ]
        });
        (any::<bool>(), inner, any::<bool>()).prop_map(|(start, inner, end)| {
            format!("{}{inner}{}", if start { "^" } else { "" }, if end { "$" } else { "" })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2000 } else { 20_000 }))]
        /// Where there is an answer, it is that of the regex crate.
        #[test]
        fn an_answer_is_that_of_the_expression(pattern in expressions(), lines in prop::collection::vec("[ab1 ]{0,9}", 8)) {
            let regex = RegexBuilder::new(&pattern).unicode(false).build().expect("an expression");
            let Some(mut direct) = Direct::new(&pattern) else { return Ok(()) };
            let mut groups = vec![None; regex.captures_len()];
            for line in &lines {
                if direct.find(line.as_bytes(), &mut groups) {
                    let captures = regex.captures(line.as_bytes());
                    let captures = captures.unwrap_or_else(|| panic!("{pattern} has no match in {line:?}"));
                    let expected: Vec<_> = captures.iter().map(|it| it.map(|it| (it.start(), it.end()))).collect();
                    prop_assert_eq!(&groups[1..], &expected[1..], "{} in {:?}", pattern, line);
                }
            }
        }
    }

    /// What people write for their lines has one.
    #[test]
    fn the_patterns_of_logs_are_direct() {
        let line =
            br#"198.51.100.7 - eve [22/Jan/2019:03:56:14 +0330] "GET /a HTTP/1.1" 200 512 "-" "curl" 0.25"#;
        for pattern in [
            r#"^(?<client>\S+) \S+ (?<user>\S+) \[(?<time>[^\]]+)\] "(?<method>\S+) (?<endpoint>\S+) (?<protocol>[^"]+)" (?<status>\d{3}) (?<size>\d+|-)"#,
            r#"^(?P<client>[\d.]+) - (?P<user>.*?) \[(?P<time>.*?)\] "(?P<method>[A-Z]+) (?P<endpoint>[^ ]*)(?: (?P<protocol>[^"]*))?" (?P<status>\d+) (?P<size>\d+)(?: "(?P<referer>.*?)" "(?P<agent>.*?)")?(?: (?P<duration>[\d.]+))?$"#,
        ] {
            let mut direct = Direct::new(pattern).expect("it is made of parts that are known");
            assert!(direct.find(line, &mut [None; 16]), "{pattern}");
        }
    }
}
