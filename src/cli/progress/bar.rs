//! The progress bar of bounded input.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::data::grouped;
use crate::source::Progress;

/// Whether a bar, or another line that is redrawn, is on the terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Takes the bar's line off the terminal before something else is written there; the bar is redrawn below it.
pub(in crate::cli) fn wipe(out: &mut dyn std::io::Write) -> std::io::Result<()> {
    if SHOWN.load(Relaxed) { out.write_all(b"\r\x1b[2K") } else { Ok(()) }
}

/// Whether something is on the terminal that is redrawn.
pub(in crate::cli) fn set_shown(shown: bool) {
    SHOWN.store(shown, Relaxed);
}

/// A progress bar on standard error, redrawn until it is cleared.
#[derive(Debug)]
pub(in crate::cli) struct Bar {
    over: Arc<AtomicBool>,
    drawing: JoinHandle<()>,
}

/// How often it is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Shows `progress`.
pub(super) fn show(progress: &Arc<Progress>) -> Bar {
    let (progress, over) = (Arc::clone(progress), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&over);
    set_shown(true);
    let drawing = std::thread::spawn(move || {
        let lines = Arc::clone(&progress);
        let rate = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let rate = lines.lines.load(Relaxed) as f64 / state.elapsed().as_secs_f64().max(1e-3);
            let _ = write!(out, "{} lines/s", grouped(rate as i64));
        };
        let style =
            ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {lines_per_second}  {eta} left")
                .expect("the template is well formed")
                .with_key("lines_per_second", rate);
        let bar = ProgressBar::new(0).with_style(style);
        while !ended.load(Relaxed) {
            let (bytes, total) = (progress.bytes.load(Relaxed), progress.total.load(Relaxed));
            if total > 0 {
                bar.set_length(total.max(bytes));
                bar.set_position(bytes);
            }
            std::thread::park_timeout(REDRAW);
        }
        bar.finish_and_clear();
        set_shown(false);
    });
    Bar { over, drawing }
}

impl Bar {
    /// Takes the bar off the terminal.
    pub(in crate::cli) fn clear(self) {
        self.over.store(true, Relaxed);
        self.drawing.thread().unpark();
        let _ = self.drawing.join();
    }
}
