//! Times and medians.

use std::time::{Duration, Instant};

/// Seconds that something takes, the median of several runs; `prepare` is not counted.
pub fn median<T>(runs: usize, mut prepare: impl FnMut() -> T, mut run: impl FnMut(T)) -> f64 {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let prepared = prepare();
            let start = Instant::now();
            run(prepared);
            start.elapsed().as_secs_f64()
        })
        .collect();
    middle(&mut times)
}

/// Two things in turn, so that a busy moment hits both: the medians of each.
pub fn paired(runs: usize, mut one: impl FnMut() -> f64, mut other: impl FnMut() -> f64) -> (f64, f64) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        first.push(one());
        second.push(other());
    }
    (middle(&mut first), middle(&mut second))
}

/// Seconds that something takes once.
pub fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

pub fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The CPU time of this process so far.
pub fn cpu() -> Duration {
    // SAFETY: the structure is filled by the kernel and plain data.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Drops the page cache of everything, where we may.
pub fn drop_caches() -> bool {
    write_everything();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// Waits until what was written so far is on the disk, so that a sync costs what it syncs.
pub fn write_everything() {
    // SAFETY: sync(2) has no arguments.
    unsafe { libc::sync() };
}

/// Lets the kernel bring free pages together, where we may.
pub fn compact_memory() {
    write_everything();
    let _ = std::fs::write("/proc/sys/vm/compact_memory", "1");
}

/// The median of what several runs say.
pub fn middle_of(runs: usize, mut run: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..runs).map(|_| run()).collect();
    middle(&mut times)
}
