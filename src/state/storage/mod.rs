//! Named bytes that outlast the process: what snapshots, the journal, the spool and claims are kept in.
//!
//! A [`Storage`] is a directory or an object store. It offers what both have: bytes under a name that are created
//! whole and never change, and logs that grow at their end and are durable up to the last [`Log::sync`]. Nothing is
//! ever overwritten, so whoever writes a name that is there learns that somebody else was first ([`StorageError::Exists`]):
//! that is how a start claims its incarnation, and how a writer that was given up for dead is kept out.
//!
//! Names are relative paths of lower-case words, digits, `-`, `_`, `.` and `/`; none begins with a dot or a slash.
//!
//! This module knows no door, no epoch and no clock.

mod faulty;
mod hold;
mod local;
#[cfg(feature = "object-store")]
mod object;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use faulty::{Fault, Faulty, Happened};
pub use local::Local;
#[cfg(feature = "object-store")]
pub use object::Objects;

use crate::data::disk_hint;

/// A place for named bytes. Handles are shared by threads.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Where it is, as messages say it: without secrets.
    fn uri(&self) -> &str;

    /// Creates `name` with all of `bytes`, or not at all; they are durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Exists`] when the name is taken, by bytes or by a log.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// The bytes under `name`; `None` if there are none.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// As [`Storage::read`], of many names: at once, where that is faster.
    ///
    /// # Errors
    ///
    /// When some cannot be read.
    fn read_all(&self, names: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        names.iter().map(|name| self.read(name)).collect()
    }

    /// What there is under names that begin with `prefix`, in the order of the names; a log is one entry.
    ///
    /// # Errors
    ///
    /// When it cannot be listed.
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StorageError>;

    /// Deletes `name`, bytes or log; one that is not there is deleted already.
    ///
    /// # Errors
    ///
    /// When it cannot be deleted.
    fn delete(&self, name: &str) -> Result<(), StorageError>;

    /// As [`Storage::delete`], of many names: at once and in any order, where that is faster.
    ///
    /// # Errors
    ///
    /// When some cannot be deleted.
    fn delete_all(&self, names: &[&str]) -> Result<(), StorageError> {
        names.iter().try_for_each(|name| self.delete(name))
    }

    /// Creates the log `name`, which is empty, for this process to append to.
    ///
    /// # Errors
    ///
    /// [`StorageError::Exists`] when the name is taken.
    fn create_log(&self, name: &str) -> Result<Box<dyn Log>, StorageError>;

    /// All bytes of log `name`, those that were synced and perhaps more: what was being written when its writer died may be
    /// there in part. `None` if there is no such log.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn read_log(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// All that [`Storage::read_log`] has given of log `name` is durable when this returns, whoever wrote it: a process may have
    /// died before it synced, and the system may still. A log that is not there has nothing to lose.
    ///
    /// # Errors
    ///
    /// When that is not certain.
    fn sync_log(&self, name: &str) -> Result<(), StorageError>;

    /// What DuckDB has to be told before it can read what is here by [`Storage::uri`]: nothing, where that is a path.
    fn for_duckdb(&self) -> Option<String> {
        None
    }

    /// Holds all of it for a run, of which `holder` says in a line who that is: until what is returned is dropped, or the process
    /// has died. It keeps nobody from writing who does not ask. `take_over` passes over a run that holds it: from then on it is this
    /// one that does. `None` where nothing can be held, as there are no locks.
    ///
    /// # Errors
    ///
    /// [`StorageError::Held`] when another run holds it.
    fn hold(&self, holder: &str, take_over: bool) -> Result<Option<Held>, StorageError> {
        let _ = (holder, take_over);
        Ok(None)
    }

    /// Who holds it, as that run has said; `None` if none does, as far as can be told.
    ///
    /// # Errors
    ///
    /// When that cannot be read.
    fn holder(&self) -> Result<Option<String>, StorageError> {
        Ok(None)
    }
}

/// A [`Storage`] that is held for a run, until this is dropped.
#[derive(Debug)]
pub struct Held {
    _lock: Box<dyn Any + Send + Sync>,
}

impl Held {
    /// For as long as `lock` lives.
    pub fn by(lock: impl Any + Send + Sync) -> Self {
        Held { _lock: Box::new(lock) }
    }
}

/// The end of a log, to which one writer appends.
pub trait Log: fmt::Debug + Send {
    /// Adds `bytes` at the end. They may not be durable before [`Log::sync`].
    ///
    /// # Errors
    ///
    /// When they cannot be written. The log ends somewhere within them then, and takes no more.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Begins what [`Log::sync`] has to do, where that takes its time without the caller: several logs are synced at once so.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`].
    fn begin_sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Everything that was appended is durable when this returns.
    ///
    /// # Errors
    ///
    /// When that is not certain. The log takes no more then: what was not synced may or may not be there.
    fn sync(&mut self) -> Result<(), StorageError>;
}

/// Something that a [`Storage`] holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Why a [`Storage`] cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The name is taken.
    #[error("{uri} already has `{name}`")]
    Exists {
        /// The storage.
        uri: String,
        /// The name.
        name: String,
    },
    /// No name that a storage takes.
    #[error("`{}` is no name in {uri}: it takes words of a-z, 0-9, `-`, `_` and `.`, with `/` between", name.escape_debug())]
    Name {
        /// The storage.
        uri: String,
        /// The name.
        name: String,
    },
    /// No storage that there is.
    #[error(
        "`{}` is no place for state: {reason}\n  hint: give a directory, as a path or `file:PATH`, or an object store, as `s3://BUCKET/PREFIX`",
        uri.escape_debug()
    )]
    Uri {
        /// What was given, without secrets.
        uri: String,
        /// Why it is none.
        reason: String,
    },
    /// It is not to be had, or not in the form that state needs, and will not be next time.
    #[error("{uri}: {reason}\n  hint: {hint}")]
    Refused {
        /// The storage.
        uri: String,
        /// What it says.
        reason: String,
        /// What can be done.
        hint: &'static str,
    },
    /// A run holds it.
    #[error("the state in {uri} is in use{}", if holder.is_empty() { String::new() } else { format!(" by {holder}") })]
    Held {
        /// The storage.
        uri: String,
        /// Who that is, if it has said so.
        holder: String,
    },
    /// The directory, the server or the network does not do it. Whether it is done nevertheless is not certain.
    #[error("cannot {doing} {}{uri}: {source}{}", in_it(name), disk_hint(&**source))]
    System {
        /// The storage.
        uri: String,
        /// What was to be done.
        doing: &'static str,
        /// With what.
        name: String,
        /// Why it was not.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Where messages name something in a storage; empty if it is about all of it.
fn in_it(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("`{name}` in ") }
}

impl StorageError {
    /// Whether it comes of how the storage was named or set up, and not of what befell it.
    pub fn is_configuration(&self) -> bool {
        matches!(self, StorageError::Uri { .. } | StorageError::Refused { .. })
    }
}

/// Looks a variable of the environment up.
pub type Environment = fn(&str) -> Option<String>;

/// The storage that `uri` names: a directory, as a path or `file:PATH`, which is created if it is missing; or, with the feature
/// `object-store`, a bucket, as `s3://BUCKET/PREFIX`, which is not.
///
/// | parameter of `s3:` | |
/// |---|---|
/// | `region=NAME` | where the bucket is; else `AWS_REGION` or `AWS_DEFAULT_REGION` |
/// | `endpoint=URL` | another server than Amazon's, by `https://`, or in clear by `http://`; else `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` |
/// | `credentials-file=FILE` | credentials as Amazon's tools keep them, looked up in it each time; else `AWS_SHARED_CREDENTIALS_FILE` |
/// | `profile=NAME` | whose of them; else `AWS_PROFILE`, or `default` |
/// | `credentials=instance` | those of the machine, if it is one of Amazon's |
/// | `tls=FILE` | authorities that are trusted in place of the system's |
/// | `timeout=TIME` | for how long a request is made again until it is given up; 2m |
///
/// Where no parameter says whose credentials it takes, these are `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; what
/// containers of Amazon and Kubernetes are handed (`AWS_CONTAINER_CREDENTIALS_…`, `AWS_WEB_IDENTITY_TOKEN_FILE`) comes next. `environment`
/// looks variables up.
///
/// # Errors
///
/// [`StorageError::Uri`] when there is no such kind or it is not well formed, and others when it cannot be opened.
///
/// ```
/// use thalweg::state::storage::{StorageError, open};
/// let none = |_: &str| None;
/// assert!(matches!(open("gopher://user:secret@host/", none), Err(StorageError::Uri { .. })));
/// assert!(matches!(open("s3://bucket/prefix?regoin=eu-central-1", none), Err(StorageError::Uri { .. })));
/// assert!(matches!(open("", none), Err(StorageError::Uri { .. })));
/// ```
pub fn open(uri: &str, environment: Environment) -> Result<Arc<dyn Storage>, StorageError> {
    let path = match scheme(uri) {
        Some(("file", rest)) => match rest.strip_prefix("//") {
            None => rest,
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(refused("file://", "it names a host where a path belongs")),
        },
        #[cfg(feature = "object-store")]
        Some(("s3", _)) => return Ok(Arc::new(Objects::open(uri, environment)?)),
        #[cfg(not(feature = "object-store"))]
        Some(("s3", _)) => {
            let _ = environment;
            return Err(refused("s3:", "this program was built without the feature `object-store`"));
        }
        // What follows may hold a password.
        Some((scheme, _)) => return Err(refused(&format!("{scheme}:"), "there is no such kind")),
        None => uri,
    };
    if path.is_empty() {
        return Err(refused(uri, "it is empty"));
    }
    Ok(Arc::new(Local::open(path)?))
}

/// That `uri` is no storage.
fn refused(uri: &str, reason: impl Into<String>) -> StorageError {
    StorageError::Uri { uri: uri.to_owned(), reason: reason.into() }
}

/// What is before and after the first colon, if it can be the scheme of a URI.
fn scheme(uri: &str) -> Option<(&str, &str)> {
    uri.split_once(':').filter(|(scheme, _)| {
        scheme.len() > 1
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && scheme.as_bytes()[0].is_ascii_alphabetic()
    })
}

/// Whether `name` is one that a storage takes.
fn check(uri: &str, name: &str) -> Result<(), StorageError> {
    let word = |word: &str| {
        let of_names =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        !word.is_empty() && word.len() <= 200 && !word.starts_with('.') && word.bytes().all(of_names)
    };
    if name.len() <= 900 && name.split('/').all(word) {
        return Ok(());
    }
    // What was to be a name may be anything.
    let name = name.chars().take(200).collect();
    Err(StorageError::Name { uri: uri.to_owned(), name })
}

#[cfg(test)]
mod tests;
