//! What a process uses, by the kernel's accounting (proc(5)).

use std::time::Duration;

use anyhow::Context as _;

/// Length of the kernel's accounting tick as `/proc` tells it: 100 a second on every Linux (`USER_HZ`).
const TICK_MICROS: f64 = 10_000.0;
/// Looks at a process until its memory is taken as it is: 10 s.
const SETTLING_LOOKS: u32 = 20;

/// CPU time of a process and all its threads so far, user and system, in microseconds.
///
/// # Errors
/// There is no such process.
pub(crate) fn micros(pid: u32) -> anyhow::Result<f64> {
    let [user, system, ..] = times(&status(pid)?)?;
    Ok((user + system) * TICK_MICROS)
}

/// CPU time of this program and of its children that have ended, so far, in microseconds: what generators used.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn own_micros() -> anyhow::Result<f64> {
    let times = times(&status(std::process::id())?)?;
    Ok(times.iter().sum::<f64>() * TICK_MICROS)
}

fn status(pid: u32) -> anyhow::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))
}

/// Ticks in user mode and in the kernel, then the same of children that were waited for.
fn times(status: &str) -> anyhow::Result<[f64; 4]> {
    // The second field is a name in parentheses that may contain anything.
    let rest = status.rsplit_once(')').context("unreadable process status")?.1;
    let times: Vec<f64> =
        rest.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    times.try_into().map_err(|_| anyhow::anyhow!("unreadable process status: {status}"))
}

/// CPU time of a process and its direct children, in microseconds: nginx works in a child.
///
/// # Errors
/// There is no such process.
pub(crate) fn family_micros(pid: u32) -> anyhow::Result<f64> {
    let mut sum = micros(pid)?;
    for child in children(pid) {
        sum += micros(child)?;
    }
    Ok(sum)
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// There is no such process.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most memory that this process ever had, in bytes.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn peak_bytes() -> anyhow::Result<f64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Resident memory of a process and its direct children in bytes, once it shrinks no more: allocators give back in
/// their own time what nobody holds. What processes share is divided between them, so a worker counts nothing twice.
///
/// # Errors
/// There is no such process.
pub(crate) async fn settled_bytes(pid: u32) -> anyhow::Result<f64> {
    let mut before = f64::MAX;
    for _ in 0..SETTLING_LOOKS {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut now = share_bytes(pid)?;
        for child in children(pid) {
            now += share_bytes(child)?;
        }
        if before - now < 65_536.0 {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

fn share_bytes(pid: u32) -> anyhow::Result<f64> {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// A line of a file about a process, in bytes.
fn kilobytes(path: &str, name: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("`{path}` cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no line of that name")?;
    let kilobytes: f64 =
        line.split_whitespace().next().and_then(|field| field.parse().ok()).context("no number")?;
    Ok(kilobytes * 1024.0)
}

/// The direct children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_process_may_look_like_fields() {
        let status = "17 (a ) 1 2) S 1 17 17 0 -1 4194560 100 200 0 0 5 6 70 80 20 0 1 0 300";
        assert_eq!(times(status).unwrap(), [5.0, 6.0, 70.0, 80.0]);
        assert!(times("17 (short) S 1").is_err());
    }
}
