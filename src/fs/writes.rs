//! Files that are opened, written, closed, renamed and removed: decided by place. Views refuse every change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::format::draft::{DraftKind, parse_draft};
use crate::fs::attr::{Attr, Found, Ttl};
use crate::fs::checkpoints::{Checkpoints, HANDLES_FROM};
use crate::fs::ledger::Failure;
use crate::fs::names::{CHECKPOINTS, RECEIPTS, STAGING};
use crate::fs::own::Own;
use crate::fs::publish::Notice;
use crate::fs::receipt;
use crate::fs::refuse::Caller;
use crate::fs::staging::{Release, Staged, Staging, Unfinished, VERDICT_WAIT_MAX};
use crate::fs::{Fs, ROOT, locked};
use crate::model::Errno;

/// What setattr asks for; owner, mode and access time are accepted and change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new size.
    pub size: Option<u64>,
    /// Whether the modification time is set.
    pub touched: bool,
    /// Whether it is set to whatever the time is now.
    pub now: bool,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its handle; 0 for a view, which needs none.
    pub handle: u64,
    /// Whether reads and writes pass the kernel's cache by.
    pub direct: bool,
    /// Whether each close is to be told, not only the last one: a draft that was written is checked then.
    pub flushes: bool,
}

/// What answers while the index catches up, and all that is below it.
const AT_ONCE: [&str; 5] = ["README.md", ".ignore", "status.json", "metrics", "transactions"];

/// What `ESTALE` makes of an open(2): the kernel looks for the name once more, and makes the file if that is wanted.
fn looked_up_anew(error: Errno) -> Errno {
    if error == Errno::ENOENT { Errno::ESTALE } else { error }
}

/// Whether who opens a file with these flags may change it.
fn changes(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0
}

pub(super) fn is_at_once(path: &str) -> bool {
    path.is_empty() || AT_ONCE.contains(&path.split_once('/').map_or(path, |(first, _)| first))
}

impl Fs {
    /// Opens a file as it is now: a receipt whose verdict is on its way ([`Fs::open_wait`]) says so.
    ///
    /// # Errors
    /// `EROFS` for writing to a view, `EACCES` for others than the mounting user and root.
    pub fn open(&self, ino: u64, flags: i32, caller: Caller) -> Result<Opened, Errno> {
        locked(&self.looked_up_again).end(caller.pid);
        let writes = changes(flags);
        let own = self.own(ino)?;
        match own {
            Some(Own::Append | Own::Staged(_) | Own::Checkpoint(_)) if writes => self.may_append(caller)?,
            _ if writes => return Err(Errno::EROFS),
            _ => {}
        }
        let Some(own) = own else {
            self.known(&self.held(ino)?.identity.path)?;
            self.keep_state(ino)?;
            return Ok(Opened { handle: 0, direct: false, flushes: false });
        };
        let staging = self.staging()?;
        let flushes = writes && matches!(own, Own::Staged(_));
        let handle = match own {
            Own::Append => staging.open_append(),
            // Where the name went while its verdict was waited for, as after a second save of the same, the kernel looks it up anew.
            Own::Staged(id) => staging.open(&staging.find_id(id).ok_or(Errno::ESTALE)?, flags).map_err(looked_up_anew)?,
            Own::Error(of) => staging.open_text(staging.words(&of).ok_or(Errno::ENOENT)?.0.into_bytes()),
            Own::Receipt(of) => staging.open_text(staging.receipt(&of).ok_or(Errno::ENOENT)?),
            Own::Checkpoint(of) => self.checkpoints()?.open(&of, flags, false)?,
            Own::Staging | Own::Receipts | Own::Checkpoints => return Err(Errno::EISDIR),
        };
        Ok(Opened { handle, direct: true, flushes })
    }

    /// For how long at most opening an inode is to wait for a verdict that is on its way; none if it can be opened at once. Who waits by
    /// [`Fs::wait_verdict`] before takes no thread for it.
    #[must_use]
    pub fn open_wait(&self, ino: u64, flags: i32) -> Option<Duration> {
        let staging = self.staging().ok()?;
        match self.own(ino) {
            Ok(Some(Own::Receipt(of))) => staging.is_on_its_way(&of).then_some(VERDICT_WAIT_MAX),
            Ok(Some(Own::Staged(id))) if changes(flags) => staging.find_id(id).filter(|file| file.is_deciding()).map(|_| Duration::MAX),
            _ => None,
        }
    }

    /// How many verdicts are out.
    #[must_use]
    pub fn verdicts(&self) -> u64 {
        self.staging().map_or(0, Staging::verdicts)
    }

    /// Waits until more verdicts than `seen` are out, or until then at most.
    pub fn wait_verdict(&self, seen: u64, until: Option<Instant>) {
        if let Ok(staging) = self.staging() {
            staging.wait_next(seen, until);
        }
    }

    /// Wakes who waits for a verdict as if there were another one.
    pub fn look_again(&self) {
        if let Ok(staging) = self.staging() {
            staging.announce();
        }
    }

    /// Creates and opens a file.
    ///
    /// # Errors
    /// `EROFS` among the views, `EEXIST` for a name that is taken, `EACCES` for others than the mounting user and root.
    pub fn create(&self, parent: u64, name: &str, flags: i32, caller: Caller) -> Result<(Found, Opened), Errno> {
        if let Some(checkpoints) = self.checkpoints_at(parent)? {
            self.may_append(caller)?;
            if flags & libc::O_EXCL != 0 && checkpoints.size(name).is_ok() {
                return Err(Errno::EEXIST);
            }
            let handle = checkpoints.open(name, flags, true)?;
            let looked = self.look_up_own(&Own::Checkpoint(name.to_owned())).inspect_err(|_| checkpoints.release(handle))?;
            return Ok((looked.0, Opened { handle, direct: true, flushes: false }));
        }
        let staging = self.staging_at(parent, caller)?;
        let file = match staging.create(name) {
            // Somebody was faster.
            Err(Errno::EEXIST) if flags & libc::O_EXCL == 0 => staging.find(name).ok_or(Errno::EROFS)?,
            other => other?,
        };
        let handle = staging.open(&file, flags)?;
        let (found, _) = self.look_up_own(&Own::Staged(file.id()))?;
        Ok((found, Opened { handle, direct: true, flushes: changes(flags) }))
    }

    /// Creates a regular file without opening it.
    ///
    /// # Errors
    /// `EROFS` among the views, `EPERM` for anything but a regular file.
    pub fn make_node(&self, parent: u64, name: &str, mode: u32, caller: Caller) -> Result<(Found, u64), Errno> {
        let staging = self.staging_at(parent, caller)?;
        if mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Errno::EPERM);
        }
        let file = staging.create(name)?;
        self.look_up_own(&Own::Staged(file.id()))
    }

    /// The checkpoints if that is what a directory is.
    fn checkpoints_at(&self, parent: u64) -> Result<Option<&Arc<Checkpoints>>, Errno> {
        let path = self.directory_path(parent)?;
        Ok(self.checkpoints.as_ref().filter(|_| &*path == CHECKPOINTS))
    }

    /// The checkpoints if that is what a handle is of.
    fn checkpoints_of(&self, handle: u64) -> Option<&Arc<Checkpoints>> {
        self.checkpoints.as_ref().filter(|_| handle > HANDLES_FROM)
    }

    /// The staging area if that is what a directory is and someone may change it.
    fn staging_at(&self, parent: u64, caller: Caller) -> Result<&crate::fs::Staging, Errno> {
        if &*self.directory_path(parent)? != STAGING || self.staging.is_none() {
            return Err(self.refuse_node(parent));
        }
        self.may_append(caller)?;
        self.staging()
    }

    /// Reads at most `len` bytes of an open file.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `EIO` and its like when the store cannot be read.
    pub fn read(&self, ino: u64, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        match self.checkpoints_of(handle) {
            Some(checkpoints) => checkpoints.read(handle, offset, len),
            None if handle == 0 => self.read_view(ino, offset, len),
            None => self.staging()?.read(handle, offset, len),
        }
    }

    /// Writes to an open staged file.
    ///
    /// # Errors
    /// Why the file will not be committed, as far as can be told now.
    pub fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        match self.checkpoints_of(handle) {
            Some(checkpoints) => checkpoints.write(handle, offset, bytes),
            None => self.staging()?.write(handle, offset, bytes),
        }
    }

    /// Whether an inode is `append`.
    #[must_use]
    pub fn is_append(&self, ino: u64) -> bool {
        self.own(ino).is_ok_and(|own| own == Some(Own::Append))
    }

    /// Commits one line that was written to `append`; returns when it is durable and published.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn append(&self, line: &[u8]) -> Result<(), Errno> {
        let ledger = self.staging()?.ledger();
        let parsed = parse_draft(line, DraftKind::AppendWrite).inspect_err(|_| ledger.count_refused(1));
        let appended = parsed.map_err(Failure::Rejected).and_then(|draft| ledger.append(draft));
        match appended {
            Ok(_) => Ok(()),
            Err(failure) => {
                let rejection = failure.into_rejection("write the line again");
                tracing::info!(errno = %rejection.errno(), reason = %rejection, "a write to append is refused");
                Err(rejection.errno())
            }
        }
    }

    /// Whether the last close of a handle may commit something.
    #[must_use]
    pub fn may_commit(&self, handle: u64) -> bool {
        self.checkpoints_of(handle).is_none() && self.staging().is_ok_and(|staging| staging.may_commit(handle))
    }

    /// A file was closed, perhaps not for the last time. From now on who looks at the views that it concerns waits for the verdict;
    /// the notices make the kernel ask.
    pub fn flush(&self, handle: u64) -> (Vec<Notice>, Result<(), Errno>) {
        if self.checkpoints_of(handle).is_some() {
            return (Vec::new(), Ok(()));
        }
        let Ok(staging) = self.staging() else { return (Vec::new(), Ok(())) };
        match staging.flush(handle) {
            Err(errno) => {
                // No view will change, but the listing of `staging/` may.
                self.decisions.expect(handle);
                (Vec::new(), Err(errno))
            }
            Ok(None) => (Vec::new(), Ok(())),
            Ok(Some(concerned)) => {
                self.decisions.expect(handle);
                (self.doubtful(&concerned), Ok(()))
            }
        }
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) -> Release {
        if let Some(checkpoints) = self.checkpoints_of(handle) {
            checkpoints.release(handle);
            return Release::Done;
        }
        let released = self.staging().map_or(Release::Done, |staging| staging.release(handle));
        match &released {
            Release::Done => self.decisions.decided(handle),
            Release::Commit(file) => self.decisions.commit(handle, file.size()),
        }
        released
    }

    /// Decides over a file whose last handle this was. `shown` returns once the views show what was committed, `settle` once the
    /// kernel knows.
    pub fn decide(&self, handle: u64, file: &Arc<Staged>, shown: impl FnOnce(), settle: impl FnOnce()) {
        let _deciding = self.decisions.deciding(handle);
        if let Ok(staging) = self.staging() {
            staging.decide(file, || {
                shown();
                // Who waits may hold what the notices need.
                self.decisions.decided(handle);
                settle();
            });
        }
    }

    /// The mount has ended: commits what was closed, where the kernel had no time to tell that it was for the last time.
    pub fn finish_closed(&self) {
        let Ok(staging) = self.staging() else { return };
        for handle in staging.closed_handles() {
            if let Release::Commit(file) = self.release(handle) {
                self.decide(handle, &file, || (), || ());
            }
        }
    }

    /// Finishes what a daemon before has begun.
    pub fn finish(&self, unfinished: Unfinished, settle: &dyn Fn()) {
        if let Ok(staging) = self.staging() {
            staging.finish(unfinished, settle);
        }
    }

    /// Removes what time has made useless; returns when to come again.
    #[must_use]
    pub fn tend(&self, now: Instant) -> Duration {
        self.staging().map_or(Duration::MAX, |staging| staging.tend(now))
    }

    /// Makes an open file durable.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn sync(&self, handle: u64) -> Result<(), Errno> {
        match self.checkpoints_of(handle) {
            // Each number was durable when it was written.
            Some(_) => Ok(()),
            None if handle == 0 => Ok(()),
            None => self.staging()?.sync(handle),
        }
    }

    /// Makes an open file at least so long.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for punching holes and its like.
    pub fn allocate(&self, handle: u64, offset: u64, length: u64, mode: i32) -> Result<(), Errno> {
        match (handle, mode) {
            (0, _) => Err(Errno::EBADF),
            _ if self.checkpoints_of(handle).is_some() => Err(Errno::EOPNOTSUPP),
            (_, 0) => self.staging()?.extend(handle, offset.checked_add(length).ok_or(Errno::EFBIG)?),
            (_, libc::FALLOC_FL_KEEP_SIZE) => Ok(()),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Whether [`Fs::try_again`] may commit something.
    #[must_use]
    pub fn may_try_again(&self, ino: u64, changes: Changes) -> bool {
        let Ok(Some(Own::Staged(id))) = self.own(ino) else { return false };
        let is_asked = changes.now || changes.size.is_some();
        is_asked && self.staging().is_ok_and(|staging| staging.find_id(id).is_some_and(|file| file.is_committed_by_name()))
    }

    /// Tries a staged file again where setattr asks for that: by another size, or by the present time for what was refused, as `touch -c` sets it.
    /// A time that is stated is none: `cp -p` sends one behind its last close. `shown` and `settle` are as [`Fs::decide`] has them.
    ///
    /// # Errors
    /// Why it is refused once more.
    pub fn try_again(&self, ino: u64, changes: Changes, shown: impl FnOnce(), settle: impl FnOnce()) -> Result<(), Errno> {
        let Some(Own::Staged(id)) = self.own(ino)? else { return Ok(()) };
        let staging = self.staging()?;
        let Some(file) = staging.find_id(id) else { return Ok(()) };
        if changes.now {
            // The attempt before may be on its way.
            staging.wait_decided(&file);
        }
        if !file.is_tried(changes.now, changes.size.is_some()) {
            return Ok(());
        }
        // Whoever opens and closes it, as `touch` does, makes the same attempt.
        let Ok(handle) = staging.open(&file, libc::O_WRONLY) else { return Ok(()) };
        match self.release(handle) {
            Release::Done => Ok(()),
            Release::Commit(file) => {
                self.decide(handle, &file, shown, settle);
                staging.refused_by_path(&file).map_or(Ok(()), Err)
            }
        }
    }

    /// Changes size or times; [`Fs::try_again`] tells what follows from it.
    ///
    /// # Errors
    /// `EROFS` for a view, `EACCES` for others than the mounting user and root.
    pub fn set_attributes(&self, ino: u64, changes: Changes, caller: Caller) -> Result<(Attr, Ttl), Errno> {
        let own = self.own(ino)?.ok_or(Errno::EROFS)?;
        match &own {
            Own::Staged(id) => {
                self.may_append(caller)?;
                let staging = self.staging()?;
                let file = staging.find_id(*id).ok_or(Errno::ESTALE)?;
                if let Some(size) = changes.size {
                    staging.truncate(&file, size)?;
                }
                if changes.touched {
                    staging.touch(&file);
                }
            }
            // Truncating a file does nothing. Whoever copies a directory here gives it its mode and time at the end.
            Own::Append | Own::Checkpoint(_) | Own::Staging | Own::Checkpoints => self.may_append(caller)?,
            Own::Receipts => return Err(Errno::EPERM),
            Own::Error(_) | Own::Receipt(_) => return Err(Errno::EROFS),
        }
        Ok((self.own_attributes(ino, &own)?, Ttl::Ask))
    }

    /// Removes a name.
    ///
    /// # Errors
    /// `EROFS` for a view.
    pub fn unlink(&self, parent: u64, name: &str, caller: Caller) -> Result<(), Errno> {
        if let Some(checkpoints) = self.checkpoints_at(parent)? {
            self.may_append(caller)?;
            return checkpoints.unlink(name);
        }
        let directory = self.directory_path(parent)?;
        let own = self.staging.is_some() && matches!(&*directory, STAGING | RECEIPTS);
        if !own {
            return Err(Errno::EROFS);
        }
        self.may_append(caller)?;
        match &*directory {
            STAGING => self.staging()?.unlink(name),
            _ => {
                let (staging, of) = (self.staging()?, self.staging()?.receipt_of(name).ok_or(Errno::ENOENT)?);
                // Else the receipt of what is on its way would stand there again.
                staging.wait_verdict(&of);
                staging.forget_receipt(&of)
            }
        }
    }

    /// Renames. `settle` returns once the kernel knows the views.
    ///
    /// # Errors
    /// `EROFS` among the views, `EXDEV` between them and staging, else as [`crate::fs::Staging::rename`].
    pub fn rename(&self, from: (u64, &str), to: (u64, &str), flags: u32, caller: Caller, settle: impl FnOnce()) -> Result<(), Errno> {
        let is_staging = |path: &str| self.staging.is_some() && path == STAGING;
        let (left, right) = (self.directory_path(from.0)?, self.directory_path(to.0)?);
        match (is_staging(&left), is_staging(&right)) {
            (true, true) => {}
            (false, false) => return Err(Errno::EROFS),
            _ => return Err(Errno::EXDEV),
        }
        self.may_append(caller)?;
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL);
        }
        self.staging()?.rename(from.1, to.1, flags & libc::RENAME_NOREPLACE == 0, settle)
    }

    /// Whether a file was closed, and it is not known yet whether that was the last close.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.decisions.is_closing()
    }

    /// Whether a view's reader is to wait: a commit may be on its way, or the index does not know the view yet.
    #[must_use]
    pub fn waits(&self, ino: u64) -> bool {
        let (undecided, settled) = (self.decisions.is_open(), self.is_settled());
        // The root's names are always the same, and every path leads through it: who wants a receipt would wait twice.
        if ino == ROOT || (settled && !undecided) {
            return false;
        }
        let Ok(held) = self.held(ino) else { return false };
        if self.is_own_path(&held.identity.path) {
            return false;
        }
        undecided || !(settled || is_at_once(&held.identity.path))
    }

    /// Whether this is no view, but where something is written or told of that.
    #[must_use]
    pub fn is_own(&self, ino: u64) -> bool {
        self.held(ino).is_ok_and(|held| self.is_own_path(&held.identity.path))
    }

    /// Whether this is one of the views that change together.
    #[must_use]
    pub fn changes_together(&self, ino: u64) -> bool {
        let is_view = |path: &str| !self.is_own_path(path) && !is_at_once(path);
        ino != ROOT && self.held(ino).is_ok_and(|held| is_view(&held.identity.path))
    }

    /// Whether who lists a directory, or looks for a name in it that is not there, is to wait.
    #[must_use]
    pub fn waits_in(&self, parent: u64, name: Option<&str>) -> bool {
        let undecided = self.decisions.is_open();
        match self.own(parent) {
            Ok(Some(Own::Staging)) => undecided && name.is_none_or(|name| name.ends_with(receipt::ERROR_ENDING)),
            Ok(Some(Own::Receipts)) => undecided,
            // Only the index knows whether a file of another name is this transaction.
            _ => self.waits(parent) || (name.is_some() && parent != ROOT && !self.is_settled()),
        }
    }

    /// Opens a file after a wait, during which its name may have come to stand for another one.
    ///
    /// # Errors
    /// `ESTALE` then: the kernel looks the name up again and opens what it stands for now, once in a call; what it found is opened then, though
    /// the name be replaced again and again. Else as [`Fs::open`].
    pub fn open_after_wait(&self, ino: u64, flags: i32, caller: Caller) -> Result<Opened, Errno> {
        if self.is_replaced(ino) {
            let path = self.held(ino)?.identity.path;
            let mut again = locked(&self.looked_up_again);
            if !again.take(caller.pid, &path) {
                again.note(caller.pid, &path);
                return Err(Errno::ESTALE);
            }
        }
        self.open(ino, flags, caller)
    }

    /// Waits until no commit of the first `closes` is on its way, and until the index has caught up where what is shown needs it: a reader who
    /// waited for that in a directory which answers at once would keep its names from being told of.
    pub fn wait_for(&self, ino: u64, closes: u64) {
        let needs_index = self.needs_index(ino);
        self.decisions.wait(closes, || !needs_index || self.is_settled());
    }

    /// Whether what is shown there is known only once the index has caught up.
    #[must_use]
    pub fn needs_index(&self, ino: u64) -> bool {
        self.held(ino).is_ok_and(|held| !self.is_own_path(&held.identity.path) && !is_at_once(&held.identity.path))
    }

    /// Waits until no commit of the first `closes` is on its way and the index has caught up.
    pub fn wait_decided(&self, closes: u64) {
        self.decisions.wait(closes, || self.is_settled());
    }

    /// How many closes there were so far: whoever asks now waits for the verdicts about these.
    #[must_use]
    pub fn closes(&self) -> u64 {
        self.decisions.closes()
    }
}
