//! Files that a run goes by: small ones, read whole, before it begins.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The longest file that is read so: far beyond any that a person writes.
const MOST: u64 = 1 << 20;

/// The text of the file at `path`, which is to be an ordinary one of at most a mebibyte.
///
/// A named pipe nobody writes to would be waited for, for ever, and a device may have no end.
///
/// # Errors
///
/// When it cannot be read, is no ordinary file, is longer, or is not UTF-8.
pub(crate) fn read_small(path: &Path) -> io::Result<String> {
    let refuse = |reason: &str| io::Error::new(ErrorKind::InvalidInput, reason);
    // Before it is opened: opening a named pipe waits for a writer.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(refuse(
            "it is not an ordinary file\n  hint: write what it says to a file, and name that",
        ));
    }
    let mut bytes = Vec::new();
    // Not by the length that it says it has: it may still grow.
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(refuse("it is longer than 1 MiB\n  hint: is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_text_of_a_mebibyte_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, vec![b'x'; MOST as usize]).expect("written");
        assert_eq!(read_small(&path).map(|text| text.len() as u64).ok(), Some(MOST));
        std::fs::write(&path, vec![b'x'; MOST as usize + 1]).expect("written");
        assert!(read_small(&path).is_err_and(|error| error.to_string().contains("longer than 1 MiB")));
        std::fs::write(&path, b"\xff").expect("written");
        assert!(read_small(&path).is_err_and(|error| error.kind() == ErrorKind::InvalidData));
        assert!(read_small(dir.path()).is_err_and(|error| error.kind() == ErrorKind::IsADirectory));
        let device = read_small(Path::new("/dev/zero"));
        assert!(device.is_err_and(|error| error.to_string().contains("not an ordinary file")));
    }
}
