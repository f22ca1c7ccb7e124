//! What an output may not destroy: whatever the run reads, and what another output writes, under whatever name.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::runtime::{RunError, Settings};

/// A file, and what messages call it.
struct Named {
    name: String,
    path: PathBuf,
}

/// Refuses outputs whose opening would destroy input, one of the `tables` that keys are looked up in, a file that the
/// settings are from, or the output of another.
pub(super) fn refuse(settings: &Settings, tables: &[PathBuf]) -> Result<(), RunError> {
    let named =
        |what: &str, path: &Path| Named { name: format!("{what} {}", path.display()), path: path.into() };
    let sources = settings.sources.iter().flat_map(|(_, source)| source.files());
    let secret = settings.cluster.iter().filter_map(|cluster| cluster.secret_file.as_deref());
    let inputs = sources.map(|path| named("the input", &path));
    let inputs = inputs.chain(tables.iter().map(|path| named("the table", path)));
    let inputs = inputs.chain(settings.goes_by.iter().map(|(what, path)| named(what, path)));
    let inputs: Vec<_> = inputs.chain(secret.map(|path| named("the cluster secret", path))).collect();

    let outputs: Vec<_> = outputs(settings).collect();
    for (at, Named { name: output, path }) in outputs.iter().enumerate() {
        let refuse = |what: String| Err(RunError::Overwrite { output: output.clone(), what });
        if let Some(input) = inputs.iter().find(|input| is_same(&input.path, path)) {
            return refuse(input.name.clone());
        }
        let ours = resolved(path);
        let is_ours = |other: &Path| ours.is_some() && resolved(other) == ours;
        let twin = |other: &&Named| is_ours(&other.path) || is_same(&other.path, path);
        if let Some(other) = outputs[..at].iter().find(twin) {
            return refuse(format!("what {} writes", other.name));
        }
    }
    Ok(())
}

/// The files that the run is to write.
fn outputs(settings: &Settings) -> impl Iterator<Item = Named> {
    let sinks = settings.sinks.iter().filter_map(|sink| {
        Some(Named { name: format!("sink `{}`", sink.uri), path: sink.file()?.to_owned() })
    });
    let rejects = settings.rejects.iter().map(|path| {
        let path = path.clone();
        Named { name: format!("`--rejects {}`", path.display()), path }
    });
    sinks.chain(rejects)
}

/// Whether two names are of one ordinary file that there is.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let meta = path.metadata().ok().filter(Metadata::is_file)?;
        Some((meta.dev(), meta.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// The one path of a file that need not exist yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some(directory.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
}
