//! The map: who knows whom in `src/`, as the table in the crate's documentation says, and who reads the clock.
//!
//! What code says counts: comments, text and what is compiled for tests alone do not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules that the table may name before there are any.
const TO_COME: [&str; 0] = [];

/// A file of this many lines says in its module documentation why it has them: `Size: …`.
const LARGE: usize = 800;

/// The files of a top module, which is the first part of their path.
struct File {
    path: PathBuf,
    text: String,
}

/// All files below `src/` but the roots, `lib.rs` and `main.rs`.
fn files() -> Vec<File> {
    fn add(directory: &Path, files: &mut Vec<File>) {
        for entry in std::fs::read_dir(directory).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                add(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are text");
                files.push(File { path, text });
            }
        }
    }
    let mut files = Vec::new();
    add(Path::new("src"), &mut files);
    files.retain(|file| file.module_path() != ["lib"] && file.module_path() != ["main"]);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

impl File {
    /// The path of its module, from the crate on.
    fn module_path(&self) -> Vec<String> {
        let within = self.path.strip_prefix("src").expect("it is below src").with_extension("");
        let mut parts: Vec<_> =
            within.iter().map(|part| part.to_str().expect("plain names").to_owned()).collect();
        parts.pop_if(|last| last == "mod");
        parts
    }

    fn top(&self) -> String {
        self.module_path().remove(0)
    }

    /// The top modules that it names in code, its own among them.
    fn known(&self) -> BTreeSet<String> {
        known(&code(&self.text), self.module_path().len())
    }
}

/// `source` without comments, literals, and what is compiled for tests alone.
fn code(source: &str) -> String {
    without_tests(&without_text(source))
}

fn without_text(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        let in_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(end) = (!in_word).then(|| raw_text(rest)).flatten() {
            end
        } else if character == '"' {
            quoted(rest, '"')
        } else if rest.starts_with("'\\") {
            quoted(rest, '\'')
        } else if character == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    loop {
        match rest.as_bytes().get(at..) {
            Some([b'/', b'*', ..]) => (at, depth) = (at + 2, depth + 1),
            Some([b'*', b'/', ..]) => (at, depth) = (at + 2, depth - 1),
            Some([_, ..]) => at += 1,
            _ => return rest.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// Where raw text ends that `rest` begins with, if it does.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or(rest.strip_prefix("cr")).or(rest.strip_prefix('r'))?;
    let text = after.trim_start_matches('#');
    let hashes = after.len() - text.len();
    let text = text.strip_prefix('"')?;
    let end = text.find(&format!("\"{}", "#".repeat(hashes)))?;
    Some(rest.len() - text.len() + end + 1 + hashes)
}

/// Where text ends that begins with `quote`.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `code` without the items behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept += &rest[..at];
        rest = &rest[at..];
        let mut depth = 0;
        let end = rest.char_indices().find(|(_, character)| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(character, '}' | ';')
        });
        rest = end.map_or("", |(at, _)| &rest[at + 1..]);
    }
    kept + rest
}

/// The top modules that `code` of a module `depth` below the crate names, by `crate::` or by `super::` up to it.
fn known(code: &str, depth: usize) -> BTreeSet<String> {
    let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" :: ", "::");
    let mut known = BTreeSet::new();
    let up = "super::".repeat(depth);
    for root in ["crate::", &up] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let inside = before.is_some_and(|last| last.is_alphanumeric() || matches!(last, '_' | '$' | ':'));
            if !inside {
                names(&code[at + root.len()..], &mut known);
            }
        }
    }
    known
}

/// Adds the first names of the path or tree of paths that `rest` begins with.
fn names(rest: &str, known: &mut BTreeSet<String>) {
    let word = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(tree) = rest.strip_prefix('{') else {
        known.insert(word(rest));
        return;
    };
    let (mut depth, mut begin) = (0, 0);
    for (at, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                known.extend(Some(word(&tree[begin..at])).filter(|word| !word.is_empty()));
                begin = at + 1;
                if character == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// The modules of the table, and whom each may know.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let lib = std::fs::read_to_string("src/lib.rs").expect("src can be read");
    let rows = lib.lines().skip_while(|line| !line.contains("| module |")).skip(2);
    let rows = rows.map_while(|line| line.strip_prefix("//! |"));
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_end_matches('|').split('|').collect();
        let [module, _, may_know] = cells[..] else { panic!("the row is {row}") };
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let [module] = quoted(module).try_into().unwrap_or_else(|_| panic!("the row is {row}"));
        let above = may_know.contains("all above").then(|| table.keys().cloned().collect::<Vec<_>>());
        let module = module.trim_start_matches("mod@").to_owned();
        let may_know = above.into_iter().flatten().chain(quoted(may_know)).collect();
        assert!(table.insert(module, may_know).is_none(), "two rows for {row}");
    }
    assert!(!table.is_empty(), "src/lib.rs has no table of modules");
    table
}

#[test]
fn nobody_knows_more_than_the_table_says() {
    let table = table();
    let mut wrong = Vec::new();
    let files = files();
    let met: BTreeSet<String> = files.iter().map(File::top).collect();
    for file in &files {
        let (top, path) = (file.top(), file.path.display());
        let Some(may_know) = table.get(&top) else {
            wrong.push(format!("{path}: the table has no module `{top}`"));
            continue;
        };
        // Macros stand at the root, too, and belong to nobody there.
        let known = file.known().into_iter().filter(|other| met.contains(other));
        let unknown = known.filter(|other| *other != top && !may_know.contains(other));
        wrong.extend(unknown.map(|other| format!("{path}: `{top}` knows `{other}`")));
    }
    assert!(wrong.is_empty(), "the table in src/lib.rs says otherwise:\n{}", wrong.join("\n"));
    let missing: Vec<_> =
        table.keys().filter(|name| !met.contains(*name) && !TO_COME.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "the table names what there is not: {missing:?}");
}

/// The table itself has no circle: a module may know only such as stand above it or below, never both ways.
#[test]
fn no_two_modules_may_know_each_other() {
    let table = table();
    for (module, may_know) in &table {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut todo: Vec<&str> = may_know.iter().map(String::as_str).collect();
        while let Some(next) = todo.pop() {
            assert_ne!(next, module, "`{module}` may know itself by way of others");
            if reached.insert(next) {
                let known = table
                    .get(next)
                    .unwrap_or_else(|| panic!("`{module}` may know `{next}`, which has no row"));
                todo.extend(known.iter().map(String::as_str));
            }
        }
    }
}

#[test]
fn the_runtime_alone_reads_the_clock_and_the_environment() {
    for file in files().iter().filter(|file| file.top() != "runtime") {
        let code = code(&file.text);
        for banned in ["Instant::now", "SystemTime", "env::var"] {
            assert!(!code.contains(banned), "{} says `{banned}`", file.path.display());
        }
    }
}

#[test]
fn large_files_say_why() {
    for file in files() {
        let documentation = file.text.lines().take_while(|line| line.starts_with("//!"));
        let lines = file.text.lines().count();
        let says_why = documentation.clone().any(|line| line.contains("Size:"));
        assert!(lines < LARGE || says_why, "{} has {lines} lines, and no `Size:`", file.path.display());
    }
}

#[test]
fn what_code_names_is_found_and_what_is_text_is_not() {
    let source = r####"
//! See [`crate::cli`].
use crate::{data::{Bytes, Key}, door, time as clock};
use crate::
    view::View; // crate::sink
/* crate::sink /* crate::sink */ crate::sink */
const A: &str = "crate::sink \" crate::sink";
const B: &str = r#"crate::sink " crate::sink"#;
const C: [char; 3] = ['"', '\'', '\u{22}'];
fn f<'a>(x: &'a crate::format::Text) -> $crate::sink { xcrate::sink; super::super::lookup::g(); super::sink() }
#[cfg(test)]
mod tests { use crate::runtime; fn g() { if true { crate::runtime::x() } } }
#[cfg(test)]
use crate::runtime;
impl X { fn h() { crate::state::x() } }
"####;
    let found = known(&code(source), 2);
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["data", "door", "format", "lookup", "state", "time", "view"]);
    assert!(known(&code(source), 1).contains("sink"), "`super::sink` from a top module");
}
