//! Paths to fields, and why one is refused.

/// How deep a path may go: the walk along it is recursive, and no log is nested like that.
const DEEPEST: usize = 32;

/// Why there can be no [`Json`](super::Json) of these fields, or no [`JsonMode`](super::JsonMode) of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Nothing is asked for.
    #[error(
        "no fields are named, so the records would have none\n  hint: name a field and its path, such as `name` and `user.screen_name`"
    )]
    NoFields,
    /// Two fields of one name.
    #[error("two fields are named `{name}`\n  hint: a path may be given twice, a name may not")]
    SameName {
        /// The name.
        name: String,
    },
    /// A path without a key, or with an empty one.
    #[error(
        "the path `{path}` of field `{name}` has an empty key\n  \
         hint: keys have one dot between them; a key that is empty or holds a dot needs a pointer, as in `/a.b/c`"
    )]
    EmptyKey {
        /// The field's name.
        name: String,
        /// The path as given.
        path: String,
    },
    /// A `~` in a pointer that is not `~0` or `~1`.
    #[error(
        "the pointer `{path}` of field `{name}` has a `~` that is neither `~0` nor `~1`\n  hint: a tilde is `~0`"
    )]
    BadEscape {
        /// The field's name.
        name: String,
        /// The path as given.
        path: String,
    },
    /// A path of too many keys.
    #[error("the path of field `{name}` has {keys} keys, and no path may have more than {DEEPEST}")]
    TooDeep {
        /// The field's name.
        name: String,
        /// How many keys the path has.
        keys: usize,
    },
    /// No mode has this name.
    #[error("there is no mode `{mode}`\n  hint: the modes are permissive, dropmalformed and failfast")]
    Mode {
        /// The name as given.
        mode: String,
    },
}

/// The keys of `path`, which is that of field `name`.
pub(super) fn keys(name: &str, path: &str) -> Result<Vec<String>, JsonError> {
    let (name, whole) = (name.to_owned(), path.to_owned());
    let keys: Vec<String> = match path.strip_prefix('/') {
        Some(pointer) => {
            let keys = pointer.split('/').map(unescaped).collect::<Option<_>>();
            keys.ok_or_else(|| JsonError::BadEscape { name: name.clone(), path: whole })?
        }
        None if path.split('.').any(str::is_empty) => {
            return Err(JsonError::EmptyKey { name, path: whole });
        }
        None => path.split('.').map(str::to_owned).collect(),
    };
    if keys.len() > DEEPEST {
        return Err(JsonError::TooDeep { name, keys: keys.len() });
    }
    Ok(keys)
}

/// A key of a JSON pointer without its escapes, or `None` if it has one that is none.
fn unescaped(key: &str) -> Option<String> {
    let mut parts = key.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        };
        plain.push(escaped);
        plain.push_str(&part[1..]);
    }
    Some(plain)
}
