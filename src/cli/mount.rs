//! `braidfs mount` and `braidfs umount`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::failure::{Failure, Kind, Result};
use super::{Session, locate};
use crate::disk::Disk;
use crate::mount;

/// Show a store as a directory: read it with cat and grep, append by dropping files
///
/// Returns once the mount answers. End it with `braidfs umount`, umount or fusermount3 -u.
#[derive(Args)]
#[command(allow_missing_positional = true)]
pub(super) struct Arguments {
    /// The store's directory; without it as for every command
    #[arg(value_name = "STORE")]
    directory: Option<PathBuf>,
    /// The directory that shows it
    #[arg(value_name = "MOUNT", required = true)]
    mount_point: PathBuf,
    /// Stay, and end with the mount
    #[arg(long)]
    foreground: bool,
    /// Without staging, append and locks; the fast one for heavy readers
    #[arg(long)]
    read_only: bool,
    /// Let other users read
    #[arg(long)]
    allow_other: bool,
    /// Keep nothing that can be had again, to look for faults: slow, and every byte is the same
    #[arg(long)]
    no_cache: bool,
    /// Write the log to this file; $BRAIDFS_LOG says what is logged
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Export a span for every operation to this collector, by OTLP over HTTP; needs the feature otlp
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    check_log_filter(&std::env::var(mount::LOG_VARIABLE).unwrap_or_default())?;
    let store = match locate::argument_or_option(arguments.directory.as_deref(), session)? {
        Some(directory) => directory,
        None => locate::named_or_found(session, &Disk::real())?,
    };
    let options = mount::Options {
        store,
        mount_point: arguments.mount_point.clone(),
        foreground: arguments.foreground,
        read_only: arguments.read_only,
        allow_other: arguments.allow_other,
        no_cache: arguments.no_cache,
        log_file: arguments.log_file.clone(),
        collector: arguments.otlp.as_deref().map(mount::Collector::parse).transpose().map_err(unusable)?,
    };
    mount::start(&options)?;
    // In the foreground it has ended by then.
    let state = if arguments.foreground { "unmounted" } else { "mounted" };
    tell(session, state, &arguments.mount_point)
}

/// Programs are told; for people it is success that nothing is said.
fn tell(session: &mut Session, state: &str, mount_point: &Path) -> Result {
    if session.out.is_json() { session.out.json(&json!({"mount": mount_point.display().to_string(), "state": state})) } else { Ok(()) }
}

/// Refuses a filter of which the log would be silent, or not as was asked: one that makes no sense, or a word that is no level and so
/// stands for a module, but for none of ours.
fn check_log_filter(filter: &str) -> Result {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let is_foreign = |word: &str| !word.contains(['=', '[']) && !word.starts_with(env!("CARGO_PKG_NAME")) && !is_level(word);
    let mut words = filter.split(',').map(str::trim).filter(|word| !word.is_empty());
    if EnvFilter::builder().parse(filter).is_ok() && !words.any(is_foreign) {
        return Ok(());
    }
    Err(Failure::new(Kind::Usage, format!("{} is \"{}\", which is no filter", mount::LOG_VARIABLE, filter.escape_debug()))
        .hint("off, error, warn, info, debug or trace; or for a module alone, as in warn,braidfs::mount=debug"))
}

fn unusable(error: mount::Error) -> Failure {
    Failure::new(Kind::Usage, error.message).hint(error.hint)
}

/// End a mount; every answered commit is on disk
#[derive(Args)]
pub(super) struct UmountArguments {
    /// The directory that shows the store
    #[arg(value_name = "MOUNT")]
    mount_point: PathBuf,
    /// Also while it is used: what still uses it after 5 seconds is cut off
    #[arg(long)]
    force: bool,
}

pub(super) fn run_umount(arguments: &UmountArguments, session: &mut Session) -> Result {
    mount::umount(&arguments.mount_point, arguments.force)?;
    tell(session, "unmounted", &arguments.mount_point)
}
