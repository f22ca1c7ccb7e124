//! Source URIs: `file:PATH`, `stdin:`.

use crate::cli::given::GivenError;

/// What the sources come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Paths and globs, in order.
    pub(super) files: Vec<String>,
    /// Whether standard input is one.
    pub(super) stdin: bool,
}

impl Sources {
    pub(super) fn parse<'a>(uris: impl IntoIterator<Item = &'a str>) -> Result<Self, GivenError> {
        let mut sources = Sources::default();
        for uri in uris {
            let error = |reason: &str| GivenError::Value {
                file: None,
                name: "source".to_owned(),
                value: uri.to_owned(),
                reason: reason.to_owned(),
            };
            match uri.split_once(':') {
                Some(("file", "")) => return Err(error("say which file: `file:PATH`")),
                Some(("file", path)) => sources.files.push(path.to_owned()),
                Some(("stdin", "")) if sources.stdin => {
                    return Err(error("standard input can be read once only"));
                }
                Some(("stdin", "")) => sources.stdin = true,
                Some(("stdin", _)) => return Err(error("`stdin:` takes no path")),
                _ if std::path::Path::new(uri).exists() => {
                    return Err(error(&format!("a source is a URI: did you mean `file:{uri}`?")));
                }
                _ => return Err(error("a source is `file:PATH` or `stdin:`")),
            }
        }
        Ok(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_say_what_they_should_have_been() {
        let good = Sources::parse(["file:a/*.log", "stdin:", "file:b:c"]).expect("valid");
        assert_eq!(good, Sources { files: vec!["a/*.log".to_owned(), "b:c".to_owned()], stdin: true });
        for (uris, hint) in [
            (&["file:"][..], "which file"),
            (&["stdin:x"], "no path"),
            (&["stdin:", "stdin:"], "once only"),
            (&["Cargo.toml"], "did you mean `file:Cargo.toml`?"),
            (&["htp://x"], "`file:PATH` or `stdin:`"),
        ] {
            let error = Sources::parse(uris.iter().copied()).expect_err(hint).to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
