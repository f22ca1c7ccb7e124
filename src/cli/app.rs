//! A command with dataflows, sources and sinks of one's own.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::main_from;
use crate::dataflow::AnyDataflow;
use crate::rate::{RateClock, RateSource};
use crate::runtime;
use crate::runtime::end_on_panic;
use crate::sink::{Sink, SinkSpecError, SinkUri, Sinks};
use crate::source::{Source, Sources};

/// The `thalweg` command with dataflows of one's own, and with the sources and sinks that are
/// registered beside those of this crate.
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::sync::Arc;
/// use thalweg::source::Memory;
///
/// fn main() -> ExitCode {
///     thalweg::cli::App::new(&[])
///         // `--source 'say:hello'` is a log of one line.
///         .source("say", |text| {
///             Ok(Arc::new(Memory::fixed(vec![("say:".into(), Arc::from(text.as_bytes()))])))
///         })
///         .main()
/// }
/// ```
///
/// The page [`guide::own`](crate::guide::own) has a source and a sink.
#[derive(Clone, Debug)]
pub struct App {
    pub(super) dataflows: Vec<AnyDataflow>,
    pub(super) sources: Sources,
    pub(super) sinks: Sinks,
}

impl App {
    /// The command with `dataflows`, and the sources and sinks of this crate.
    pub fn new(dataflows: &[AnyDataflow]) -> Self {
        let clock = RateClock { now: runtime::now, time: runtime::time };
        let sources =
            Sources::builtin().with("rate", move |rest| Ok(Arc::new(RateSource::parse(rest, clock)?)));
        App { dataflows: dataflows.to_vec(), sources, sinks: Sinks::builtin() }
    }

    /// This, and a source: `make` is given what follows `scheme:` in its URI, and returns the
    /// source or says what is wrong. Of two with the same scheme the later counts.
    #[must_use]
    pub fn source(
        mut self,
        scheme: &str,
        make: impl Fn(&str) -> Result<Arc<dyn Source>, String> + Send + Sync + 'static,
    ) -> Self {
        self.sources = self.sources.with(scheme, make);
        self
    }

    /// This, and a sink, of whose URIs `make` makes one: see [`Sinks::with`]. Of two with the same
    /// scheme the later counts.
    #[must_use]
    pub fn sink(
        mut self,
        scheme: &str,
        make: impl Fn(&mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> + Send + Sync + 'static,
    ) -> Self {
        self.sinks = self.sinks.with(scheme, make);
        self
    }

    /// Does what the arguments of this process say, and returns when it is done. A panic in any
    /// thread ends the process from now on.
    pub fn main(self) -> ExitCode {
        self.main_from(std::env::args_os())
    }

    /// As [`App::main`], with `args` in place of those of the process; the first is the name of the
    /// program.
    ///
    /// ```
    /// use std::process::ExitCode;
    /// let app = thalweg::cli::App::new(&[]);
    /// assert_eq!(app.clone().main_from(["mine".into(), "list".into()]), ExitCode::SUCCESS);
    /// assert_ne!(app.main_from(["mine".into(), "lsit".into()]), ExitCode::SUCCESS);
    /// ```
    pub fn main_from(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        end_on_panic();
        main_from(&self, args.into_iter())
    }
}
