//! What must hold for any bytes at all, each as a function of them that panics where it does not.
//!
//! `scripts/fuzz` looks for bytes for which it does not, led by which code they reach; the test `fuzz` tries the seeds, those that were
//! once found (`tests/fuzz/found/`), and some that are near them.

pub mod draft;
pub mod files;
pub mod log;
pub mod name;
pub mod saved;
pub mod stores;
pub mod transaction;

/// Something that holds for any bytes.
pub struct Target {
    /// Its name, that of its module.
    pub name: &'static str,
    /// Panics if it does not hold for these.
    pub holds: fn(&[u8]),
    /// Bytes that lead deep into it.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "draft", holds: draft::holds, seeds: draft::seeds },
    Target { name: "files", holds: files::holds, seeds: files::seeds },
    Target { name: "log", holds: log::holds, seeds: log::seeds },
    Target { name: "name", holds: name::holds, seeds: name::seeds },
    Target { name: "saved", holds: saved::holds, seeds: saved::seeds },
    Target { name: "transaction", holds: transaction::holds, seeds: transaction::seeds },
];

/// Where `BRAIDFS_FUZZ_SEEDS` names a directory, writes a target's seeds into it and ends.
#[allow(dead_code, reason = "the fuzzer wants them as files, the test does not")]
pub fn give_seeds(name: &str) {
    let Some(dir) = std::env::var_os("BRAIDFS_FUZZ_SEEDS").map(std::path::PathBuf::from) else { return };
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target");
    for (n, seed) in (target.seeds)().into_iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{n}")), seed).expect("a seed");
    }
    std::process::exit(0);
}
