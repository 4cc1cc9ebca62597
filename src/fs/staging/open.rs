//! Opening, creating and closing staged files.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::disk::DiskFile;
use crate::fs::locked;
use crate::fs::staging::{Checking, Handle, Inner, Phase, Staged, Staging, now_ns};
use crate::model::Errno;
use crate::store::StagedName;

/// What closing a handle leads to.
pub enum Release {
    /// Nothing.
    Done,
    /// It was the last close of a name that is committed: [`Staging::decide`].
    Commit(Arc<Staged>),
}

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 255;

impl Staging {
    /// A name as one of a staged file.
    pub(super) fn staged_name(name: &str) -> Result<StagedName, Errno> {
        if crate::disk::os_name(name).len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        StagedName::new(name).ok_or(Errno::EINVAL)
    }

    /// Creates an empty file.
    ///
    /// # Errors
    /// `EEXIST` for a name that is taken.
    pub fn create(&self, name: &str) -> Result<Arc<Staged>, Errno> {
        let staged = Self::staged_name(name)?;
        if self.find(name).is_some() || self.error(name).is_some() {
            return Err(Errno::EEXIST);
        }
        // What was committed under it some seconds ago may still lie there.
        let before = locked(&self.state).names.get(name).cloned();
        if let Some(before) = before {
            self.drop_if_committed(name, &before);
        }
        self.files.create(&staged).map_err(|error| error.errno())?;
        Ok(self.insert(staged, 0, now_ns(), Phase::Open))
    }

    /// Takes up a file that is on disk.
    pub(super) fn insert(&self, name: StagedName, size: u64, mtime_ns: i128, phase: Phase) -> Arc<Staged> {
        let mut state = locked(&self.state);
        state.last += 1;
        let id = state.last;
        let text = name.as_str().to_owned();
        let inner = Inner {
            name: Some(name),
            file: None,
            size,
            mtime_ns,
            used: Instant::now(),
            openers: 0,
            writers: 0,
            phase,
            checking: Checking::default(),
            closed: false,
        };
        let file = Arc::new(Staged { id, inner: Mutex::new(inner) });
        state.names.insert(text, Arc::clone(&file));
        state.files.insert(id, Arc::clone(&file));
        file
    }

    /// Opens a file and returns its handle; waits for a verdict that is on its way.
    ///
    /// # Errors
    /// `ENOENT` when it is gone, what the disk answers otherwise.
    pub fn open(&self, file: &Arc<Staged>, flags: i32) -> Result<u64, Errno> {
        let (writes, cuts) = (flags & libc::O_ACCMODE != libc::O_RDONLY, flags & libc::O_TRUNC != 0);
        {
            // Until the writer is counted no decision may begin: what he writes would be lost with the file.
            let mut inner = if writes || cuts { self.lock_decided(file) } else { locked(&file.inner) };
            if cuts {
                self.cut(&mut inner, 0)?;
            }
            match self.ensure_open(&mut inner) {
                Err(errno) if is_denied(errno) && !writes => {}
                opened => drop(opened?),
            }
            // From here on nothing fails, so that who is counted gets a handle, whose last close is told.
            inner.openers += 1;
            inner.writers += u32::from(writes);
        }
        if writes {
            self.tell_idle_again();
        }
        let handle = Handle::Staged { file: Arc::clone(file), writes, appends: flags & libc::O_APPEND != 0 };
        Ok(self.add_handle(handle))
    }

    pub(super) fn add_handle(&self, handle: Handle) -> u64 {
        let mut state = locked(&self.state);
        state.last += 1;
        let number = state.last;
        state.handles.insert(number, handle);
        number
    }

    /// Opens a text that stays as it is: a receipt, or a refusal in plain words.
    pub fn open_text(&self, text: Vec<u8>) -> u64 {
        self.add_handle(Handle::Text(text.into()))
    }

    /// Opens `append`.
    pub fn open_append(&self) -> u64 {
        self.add_handle(Handle::Append)
    }

    /// Opens the bytes on disk if nobody has them open.
    pub(super) fn ensure_open<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut DiskFile, Errno> {
        if inner.file.is_none() {
            let name = inner.name.as_ref().ok_or(Errno::ENOENT)?;
            inner.file = Some(self.files.open(name).map_err(|error| error.errno())?);
        }
        inner.file.as_mut().ok_or(Errno::ENOENT)
    }

    /// Reads bytes on disk, also where they cannot be opened for writing any more.
    pub(super) fn read_at(&self, inner: &mut Inner, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let read = match self.ensure_open(inner) {
            Ok(file) => file.read_at(offset, len),
            Err(errno) if is_denied(errno) => self.files.read_at(inner.name.as_ref().ok_or(Errno::ENOENT)?, offset, len),
            Err(errno) => return Err(errno),
        };
        read.map_err(|error| error.errno())
    }

    /// The last close is still to come; this one may have been it, so that what is on its way is waited for.
    pub(super) fn handle(&self, handle: u64) -> Result<Handle, Errno> {
        locked(&self.state).handles.get(&handle).cloned().ok_or(Errno::EBADF)
    }

    /// Whether the last close of a handle may commit something.
    #[must_use]
    pub fn may_commit(&self, handle: u64) -> bool {
        matches!(self.handle(handle), Ok(Handle::Staged { file, writes: true, .. }) if file.is_committed_by_name())
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) -> Release {
        let Some(Handle::Staged { file, writes, .. }) = locked(&self.state).handles.remove(&handle) else {
            return Release::Done;
        };
        let commits = {
            let mut inner = locked(&file.inner);
            inner.openers = inner.openers.saturating_sub(1);
            inner.writers = inner.writers.saturating_sub(u32::from(writes));
            inner.used = Instant::now();
            if inner.openers == 0 {
                inner.file = None;
            }
            let named = inner.is_committed_by_name();
            let decides = writes && inner.writers == 0 && named && matches!(inner.phase, Phase::Open | Phase::Refused);
            if decides {
                inner.phase = Phase::Deciding;
            }
            decides
        };
        if commits { Release::Commit(file) } else { Release::Done }
    }

    /// The mount has ended, so nobody has anything open any more: the handles of files that were closed after their last write, whose
    /// last close the kernel did not tell.
    #[must_use]
    pub fn closed_handles(&self) -> Vec<u64> {
        let handles: Vec<(u64, Handle)> = locked(&self.state).handles.iter().map(|(number, handle)| (*number, handle.clone())).collect();
        let is_closed = |handle: &Handle| matches!(handle, Handle::Staged { file, writes: true, .. } if locked(&file.inner).closed);
        handles.into_iter().filter(|(_, handle)| is_closed(handle)).map(|(number, _)| number).collect()
    }

    /// Removes a name.
    ///
    /// # Errors
    /// `ENOENT` for a name that is not there.
    pub fn unlink(&self, name: &str) -> Result<(), Errno> {
        if let Some(file) = self.find(name) {
            self.wait_decided(&file);
            {
                // Whoever has it open keeps its bytes; they are not committed without a name.
                let mut inner = locked(&file.inner);
                if inner.openers > 0 {
                    self.ensure_open(&mut inner)?;
                }
            }
            self.dismiss(name);
            self.remove(name, &file)?;
            self.dismiss_of(name);
            self.tell_idle_again();
            return Ok(());
        }
        let of = self.error(name).ok_or(Errno::ENOENT)?;
        self.dismiss(&of);
        Ok(())
    }
}

/// Whether writing alone is what is refused: by a disk that takes no writes any more, or by what somebody did to the file.
fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EROFS | Errno::EACCES | Errno::EPERM)
}
