//! Which directory a mount is over. The path that the kernel shows of it may lead to another one: where the store was moved away and
//! another put in its place, or where other mounts are seen than the daemon sees.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::disk::{self, Disk, NO_THREAD_CURE, OpenDir, Said, ask_ioctl_by_child};
use crate::format::text::quoted_path;
use crate::mount::Error;
use crate::mount::table::Mounted;

/// The number of the ioctl(2) to which a mount answers with the device and the inode of the directory that it is over, 64 bits each.
pub const COMMAND: u32 = libc::_IOR::<Said>(b'b' as u32, 1) as u32;

/// A daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// The directory that a mount is over.
#[derive(Debug)]
pub struct Home {
    device: u64,
    inode: u64,
    /// Held, so that its number stays its own, also on a file system that numbers what is in use.
    _held: OpenDir,
}

impl Home {
    /// What lies there now.
    pub fn of(store: &Path) -> disk::Result<Self> {
        let disk = Disk::real();
        let held = disk.open_dir(store)?;
        let found = disk.stat(store)?;
        Ok(Self { device: found.device, inode: found.inode, _held: held })
    }

    /// What is answered to [`COMMAND`].
    pub fn answer(&self) -> [u8; size_of::<Said>()] {
        let mut bytes = [0; size_of::<Said>()];
        bytes.as_chunks_mut().0.copy_from_slice(&[self.device, self.inode].map(u64::to_ne_bytes));
        bytes
    }
}

/// What a mount answers when it is asked which directory it is over.
enum Answer {
    /// The device and the inode of that one.
    Over(Said),
    /// It is of a version before it could say so.
    Unknowing,
    /// Its daemon has ended.
    Dead,
    /// It cannot be asked.
    Unasked(Errno),
    /// None came.
    Silence,
}

impl Answer {
    /// That of the mount in which a directory lies.
    fn within(directory: &Path) -> io::Result<Self> {
        Ok(match ask_ioctl_by_child(directory, COMMAND, PATIENCE)? {
            Some(Ok(said)) => Self::Over(said),
            Some(Err(Errno::ENOTTY)) => Self::Unknowing,
            Some(Err(Errno::ENOTCONN | Errno::ECONNABORTED)) => Self::Dead,
            Some(Err(errno)) => Self::Unasked(errno),
            None => Self::Silence,
        })
    }
}

/// Whether the daemon of what lies at a mount's store's path is surely not the mount's own: that is over another directory, or dead.
pub fn is_without(mounted: &Mounted, disk: &Disk) -> bool {
    match Answer::within(&mounted.point) {
        Ok(Answer::Over(said)) => !is_at(mounted, disk, said),
        Ok(Answer::Dead) => true,
        _ => false,
    }
}

/// Whether a directory lies at the path of a mount's store; whoever opens what cannot be looked at says why that cannot be.
fn is_at(mounted: &Mounted, disk: &Disk, said: Said) -> bool {
    match disk.stat(&mounted.source) {
        Ok(found) => [found.device, found.inode] == said,
        Err(error) => !error.is_not_found(),
    }
}

/// Asks a mount, by a directory that lies in it, whether what lies at its store's path is the directory that it is over. A daemon of a version
/// before it could say so is taken at the path's word.
///
/// # Errors
/// It is another one or none, or that cannot be known.
pub fn check(mounted: &Mounted, within: &Path, disk: &Disk) -> Result<(), Error> {
    let (point, store) = (mounted.point.display(), mounted.source.display());
    let another = "name the directory of the store: --store DIR";
    let answer = Answer::within(within);
    match answer.map_err(|error| Error::new(format!("no process can be started: {error}"), NO_THREAD_CURE))? {
        Answer::Over(said) if is_at(mounted, disk, said) => Ok(()),
        Answer::Over(_) => Err(Error::refused(
            format!("mount '{point}' shows a store that does not lie at '{store}'"),
            format!("{another}; where it was moved away, mount it anew: braidfs umount {}", quoted_path(&mounted.point)),
        )),
        Answer::Unknowing => Ok(()),
        Answer::Dead => Err(Error::new(
            format!("mount '{point}' is dead: its daemon has ended, and whether its store is the one at '{store}' cannot be known"),
            format!("{another}; or take it away: braidfs umount {}", quoted_path(&mounted.point)),
        )),
        Answer::Unasked(errno) => {
            Err(Error::new(format!("mount '{point}' cannot be asked whether its store is the one at '{store}': {}", errno.desc()), another))
        }
        Answer::Silence => Err(Error::busy(
            format!("mount '{point}' does not answer, and whether its store is the one at '{store}' cannot be known"),
            format!("{another}; or end it: braidfs umount --force {}", quoted_path(&mounted.point)),
        )),
    }
}
