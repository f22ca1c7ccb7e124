//! What an object store can do to a storage: answers that are lost, stores that overwrite, deletions that stop half-way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::state::storage::{Entry, Storage, StorageError};

/// What happens to a request that puts or deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is not done, and may be made again.
    Interrupted,
    /// It is done, and the answer is lost.
    Unanswered,
    /// It is refused as one that conflicts with another.
    Conflict,
    /// It is not done, whenever it is made.
    Fails,
}

#[derive(Debug, Default)]
struct Inner {
    store: InMemory,
    /// What is to happen to requests whose objects have this in their name, the next first.
    faults: Mutex<Vec<(&'static str, Fault)>>,
    /// Whether it does not know conditions.
    overwrites: AtomicBool,
    /// Whether it leaves metadata out.
    forgets: AtomicBool,
    /// How long an answer takes.
    latency: AtomicU64,
    puts: AtomicU64,
    /// Requests under way, and how many there were at most.
    flying: [AtomicU64; 2],
}

/// A store in memory with faults. Clones are the same one.
#[derive(Clone, Debug, Default)]
struct Store(Arc<Inner>);

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store with faults")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

impl Store {
    fn plan(&self, of: &'static str, faults: &[Fault]) {
        self.0.faults.lock().unwrap().extend(faults.iter().map(|fault| (of, *fault)));
    }

    fn is_done(&self) -> bool {
        self.0.faults.lock().unwrap().is_empty()
    }

    fn fault(&self, path: &Path) -> Option<Fault> {
        let mut faults = self.0.faults.lock().unwrap();
        let at = faults.iter().position(|(of, _)| path.as_ref().contains(of))?;
        match faults[at].1 {
            Fault::Fails => Some(Fault::Fails),
            _ => Some(faults.remove(at).1),
        }
    }

    fn storage(&self) -> Objects {
        let client =
            Client::new(Box::new(self.clone()), "s3://test/a/b".into(), "a/b", Duration::from_secs(5));
        Objects::of(client).unwrap()
    }

    /// The objects that there are, but for the one that is not a name's.
    fn objects(&self) -> Vec<String> {
        let all = futures_util::TryStreamExt::try_collect::<Vec<_>>(self.0.store.list(None));
        let storage = self.storage();
        let all = storage.requests.wait(all).unwrap().unwrap();
        let names = all.iter().map(|meta| meta.location.as_ref().strip_prefix("a/b/").unwrap().to_owned());
        names.filter(|name| name != ".created-once").collect()
    }
}

fn interrupted() -> Error {
    let source = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("the line is cut"));
    Error::Generic { store: "test", source: source.into() }
}

impl ObjectStore for Store {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            self.0.puts.fetch_add(1, Ordering::SeqCst);
            let [flying, most] = &self.0.flying;
            most.fetch_max(flying.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(self.0.latency.load(Ordering::SeqCst))).await;
            flying.fetch_sub(1, Ordering::SeqCst);
            if self.0.overwrites.load(Ordering::SeqCst) {
                options.mode = PutMode::Overwrite;
            }
            if self.0.forgets.load(Ordering::SeqCst) {
                options.attributes = object_store::Attributes::new();
            }
            match self.fault(path) {
                Some(Fault::Interrupted) => Err(interrupted()),
                Some(Fault::Unanswered) => {
                    self.0.store.put_opts(path, payload, options).await?;
                    Err(interrupted())
                }
                Some(Fault::Conflict) => {
                    Err(Error::AlreadyExists { path: path.to_string(), source: "a conflict".into() })
                }
                Some(Fault::Fails) => Err(Error::Generic { store: "test", source: "it is full".into() }),
                None => self.0.store.put_opts(path, payload, options).await,
            }
        })
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        options: PutMultipartOptions,
    ) -> Answer<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.0.store.put_multipart_opts(path, options)
    }

    fn get_opts<'a, 'b, 'c>(&'a self, path: &'b Path, options: GetOptions) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.0.store.get_opts(path, options)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let store = self.clone();
        let delete = move |path: object_store::Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                let fault = store.fault(&path);
                if fault.is_none() || fault == Some(Fault::Unanswered) {
                    object_store::ObjectStoreExt::delete(&store.0.store, &path).await?;
                }
                match fault {
                    None => Ok(path),
                    Some(Fault::Fails) => Err(Error::Generic { store: "test", source: "no".into() }),
                    Some(_) => Err(interrupted()),
                }
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.store.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Answer<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.0.store.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> Answer<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        self.0.store.copy_opts(from, to, options)
    }
}

/// A storage in memory, for what every storage does.
pub(in crate::state::storage) fn in_memory(prefix: &str) -> Objects {
    let uri = format!("s3://test/{prefix}");
    let client = Client::new(Box::new(InMemory::new()), uri, prefix, Duration::from_secs(5));
    Objects::of(client).unwrap()
}

#[test]
fn what_was_created_and_not_answered_is_created_by_the_one_who_did() {
    for faults in [
        &[Fault::Unanswered][..],
        &[Fault::Interrupted],
        &[Fault::Interrupted, Fault::Unanswered],
        &[Fault::Conflict, Fault::Unanswered],
    ] {
        let store = Store::default();
        let (one, other) = (store.storage(), store.storage());
        store.plan("claims/1", faults);
        one.create("claims/1", b"the same").unwrap();
        assert!(store.is_done(), "{faults:?}");
        // What is there is the same, and was written by somebody else.
        let twice = other.create("claims/1", b"the same");
        assert!(matches!(twice, Err(StorageError::Exists { .. })), "{twice:?}");
        store.plan("logs/1", faults);
        let mut log = one.create_log("logs/1").unwrap();
        assert!(matches!(other.create_log("logs/1"), Err(StorageError::Exists { .. })));
        log.append(b"a").unwrap();
        log.sync().unwrap();
        assert_eq!(other.read_log("logs/1").unwrap().as_deref(), Some(&b"a"[..]));
    }
}

/// One has been first, the other's request arrives late, and both hear nothing at first.
#[test]
fn of_two_that_hear_nothing_one_has_created_it() {
    let store = Store::default();
    store.plan("claims/1", &[Fault::Unanswered, Fault::Interrupted]);
    let (one, other) = (store.storage(), store.storage());
    let created = std::thread::scope(|scope| {
        let both = [one, other].map(|it| scope.spawn(move || it.create("claims/1", b"x").is_ok()));
        both.map(|thread| thread.join().unwrap())
    });
    assert_eq!(created.iter().filter(|created| **created).count(), 1, "{created:?}");
}

#[test]
fn a_store_that_keeps_nothing_apart_is_refused() {
    let store = Store::default();
    store.0.overwrites.store(true, Ordering::SeqCst);
    let error = store.storage().create("claims/1", b"x").unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("overwrites"), "{error}");
    assert!(store.storage().create_log("logs/1").is_err() && store.objects().is_empty());
    let store = Store::default();
    store.0.forgets.store(true, Ordering::SeqCst);
    let error = store.storage().create("claims/1", b"x").unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("metadata"), "{error}");
}

#[test]
fn metadata_that_are_lost_later_are_no_empty_log() {
    let store = Store::default();
    let storage = store.storage();
    let mut log = storage.create_log("logs/1").unwrap();
    log.append(b"a").unwrap();
    log.sync().unwrap();
    let copied = Path::from("a/b/logs/1");
    let head =
        async move { object_store::ObjectStoreExt::put(&store.0.store, &copied, PutPayload::new()).await };
    storage.requests.wait(head).unwrap().unwrap();
    let error = storage.read_log("logs/1").unwrap_err().to_string();
    assert!(error.contains("metadata"), "{error}");
}

#[test]
fn a_segment_whose_answer_is_lost_is_there_once() {
    let store = Store::default();
    let storage = store.storage();
    let mut log = storage.create_log("logs/1").unwrap();
    for (number, faults) in
        [&[][..], &[Fault::Unanswered], &[Fault::Interrupted, Fault::Unanswered]].iter().enumerate()
    {
        store.plan("logs/1.L", faults);
        log.append(&[number as u8; 3]).unwrap();
        log.sync().unwrap();
        assert!(store.is_done());
    }
    assert_eq!(storage.read_log("logs/1").unwrap(), Some(vec![0, 0, 0, 1, 1, 1, 2, 2, 2]));
}

#[test]
fn a_log_that_has_failed_takes_no_more_and_has_what_came_before() {
    let store = Store::default();
    let storage = store.storage();
    let mut log = storage.create_log("logs/1").unwrap();
    log.append(b"synced").unwrap();
    log.sync().unwrap();
    log.append(b"not").unwrap();
    store.plan("logs/1.L", &[Fault::Fails]);
    assert!(log.sync().unwrap_err().to_string().contains("it is full"));
    store.0.faults.lock().unwrap().clear();
    assert!(log.append(b"more").is_err() && log.sync().is_err() && log.begin_sync().is_err());
    assert_eq!(storage.read_log("logs/1").unwrap().as_deref(), Some(&b"synced"[..]));
}

#[test]
fn a_segment_that_is_missing_is_an_error() {
    let store = Store::default();
    let storage = store.storage();
    let mut log = storage.create_log("logs/1").unwrap();
    for byte in b"abc" {
        log.append(&[*byte]).unwrap();
        log.sync().unwrap();
    }
    let second = store.objects().into_iter().find(|name| name.ends_with("-00000002")).unwrap();
    let path = Path::from(format!("a/b/{second}"));
    let delete = async move { object_store::ObjectStoreExt::delete(&store.0.store, &path).await };
    storage.requests.wait(delete).unwrap().unwrap();
    let error = storage.read_log("logs/1").unwrap_err().to_string();
    assert!(error.contains("segment 2"), "{error}");
}

#[test]
fn a_log_that_is_deleted_in_part_is_no_shorter_log_and_can_be_deleted_again() {
    let store = Store::default();
    let storage = store.storage();
    let mut log = storage.create_log("logs/1").unwrap();
    for byte in b"abc" {
        log.append(&[*byte]).unwrap();
        log.sync().unwrap();
    }
    store.plan("-00000002", &[Fault::Fails]);
    assert!(storage.delete("logs/1").is_err());
    assert_eq!(storage.read_log("logs/1").unwrap(), None);
    assert_eq!(storage.list("logs/").unwrap(), [Entry { name: "logs/1".to_owned(), bytes: 2 }]);
    // The name may be taken again meanwhile: what is left of the first is none of the second's.
    let mut again = storage.create_log("logs/1").unwrap();
    again.append(b"x").unwrap();
    again.sync().unwrap();
    assert_eq!(storage.read_log("logs/1").unwrap().as_deref(), Some(&b"x"[..]));
    store.0.faults.lock().unwrap().clear();
    storage.delete("logs/1").unwrap();
    assert_eq!((store.objects(), storage.list("").unwrap()), (vec![], vec![]));
}

#[test]
fn what_is_large_is_written_before_it_is_synced() {
    let store = Store::default();
    let storage = store.storage();
    let mut log = storage.create_log("logs/1").unwrap();
    let before = store.0.puts.load(Ordering::SeqCst);
    let mut all = Vec::new();
    for byte in 0..40u8 {
        let bytes = vec![byte; SEGMENT / 16];
        log.append(&bytes).unwrap();
        all.extend(bytes);
    }
    log.sync().unwrap();
    assert_eq!(
        store.0.puts.load(Ordering::SeqCst) - before,
        3,
        "two that were full, and one that was synced"
    );
    assert!(storage.read_log("logs/1").unwrap() == Some(all));
}

#[test]
fn many_logs_are_synced_at_once() {
    let store = Store::default();
    let storage = store.storage();
    let mut logs: Vec<_> = (0..200).map(|log| storage.create_log(&format!("logs/{log}")).unwrap()).collect();
    store.0.latency.store(200, Ordering::SeqCst);
    logs.iter_mut().for_each(|log| log.append(b"x").unwrap());
    logs.iter_mut().for_each(|log| log.begin_sync().unwrap());
    logs.iter_mut().for_each(|log| log.sync().unwrap());
    let most = store.0.flying[1].load(Ordering::SeqCst);
    assert!(most > 100, "{most} at once");
}

#[test]
fn many_are_read_at_once_and_in_order() {
    let storage = Store::default().storage();
    let names: Vec<_> = (0..50u8).map(|name| format!("a/{name}")).collect();
    let exists = |name: &u8| !name.is_multiple_of(7);
    (0..50u8).filter(exists).for_each(|name| storage.create(&names[usize::from(name)], &[name]).unwrap());
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let expected: Vec<_> = (0..50u8).map(|name| exists(&name).then(|| vec![name])).collect();
    assert_eq!(storage.read_all(&names).unwrap(), expected);
}

#[test]
fn many_are_deleted_at_once_and_wholly() {
    let store = Store::default();
    let storage = store.storage();
    let names: Vec<_> = (0..40u8).map(|name| format!("logs/{name}")).collect();
    for name in &names[..30] {
        let mut log = storage.create_log(name).unwrap();
        log.append(b"x").unwrap();
        log.sync().unwrap();
    }
    names[30..].iter().for_each(|name| storage.create(name, b"x").unwrap());
    storage.create("logs/left", b"x").unwrap();
    store.plan("logs/7.L", &[Fault::Interrupted, Fault::Unanswered]);
    storage.delete_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert!(store.is_done());
    assert_eq!(store.objects(), ["logs/left"]);
}

/// A program that embeds this one may have a runtime of its own.
#[test]
fn a_thread_of_another_runtime_can_call_it() {
    let storage = Store::default().storage();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        storage.create("a", b"1").unwrap();
        assert_eq!(storage.read("a").unwrap().as_deref(), Some(&b"1"[..]));
        drop(storage);
    });
}
