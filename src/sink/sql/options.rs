//! What the URI of every database says.

use std::time::Duration;

use crate::sink::{At, Mode, SinkSpecError, SinkUri};

/// What every database's URI says of tables.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) prefix: String,
    pub(super) schema: Option<String>,
    /// How long a database that cannot be reached is waited for as the run begins, and as it ends.
    pub(super) wait: Duration,
}

/// The longest wait that is asked for by default.
const WAIT: Duration = Duration::from_secs(30);

impl Options {
    pub(super) fn take(uri: &mut SinkUri) -> Result<Self, SinkSpecError> {
        if uri.mode == Some(Mode::Append) && uri.at == Some(At::End) {
            return Err(uri.refuse("`mode=append` writes rows as they become final: leave out `at=end`"));
        }
        let prefix = uri.param::<String>("prefix")?.unwrap_or_default();
        let wait = uri.param::<humantime::Duration>("wait")?.map_or(WAIT, Into::into);
        Ok(Options { prefix, schema: None, wait })
    }
}
