//! `checkpoints/` of a writable mount: a subscription's number as a file, and flock(2) on it as its leadership.
//!
//! A number is saved in the write(2) that brings it. Whoever locks the file holds the lock on disk that
//! other programs respect; it is given back when the last owner in this mount has unlocked or closed.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::braid::Braid;
use crate::format::names::{Decoded, decode_file_name, file_name};
use crate::fs::locked;
use crate::fs::locks::{Granted, Lock, LockKind};
use crate::model::Errno;

/// Handles of checkpoints are above this, those of staged files below.
pub const HANDLES_FROM: u64 = 1 << 62;

/// A number has at most 20 digits; white space around it is let through.
const TEXT_BYTES_MAX: usize = 64;

/// How often a lock that another program holds is tried again for those who wait.
const RETRY: Duration = Duration::from_millis(20);

/// What keeps checkpoints: the seam to `braid`, so that tests can stand in for it.
pub trait Cursors: Send + Sync {
    /// The subscriptions that have a number.
    fn names(&self) -> Vec<String>;

    /// The number of a subscription, if it has one.
    ///
    /// # Errors
    /// `ESTALE` if it belongs to another ingestion log.
    fn number(&self, name: &str) -> Result<Option<u64>, Errno>;

    /// Saves a number durably.
    ///
    /// # Errors
    /// `EINVAL` if it is beyond the end or behind the saved one.
    fn save(&self, name: &str, seq_nr: u64) -> Result<(), Errno>;

    /// Forgets a number durably; false if there was none.
    ///
    /// # Errors
    /// What the disk answered.
    fn forget(&self, name: &str) -> Result<bool, Errno>;

    /// Takes the leadership until what is returned is dropped; none if somebody has it.
    ///
    /// # Errors
    /// What the disk answered.
    fn lead(&self, name: &str) -> Result<Option<Box<dyn Any + Send>>, Errno>;
}

impl Cursors for Braid {
    fn names(&self) -> Vec<String> {
        self.store().checkpoint_names().unwrap_or_default()
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Errno> {
        match self.checkpoint(name).map_err(|error| error.errno())? {
            None => Ok(None),
            Some(_) => self.cursor(name).map(Some).map_err(|error| error.errno()),
        }
    }

    fn save(&self, name: &str, seq_nr: u64) -> Result<(), Errno> {
        self.save_checkpoint(name, seq_nr, false).map_err(|error| {
            tracing::info!(%error, hint = error.hint(), "a checkpoint is refused");
            error.errno()
        })
    }

    fn forget(&self, name: &str) -> Result<bool, Errno> {
        self.forget_checkpoint(name).map_err(|error| error.errno())
    }

    fn lead(&self, name: &str) -> Result<Option<Box<dyn Any + Send>>, Errno> {
        let led = Braid::lead(self, name).map_err(|error| error.errno())?;
        Ok(led.map(|guard| Box::new(guard) as Box<dyn Any + Send>))
    }
}

/// The checkpoints of a mount.
pub struct Checkpoints {
    cursors: Arc<dyn Cursors>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    handles: HashMap<u64, Open>,
    leads: HashMap<String, Lead>,
    /// Whether a thread tries again for those who wait.
    retries: bool,
}

/// An open checkpoint.
struct Open {
    name: String,
    text: Vec<u8>,
    /// Whether `text` was written by this handle and has no line end yet.
    begun: bool,
}

/// Who of this mount leads a subscription, and who waits for it.
#[derive(Default)]
struct Lead {
    owners: HashMap<u64, Lock>,
    guard: Option<Box<dyn Any + Send>>,
    waiting: VecDeque<(u64, Lock, Granted)>,
}

impl Lead {
    /// Gives an owner the lock if nobody has it, here or elsewhere.
    fn take(&mut self, cursors: &dyn Cursors, name: &str, owner: u64, lock: Lock) -> Result<bool, Errno> {
        let mut others = self.owners.iter().filter(|(holder, _)| **holder != owner);
        if others.any(|(_, held)| lock.kind == LockKind::Exclusive || held.kind == LockKind::Exclusive) {
            return Ok(false);
        }
        if self.guard.is_none() {
            self.guard = cursors.lead(name)?;
        }
        if self.guard.is_some() {
            self.owners.insert(owner, lock);
        }
        Ok(self.guard.is_some())
    }

    /// Takes those off the queue who are answered now, in the order in which they came.
    fn promote(&mut self, cursors: &dyn Cursors, name: &str) -> Vec<(Granted, Result<(), Errno>)> {
        let mut answered = Vec::new();
        while let Some(&(owner, lock, _)) = self.waiting.front() {
            let result = match self.take(cursors, name, owner, lock) {
                Ok(false) => break,
                Ok(true) => Ok(()),
                Err(errno) => Err(errno),
            };
            answered.extend(self.waiting.pop_front().map(|(_, _, granted)| (granted, result)));
        }
        answered
    }
}

fn parse_number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    // No sign: from_str takes one.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn answer(answers: Vec<(Granted, Result<(), Errno>)>) {
    answers.into_iter().for_each(|(granted, result)| granted(result));
}

impl Checkpoints {
    /// The checkpoints that `cursors` keeps.
    #[must_use]
    pub fn new(cursors: Arc<dyn Cursors>) -> Arc<Self> {
        Arc::new(Self { cursors, state: Mutex::default() })
    }

    /// The names in the directory: of those that have a number, and of those that are open without one.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let mut names = self.cursors.names();
        names.extend(locked(&self.state).handles.values().map(|open| open.name.clone()));
        let mut files: Vec<String> = names.iter().map(|name| file_name(name, "")).collect();
        files.sort();
        files.dedup();
        files
    }

    /// The subscription that a file's name stands for.
    fn subscription(&self, file: &str) -> Option<String> {
        match decode_file_name(file, "")? {
            Decoded::Exact(name) => Some(name).filter(|name| !name.is_empty()),
            Decoded::Cut => self.cursors.names().into_iter().find(|name| file_name(name, "") == file),
        }
    }

    /// The bytes of a file: the number and a line end, or nothing if it is open and has none.
    ///
    /// # Errors
    /// `ENOENT` if there is none, `ESTALE` for an orphaned one.
    pub fn text(&self, file: &str) -> Result<Vec<u8>, Errno> {
        let name = self.subscription(file).ok_or(Errno::ENOENT)?;
        match self.cursors.number(&name)? {
            Some(seq_nr) => Ok(format!("{seq_nr}\n").into_bytes()),
            None if locked(&self.state).handles.values().any(|open| open.name == name) => Ok(Vec::new()),
            None => Err(Errno::ENOENT),
        }
    }

    /// The size that stat(2) shows; an orphaned one can be seen and removed, not read.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    pub fn size(&self, file: &str) -> Result<u64, Errno> {
        match self.text(file) {
            Ok(text) => Ok(text.len() as u64),
            Err(Errno::ENOENT) => Err(Errno::ENOENT),
            Err(_) => Ok(0),
        }
    }

    /// Opens a file and returns its handle; `creates` also where there is no number yet.
    ///
    /// # Errors
    /// `ENOENT` if there is none, `EINVAL` for a name that no subscription has, `ESTALE` to read an orphaned one.
    pub fn open(&self, file: &str, flags: i32, creates: bool) -> Result<u64, Errno> {
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let name = self.subscription(file).ok_or(if creates { Errno::EINVAL } else { Errno::ENOENT })?;
        let text = match self.text(file) {
            Ok(text) => text,
            Err(Errno::ENOENT) if creates => Vec::new(),
            // What is orphaned may be written over with force only; saving says so.
            Err(Errno::ESTALE) if writes => Vec::new(),
            Err(errno) => return Err(errno),
        };
        let mut state = locked(&self.state);
        state.last += 1;
        let handle = HANDLES_FROM + state.last;
        state.handles.insert(handle, Open { name, text, begun: false });
        Ok(handle)
    }

    /// Reads at most `len` bytes of what the file holds, as of the last reading from its beginning: who opens it and then waits for the
    /// lock reads what the one before has saved.
    ///
    /// # Errors
    /// `EBADF` for a handle that is not open, `ESTALE` for an orphaned one.
    pub fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let name = {
            let state = locked(&self.state);
            let open = state.handles.get(&handle).ok_or(Errno::EBADF)?;
            (offset == 0 && !open.begun).then(|| open.name.clone())
        };
        let now = name.map(|name| self.cursors.number(&name)).transpose()?;
        let mut state = locked(&self.state);
        let open = state.handles.get_mut(&handle).ok_or(Errno::EBADF)?;
        if let Some(number) = now {
            open.text = number.map_or_else(Vec::new, |seq_nr| format!("{seq_nr}\n").into_bytes());
        }
        let text = &open.text;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        Ok(text.get(start..start.saturating_add(len).min(text.len())).unwrap_or_default().to_vec())
    }

    /// Writes a number, which is saved at once: a shell hears what write(2) answers, not what close(2) does.
    ///
    /// # Errors
    /// `EINVAL` if it is no number, beyond the end or behind the saved one.
    pub fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (name, text, before) = {
            let mut state = locked(&self.state);
            let open = state.handles.get_mut(&handle).ok_or(Errno::EBADF)?;
            // A line that is ended is done with: the next write is the next number, wherever the offset stands.
            let start = if open.begun { usize::try_from(offset).unwrap_or(usize::MAX) } else { 0 };
            let end = start.saturating_add(bytes.len());
            if start > open.text.len() || end > TEXT_BYTES_MAX {
                return Err(Errno::EINVAL);
            }
            let before = open.text.clone();
            open.text.truncate(start);
            open.text.extend_from_slice(bytes);
            open.begun = !bytes.ends_with(b"\n");
            (open.name.clone(), open.text.clone(), before)
        };
        let saved = parse_number(&text).ok_or(Errno::EINVAL).and_then(|seq_nr| self.cursors.save(&name, seq_nr));
        if saved.is_err()
            && let Some(open) = locked(&self.state).handles.get_mut(&handle)
        {
            (open.text, open.begun) = (before, false);
        }
        saved
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) {
        locked(&self.state).handles.remove(&handle);
    }

    /// Forgets a subscription's number.
    ///
    /// # Errors
    /// `ENOENT` if it has none.
    pub fn unlink(&self, file: &str) -> Result<(), Errno> {
        let name = self.subscription(file).ok_or(Errno::ENOENT)?;
        let open = locked(&self.state).handles.values().any(|open| open.name == name);
        // One that is only open has no number to be forgotten.
        if self.cursors.forget(&name)? || open { Ok(()) } else { Err(Errno::ENOENT) }
    }

    /// Locks a file for an owner, or answers `EAGAIN`; one who waits is answered when its turn has come.
    pub fn lock(self: &Arc<Self>, file: &str, owner: u64, lock: Lock, wait: bool, granted: Granted) {
        let Some(name) = self.subscription(file) else { return granted(Err(Errno::ENOENT)) };
        let answered = {
            let mut state = locked(&self.state);
            let lead = state.leads.entry(name.clone()).or_default();
            match lead.take(&*self.cursors, &name, owner, lock) {
                Ok(true) => {
                    let mut answered = vec![(granted, Ok(()))];
                    // One who turned an exclusive lock into a shared one lets others in.
                    answered.extend(lead.promote(&*self.cursors, &name));
                    answered
                }
                Ok(false) if wait => {
                    // Who waits holds nothing, as flock(2) says.
                    lead.owners.remove(&owner);
                    lead.waiting.push_back((owner, lock, granted));
                    self.retry(&mut state);
                    Vec::new()
                }
                Ok(false) => vec![(granted, Err(Errno::EAGAIN))],
                Err(errno) => vec![(granted, Err(errno))],
            }
        };
        answer(answered);
        self.tidy(&name);
    }

    /// Gives up what an owner holds or waits for.
    pub fn unlock(&self, file: &str, owner: u64) {
        let Some(name) = self.subscription(file) else { return };
        let mut answered = Vec::new();
        if let Some(lead) = locked(&self.state).leads.get_mut(&name) {
            lead.owners.remove(&owner);
            let (gone, waiting): (VecDeque<_>, VecDeque<_>) = lead.waiting.drain(..).partition(|(waiter, ..)| *waiter == owner);
            lead.waiting = waiting;
            answered.extend(gone.into_iter().map(|(_, _, granted)| (granted, Err(Errno::EINTR))));
            answered.extend(lead.promote(&*self.cursors, &name));
        }
        answer(answered);
        self.tidy(&name);
    }

    /// Gives the lock on disk back once nobody here holds it.
    fn tidy(&self, name: &str) {
        let mut state = locked(&self.state);
        if let Some(lead) = state.leads.get_mut(name)
            && lead.owners.is_empty()
        {
            lead.guard = None;
            if lead.waiting.is_empty() {
                state.leads.remove(name);
            }
        }
    }

    /// Sees to it that those who wait for other programs are answered.
    fn retry(self: &Arc<Self>, state: &mut State) {
        if state.retries {
            return;
        }
        let checkpoints = Arc::clone(self);
        let thread = std::thread::Builder::new().name("braidfs-leads".to_owned());
        state.retries = thread.spawn(move || while checkpoints.try_again() {}).is_ok();
    }

    /// False once nobody waits.
    fn try_again(&self) -> bool {
        std::thread::sleep(RETRY);
        let mut answered = Vec::new();
        let goes_on = {
            let mut state = locked(&self.state);
            for (name, lead) in &mut state.leads {
                answered.extend(lead.promote(&*self.cursors, name));
            }
            state.retries = state.leads.values().any(|lead| !lead.waiting.is_empty());
            state.retries
        };
        answer(answered);
        goes_on
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
