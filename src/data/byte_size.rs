//! Numbers of bytes as people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes that is more than nothing, read as people write it: `512KiB`, `1GiB`, `10MB`, `4096`. It is meant for
/// options.
///
/// ```
/// use thalweg::data::ByteSize;
/// let size: ByteSize = "512KiB".parse().unwrap();
/// assert_eq!((size.bytes(), size.to_string()), (524_288, "512.0 KiB".to_owned()));
/// assert_eq!("0".parse::<ByteSize>().unwrap_err().to_string(), "it must be more than nothing");
/// assert!("much".parse::<ByteSize>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// What was read is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ByteSizeError {
    /// It is not written as one.
    #[error("{0} (such as 512KiB, 1GiB)")]
    Form(String),
    /// It is nothing.
    #[error("it must be more than nothing")]
    Nothing,
}

impl ByteSize {
    /// How many they are.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let size: bytesize::ByteSize = text.parse().map_err(ByteSizeError::Form)?;
        if size.as_u64() == 0 { Err(ByteSizeError::Nothing) } else { Ok(ByteSize(size.as_u64())) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytesize::ByteSize::b(self.0).display().iec().fmt(f)
    }
}
