//! What helps where root made something in somebody's store.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, User, faccessat, getegid, geteuid, getgroups};

use crate::format::text::quoted_path;

/// How many files a cure names.
const NAMED_MAX: usize = 10;

/// What lets this user at a path again, where it is root's and lies in a directory of the user's.
pub(super) fn of_roots(path: &Path) -> Option<String> {
    let own = geteuid();
    let is_of = |path: &Path, uid: u32| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == uid);
    if own.is_root() {
        return None;
    }
    let roots = path.ancestors().take_while(|path| is_of(path, 0)).last()?;
    let directory = roots.parent().filter(|directory| is_of(directory, own.as_raw()))?;
    let beside = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = beside.filter(|beside| *beside != roots && is_of(beside, 0)).collect();
    all.sort();
    all.insert(0, roots.to_path_buf());
    all.truncate(NAMED_MAX);
    let names: Vec<String> = all.iter().map(|path| quoted_path(path)).collect();
    let user = User::from_uid(own).ok().flatten().map_or_else(|| own.to_string(), |user| user.name);
    Some(format!("sudo chown -R {user} {}   # root made it in a directory of yours", names.join(" ")))
}

/// The first directory on the way to a path through which this user may not go.
pub(super) fn closed_directory(path: &Path) -> Option<&Path> {
    let closed =
        |directory: &&Path| faccessat(AT_FDCWD, *directory, AccessFlags::X_OK, AtFlags::AT_EACCESS) == Err(nix::errno::Errno::EACCES);
    // What lies behind a closed directory is closed too, so the last one found is the first on the way.
    path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()).filter(closed).last()
}

/// By which of its permissions this user has to do with a path: the owner's `u`, the group's `g` or the others' `o`; the owner's where the
/// path cannot be looked at.
pub(super) fn class_of_this_user(path: &Path) -> char {
    let Ok(facts) = nix::sys::stat::stat(path) else { return 'u' };
    let is_in = |group: u32| getegid().as_raw() == group || getgroups().is_ok_and(|groups| groups.iter().any(|one| one.as_raw() == group));
    match facts.st_uid == geteuid().as_raw() {
        true => 'u',
        false if is_in(facts.st_gid) => 'g',
        false => 'o',
    }
}
