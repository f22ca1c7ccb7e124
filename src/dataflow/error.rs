//! Why a dataflow cannot be built.

use std::fmt;
use std::panic::Location;

use crate::format::{JsonError, PatternError};
use crate::lookup::LookupError;
use crate::time::{GapError, WindowError, WithinError};
use crate::view::Misbuilt;

/// Why a dataflow cannot be built, and where in the code that was found.
///
/// `?` makes one of the errors of this crate, and notes the place; [`BuildError::new`] is for reasons of one's own.
///
/// ```
/// use std::time::Duration;
/// use thalweg::prelude::*;
///
/// fn window() -> Result<Window, BuildError> {
///     Ok(Window::tumbling(Duration::ZERO)?)
/// }
///
/// let error = window().unwrap_err();
/// assert!(matches!(error.mistake, thalweg::dataflow::Mistake::Window(_)));
/// assert!(error.to_string().contains("must be more than nothing"), "{error}");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{mistake}\n  found at {place}")]
#[non_exhaustive]
pub struct BuildError {
    /// What is wrong.
    pub mistake: Mistake,
    /// Where it was found.
    pub place: &'static Location<'static>,
}

/// What is wrong with a dataflow that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mistake {
    /// A length and a slide that make no windows.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A pause that ends no session.
    #[error(transparent)]
    Gap(#[from] GapError),
    /// Bounds that no pair is within.
    #[error(transparent)]
    Within(#[from] WithinError),
    /// Fields that JSON cannot have.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A pattern that is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Doors or views that do not go together.
    #[error(transparent)]
    Misbuilt(#[from] Misbuilt),
    /// A table that cannot be read.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// What the dataflow itself found.
    #[error("{0}")]
    Own(String),
}

impl BuildError {
    /// The dataflow cannot be built because of `reason`, which was found by the caller.
    ///
    /// ```
    /// use thalweg::dataflow::BuildError;
    /// let error = BuildError::new("`--least 0`: it must be 1 or more");
    /// assert!(error.to_string().starts_with("`--least 0`: it must be 1 or more\n  found at "));
    /// ```
    #[track_caller]
    pub fn new(reason: impl fmt::Display) -> Self {
        BuildError { mistake: Mistake::Own(reason.to_string()), place: Location::caller() }
    }
}

macro_rules! mistakes {
    ($($error:ty),*) => {$(
        impl From<$error> for BuildError {
            #[track_caller]
            fn from(error: $error) -> Self {
                BuildError { mistake: error.into(), place: Location::caller() }
            }
        }
    )*};
}
mistakes!(WindowError, GapError, WithinError, JsonError, PatternError, LookupError, Misbuilt);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Window;

    #[test]
    fn the_place_is_that_of_the_question_mark() {
        let build = || -> Result<Window, BuildError> { Ok(Window::tumbling(Duration::ZERO)?) };
        let line = line!() - 1;
        let error = build().expect_err("no window");
        assert_eq!((error.place.file(), error.place.line()), (file!(), line));
    }
}
