//! The secret that the processes of one cluster share.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::runtime::cluster::ClusterError;

/// The secret that the processes of one cluster share. It is proved, never sent.
///
/// ```
/// use thalweg::runtime::cluster::Secret;
/// let secret = Secret::new("correct horse battery staple")?;
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert!(Secret::new("").is_err());
/// # Ok::<(), thalweg::runtime::cluster::ClusterError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The longest secret. Far above any sensible one: it keeps `/dev/zero` from being read for ever.
    pub const MAX_BYTES: usize = 4096;

    /// Takes `bytes` as the secret, exactly as they are.
    ///
    /// # Errors
    ///
    /// [`ClusterError::SecretLength`] when there are none, or more than [`Secret::MAX_BYTES`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, ClusterError> {
        let bytes = bytes.into();
        match bytes.len() {
            1..=Self::MAX_BYTES => Ok(Self(bytes)),
            length => Err(ClusterError::SecretLength { bytes: length, limit: Self::MAX_BYTES }),
        }
    }

    /// Reads the secret from the file at `path`, without the line end that editors leave there.
    ///
    /// A file that others may read is used, and warned of in the log.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds no secret of allowed length.
    ///
    /// ```
    /// use thalweg::runtime::cluster::Secret;
    /// let dir = tempfile::tempdir()?;
    /// std::fs::write(dir.path().join("secret"), "s3cret\n")?;
    /// assert!(Secret::from_file(dir.path().join("secret")).is_ok());
    /// std::fs::write(dir.path().join("empty"), "\n")?;
    /// assert!(Secret::from_file(dir.path().join("empty")).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ClusterError> {
        let path = path.as_ref();
        let mut bytes =
            read(path).map_err(|source| ClusterError::SecretFile { path: path.to_owned(), source })?;
        let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        bytes.truncate(end);
        Self::new(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    warn_if_shared(&file, path)?;
    let mut bytes = Vec::new();
    // Two more for a line end, one more to see that it is too long.
    file.take(Secret::MAX_BYTES as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
fn warn_if_shared(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        log::warn!(
            "the cluster secret {path} is open to other users (mode {mode:03o})\n  hint: chmod 600 {path}"
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn warn_if_shared(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_its_line_end_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (content, secret) in
            [("a b \n", "a b "), ("x\r\n", "x"), ("y", "y"), ("\nz", "\nz"), ("q\n\n", "q")]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::from_file(&path).unwrap().bytes(), secret.as_bytes(), "{content:?}");
        }
    }

    #[test]
    fn empty_endless_and_missing_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "\r\n\n").unwrap();
        assert!(matches!(Secret::from_file(&path), Err(ClusterError::SecretLength { bytes: 0, .. })));
        std::fs::write(&path, vec![b'x'; Secret::MAX_BYTES + 1]).unwrap();
        assert!(matches!(Secret::from_file(&path), Err(ClusterError::SecretLength { .. })));
        #[cfg(target_os = "linux")]
        assert!(matches!(Secret::from_file("/dev/zero"), Err(ClusterError::SecretLength { .. })));
        assert!(matches!(Secret::from_file(dir.path().join("none")), Err(ClusterError::SecretFile { .. })));
    }
}
