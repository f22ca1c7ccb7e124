//! A storage in memory that fails as it is told: the twin of the others, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Entry, Held, Log, Storage, StorageError, check};

/// What happens to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It is not done, and says so.
    Fails,
    /// It is done, and says that it is not; the next [`Faulty::crash`] may undo it, as after a sync that failed.
    Unacknowledged,
    /// An append to a log is done in part, and says that it is not done. Nothing else can be torn: it fails.
    Torn,
    /// It is not done, and neither is any later one until [`Faulty::crash`].
    DiesBefore,
    /// It is done, and says that it is not; no later one is done until [`Faulty::crash`].
    DiesAfter,
    /// It says that it is done, and is undone by the next [`Faulty::crash`]: what a missing `fsync` does. No storage
    /// may do this; a test that plants the fault must find it.
    Unsynced,
}

impl Fault {
    /// All of them that a storage may show.
    pub const HONEST: [Fault; 5] =
        [Fault::Fails, Fault::Unacknowledged, Fault::Torn, Fault::DiesBefore, Fault::DiesAfter];
}

/// A fault that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Happened {
    /// Which operation it was, from 0.
    pub operation: u64,
    /// What happened.
    pub fault: Fault,
    /// What was to be done: `create`, `read`, `list`, `delete`, `append to`, `sync`.
    pub doing: &'static str,
    /// With what.
    pub name: String,
}

/// A storage in memory. It fails as it was told beforehand, and at a crash loses what was not synced. Clones are handles
/// on the same one, as of several processes.
///
/// ```
/// use thalweg::state::storage::{Fault, Faulty, Storage, StorageError};
/// let storage = Faulty::new(7);
/// storage.create("a", b"1")?;
/// storage.plan(storage.operations(), Fault::Unacknowledged);
/// assert!(storage.create("b", b"2").is_err());
/// assert_eq!(storage.read("b")?.as_deref(), Some(&b"2"[..]));
/// assert_eq!((storage.happened()[0].doing, storage.happened()[0].operation), ("create", 1));
///
/// let mut log = storage.create_log("log")?;
/// log.append(b"synced")?;
/// log.sync()?;
/// log.append(b" and not")?;
/// storage.crash();
/// assert!(storage.read_log("log")?.is_some_and(|bytes| bytes.starts_with(b"synced")));
/// assert!(log.append(b"as before").is_err(), "its process is dead");
/// # Ok::<(), StorageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Faulty(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    random: ChaCha8Rng,
    files: BTreeMap<String, File>,
    plan: BTreeMap<u64, Fault>,
    /// What is to suffer a fault, by what is done with which names, and after how many times.
    points: Vec<(String, String, u32, Fault)>,
    operations: u64,
    happened: Vec<Happened>,
    /// The bytes for which there is room.
    room: u64,
    dead: bool,
    crashes: u64,
    /// What is created under a name that begins so is not synced.
    never_synced: Option<String>,
    /// What was deleted, as it was then.
    deleted: BTreeMap<String, File>,
    /// Who holds it, and the how-manyth that is.
    held: Option<(u64, String)>,
    holders: u64,
}

#[derive(Clone, Debug)]
struct File {
    bytes: Vec<u8>,
    /// So many of them survive a crash; `None` if not even the name does.
    synced: Option<usize>,
    is_log: bool,
}

impl Faulty {
    /// An empty one, which draws what it needs of chance from `seed`: how much a crash leaves of what was not synced.
    pub fn new(seed: u64) -> Self {
        Faulty(Arc::new(Mutex::new(Inner {
            random: ChaCha8Rng::seed_from_u64(seed),
            files: BTreeMap::new(),
            plan: BTreeMap::new(),
            points: Vec::new(),
            operations: 0,
            happened: Vec::new(),
            room: u64::MAX,
            dead: false,
            crashes: 0,
            never_synced: None,
            deleted: BTreeMap::new(),
            held: None,
            holders: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked with it has failed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operation number `operation`, counted from 0, is to suffer `fault`.
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.lock().plan.insert(operation, fault);
    }

    /// An operation that is to do `doing` (as [`Happened::doing`] has it) with a name that begins with `prefix` is to suffer `fault`: the
    /// first one after so many others.
    pub fn plan_at(&self, doing: &str, prefix: &str, after: u32, fault: Fault) {
        self.lock().points.push((doing.to_owned(), prefix.to_owned(), after, fault));
    }

    /// Forgets what has been planned.
    pub fn clear_plan(&self) {
        let mut inner = self.lock();
        inner.plan.clear();
        inner.points.clear();
    }

    /// Of the next `operations`, about so many in a thousand are to suffer a fault out of `faults`.
    pub fn plan_random(&self, operations: u64, per_mille: u32, faults: &[Fault]) {
        let mut inner = self.lock();
        for operation in inner.operations..inner.operations.saturating_add(operations) {
            let (chance, which) = (inner.random.next_u32() % 1000, inner.random.next_u32() as usize);
            if chance < per_mille && !faults.is_empty() {
                inner.plan.insert(operation, faults[which % faults.len()]);
            }
        }
    }

    /// What is created under names that begin with `prefix` is not synced, as with [`Fault::Unsynced`].
    pub fn never_sync(&self, prefix: &str) {
        self.lock().never_synced = Some(prefix.to_owned());
    }

    /// There is room for so many bytes in all, and no more.
    pub fn limit(&self, bytes: u64) {
        self.lock().room = bytes;
    }

    /// How many operations there have been.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The faults that really happened, in order.
    pub fn happened(&self) -> Vec<Happened> {
        self.lock().happened.clone()
    }

    /// Whether it has died of a fault, and wants a crash.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The machine goes down and comes up again: of a log that was not synced some of the end is lost, and logs that
    /// were open take no more.
    pub fn crash(&self) {
        let mut inner = self.lock();
        inner.dead = false;
        inner.crashes += 1;
        inner.held = None;
        let Inner { files, random, .. } = &mut *inner;
        files.retain(|_, file| file.synced.is_some());
        for file in files.values_mut() {
            let synced = file.synced.unwrap_or(0);
            let unsynced = file.bytes.len().saturating_sub(synced);
            if unsynced > 0 {
                let left = random.next_u64() % (unsynced as u64 + 1);
                file.bytes.truncate(synced + left as usize);
            }
            file.synced = Some(file.bytes.len());
        }
    }

    /// Another storage with what this one has, and has had and deleted, under names that begin with one of `prefixes`.
    /// For tests that compare what came of all that with what is left of it.
    pub fn history(&self, prefixes: &[&str]) -> Faulty {
        let inner = self.lock();
        let history = Faulty::new(0);
        let all = inner.deleted.iter().chain(&inner.files);
        let wanted = all.filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        history.lock().files.extend(wanted.map(|(name, file)| (name.clone(), file.clone())));
        history
    }

    /// The names that there are, without an operation.
    pub fn names(&self) -> Vec<String> {
        self.lock().files.keys().cloned().collect()
    }

    /// Whatever `name` holds, changes: byte `at` (from the end, if it is negative) is another one then. For tests of
    /// damage; returns whether there is such a byte.
    pub fn damage(&self, name: &str, at: i64) -> bool {
        let mut inner = self.lock();
        let Some(file) = inner.files.get_mut(name) else { return false };
        let length = file.bytes.len() as i64;
        let at = if at < 0 { length + at } else { at };
        match usize::try_from(at).ok().and_then(|at| file.bytes.get_mut(at)) {
            Some(byte) => {
                *byte ^= 0x41;
                true
            }
            None => false,
        }
    }
}

/// What an operation is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Do,
    Skip,
    Tear,
    /// Do it, without that it lasts.
    Unsynced,
    /// Do it, and it may last.
    Perhaps,
}

impl Inner {
    fn error(doing: &'static str, name: &str, reason: &'static str) -> StorageError {
        StorageError::System {
            uri: Faulty::URI.to_owned(),
            doing,
            name: name.to_owned(),
            source: reason.into(),
        }
    }

    /// What is to become of the next operation, and what it is to say.
    fn turn(&mut self, doing: &'static str, name: &str) -> (Turn, Result<(), StorageError>) {
        if self.dead {
            return (Turn::Skip, Err(Inner::error(doing, name, "the machine is down")));
        }
        let operation = self.operations;
        self.operations += 1;
        let mut planned = self.plan.remove(&operation);
        self.points.retain_mut(|(what, prefix, after, fault)| {
            let here = planned.is_none() && what == doing && name.starts_with(prefix.as_str());
            match (here, *after) {
                (false, _) => true,
                (true, 0) => {
                    planned = Some(*fault);
                    false
                }
                (true, _) => {
                    *after -= 1;
                    true
                }
            }
        });
        let Some(fault) = planned else { return (Turn::Do, Ok(())) };
        self.happened.push(Happened { operation, fault, doing, name: name.to_owned() });
        self.dead |= matches!(fault, Fault::DiesBefore | Fault::DiesAfter);
        match fault {
            Fault::Fails => (Turn::Skip, Err(Inner::error(doing, name, "it was made to fail"))),
            Fault::DiesBefore => (Turn::Skip, Err(Inner::error(doing, name, "the machine went down"))),
            Fault::Unacknowledged => {
                (Turn::Perhaps, Err(Inner::error(doing, name, "it was not acknowledged")))
            }
            Fault::DiesAfter => (Turn::Do, Err(Inner::error(doing, name, "the machine went down"))),
            Fault::Torn => (Turn::Tear, Err(Inner::error(doing, name, "it was torn"))),
            Fault::Unsynced => (Turn::Unsynced, Ok(())),
        }
    }

    /// Whether what is done in this turn outlasts a crash.
    fn lasts(&mut self, turn: Turn) -> bool {
        turn == Turn::Do || turn == Turn::Perhaps && self.random.next_u32().is_multiple_of(2)
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.bytes.len() as u64).sum()
    }

    fn create(&mut self, name: &str, bytes: &[u8], is_log: bool) -> Result<(), StorageError> {
        check(Faulty::URI, name)?;
        let (turn, said) = self.turn("create", name);
        if matches!(turn, Turn::Do | Turn::Unsynced | Turn::Perhaps) {
            if self.files.contains_key(name) {
                return Err(StorageError::Exists { uri: Faulty::URI.to_owned(), name: name.to_owned() });
            }
            if self.used().saturating_add(bytes.len() as u64) > self.room {
                return Err(Inner::error("create", name, "no space is left"));
            }
            let never = self.never_synced.as_ref().is_some_and(|prefix| name.starts_with(prefix));
            let synced = (self.lasts(turn) && !never).then_some(bytes.len());
            self.files.insert(name.to_owned(), File { bytes: bytes.to_vec(), synced, is_log });
        }
        said
    }
}

impl Faulty {
    const URI: &str = "memory:";

    fn get(&self, name: &str, is_log: bool) -> Result<Option<Vec<u8>>, StorageError> {
        check(Faulty::URI, name)?;
        let mut inner = self.lock();
        inner.turn("read", name).1?;
        let file = inner.files.get(name).filter(|file| file.is_log == is_log);
        Ok(file.map(|file| file.bytes.clone()))
    }
}

impl Storage for Faulty {
    fn uri(&self) -> &str {
        Faulty::URI
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.lock().create(name, bytes, false)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(name, false)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StorageError> {
        let mut inner = self.lock();
        inner.turn("list", prefix).1?;
        let entry =
            |(name, file): (&String, &File)| Entry { name: name.clone(), bytes: file.bytes.len() as u64 };
        Ok(inner.files.iter().filter(|(name, _)| name.starts_with(prefix)).map(entry).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        check(Faulty::URI, name)?;
        let mut inner = self.lock();
        let (turn, said) = inner.turn("delete", name);
        if matches!(turn, Turn::Do | Turn::Unsynced | Turn::Perhaps)
            && let Some((name, file)) = inner.files.remove_entry(name)
        {
            inner.deleted.insert(name, file);
        }
        said
    }

    fn create_log(&self, name: &str) -> Result<Box<dyn Log>, StorageError> {
        let mut inner = self.lock();
        inner.create(name, b"", true)?;
        let (storage, name, crashes) = (self.clone(), name.to_owned(), inner.crashes);
        Ok(Box::new(FaultyLog { storage, name, crashes, failed: false }))
    }

    fn read_log(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(name, true)
    }

    fn sync_log(&self, name: &str) -> Result<(), StorageError> {
        check(Faulty::URI, name)?;
        let mut inner = self.lock();
        let (turn, said) = inner.turn("sync", name);
        let lasts = inner.lasts(turn);
        match inner.files.get_mut(name) {
            Some(file) if lasts => file.synced = Some(file.bytes.len()),
            _ => {}
        }
        said
    }

    fn hold(&self, holder: &str, take_over: bool) -> Result<Option<Held>, StorageError> {
        let mut inner = self.lock();
        if let Some((_, other)) = inner.held.as_ref().filter(|_| !take_over) {
            return Err(StorageError::Held { uri: Faulty::URI.to_owned(), holder: other.clone() });
        }
        inner.holders += 1;
        let number = inner.holders;
        inner.held = Some((number, holder.to_owned()));
        Ok(Some(Held::by(FaultyLock { storage: self.clone(), number })))
    }

    fn holder(&self) -> Result<Option<String>, StorageError> {
        Ok(self.lock().held.as_ref().map(|(_, holder)| holder.clone()))
    }
}

/// What a run has that holds a storage in memory.
struct FaultyLock {
    storage: Faulty,
    number: u64,
}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut inner = self.storage.lock();
        if inner.held.as_ref().is_some_and(|(number, _)| *number == self.number) {
            inner.held = None;
        }
    }
}

/// The end of a log in memory.
#[derive(Debug)]
struct FaultyLog {
    storage: Faulty,
    name: String,
    /// How many crashes there had been as it was opened.
    crashes: u64,
    failed: bool,
}

impl FaultyLog {
    fn run(
        &mut self,
        doing: &'static str,
        run: impl FnOnce(&mut Inner, &str, Turn) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut inner = self.storage.lock();
        if self.failed || inner.crashes != self.crashes {
            return Err(Inner::error(doing, &self.name, "it has failed before"));
        }
        let (turn, said) = inner.turn(doing, &self.name);
        let done = run(&mut inner, &self.name, turn).and(said);
        self.failed = done.is_err();
        done
    }
}

impl Log for FaultyLog {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.run("append to", |inner, name, turn| {
            let count = match turn {
                Turn::Do | Turn::Unsynced | Turn::Perhaps => bytes.len(),
                Turn::Tear => (inner.random.next_u64() % (bytes.len() as u64 + 1)) as usize,
                Turn::Skip => 0,
            };
            let room = inner.room.saturating_sub(inner.used());
            let fits = count.min(usize::try_from(room).unwrap_or(usize::MAX));
            let Some(file) = inner.files.get_mut(name) else {
                return Err(Inner::error("append to", name, "it was deleted"));
            };
            file.bytes.extend_from_slice(&bytes[..fits]);
            if fits < count { Err(Inner::error("append to", name, "no space is left")) } else { Ok(()) }
        })
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.run("sync", |inner, name, turn| {
            let lasts = inner.lasts(turn);
            match inner.files.get_mut(name) {
                Some(file) if lasts => file.synced = Some(file.bytes.len()),
                _ => {}
            }
            Ok(())
        })
    }
}
