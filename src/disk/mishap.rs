//! Mishaps that a test orders of a running daemon: a bug, or death, at a chosen step. Builds for release have none of it.
//!
//! `$BRAIDFS_MISHAP` names a file. While there is one it holds an order: `panic`, `kill` or `hold`, the step's name (a kind of request,
//! `load` for reading files that are new, or `disk` for whatever changes something on the disk), and how many such steps still succeed.
//! A panic or death comes once, and the file is removed before. A step that is held goes on when the file is removed.

/// Whether this build can be told to fail.
pub const IS_POSSIBLE: bool = cfg!(debug_assertions);

#[cfg(not(debug_assertions))]
/// The step that begins here succeeds.
pub fn at(_step: &str) {}

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

    /// Fails here if that is what was ordered.
    ///
    /// # Panics
    /// Where a test has ordered it.
    pub fn at(step: &str) {
        static PLACE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let Some(place) = PLACE.get_or_init(|| std::env::var_os("BRAIDFS_MISHAP").map(PathBuf::from)) else { return };
        let Ok(order) = std::fs::read_to_string(place) else { return };
        let mut words = order.split_whitespace();
        let (Some(how), Some(ordered)) = (words.next(), words.next()) else { return };
        let spared: u64 = words.next().and_then(|spared| spared.parse().ok()).unwrap_or(0);
        if ordered != step {
            return;
        }
        {
            let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
            if passed.0 != order {
                *passed = (order.clone(), 0);
            }
            passed.1 += 1;
            if passed.1 != spared + 1 {
                return;
            }
            passed.0.clear();
        }
        if how == "hold" {
            while place.exists() {
                std::thread::sleep(PAUSE);
            }
            return;
        }
        if std::fs::remove_file(place).is_err() {
            return;
        }
        if how == "kill" {
            // Nothing comes after it.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
        #[allow(clippy::panic)]
        {
            panic!("a test ordered this at '{step}'");
        }
    }
}
