//! The one who publishes snapshots.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::background::{Background, Job};
use super::manifest::{Door, Line, Manifest, Name, Run};
use super::part::{file, incarnation_of};
use super::{Limits, Written};
use crate::state::StateError;
use crate::state::storage::Storage;
use crate::time::Epoch;

/// Where starts claim their incarnations.
const CLAIMS: &str = "incarnations/";

/// A snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of its manifest.
    pub manifest: String,
    /// The first epoch that is not in it.
    pub frontier: Epoch,
}

/// What came of publishing.
#[derive(Debug)]
pub struct Publication {
    /// The name of the manifest.
    pub manifest: String,
    /// All snapshots that are kept, the oldest first and this one last.
    pub kept: Vec<Kept>,
    /// What could not be merged or deleted since the last time. It is tried again, by this start or by the next.
    pub trouble: Option<StateError>,
}

/// Publishes the snapshots of one start, on process 0, and has their files merged in the background.
#[derive(Debug)]
pub struct Manifests {
    storage: Arc<dyn Storage>,
    incarnation: u64,
    limits: Limits,
    /// The last manifest that may have been published.
    sequence: u64,
    /// The newest snapshot.
    frontier: Option<Epoch>,
    doors: Vec<Door>,
    payload: Vec<u8>,
    /// Those that are kept, the oldest first, with the files that they refer to.
    kept: VecDeque<(Kept, Vec<String>)>,
    /// Whether this start has published.
    published: bool,
    background: Background,
}

impl Manifests {
    /// For the newest start of `line`, which has claimed its incarnation. It goes on from the snapshot that the claim
    /// names.
    ///
    /// # Errors
    ///
    /// When the line is empty, or that snapshot cannot be read.
    pub fn open(storage: Arc<dyn Storage>, line: Line, limits: Limits) -> Result<Self, StateError> {
        let no_start = || StateError::Parts("no start has claimed an incarnation".to_owned());
        let incarnation = line.incarnation().ok_or_else(no_start)?;
        let (mut frontier, mut doors, mut payload) = (None, Vec::new(), Vec::new());
        if let Some(base) = line.base() {
            let manifest = Manifest::read(&*storage, &base)?;
            frontier = Some(manifest.frontier());
            payload = manifest.payload().as_bytes().to_vec();
            doors = manifest.doors;
        }
        let mut kept = VecDeque::new();
        for manifest in line.manifests(&*storage)? {
            // One that is damaged is no help, and is swept.
            let read = match Manifest::read(&*storage, &manifest) {
                Err(error) if error.is_damage() => continue,
                read => read?,
            };
            let files = read.files().map(str::to_owned).collect();
            kept.push_front((Kept { manifest, frontier: read.frontier() }, files));
        }
        let background = Background::start(Arc::clone(&storage), incarnation, limits)?;
        Ok(Manifests {
            storage,
            incarnation,
            limits,
            sequence: 0,
            frontier,
            doors,
            payload,
            kept,
            published: false,
            background,
        })
    }

    /// Snapshots that are kept, the oldest first.
    pub fn kept(&self) -> Vec<Kept> {
        self.kept.iter().map(|(kept, _)| kept.clone()).collect()
    }

    /// Makes what all processes have `written` the snapshot at `frontier`. `payload` is JSON that goes with it.
    ///
    /// # Errors
    ///
    /// [`StateError::Fenced`] when a later start has taken over. [`StateError::Parts`] when what was written is not of
    /// one snapshot that is newer than the last, or the payload is no JSON. Otherwise when the storage fails, or a file
    /// that the snapshot needs is damaged: then it is published as a whole or not at all, and may be tried again.
    pub fn publish(
        &mut self,
        frontier: Epoch,
        written: &[Written],
        payload: &[u8],
    ) -> Result<Publication, StateError> {
        if self.frontier.is_some_and(|newest| frontier <= newest) {
            let newest = self.frontier.unwrap_or_default();
            return Err(StateError::Parts(format!("{frontier:?} is not later than {newest:?}")));
        }
        let trouble = self.take_merged()?;
        let doors = self.doors_with(frontier, written)?;
        self.put(frontier, doors, payload)?;
        self.tidy();
        let spread = written.len();
        self.background.merge(|| {
            self.doors.iter().filter_map(|door| Job::of(door, frontier, spread, self.limits)).collect()
        });
        let manifest = Name { incarnation: self.incarnation, sequence: self.sequence }.to_string();
        Ok(Publication { manifest, kept: self.kept(), trouble })
    }

    /// Waits for what is being merged and deleted.
    pub fn settle(&self) {
        self.background.settle();
    }

    /// Ends: waits for what is being merged, and publishes the last snapshot once more if something was, so that starts
    /// which publish a single snapshot each have their files merged, too.
    ///
    /// # Errors
    ///
    /// As [`Manifests::publish`].
    pub fn finish(mut self) -> Result<Option<Publication>, StateError> {
        self.settle();
        let before = self.doors.clone();
        let trouble = self.take_merged()?;
        let Some(frontier) = self.frontier.filter(|_| self.doors != before) else { return Ok(None) };
        let payload = std::mem::take(&mut self.payload);
        self.put(frontier, self.doors.clone(), &payload)?;
        self.tidy();
        self.settle();
        let manifest = Name { incarnation: self.incarnation, sequence: self.sequence }.to_string();
        Ok(Some(Publication { manifest, kept: self.kept(), trouble }))
    }

    /// Takes over what was merged.
    fn take_merged(&mut self) -> Result<Option<StateError>, StateError> {
        let (merged, trouble) = self.background.take();
        merged.into_iter().for_each(|merged| merged.apply(&mut self.doors));
        match trouble {
            // What builds upon damage is not worth publishing.
            Some(error) if error.is_damage() => Err(error),
            trouble => Ok(trouble),
        }
    }

    /// The doors with what was `written` since the last snapshot.
    fn doors_with(&self, frontier: Epoch, written: &[Written]) -> Result<Vec<Door>, StateError> {
        let mut doors: Vec<Door> = Vec::new();
        let mut processes = BTreeSet::new();
        for Written { frontier: of, process, doors: changed } in written {
            if *of != frontier || !processes.insert(*process) {
                let twice =
                    format!("process {process} has written {of:?} where {frontier:?} belongs, or twice");
                return Err(StateError::Parts(twice));
            }
            for changed in changed {
                let name = changed.identity.name();
                let at = match doors.iter().position(|door| door.identity.name() == name) {
                    Some(at) if doors[at].identity == changed.identity => at,
                    Some(_) => {
                        return Err(StateError::Parts(format!("door `{name}` is not the same everywhere")));
                    }
                    None => {
                        // A door that has other rules now begins anew; whoever restored has been refused before.
                        let before = self.doors.iter().find(|door| door.identity == changed.identity);
                        doors.push(before.cloned().unwrap_or_else(|| Door::new(changed.identity.clone())));
                        doors.len() - 1
                    }
                };
                doors[at].gone_before = doors[at].gone_before.max(changed.gone_before);
                doors[at].runs.push(Run { table: false, parts: changed.parts.clone() });
            }
        }
        doors.iter_mut().for_each(Door::forget);
        Ok(doors)
    }

    /// Publishes a manifest of `doors`.
    fn put(&mut self, frontier: Epoch, doors: Vec<Door>, payload: &[u8]) -> Result<(), StateError> {
        let manifest = Manifest::new(frontier, payload, doors)?;
        self.look_for_successors()?;
        if !self.published {
            self.look_for_files(&manifest)?;
        }
        // A number is used once, whatever comes of it.
        self.sequence += 1;
        let name = Name { incarnation: self.incarnation, sequence: self.sequence }.to_string();
        // What fails may be there nevertheless. That it can be read does not say that it outlasts a crash, and what it
        // replaces would be deleted: so it is for the next start to find out.
        self.storage.create(&name, &manifest.encode()?)?;
        let files = manifest.files().map(str::to_owned).collect();
        self.kept.push_back((Kept { manifest: name, frontier }, files));
        self.frontier = Some(frontier);
        self.doors = manifest.doors;
        self.payload = payload.to_vec();
        Ok(())
    }

    /// Whether a later start has claimed its incarnation.
    fn look_for_successors(&self) -> Result<(), StateError> {
        let claims = self.storage.list(CLAIMS)?;
        let numbers = claims.iter().filter_map(|claim| claim.name.strip_prefix(CLAIMS)?.parse().ok());
        match numbers.max() {
            #[cfg(test)]
            Some(_) if crate::runtime::is_planted(crate::runtime::Bug::NoFence) => Ok(()),
            Some(other) if other > self.incarnation => {
                Err(StateError::Fenced { ours: self.incarnation, other })
            }
            _ => Ok(()),
        }
    }

    /// Whether all files of `manifest` are there: what a predecessor deleted as this start began is noticed here.
    fn look_for_files(&self, manifest: &Manifest) -> Result<(), StateError> {
        let entries = self.storage.list("tables/")?;
        for (part, _) in manifest.doors.iter().flat_map(Door::parts) {
            let found = entries.binary_search_by(|entry| entry.name.as_str().cmp(&part.name));
            if found.is_ok_and(|at| entries[at].bytes == part.bytes) {
                continue;
            }
            let reason = format!("it is missing, or has other than {} bytes", part.bytes);
            return Err(file(&*self.storage, &part.name, StateError::Unreadable { reason }));
        }
        Ok(())
    }

    /// Deletes what is not kept any more.
    fn tidy(&mut self) {
        let mut dropped = Vec::new();
        let frontiers = |kept: &VecDeque<(Kept, Vec<String>)>| {
            kept.iter().map(|(kept, _)| kept.frontier).collect::<BTreeSet<_>>().len()
        };
        while frontiers(&self.kept) > self.limits.kept.max(1) {
            dropped.extend(self.kept.pop_front());
        }
        let files = self.kept.iter().flat_map(|(_, files)| files).map(String::as_str);
        let used: BTreeSet<&str> = files.collect();
        // Manifests before their files, so that none is there without them.
        let manifests = dropped.iter().map(|(kept, _)| kept.manifest.clone());
        let mut names: Vec<_> = manifests.collect();
        let files: BTreeSet<&str> = dropped.iter().flat_map(|(_, files)| files).map(String::as_str).collect();
        names.extend(files.difference(&used).map(|name| (*name).to_owned()));
        if !self.published {
            self.published = true;
            names.extend(self.left_behind(&used));
        }
        if !names.is_empty() {
            self.background.delete(names);
        }
    }

    /// What earlier starts have left behind that does not count. What cannot be listed is left to the next start.
    fn left_behind(&self, used: &BTreeSet<&str>) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.storage.list("manifests/").unwrap_or_default() {
            let earlier = Name::parse(&entry.name).is_some_and(|name| name.incarnation < self.incarnation);
            let is_kept = self.kept.iter().any(|(kept, _)| kept.manifest == entry.name);
            if earlier && !is_kept {
                names.push(entry.name);
            }
        }
        for entry in self.storage.list("tables/").unwrap_or_default() {
            let earlier = incarnation_of(&entry.name).is_some_and(|by| by < self.incarnation);
            if earlier && !used.contains(entry.name.as_str()) {
                names.push(entry.name);
            }
        }
        names
    }
}
