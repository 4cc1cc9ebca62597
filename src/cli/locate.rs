//! Which store a command works on.

use std::path::{Path, PathBuf};

use super::Session;
use super::failure::{Failure, Kind, Result};
use crate::disk::Disk;
use crate::format::text::quoted_path;
use crate::mount::home;
use crate::mount::table::{self, Mounted};
use crate::store::is_fresh_clone;

/// The store that the session names, else the one that the current directory lies in, or whose mount it lies in.
pub(super) fn named_or_found(session: &Session, disk: &Disk) -> Result<PathBuf> {
    if let Some(directory) = &session.store {
        return named(directory, disk);
    }
    let here =
        std::env::current_dir().map_err(|error| Failure::new(Kind::Failed, "the current directory cannot be found").because(&error))?;
    let mounts = table::read_or_none(disk);
    if let Some(mounted) = table::find_around(&mounts, &here) {
        // The way to its mount point may be closed to whoever is in it.
        return shown_by(mounted, Path::new("."), disk);
    }
    here.ancestors().find(|directory| is_store(disk, directory)).map(Path::to_path_buf).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("no store is named, and '{}' lies in none", here.display()))
            .hint("name one: --store DIR, or BRAIDFS_STORE=DIR in the environment")
            .hint("make one: braidfs init DIR")
    })
}

/// The directory that a command's own argument names, else the one that the session names; none where neither does.
///
/// # Errors
/// `--store` names another one than the argument does: one of them would be ignored.
pub(super) fn argument_or_option(argument: Option<&Path>, session: &Session) -> Result<Option<PathBuf>> {
    let Some(argument) = argument else { return Ok(session.store.clone()) };
    let disk = Disk::real();
    let real = |directory: &Path| disk.canonical(directory).unwrap_or_else(|_| directory.to_path_buf());
    match session.store.as_deref().filter(|_| session.is_store_typed) {
        Some(option) if real(option) != real(argument) => {
            let (option, argument) = (option.display(), argument.display());
            Err(Failure::new(Kind::Usage, format!("two stores are named: '{argument}', and '{option}' by --store"))
                .hint("leave one of them out"))
        }
        _ => Ok(Some(argument.to_path_buf())),
    }
}

/// The store that a directory is, or whose mount it lies in.
pub(super) fn named(directory: &Path, disk: &Disk) -> Result<PathBuf> {
    let mounts = table::read_or_none(disk);
    let real = disk.canonical(directory).unwrap_or_else(|_| directory.to_path_buf());
    table::find_around(&mounts, &real).map_or_else(
        || Ok(directory.to_path_buf()),
        |mounted| {
            let point = mounted.point.clone();
            shown_by(mounted, &point, disk)
        },
    )
}

/// The store that a mount shows, which is asked by a directory that lies in it.
///
/// # Errors
/// Another one lies at its path now, or none, or that cannot be known.
fn shown_by(mounted: Mounted, within: &Path, disk: &Disk) -> Result<PathBuf> {
    home::check(&mounted, within, disk)?;
    Ok(mounted.source)
}

/// What leads to the store's directory, whose commands hints are; none for who is there.
pub(super) fn way(store: &Path) -> Option<String> {
    let disk = Disk::real();
    let store = disk.canonical(store).ok()?;
    // The system gives it without links.
    let is_there = std::env::current_dir().is_ok_and(|here| here == store);
    (!is_there).then(|| format!("cd {}", quoted_path(&store)))
}

/// Leaves a mount that the current directory lies in for its store, so that the mount may go while this process runs.
pub(super) fn leave_mount(disk: &Disk, store: &Path) {
    let mounts = table::read_or_none(disk);
    let lies_in = |here: PathBuf| table::find_around(&mounts, &here).is_some();
    if std::env::current_dir().is_ok_and(lies_in) {
        // Where that is not allowed, the mount is in use by us, and says so.
        let _ = std::env::set_current_dir(store);
    }
}

/// A store has `events/`, and what tells it from any other directory with such a name: what a store keeps beside, what `init` wrote, or a transaction.
/// A clone may have only what `init` wrote.
fn is_store(disk: &Disk, directory: &Path) -> bool {
    let events = directory.join("events");
    let has_attributes = || {
        disk.read(&directory.join(".gitattributes"))
            .is_ok_and(|text| text.starts_with(b"events/") || text.windows(8).any(|part| part == b"\nevents/"))
    };
    let has_transactions = || disk.list_if_present(&events).is_ok_and(|entries| entries.iter().any(|entry| entry.name.ends_with(".jsonl")));
    let has_own = || disk.exists(&directory.join(".eventcore"));
    if disk.exists(&events) {
        has_own() || has_attributes() || has_transactions()
    } else {
        is_fresh_clone(disk, directory).unwrap_or(false)
    }
}
