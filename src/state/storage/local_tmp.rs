//! temporary
use super::{Entry, Log, Storage, StorageError};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
#[derive(Debug)]
struct Local {
    uri: String,
    root: PathBuf,
}
#[derive(Debug)]
struct LocalLog(std::fs::File);
/// Opens it.
pub fn open(uri: &str) -> Result<Arc<dyn Storage>, StorageError> {
    let root = PathBuf::from(uri.strip_prefix("file:").unwrap_or(uri));
    let local = Local { uri: uri.to_owned(), root };
    std::fs::create_dir_all(&local.root).map_err(|e| local.error("create", "", e))?;
    Ok(Arc::new(local))
}
impl Local {
    fn error(&self, doing: &'static str, name: &str, error: std::io::Error) -> StorageError {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return StorageError::Exists { uri: self.uri.clone(), name: name.to_owned() };
        }
        StorageError::System { uri: self.uri.clone(), doing, name: name.to_owned(), source: error.into() }
    }
    fn walk(&self, dir: &std::path::Path, all: &mut Vec<Entry>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.walk(&path, all)
            } else if !path.to_string_lossy().ends_with(".tmp") {
                let name = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
                all.push(Entry { name, bytes: entry.metadata().map(|m| m.len()).unwrap_or(0) });
            }
        }
    }
}
impl Storage for Local {
    fn uri(&self) -> &str {
        &self.uri
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.root.join(name);
        let tmp = path.with_extension(format!("{}.tmp", std::process::id()));
        let go = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            let mut f = std::fs::File::create(&tmp)?;
            f.write_all(bytes)?;
            f.sync_all()?;
            let r = std::fs::hard_link(&tmp, &path);
            std::fs::remove_file(&tmp)?;
            r
        };
        go().map_err(|e| self.error("create", name, e))
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match std::fs::read(self.root.join(name)) {
            Ok(b) => Ok(Some(b)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("read", name, e)),
        }
    }
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, StorageError> {
        let mut all = Vec::new();
        self.walk(&self.root, &mut all);
        all.retain(|e| e.name.starts_with(prefix));
        all.sort();
        Ok(all)
    }
    fn delete(&self, name: &str) -> Result<(), StorageError> {
        match std::fs::remove_file(self.root.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(self.error("delete", name, e)),
            _ => Ok(()),
        }
    }
    fn create_log(&self, name: &str) -> Result<Box<dyn Log>, StorageError> {
        let path = self.root.join(name);
        let go = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            std::fs::File::create_new(&path)
        };
        Ok(Box::new(LocalLog(go().map_err(|e| self.error("create", name, e))?)))
    }
    fn read_log(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(name)
    }
}
impl Log for LocalLog {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.write_all(bytes).map_err(|e| StorageError::System {
            uri: String::new(),
            doing: "append",
            name: String::new(),
            source: e.into(),
        })
    }
    fn sync(&mut self) -> Result<(), StorageError> {
        self.0.sync_data().map_err(|e| StorageError::System {
            uri: String::new(),
            doing: "sync",
            name: String::new(),
            source: e.into(),
        })
    }
}
