//! Which files count: a directory of entries, each a small file that is created once and never changed.
//!
//! ```text
//! _manifest/000000000042.json   {"entry":{"format":1,"number":42,…,"files":[…]},"xxh3":"…"}
//! ```
//!
//! Entries are numbered without a gap, and a number can be taken once: so what lists files is decided by who is first. Each
//! run begins with an entry of its own, a *claim*, which takes the very number that a run before it would need to go on:
//! what that one writes afterwards is never listed. Claims stay for as long as the directory.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twox_hash::XxHash3_64;

use super::FilesError;
use super::place::{Place, is_unfinished};

pub(super) const DIRECTORY: &str = "_manifest";
const FORMAT: u32 = 1;

/// An entry of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub format: u32,
    pub number: u64,
    pub incarnation: u64,
    /// The durable state of the run, if it has one.
    pub state: Option<String>,
    /// Whether it is the first of its run.
    pub claim: bool,
    /// Epochs before this one are in the files of this entry and earlier ones.
    pub upto: u64,
    /// The epoch as of which the last state of a run is among them, if that is the last that they hold.
    pub last_state: Option<u64>,
    /// When it was made, if anybody said: milliseconds since 1970 UTC.
    pub at: Option<i64>,
    pub files: Vec<Listed>,
}

/// A file that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub view: String,
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// The first epoch of which it has rows, ...
    pub first: u64,
    /// ... and the last.
    pub last: u64,
}

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    entry: T,
    xxh3: String,
}

/// The manifest of a directory, as the run that writes there knows it.
#[derive(Debug)]
pub(super) struct Manifest {
    place: Place,
    pub newest: Option<Entry>,
    /// Of the entries before that, those with files, by number.
    older: BTreeMap<u64, Entry>,
}

impl Manifest {
    /// Reads what is there.
    pub fn read(place: &Place) -> Result<Self, FilesError> {
        let mut older = BTreeMap::new();
        for name in place.list(DIRECTORY)? {
            let number = name.strip_suffix(".json").and_then(|number| number.parse::<u64>().ok());
            if let Some(number) = number
                && let Some(entry) = read(place, number)?
            {
                older.insert(number, entry);
            }
        }
        let newest = older.pop_last().map(|(_, entry)| entry);
        older.retain(|_, entry| !entry.files.is_empty());
        Ok(Manifest { place: place.clone(), newest, older })
    }

    /// All epochs before this one are in files.
    pub fn upto(&self) -> u64 {
        self.newest.as_ref().map_or(0, |entry| entry.upto)
    }

    /// The files that count, oldest first.
    pub fn files(&self) -> impl Iterator<Item = &Listed> {
        self.older.values().chain(&self.newest).flat_map(|entry| &entry.files)
    }

    /// Makes the directory that of the run `incarnation` of `state`.
    pub fn claim(
        place: &Place,
        incarnation: u64,
        state: Option<&str>,
        at: Option<i64>,
    ) -> Result<Self, FilesError> {
        place.make_dir(DIRECTORY)?;
        loop {
            let mut manifest = Manifest::read(place)?;
            if let Some(newest) = &manifest.newest {
                let path = place.path("");
                if newest.state.as_deref() != state {
                    return Err(FilesError::OtherRun { path, upto: newest.upto });
                }
                if newest.incarnation >= incarnation {
                    return Err(match state {
                        Some(_) => FilesError::Fenced { path, ours: incarnation, theirs: newest.incarnation },
                        None => FilesError::OtherRun { path, upto: newest.upto },
                    });
                }
            }
            let claim = Entry {
                format: FORMAT,
                number: 0,
                incarnation,
                state: state.map(str::to_owned),
                claim: true,
                upto: manifest.upto(),
                last_state: manifest.newest.as_ref().and_then(|entry| entry.last_state),
                at,
                files: Vec::new(),
            };
            match manifest.add(claim) {
                // Somebody else was faster, and it depends on who.
                Err(FilesError::Taken { .. }) => {}
                other => return other.map(|()| manifest),
            }
        }
    }

    /// Lists the files of what comes next.
    pub fn publish(
        &mut self,
        upto: u64,
        last_state: Option<u64>,
        at: Option<i64>,
        files: Vec<Listed>,
    ) -> Result<(), FilesError> {
        let Some(Entry { incarnation, state, .. }) = self.newest.clone() else {
            unreachable!("a run begins with a claim")
        };
        let entry = Entry {
            format: FORMAT,
            number: 0,
            incarnation,
            state,
            claim: false,
            upto,
            last_state,
            at,
            files,
        };
        match self.add(entry) {
            Err(FilesError::Taken { .. }) => Err(self.fenced()?),
            other => other,
        }
    }

    /// Looks whether the directory is still this run's.
    ///
    /// What was created before this says so is seen by whoever takes it over afterwards.
    pub fn check(&self) -> Result<(), FilesError> {
        let next = self.newest.as_ref().map_or(0, |entry| entry.number + 1);
        match self.place.path(&name(next)).try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.fenced()?),
            Err(error) => Err(self.place.failed("look for", &name(next))(error)),
        }
    }

    /// The error that says who has taken the directory over.
    fn fenced(&self) -> Result<FilesError, FilesError> {
        let ours = self.newest.as_ref().map_or(0, |entry| entry.incarnation);
        let theirs = Manifest::read(&self.place)?.newest.map_or(0, |entry| entry.incarnation);
        Ok(FilesError::Fenced { path: self.place.path(""), ours, theirs })
    }

    fn add(&mut self, mut entry: Entry) -> Result<(), FilesError> {
        entry.number = self.newest.as_ref().map_or(0, |entry| entry.number + 1);
        let name = name(entry.number);
        let written = |error: serde_json::Error| self.place.failed("write", &name)(error.into());
        let text = serde_json::to_string(&entry).map_err(written)?;
        let xxh3 = sum(&text);
        let text = RawValue::from_string(text).map_err(written)?;
        let mut bytes = serde_json::to_vec(&Sealed { entry: text, xxh3 }).map_err(written)?;
        bytes.push(b'\n');
        self.place.create(DIRECTORY, &name, &bytes)?;
        let before = self.newest.replace(entry);
        if let Some(before) = before {
            if !before.files.is_empty() {
                self.older.insert(before.number, before);
            } else if !before.claim {
                // It said how far the run was, which the new one does.
                self.place.remove(&self::name(before.number))?;
            }
        }
        Ok(())
    }

    /// Unlists what is older than `oldest` or more than `most` bytes with what came after it, but never what came last, and
    /// returns the files.
    pub fn retain(&mut self, oldest: Option<i64>, most: Option<u64>) -> Result<Vec<String>, FilesError> {
        let mut bytes: u64 = self.files().map(|file| file.bytes).sum();
        let mut gone = Vec::new();
        loop {
            // What nobody has said the time of is no younger than what came next.
            let at = self.older.values().chain(&self.newest).find_map(|entry| entry.at);
            let is_old = oldest.is_some_and(|oldest| at.is_some_and(|at| at < oldest));
            if !is_old && most.is_none_or(|most| bytes <= most) {
                break;
            }
            let Some((_, entry)) = self.older.pop_first() else { break };
            bytes -= entry.files.iter().map(|file| file.bytes).sum::<u64>();
            self.place.remove(&name(entry.number))?;
            gone.extend(entry.files.into_iter().map(|file| file.path));
        }
        if !gone.is_empty() {
            self.place.sync_dir(DIRECTORY)?;
        }
        Ok(gone)
    }

    /// Removes what was never finished.
    pub fn sweep(&self) -> Result<(), FilesError> {
        let names = self.place.list(DIRECTORY)?;
        let unfinished = names.iter().filter(|name| is_unfinished(name));
        unfinished.map(|name| format!("{DIRECTORY}/{name}")).try_for_each(|name| self.place.remove(&name))
    }
}

fn name(number: u64) -> String {
    format!("{DIRECTORY}/{number:012}.json")
}

fn sum(text: &str) -> String {
    format!("{:016x}", XxHash3_64::oneshot(text.as_bytes()))
}

/// Entry `number`; `None` where it has gone in the meantime.
fn read(place: &Place, number: u64) -> Result<Option<Entry>, FilesError> {
    let path = place.path(&name(number));
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(place.failed("read", &name(number)))?,
    };
    let damaged = |reason: String| FilesError::Damaged { path: path.clone(), reason };
    let sealed: Sealed<&RawValue> =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if sum(sealed.entry.get()) != sealed.xxh3 {
        return Err(damaged("its checksum is another".to_owned()));
    }
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let parsed = |error: serde_json::Error| damaged(error.to_string());
    let Format { format } = serde_json::from_str(sealed.entry.get()).map_err(parsed)?;
    if format != FORMAT {
        return Err(FilesError::Format { path, format, known: FORMAT });
    }
    serde_json::from_str(sealed.entry.get()).map(Some).map_err(parsed)
}
