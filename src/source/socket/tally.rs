//! What goes wrong again and again, told ever more rarely.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what may happen to any number of connections, and warns of it at 1, 2, 4, 8 …
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    /// It has happened again; `text` says what, where it is told, of how often it has.
    pub(super) fn warn(&self, text: impl FnOnce(u64) -> String) {
        let count = self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if count.is_power_of_two() {
            let text = text(count);
            log::warn!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_ever_more_rarely() {
        let (tally, mut told) = (Tally::default(), Vec::new());
        (0..1000).for_each(|_| {
            tally.warn(|count| {
                told.push(count);
                String::new()
            });
        });
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    }
}
