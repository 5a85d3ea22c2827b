//! What a running process has used, as the kernel tells it.

use anyhow::Context as _;

/// Linux tells CPU time to programs in hundredths of a second, whatever it counts in.
const TICKS_PER_SEC: f64 = 100.0;

/// The largest resident set of a running process so far, in bytes; 0 when it is gone.
pub fn peak_memory(pid: u32) -> u64 {
    in_status(pid, "VmHWM:")
}

/// The resident set of a running process, in bytes; 0 when it is gone.
pub fn memory(pid: u32) -> u64 {
    in_status(pid, "VmRSS:")
}

/// What is mapped from files of the resident set of a running process, in bytes; 0 when it is gone.
pub(super) fn mapped(pid: u32) -> u64 {
    in_status(pid, "RssFile:")
}

fn in_status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes that a running process has read and written by calls on files, from wherever they came: `rchar` and `wchar`.
///
/// # Errors
/// When it is gone.
pub fn file_bytes(pid: u32) -> anyhow::Result<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok())
            .context("a line of /proc/PID/io")
    };
    Ok((of("rchar:")?, of("wchar:")?))
}

/// User and system time, in seconds, of a process and of the children that it waited for.
///
/// # Errors
/// When it is gone.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold anything, ends at the last parenthesis; the state is field 3.
    let (_, rest) = stat.rsplit_once(") ").context("a line of /proc/PID/stat")?;
    let ticks: f64 = rest
        .split(' ')
        .skip(11)
        .take(4)
        .map(|field| field.parse::<f64>().unwrap_or(0.0))
        .sum();
    Ok(ticks / TICKS_PER_SEC)
}
