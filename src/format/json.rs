//! JSON lines: one object a line, of which a few fields are wanted.
//!
//! What is asked for by path is found in one pass that checks the whole line and keeps nothing else; a value is a piece
//! of the line until somebody wants to know what it says. This module knows JSON and paths; what a field means (an
//! action, a time) is the business of whoever asked for it.
//!
//! # What a line may be
//!
//! One object as RFC 8259 has it, in UTF-8, with nothing but white space around it. Beyond that:
//!
//! - Of keys that occur twice the last one counts, with all that is in it.
//! - An escaped surrogate without its other half (`\ud800`) is what the grammar allows: the line is well formed, and
//!   text with such a thing in it reads as U+FFFD there.
//! - A byte order mark before the object is passed over: files from some editors begin with one.
//! - A number may have any size, and nesting any depth: neither is looked at before it is asked for, and passing over
//!   nested values takes a byte for each level, and none of the stack. `-0` is the integer 0.
//! - A line that is empty or blank is malformed.
//!
//! # How it is read
//!
//! By hand, and without a library: a walk checks all of a line and keeps the pieces that are asked for; and because the
//! lines of a log are alike, most are not walked but compared with the skeleton of one that was. Before, it was
//! serde_json's raw values, which had been the fastest of five libraries. Access logs of 500,000 lines, through all doors of `access-log`
//! on one core (processor time; the combined form takes 0.21 s for 99 MB): Caddy, 281 MB, 2.67 s before and 1.52 s by the walk alone; nginx, 179
//! MB, 1.27 s and 0.72 s.

mod path;
mod record;
pub(super) mod skeleton;
mod value;
pub(super) mod walk;

use std::str::FromStr;
use std::sync::Arc;

use smallvec::smallvec;

use crate::format::LineFormat;
use crate::format::json::skeleton::Skeleton;
use crate::format::json::walk::Node;

pub use path::JsonError;
pub use record::{JsonField, JsonRecord};
pub use value::{JsonElements, JsonValue};

/// What becomes of a line that is not one JSON object.
///
/// ```
/// use thalweg::format::JsonMode;
/// assert_eq!("DropMalformed".parse(), Ok(JsonMode::DropMalformed));
/// assert!("strict".parse::<JsonMode>().unwrap_err().to_string().contains("`strict`"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonMode {
    /// It is a record whose fields are all null and whose [`JsonRecord::corrupt`] is the line. It is not counted as
    /// malformed: the dataflow has it.
    #[default]
    Permissive,
    /// It is malformed: counted, shown among the samples, and left out.
    DropMalformed,
    /// It ends the run, with an error that names the place and the reason.
    FailFast,
}

impl FromStr for JsonMode {
    type Err = JsonError;

    /// Reads `permissive`, `dropmalformed` or `failfast`, in capitals or not.
    fn from_str(mode: &str) -> Result<Self, JsonError> {
        match mode.to_ascii_lowercase().as_str() {
            "permissive" => Ok(JsonMode::Permissive),
            "dropmalformed" => Ok(JsonMode::DropMalformed),
            "failfast" => Ok(JsonMode::FailFast),
            _ => Err(JsonError::Mode { mode: mode.to_owned() }),
        }
    }
}

/// Lines of JSON, one object each, with named fields that are found by their paths.
///
/// A path is keys with dots between them, `user.screen_name`. Where it meets an array, a key of digits is an index from
/// 0: `entities.hashtags.0.text`. A path that begins with `/` is a JSON pointer (RFC 6901) instead, for keys that hold
/// a dot: `/a.b/c` (in which `~1` is a slash and `~0` a tilde).
///
/// ```
/// use thalweg::format::{LineFormat, Json};
///
/// let mut json = Json::new([("action", "action"), ("name", "user.screen_name"), ("tag", "tags.0")])?;
/// let line = br#"{"user": {"screen_name": "eve"}, "action": "log\u0069n", "n": 7, "tags": ["a", "b"]}"#;
/// let record = json.parse(line).unwrap();
/// assert_eq!(record.text("action").as_deref(), Some("login"));
/// assert_eq!(record.text("name").as_deref(), Some("eve"));
///
/// // By position in the list, which saves looking the name up.
/// const TAG: usize = 2;
/// assert_eq!(record.text(TAG).as_deref(), Some("a"));
///
/// // Not JSON: a record without fields, which has the line.
/// let record = json.parse(br#"{"action": "login""#).unwrap();
/// assert_eq!(record.text("action"), None);
/// assert!(record.corrupt().is_some());
/// # Ok::<(), thalweg::format::JsonError>(())
/// ```
#[derive(Debug)]
pub struct Json {
    names: Arc<[String]>,
    root: Node,
    skeleton: Skeleton,
    mode: JsonMode,
}

impl Json {
    /// Lines with `fields`, each a name and a path, in the order in which [`JsonRecord`] has them.
    ///
    /// # Errors
    ///
    /// If there are no fields, two have the same name, or a path is not one.
    ///
    /// ```
    /// use thalweg::format::Json;
    /// let error = Json::new([("name", "user..name")]).unwrap_err();
    /// assert!(error.to_string().contains("user..name"));
    /// ```
    pub fn new<N: Into<String>, P: AsRef<str>>(
        fields: impl IntoIterator<Item = (N, P)>,
    ) -> Result<Self, JsonError> {
        let mut names: Vec<String> = Vec::new();
        let mut root = Node::default();
        for (name, path) in fields {
            let name = name.into();
            if names.contains(&name) {
                return Err(JsonError::SameName { name });
            }
            root.add(&path::keys(&name, path.as_ref())?, names.len());
            names.push(name);
        }
        if names.is_empty() {
            return Err(JsonError::NoFields);
        }
        Ok(Json { names: names.into(), root, skeleton: Skeleton::default(), mode: JsonMode::default() })
    }

    /// The same fields, and `mode` for lines that are not one JSON object; without this it is
    /// [`JsonMode::Permissive`].
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Json, JsonMode};
    /// let mut json = Json::new([("action", "action")])?.with_mode(JsonMode::DropMalformed);
    /// assert_eq!(json.parse(b"login"), None);
    /// # Ok::<(), thalweg::format::JsonError>(())
    /// ```
    pub fn with_mode(self, mode: JsonMode) -> Self {
        Json { mode, ..self }
    }

    /// The names of the fields, in the order in which they were given.
    pub fn fields(&self) -> &[String] {
        &self.names
    }

    /// The index of a field, looked up once and not for every record.
    ///
    /// ```
    /// use thalweg::format::Json;
    /// let json = Json::new([("action", "action"), ("name", "user.name")]).unwrap();
    /// assert_eq!(json.index_of("name"), Some(1));
    /// assert_eq!(json.index_of("nane"), None);
    /// ```
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }
}

impl Clone for Json {
    /// Copies the names rather than sharing them: every record counts as an owner, and workers that share one
    /// count would contend for its cache line at every line of input.
    fn clone(&self) -> Self {
        let skeleton = Skeleton::default();
        Json { names: self.names.to_vec().into(), root: self.root.clone(), skeleton, mode: self.mode }
    }
}

impl LineFormat for Json {
    type Record<'a> = JsonRecord<'a>;

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<JsonRecord<'a>> {
        let mut values = smallvec![None; self.names.len()];
        let corrupt = match self.skeleton.find(&self.root, line, &mut values) {
            Ok(()) => None,
            Err(_) if self.mode == JsonMode::Permissive => Some(line),
            Err(_) => return None,
        };
        Some(JsonRecord { names: Arc::clone(&self.names), values, corrupt })
    }

    fn fatal(&self, line: &[u8]) -> Option<String> {
        if self.mode != JsonMode::FailFast {
            return None;
        }
        let error = self.root.find(line, &mut vec![None; self.names.len()]).err()?;
        Some(error.to_string())
    }
}
