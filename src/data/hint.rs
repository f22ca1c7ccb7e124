//! What somebody can do about an error of the system.

use std::error::Error;
use std::io::{self, ErrorKind};

/// What to do where something on a disk has failed with `error`, as messages have it at their end; empty where nothing is known.
pub(crate) fn disk_hint(error: &(dyn Error + 'static)) -> &'static str {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => {
            "\n  hint: make room there, and start it again: with --state, it goes on where it stood"
        }
        Some(ErrorKind::ReadOnlyFilesystem) => {
            "\n  hint: it can only be read; is it mounted so, or has its disk failed?"
        }
        Some(ErrorKind::PermissionDenied) => "\n  hint: may this user read and write there?",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_one_and_other_errors_have_none() {
        let hint = |number| disk_hint(&io::Error::from_raw_os_error(number));
        assert!(hint(rustix::io::Errno::NOSPC.raw_os_error()).contains("make room"));
        assert!(hint(rustix::io::Errno::ROFS.raw_os_error()).contains("can only be read"));
        assert_eq!(hint(rustix::io::Errno::IO.raw_os_error()), "");
        assert_eq!(disk_hint(&std::fmt::Error), "");
    }
}
