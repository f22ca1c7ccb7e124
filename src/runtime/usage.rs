//! What the process has used, from `/proc`.

use std::time::Duration;

/// What a process has used so far; zero where the system does not say.
///
/// ```
/// use thalweg::runtime::Usage;
/// let before = Usage::now();
/// let memory = vec![1u8; 64 << 20];
/// assert!(Usage::now().peak_memory >= before.peak_memory.max(memory.len() as u64));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time of all threads, user and system.
    pub cpu: Duration,
    /// The most memory that was resident, in bytes.
    pub peak_memory: u64,
}

impl Usage {
    /// Of this process, until now.
    pub fn now() -> Usage {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Usage { cpu: cpu(&stat).unwrap_or_default(), peak_memory: peak(&status).unwrap_or_default() }
    }
}

/// The line `VmHWM:   1234 kB`.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Fields 14 and 15 in hundredths of a second (proc(5)); the second field may hold anything but ends at the last `)`.
fn cpu(stat: &str) -> Option<Duration> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu(""), None);
    }
}
