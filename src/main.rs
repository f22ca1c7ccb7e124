//! The `thalweg` command: the library's command line with the dataflows of `dataflows/`.

use std::process::ExitCode;

#[path = "../dataflows/mod.rs"]
mod dataflows;

/// Puts something in place of a standard output that is closed, before the standard library does.
///
/// That opens `/dev/null` in its place, to which all can be written, so that a closed output looks like one that nobody
/// wants. What is opened here can only be read, so writing to it is the error that it should be. Another file of this
/// process never becomes standard output by chance, either way.
#[cfg(target_os = "linux")]
mod closed_output {
    use std::os::fd::IntoRawFd;

    use rustix::fs::{Mode, OFlags, open};

    #[used]
    #[expect(
        unsafe_code,
        reason = "the loader runs what stands in this section before `main`; the library has no part in it"
    )]
    #[unsafe(link_section = ".init_array")]
    static BEFORE_MAIN: extern "C" fn() = stay_closed;

    extern "C" fn stay_closed() {
        while rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err() {
            // The lowest free number is given: that of standard input, if it is closed, and then that of the output.
            match open("/dev/null", OFlags::RDONLY, Mode::empty()) {
                Ok(stays_open) => drop(stays_open.into_raw_fd()),
                Err(_) => return,
            }
        }
    }
}

fn main() -> ExitCode {
    thalweg::cli::main(dataflows::ALL)
}
