//! temporary
use super::encode::encode;
use super::storage::Storage;
use super::{Changes, Identity, Memory, Snapshot, StateError, Store};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
#[derive(Clone, Debug, Serialize, Deserialize)]
/// w
pub struct Written {
    /// f
    pub frontier: Epoch,
    parts: Vec<(Identity, String)>,
    doors: Vec<Identity>,
}
impl Written {
    /// b
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
    /// b
    pub fn from_bytes(b: &[u8]) -> Result<Self, StateError> {
        serde_json::from_slice(b).map_err(|e| StateError::Writer(e.to_string()))
    }
}
/// p
pub struct PartWriter {
    storage: Arc<dyn Storage>,
    inc: u64,
    process: usize,
    n: u64,
    written: Box<dyn FnMut(Written) + Send>,
    parts: Vec<(Identity, String)>,
}
impl PartWriter {
    /// n
    pub fn new(
        storage: Arc<dyn Storage>,
        inc: u64,
        process: usize,
        written: impl FnMut(Written) + Send + 'static,
    ) -> Self {
        PartWriter { storage, inc, process, n: 0, written: Box::new(written), parts: Vec::new() }
    }
}
impl Store for PartWriter {
    fn write(
        &mut self,
        door: &Identity,
        frontier: Epoch,
        gone: Option<i64>,
        changes: &Changes,
    ) -> Result<(), StateError> {
        self.n += 1;
        let name = format!("tables/{:012}-{:08}-{}-{}", frontier.number(), self.inc, self.process, self.n);
        self.storage.create(&name, &encode(door, frontier, gone, changes)?)?;
        self.parts.push((door.clone(), name));
        Ok(())
    }
    fn publish(&mut self, frontier: Epoch, doors: &[Arc<Identity>]) -> Result<(), StateError> {
        let w = Written {
            frontier,
            parts: std::mem::take(&mut self.parts),
            doors: doors.iter().map(|d| (**d).clone()).collect(),
        };
        (self.written)(w);
        Ok(())
    }
    fn load(&self) -> Result<Option<Snapshot>, StateError> {
        Ok(None)
    }
}
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    frontier: Epoch,
    payload: Vec<u8>,
    parts: Vec<(Identity, String)>,
    doors: Vec<Identity>,
}
/// m
#[derive(Debug)]
pub struct Manifests {
    storage: Arc<dyn Storage>,
    inc: u64,
    seq: u64,
    parts: Vec<(Identity, String)>,
    kept: Vec<(Epoch, String)>,
}
/// l
#[derive(Debug)]
pub struct Loaded {
    /// n
    pub name: String,
    /// s
    pub snapshot: Snapshot,
    /// p
    pub payload: Vec<u8>,
    /// d
    pub damaged: Vec<(String, String)>,
}
impl Manifests {
    /// o
    pub fn open(storage: Arc<dyn Storage>, inc: u64, base: Option<&str>) -> Result<Self, StateError> {
        let mut parts = Vec::new();
        if let Some(b) = base.and_then(|b| storage.read(b).ok().flatten()) {
            let m: Manifest = serde_json::from_slice(&b).map_err(|e| StateError::Writer(e.to_string()))?;
            parts = m.parts;
        }
        Ok(Manifests { storage, inc, seq: 0, parts, kept: Vec::new() })
    }
    /// p
    pub fn publish(
        &mut self,
        frontier: Epoch,
        parts: Vec<Written>,
        payload: Vec<u8>,
    ) -> Result<Epoch, StateError> {
        let mut doors = Vec::new();
        for w in parts {
            self.parts.extend(w.parts);
            doors = w.doors;
        }
        let m = Manifest { frontier, payload, parts: self.parts.clone(), doors };
        self.seq += 1;
        let name = format!("manifests/{:08}-{:08}", self.inc, self.seq);
        self.storage
            .create(&name, &serde_json::to_vec(&m).map_err(|e| StateError::Writer(e.to_string()))?)?;
        self.kept.push((frontier, name));
        if self.kept.len() > 3 {
            let (_, n) = self.kept.remove(0);
            self.storage.delete(&n)?;
        }
        Ok(self.kept[0].0)
    }
    /// n
    pub fn newest_valid(
        storage: &dyn Storage,
        _line: &[(u64, Option<String>)],
        before: Option<u64>,
    ) -> Result<Option<Loaded>, StateError> {
        let _ = before;
        match storage.list("manifests/")?.last() {
            None => Ok(None),
            Some(e) => Self::load(storage, &e.name),
        }
    }
    /// l
    pub fn load(storage: &dyn Storage, name: &str) -> Result<Option<Loaded>, StateError> {
        let Some(b) = storage.read(name)? else { return Ok(None) };
        let m: Manifest = serde_json::from_slice(&b).map_err(|e| StateError::Writer(e.to_string()))?;
        let doors = m.doors.into_iter().map(Arc::new).collect::<Vec<_>>();
        let mut mem = Memory::new();
        for (id, part) in m.parts {
            let b = storage.read(&part)?.unwrap_or_default();
            let e = super::encode::decode(&b)?;
            mem.write(&id, e.frontier, e.gone_before, &e.changes)?;
            mem.publish(m.frontier, &doors)?;
        }
        mem.publish(m.frontier, &doors)?;
        let snapshot = mem.load()?.unwrap_or(Snapshot::new(m.frontier, vec![]));
        Ok(Some(Loaded { name: name.to_owned(), snapshot, payload: m.payload, damaged: vec![] }))
    }
}
