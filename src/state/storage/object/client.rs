//! Requests to an object store, each made again for as long as patience lasts.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};

use crate::state::storage::StorageError;

/// Under which name metadata has a [`Mark`].
const MARK: &str = "thalweg";

/// The object by which it is known whether the store overwrites. No name begins with a dot.
const CREATED_ONCE: &str = ".created-once";

/// How long is waited before a request is made again: at first, and at most.
pub(super) const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// What one call leaves with what it creates: how it tells that from what others have created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) is_log: bool,
    pub(super) nonce: u128,
}

impl Mark {
    /// A new one.
    fn draw(is_log: bool) -> std::io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Mark { is_log, nonce: u128::from_le_bytes(random) })
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, nonce) = text.split_once('-')?;
        let is_log = match kind {
            "log" => true,
            "bytes" => false,
            _ => return None,
        };
        Some(Mark { is_log, nonce: u128::from_str_radix(nonce, 16).ok()? })
    }

    /// That of what was found.
    fn of(found: &GetResult) -> Option<Self> {
        Self::parse(found.attributes.get(&Attribute::Metadata(MARK.into()))?)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", if self.is_log { "log" } else { "bytes" }, self.nonce)
    }
}

/// A store, from one prefix on.
pub(super) struct Client {
    store: Box<dyn ObjectStore>,
    uri: String,
    /// What stands before all names, with a slash at its end if it is not empty.
    prefix: String,
    patience: Duration,
    /// Whether it is known that the store does not overwrite what it is to create.
    proven: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the store: it has credentials.
        f.debug_tuple("Client").field(&self.uri).finish()
    }
}

impl Client {
    /// Of `store`, which is called `uri`; names are behind `prefix` there. Requests are made again for as long as `patience`.
    pub(super) fn new(store: Box<dyn ObjectStore>, uri: String, prefix: &str, patience: Duration) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Client { store, uri, prefix, patience, proven: AtomicBool::new(false) }
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    fn path(&self, object: &str) -> Path {
        Path::from(format!("{}{object}", self.prefix))
    }

    /// What the object at `path` is called behind the prefix.
    fn object(&self, path: &Path) -> Option<String> {
        path.as_ref().strip_prefix(&self.prefix).map(str::to_owned)
    }

    /// Creates `name`, if nothing is there: bytes or the head of a log, with the mark that is returned.
    pub(super) async fn create(&self, name: &str, bytes: Bytes, is_log: bool) -> Result<Mark, StorageError> {
        let mark = Mark::draw(is_log).map_err(|error| self.failed("create", name, error))?;
        self.prove(name).await?;
        let path = self.path(name);
        let created = self.patiently(|| self.create_once(&path, bytes.clone(), mark)).await;
        match created {
            Ok(true) => Ok(mark),
            Ok(false) => Err(StorageError::Exists { uri: self.uri.clone(), name: name.to_owned() }),
            Err(error) => Err(self.error("create", name, error)),
        }
    }

    /// Creates `path` by one request; whether it was this call, by an earlier request or this one, or somebody else.
    async fn create_once(&self, path: &Path, bytes: Bytes, mark: Mark) -> Result<bool, Error> {
        let taken = match self.put(path, bytes, mark).await {
            Err(taken @ Error::AlreadyExists { .. }) => taken,
            put => return put.map(|()| true),
        };
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(path, options).await {
            Ok(found) => Ok(Mark::of(&found) == Some(mark)),
            // It has been deleted since; or there was a conflict with another request, which came to nothing.
            Err(Error::NotFound { .. }) => Err(taken),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, path: &Path, bytes: Bytes, mark: Mark) -> Result<(), Error> {
        let attributes = Attributes::from_iter([(Attribute::Metadata(MARK.into()), mark.to_string())]);
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        self.store.put_opts(path, bytes.into(), options).await.map(drop)
    }

    /// Looks whether the store keeps what is there where it is asked to create, and marks; `name` is to be created next.
    async fn prove(&self, name: &str) -> Result<(), StorageError> {
        if self.proven.load(Ordering::Relaxed) {
            return Ok(());
        }
        let path = self.path(CREATED_ONCE);
        // Where an earlier start has left it, the first request says so.
        for _ in 0..2 {
            let mark = Mark::draw(false).map_err(|error| self.failed("create", name, error))?;
            let put = || async {
                match self.put(&path, Bytes::new(), mark).await {
                    Err(Error::AlreadyExists { .. }) => Ok(true),
                    put => put.map(|()| false),
                }
            };
            if self.patiently(put).await.map_err(|error| self.error("create", name, error))? {
                let found = self.read(CREATED_ONCE).await?;
                if found.is_some_and(|(mark, _)| mark.is_none()) {
                    return Err(self.unfit("it does not keep the metadata of objects (`x-amz-meta-`)"));
                }
                self.proven.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
        Err(self.unfit("it overwrites what it is asked to create if nothing is there (`If-None-Match: *`)"))
    }

    /// The store lacks something.
    fn unfit(&self, reason: &str) -> StorageError {
        let (uri, reason) = (self.uri.clone(), reason.to_owned());
        let hint = "without that, two runs at once could not be kept apart; S3 has it since 2024, and others in newer releases";
        StorageError::Refused { uri, reason, hint }
    }

    /// Writes `object`, a part of `name` that nobody else writes.
    pub(super) async fn write(&self, name: &str, object: &str, bytes: Bytes) -> Result<(), StorageError> {
        let path = self.path(object);
        let put = || async { self.store.put(&path, bytes.clone().into()).await.map(drop) };
        self.patiently(put).await.map_err(|error| self.error("append to", name, error))
    }

    /// The bytes of `object`, and its mark.
    pub(super) async fn read(&self, object: &str) -> Result<Option<(Option<Mark>, Bytes)>, StorageError> {
        let path = self.path(object);
        let get = || async {
            match self.store.get(&path).await {
                Err(error @ Error::NotFound { .. }) if !is_without_bucket(&error) => Ok(None),
                Err(error) => Err(error),
                Ok(found) => Ok(Some((Mark::of(&found), found.bytes().await?))),
            }
        };
        self.patiently(get).await.map_err(|error| self.error("read", object, error))
    }

    /// The bytes under `name`, unless that is a log.
    pub(super) async fn read_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let found = self.read(name).await?.filter(|(mark, _)| !mark.is_some_and(|mark| mark.is_log));
        Ok(found.map(|(_, bytes)| bytes.into()))
    }

    /// The objects in the directory of `prefix`, with their sizes.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, StorageError> {
        let directory = self.directory(prefix);
        let list = || self.store.list(directory.as_ref()).try_collect::<Vec<_>>();
        let found = self.patiently(list).await.map_err(|error| self.error("list", prefix, error))?;
        let found = found.iter().filter_map(|meta| Some((self.object(&meta.location)?, meta.size)));
        Ok(found.collect())
    }

    /// The objects whose names begin with `prefix`, in order; they are behind `name` in its directory.
    pub(super) async fn list_behind(&self, name: &str, prefix: &str) -> Result<Vec<String>, StorageError> {
        let (directory, from) = (self.directory(name), self.path(prefix));
        let list = || {
            let found = self.store.list_with_offset(directory.as_ref(), &from);
            // Names come in order: what begins so stands together, and at the front if the store knows where to begin.
            let is_before = |path: &Path| *path < from;
            let begins = |path: &Path| path.as_ref().starts_with(from.as_ref());
            let found = found.try_skip_while(move |meta| future::ok(is_before(&meta.location)));
            let found = found.try_take_while(move |meta| future::ok(begins(&meta.location)));
            found.map_ok(|meta| meta.location).try_collect::<Vec<_>>()
        };
        let found = self.patiently(list).await.map_err(|error| self.error("list", name, error))?;
        Ok(found.iter().filter_map(|path| self.object(path)).collect())
    }

    /// The directory in which names are that begin with `prefix`.
    fn directory(&self, prefix: &str) -> Option<Path> {
        let directory = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
        let directory = self.path(directory);
        (!directory.is_root()).then_some(directory)
    }

    /// Deletes `objects`, which are all or some of `name`.
    pub(super) async fn delete(&self, name: &str, objects: Vec<String>) -> Result<(), StorageError> {
        let paths: Vec<_> = objects.iter().map(|object| self.path(object)).collect();
        let delete = || {
            let paths = stream::iter(paths.clone()).map(Ok).boxed();
            let deleted = self.store.delete_stream(paths);
            deleted.try_for_each(|_| future::ok(()))
        };
        match self.patiently(delete).await {
            Err(error @ Error::NotFound { .. }) if !is_without_bucket(&error) => Ok(()),
            deleted => deleted.map_err(|error| self.error("delete", name, error)),
        }
    }

    /// Makes `request`, again and again while what goes wrong may go right the next time. The store's own client has made it again, too,
    /// where it knows that it was not done.
    async fn patiently<T, F>(&self, request: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut last = None;
        let made = async {
            let [mut pause, longest] = PAUSES;
            loop {
                match request().await {
                    Err(error) if may_pass(&error) => {
                        log::debug!("{}: {}, again in {pause:?}", self.uri, brief(&error));
                        last = Some(error);
                    }
                    made => return made,
                }
                tokio::time::sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        };
        // The store's client gives up by itself after as long, and says more.
        match tokio::time::timeout(self.patience + PAUSES[1], made).await {
            Ok(made) => made,
            Err(_) => Err(last.unwrap_or_else(|| Error::Generic {
                store: "S3",
                source: format!("no answer within {:?}", self.patience).into(),
            })),
        }
    }

    /// What is said of `error`.
    fn error(&self, doing: &'static str, name: &str, error: Error) -> StorageError {
        let reason = brief(&error);
        if let Some(hint) = hint(&error) {
            let reason = format!("cannot {doing} `{name}`: {reason}");
            return StorageError::Refused { uri: self.uri.clone(), reason, hint };
        }
        self.failed(doing, name, reason)
    }

    /// That something was not done, or that this is not certain.
    pub(super) fn failed(
        &self,
        doing: &'static str,
        name: &str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> StorageError {
        let (uri, name, source) = (self.uri.clone(), name.to_owned(), source.into());
        StorageError::System { uri, doing, name, source }
    }
}

/// `error`, and what it came of.
fn chain(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// Whether the same request may be answered otherwise next time, and the store's client has not made it again by itself.
fn may_pass(error: &Error) -> bool {
    let is_new = |kind| !matches!(kind, HttpErrorKind::Connect | HttpErrorKind::Request);
    let mut http = chain(error).filter_map(|error| error.downcast_ref::<HttpError>());
    // A name that was taken, and where nothing is.
    matches!(error, Error::AlreadyExists { .. }) || http.any(|error| is_new(error.kind()))
}

fn is_without_bucket(error: &Error) -> bool {
    error.to_string().contains("NoSuchBucket")
}

/// What can be done about `error`, if somebody has to do it.
fn hint(error: &Error) -> Option<&'static str> {
    /// What stores call credentials that they do not accept.
    const CREDENTIALS: [&str; 7] = [
        "AccessDenied",
        "AuthFailure",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    ];
    let text = error.to_string();
    if is_without_bucket(error) {
        return Some("create the bucket, or look at its name, `region=` and `endpoint=`");
    }
    if text.contains("incorrectly configured region") || text.contains("PermanentRedirect") {
        return Some("the bucket is in another region: `region=`, or AWS_REGION");
    }
    let denied = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
    (denied || CREDENTIALS.iter().any(|code| text.contains(code))).then_some(
        "it takes credentials that may list, read, write and delete there: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         `credentials-file=FILE`",
    )
}

/// `error` in few words: what the store says of it, if that is so, or how it came about.
fn brief(error: &Error) -> String {
    let text = error.to_string();
    let part = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    if let Some(code) = part("Code") {
        let message = part("Message").filter(|message| !message.is_empty());
        return message.map_or(code.clone(), |message| format!("{code}: {message}"));
    }
    let cause = chain(error).last().map(ToString::to_string).unwrap_or_default();
    if text.contains(&cause) { text } else { format!("{text}: {cause}") }
}
