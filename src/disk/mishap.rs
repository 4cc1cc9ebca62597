//! Mishaps that a test orders of a running daemon: a bug, or death, at a chosen step. Builds for release have none of it.
//!
//! `$BRAIDFS_MISHAP` names a file. While there is one it holds an order: `panic`, `broken`, `kill`, `fail` or `hold`, the step's name (a kind of
//! request, `load` for reading files that are new, `disk` for whatever changes something on the disk, `sync` for what makes it durable),
//! and how many such steps still succeed. `panic`, `kill` and `fail` come once, and the file is removed before. A step that is held
//! goes on when the file is removed; what is broken panics at every such step until then.

/// Whether the step that begins here is to fail: never.
#[cfg(not(debug_assertions))]
pub fn at(_step: &str) -> bool {
    false
}

#[cfg(debug_assertions)]
pub use ordered::at;

#[cfg(debug_assertions)]
mod ordered {
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    /// How long a step that is held sleeps between two looks.
    const PAUSE: Duration = Duration::from_millis(5);

    /// What was ordered, and how many steps of that kind have passed since.
    static PASSED: Mutex<(String, u64)> = Mutex::new((String::new(), 0));

    /// Whether the step that begins here is to fail; panics, dies or waits if that is what was ordered.
    ///
    /// # Panics
    /// Where a test has ordered it.
    pub fn at(step: &str) -> bool {
        static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(place) = PLACE.get_or_init(|| std::env::var_os("BRAIDFS_MISHAP").map(PathBuf::from)) else { return false };
        let Ok(order) = std::fs::read_to_string(place) else { return false };
        let mut words = order.split_whitespace();
        let (Some(how), Some(ordered)) = (words.next(), words.next()) else { return false };
        let spared: u64 = words.next().and_then(|spared| spared.parse().ok()).unwrap_or(0);
        if ordered != step {
            return false;
        }
        {
            let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
            if passed.0 != order {
                *passed = (order.clone(), 0);
            }
            passed.1 += 1;
            if how == "broken" && passed.1 > spared {
                drop(passed);
                ordered_panic(step);
            }
            if passed.1 != spared + 1 {
                return false;
            }
            passed.0.clear();
        }
        if how == "hold" {
            while place.exists() {
                std::thread::sleep(PAUSE);
            }
            return false;
        }
        if std::fs::remove_file(place).is_err() {
            return false;
        }
        if how == "fail" {
            return true;
        }
        if how == "kill" {
            // Nothing comes after it.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
        ordered_panic(step);
    }

    #[allow(clippy::panic)]
    fn ordered_panic(step: &str) -> ! {
        panic!("a test ordered this at '{step}'");
    }
}
