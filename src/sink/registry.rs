//! Which sinks there are, by the scheme of their URI.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use crate::sink::files::{Files, is_directory};
use crate::sink::uri::Environment;
use crate::sink::{Console, Csv, Jsonl, Sink, SinkSpec, SinkSpecError, SinkUri, sql};

/// Makes a sink of a URI.
pub(super) type Make = Arc<dyn Fn(&mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> + Send + Sync>;

/// The sinks that there are, by the scheme of their URI.
///
/// ```
/// use thalweg::sink::Sinks;
/// let error = Sinks::builtin().parse("consle:").unwrap_err();
/// assert!(error.to_string().contains("there are `console:`, `csv:`"), "{error}");
/// ```
#[derive(Clone)]
pub struct Sinks {
    schemes: BTreeMap<String, Make>,
    plain: bool,
    environment: Option<Environment>,
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.schemes.keys()).finish()
    }
}

impl Default for Sinks {
    fn default() -> Self {
        Sinks::builtin()
    }
}

impl Sinks {
    /// Rows of each view that a terminal shows by default; a file or pipe is shown all.
    pub const CONSOLE_ROWS: usize = 20;

    /// Those of this crate: `console:`, `jsonl:`, `csv:` and `parquet:`; tables of databases as `sqlite:`, `postgres:` (or
    /// `postgresql:`) and `mysql:`, and `kafka:`, each in programs that are built with the feature of that name; others say so.
    pub fn builtin() -> Self {
        let none = Sinks { schemes: BTreeMap::new(), plain: false, environment: None };
        let files =
            none.with("console", console).with("jsonl", jsonl).with("csv", csv).with("parquet", parquet);
        let brokers = files.with("kafka", kafka);
        let embedded = brokers.with("sqlite", sql::sqlite);
        embedded.with("postgres", sql::postgres).with("postgresql", sql::postgres).with("mysql", sql::mysql)
    }

    /// These, which look for passwords that no URI says in the variables that `look_up` knows: those of the environment,
    /// say. By default they look nowhere.
    #[must_use]
    pub fn environment(mut self, look_up: fn(&str) -> Option<String>) -> Self {
        self.environment = Some(look_up);
        self
    }

    /// These, of which none writes escape sequences, not even to a terminal, if `plain` says so.
    #[must_use]
    pub fn plain(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// These, and `scheme`, of whose URIs `make` makes a sink; it replaces one of the same name.
    ///
    /// `make` is called when the URI is read, to see whether it can be understood, and again when the sink is opened: it
    /// must touch nothing, and leave that to [`Sink::open`]. See [`Sink`] for an example.
    #[must_use]
    pub fn with(
        mut self,
        scheme: &str,
        make: impl Fn(&mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> + Send + Sync + 'static,
    ) -> Self {
        self.schemes.insert(scheme.to_owned(), Arc::new(make));
        self
    }

    /// Reads a sink's URI.
    ///
    /// # Errors
    ///
    /// When there is no such scheme, or the sink does not understand the rest.
    pub fn parse(&self, uri: &str) -> Result<SinkSpec, SinkSpecError> {
        let mut uri = SinkUri::parse(uri)?;
        uri.plain = self.plain;
        uri.environment = self.environment;
        let Some(make) = self.schemes.get(uri.scheme()) else {
            let known: Vec<_> = self.schemes.keys().map(|scheme| format!("`{scheme}:`")).collect();
            let (last, others) = known
                .split_last()
                .map_or((String::new(), String::new()), |(last, others)| (last.clone(), others.join(", ")));
            let known = if others.is_empty() { last } else { format!("{others} and {last}") };
            let scheme = uri.scheme();
            return Err(uri.refuse(format!("no sink has the scheme `{scheme}:`; there are {known}")));
        };
        SinkSpec::new(uri, Arc::clone(make))
    }
}

/// `console:?rows=N`.
fn console(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    if !uri.path().is_empty() {
        return Err(uri.refuse("`console:` takes no path"));
    }
    let terminal = io::stdout().is_terminal();
    let rows = uri.param("rows")?.unwrap_or(if terminal { Sinks::CONSOLE_ROWS } else { usize::MAX });
    let console = Console::stdout(terminal, rows);
    Ok(Box::new(if uri.plain { console.plain() } else { console }))
}

/// `jsonl:PATH`, or `jsonl:-` for standard output.
fn jsonl(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Ok(match uri.path() {
        "" => {
            return Err(uri.refuse("say where: `jsonl:PATH`, `jsonl:DIR/`, or `jsonl:-` for standard output"));
        }
        "-" => Box::new(Jsonl::stdout(uri.as_str())),
        path if is_directory(path) => Box::new(Files::of(uri)?),
        path => Box::new(Jsonl::create(uri.as_str(), path.into())),
    })
}

/// `csv:PATH`, `csv:DIR/`, or `csv:-` for standard output.
fn csv(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Ok(match uri.path() {
        "" => return Err(uri.refuse("say where: `csv:PATH`, `csv:DIR/`, or `csv:-` for standard output")),
        "-" => Box::new(Csv::stdout(uri.as_str())),
        path if is_directory(path) => Box::new(Files::of(uri)?),
        path => Box::new(Csv::create(uri.as_str(), path.into())),
    })
}

/// `parquet:DIR/`.
fn parquet(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    match uri.path() {
        path if is_directory(path) => Ok(Box::new(Files::of(uri)?)),
        _ => Err(uri.refuse("say which directory, with a slash at its end: `parquet:DIR/`")),
    }
}

/// `kafka://BROKERS/TOPIC`.
#[cfg(feature = "kafka")]
fn kafka(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Ok(Box::new(crate::sink::Kafka::of(uri)?))
}

#[cfg(not(feature = "kafka"))]
fn kafka(uri: &mut SinkUri) -> Result<Box<dyn Sink>, SinkSpecError> {
    Err(uri.refuse(
        "this program was built without Kafka\n  hint: build it with `--features kafka`, or `kafka-tls`",
    ))
}
