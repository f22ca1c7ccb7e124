//! From a pattern to the files that it names.

use std::cmp::Reverse;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::SourceError;

/// The paths that `patterns` name, in the order in which they are read; each names at least one.
///
/// What a shell has expanded is in the order in which this would have read the glob.
pub(super) fn expand_all(patterns: &[String]) -> Result<Vec<PathBuf>, SourceError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        paths.append(&mut expand(pattern)?);
    }
    paths.sort_by_cached_key(|path| rotation(path));
    Ok(paths)
}

/// The paths that `pattern` names; at least one.
fn expand(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let literal = Path::new(pattern);
    match literal.symlink_metadata() {
        Ok(_) => return Ok(vec![literal.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // It may exist; looking for it as a glob would only hide the reason.
        Err(source) => return Err(SourceError::Open { path: literal.to_owned(), source }),
    }
    let rules = ::glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // The crate panics if this is set and a name is not UTF-8; `is_meant` sees to hidden files.
        require_literal_leading_dot: false,
    };
    let matches = ::glob::glob_with(pattern, rules)
        .map_err(|error| SourceError::BadGlob { pattern: pattern.to_owned(), reason: error.to_string() })?;
    let mut paths = Vec::new();
    for path in matches {
        let path = match path {
            Ok(path) => path,
            // A hidden directory that nobody asked for.
            Err(error) if !is_meant(literal, error.path()) => continue,
            Err(error) => {
                return Err(SourceError::Open { path: error.path().to_owned(), source: error.into() });
            }
        };
        if path.is_dir() {
            log::debug!("{} matches `{pattern}`, but is a directory", path.display());
        } else if is_meant(literal, &path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let cwd = std::env::current_dir().unwrap_or_default();
        return Err(SourceError::NotFound { pattern: pattern.to_owned(), cwd });
    }
    Ok(paths)
}

/// Whether a file of this name is one that log rotation has put aside.
pub(super) fn is_rotated(path: &Path) -> bool {
    let (base, _, date, Reverse(number)) = rotation(path);
    number > 0 || !date.is_empty() || base != path
}

/// The order in which the files of a sequence are read: by name, but of a log and its rotated predecessors the oldest first, so
/// that event time goes forward. They may have a number (`access.log.2.gz`, `access.log.1`, `access.log`), or the
/// day on which they were put aside (`access.log-20260102.gz`, `access-2026-01-02.log`); the one without is the newest.
fn rotation(path: &Path) -> (PathBuf, bool, String, Reverse<u64>) {
    let mut base = path.to_owned();
    if base.extension().is_some_and(|ending| ["gz", "zst"].iter().any(|known| ending == *known)) {
        base.set_extension("");
    }
    // Larger numbers are dates.
    let number =
        base.extension().and_then(|ending| ending.to_str()?.parse::<u64>().ok()).filter(|n| *n < 10_000);
    if number.is_some() {
        base.set_extension("");
    }
    let dated = base.file_name().and_then(|name| name.to_str()).and_then(|name| {
        let (from, upto) = date(name)?;
        Some((format!("{}{}", &name[..from], &name[upto..]), name[from..upto].to_owned()))
    });
    let number = Reverse(number.unwrap_or(0));
    match dated {
        Some((name, date)) => (base.with_file_name(name), false, date, number),
        None => (base, true, String::new(), number),
    }
}

/// Where a day stands in a name, with what separates it from what comes before, and an hour that may follow.
fn date(name: &str) -> Option<(usize, usize)> {
    let bytes = name.as_bytes();
    let digits = |from: usize, count: usize| {
        bytes.get(from..from + count).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    (1..bytes.len()).find_map(|at| {
        if !matches!(bytes[at - 1], b'-' | b'.' | b'_') {
            return None;
        }
        let is_dash = |at: usize| bytes.get(at) == Some(&b'-');
        let mut end = match () {
            () if digits(at, 8) => at + 8,
            () if digits(at, 4)
                && is_dash(at + 4)
                && digits(at + 5, 2)
                && is_dash(at + 7)
                && digits(at + 8, 2) =>
            {
                at + 10
            }
            () => return None,
        };
        while digits(end, 1) || (matches!(bytes.get(end), Some(b'-' | b'_' | b'T')) && digits(end + 1, 2)) {
            end += 1;
        }
        Some((at - 1, end))
    })
}

/// Whether every part of `path` with a leading dot is matched by a part of `pattern` that has one, too.
fn is_meant(pattern: &Path, path: &Path) -> bool {
    let hidden = |part: &Component<'_>| part.as_os_str().as_bytes().starts_with(b".");
    let matches = |meant: Component<'_>, part: Component<'_>| {
        let glob = meant.as_os_str().to_str().and_then(|meant| ::glob::Pattern::new(meant).ok());
        meant == part || glob.is_some_and(|glob| glob.matches_path(part.as_ref()))
    };
    path.components()
        .filter(hidden)
        .all(|part| pattern.components().filter(hidden).any(|meant| matches(meant, part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_rotated_logs_the_oldest_is_read_first() {
        let names = [
            "b.log",
            "a.log",
            "a.log.1",
            "a.log.10.gz",
            "a.log.2.zst",
            "a-20260101.log",
            "c.20260102",
            "c.20260101",
            "d.log",
            "d.log-20260102",
            "d.log-20260101.gz",
            "e_2026-01-02_13.log",
            "e_2026-01-02_09.log",
            "e.log",
        ];
        let mut paths: Vec<_> = names.iter().map(PathBuf::from).collect();
        paths.sort_by_cached_key(|path| rotation(path));
        let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        let expected = [
            "a-20260101.log",
            "a.log.10.gz",
            "a.log.2.zst",
            "a.log.1",
            "a.log",
            "b.log",
            "c.20260101",
            "c.20260102",
            "d.log-20260101.gz",
            "d.log-20260102",
            "d.log",
            "e_2026-01-02_09.log",
            "e_2026-01-02_13.log",
            "e.log",
        ];
        assert_eq!(names, expected);
    }
}
