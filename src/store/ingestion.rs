//! The ingestion log: the order in which this replica first saw each event.
//!
//! `index/ingestion.log` is eventcore-fs's file, one line an event, numbers from 1. Of an event with several lines the
//! last one counts. Line N's event is all that is kept in memory.

mod parse;

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::disk::{self, Disk, DiskFile, Stat};
use crate::model::EventId;
use crate::store::{CommitLock, Store};

pub use parse::LogProblem;

/// So many bytes of the last lines are kept: each of them has an event's id.
const END_BYTES: usize = 128;

/// Why the log was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another program has changed it since it was last read.
    #[error("ingestion log has changed since it was read")]
    Changed,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// What [`IngestionLog::refresh`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing new.
    Same,
    /// Lines were added; the first new number.
    Grew(u64),
    /// It is another log: every number is to be looked at again.
    Replaced,
    /// It has lost lines, and nothing else stands in their place: every number stays what it is, and [`IngestionLog::rewrite`] writes it again.
    Lost,
}

/// What [`IngestionLog::repair`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing: the log ends with a line.
    Nothing,
    /// It cut off half a line.
    CutOff,
    /// It ended a line of which only its end was missing; [`IngestionLog::refresh`] reads it.
    Ended,
}

/// The numbers that this replica has given.
#[derive(Debug)]
pub struct IngestionLog {
    disk: Disk,
    path: PathBuf,
    file: Option<DiskFile>,
    /// The event of each number, from 1; nil for a number that was skipped by somebody.
    ids: Vec<EventId>,
    /// Bytes up to the end of the last whole line.
    whole_bytes: u64,
    /// The last of these.
    end: Vec<u8>,
    /// The facts of the file when it was last read or written; none if there is none.
    seen: Option<Stat>,
    synced: usize,
    problems: Vec<LogProblem>,
    digest: (usize, Sha256),
    /// Whether the file lacks lines that were read.
    is_lost: bool,
}

impl IngestionLog {
    /// Reads the log of a store, one of eventcore-fs included; a missing one is empty. Nothing is written.
    pub fn read(store: &Store) -> disk::Result<Self> {
        let mut log = Self::of(store)?;
        log.read_replaced()?;
        Ok(log)
    }

    /// The log of a store, of which nothing is read before [`IngestionLog::refresh`]; only that it can be read is made sure of.
    pub fn of(store: &Store) -> disk::Result<Self> {
        let log = Self::empty(store.disk().clone(), store.layout().ingestion_log());
        match log.disk.read_at(&log.path, 0, 1) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(log),
        }
    }

    fn empty(disk: Disk, path: PathBuf) -> Self {
        Self {
            disk,
            path,
            file: None,
            ids: Vec::new(),
            whole_bytes: 0,
            end: Vec::new(),
            seen: None,
            synced: 0,
            problems: Vec::new(),
            digest: (0, Sha256::new()),
            is_lost: false,
        }
    }

    /// Takes bytes that follow the last whole line.
    fn take(&mut self, bytes: &[u8]) {
        let whole = parse::parse_lines(bytes, &mut self.ids, &mut self.problems);
        self.whole_bytes += whole;
        self.note_end(usize::try_from(whole).ok().and_then(|whole| bytes.get(..whole)).unwrap_or_default());
    }

    /// Keeps the end of whole lines that were read or written behind the others.
    fn note_end(&mut self, lines: &[u8]) {
        self.end.extend_from_slice(lines.get(lines.len().saturating_sub(END_BYTES)..).unwrap_or_default());
        self.end.drain(..self.end.len().saturating_sub(END_BYTES));
    }

    /// Looks whether the lines that were read still stand where they did, as far as the last of them tells: another program may have
    /// written another log over this one, of the same length even. Then the next [`IngestionLog::refresh`] reads all of it.
    pub fn distrust(&mut self) {
        if self.is_lost {
            return;
        }
        let start = self.whole_bytes - self.end.len() as u64;
        // An error tells nothing.
        if self.disk.read_at(&self.path, start, self.end.len()).is_ok_and(|end| end != self.end) {
            self.seen = None;
        }
    }

    /// The events in the order of their numbers, the first one has number 1.
    #[must_use]
    pub fn ids(&self) -> &[EventId] {
        &self.ids
    }

    /// The largest number given; 0 if none.
    #[must_use]
    pub fn latest_seq_nr(&self) -> u64 {
        self.ids.len() as u64
    }

    /// The largest number whose line was synced by us, with all before it; 0 if none.
    #[must_use]
    pub fn synced_seq_nr(&self) -> u64 {
        self.synced as u64
    }

    /// What is odd about the log, in its order.
    #[must_use]
    pub fn problems(&self) -> &[LogProblem] {
        &self.problems
    }

    /// Whether the log ends in the middle of a line, which the next append repairs.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        !self.is_lost && self.seen.is_some_and(|stat| stat.size != self.whole_bytes)
    }

    /// Whether the file lacks lines that were read: nothing is appended to it before [`IngestionLog::rewrite`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Reads what was appended since, by whomever; cheap if nothing was.
    pub fn refresh(&mut self) -> disk::Result<Refreshed> {
        let now = self.disk.stat_if_present(&self.path)?;
        let (Some(now), Some(seen)) = (now, self.seen) else {
            let changed = now.is_some() || self.seen.is_some();
            return if changed { self.read_replaced() } else { Ok(Refreshed::Same) };
        };
        let is_another = (now.device, now.inode) != (seen.device, seen.inode);
        if !is_another && now.size == seen.size {
            return Ok(Refreshed::Same);
        }
        if is_another || self.is_lost || now.size < self.whole_bytes {
            return self.read_replaced();
        }
        let bytes = self.disk.read_at(&self.path, self.whole_bytes - self.end.len() as u64, usize::MAX)?;
        // It did not grow where something else stands before.
        let Some(bytes) = bytes.strip_prefix(&self.end[..]) else { return self.read_replaced() };
        let before = self.ids.len();
        self.seen = Some(Stat { size: self.whole_bytes + bytes.len() as u64, ..now });
        self.take(bytes);
        Ok(if self.ids.len() == before { Refreshed::Same } else { Refreshed::Grew(before as u64 + 1) })
    }

    fn read_replaced(&mut self) -> disk::Result<Refreshed> {
        let mut found = Self::empty(self.disk.clone(), self.path.clone());
        match self.disk.read_with_stat(&self.path) {
            Ok((bytes, stat)) => {
                found.take(&bytes);
                found.seen = Some(Stat { size: bytes.len() as u64, ..stat });
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        if found.ids.len() < self.ids.len() && self.ids.starts_with(&found.ids) {
            (self.file, self.seen, self.synced, self.is_lost) = (None, found.seen, 0, true);
            return Ok(Refreshed::Lost);
        }
        *self = found;
        Ok(Refreshed::Replaced)
    }

    /// Gives the next numbers to `ids`, in that order; answers the first of them. Nothing is synced.
    ///
    /// Errors with [`LogError::Changed`] when another program has appended since the last [`IngestionLog::refresh`], or the last line
    /// had to be ended, or it has lost lines. A torn end is cut off before. After an error no number was given.
    pub fn append(&mut self, _lock: &CommitLock, ids: &[EventId]) -> Result<u64, LogError> {
        let first = self.latest_seq_nr() + 1;
        if ids.is_empty() {
            return Ok(first);
        }
        if self.is_lost {
            return Err(LogError::Changed);
        }
        if self.end_last_line()? {
            return Err(LogError::Changed);
        }
        let lines = parse::lines_of(ids, first);
        self.write_end(&lines)?;
        self.ids.extend_from_slice(ids);
        Ok(first)
    }

    /// Cuts off a torn end, with which eventcore-fs could not open the store. Where that is a whole line but for its end, eventcore-fs
    /// has given its number to its event, and so it stays.
    ///
    /// Errors with [`LogError::Changed`] as [`IngestionLog::append`] does.
    pub fn repair(&mut self, _lock: &CommitLock) -> Result<Repaired, LogError> {
        if self.end_last_line()? {
            return Ok(Repaired::Ended);
        }
        let torn = self.is_torn();
        if torn {
            self.write_end(&[])?;
        }
        Ok(if torn { Repaired::CutOff } else { Repaired::Nothing })
    }

    /// Ends the last line, if only its end is missing; tells whether it was.
    fn end_last_line(&mut self) -> Result<bool, LogError> {
        let Some(seen) = self.seen.filter(|_| self.is_torn()) else { return Ok(false) };
        let end = self.disk.read_at(&self.path, self.whole_bytes, usize::try_from(seen.size - self.whole_bytes).unwrap_or(usize::MAX))?;
        if !parse::is_whole_line(&end, self.ids.len()) {
            return Ok(false);
        }
        self.refuse_changed()?;
        self.open()?.write_at(seen.size, b"\n")?;
        Ok(true)
    }

    /// The facts of the file, if they are those that were seen.
    fn refuse_changed(&self) -> Result<Option<Stat>, LogError> {
        let mark = |stat: Option<Stat>| stat.map(|stat| (stat.device, stat.inode, stat.size));
        let now = self.disk.stat_if_present(&self.path)?;
        if mark(now) == mark(self.seen) { Ok(now) } else { Err(LogError::Changed) }
    }

    fn write_end(&mut self, lines: &[u8]) -> Result<(), LogError> {
        let now = self.refuse_changed()?;
        let whole = self.whole_bytes;
        let torn = self.is_torn();
        let file = self.open()?;
        // Asked before anything is written: lines that are there have their numbers.
        let before = now.map_or_else(|| file.stat(), Ok)?;
        let written = if torn { file.truncate(whole) } else { Ok(()) }.and_then(|()| file.write_at(whole, lines));
        if let Err(error) = written {
            // What remains of it is a torn end, which the next append cuts off.
            let _ = file.truncate(whole);
            self.seen = self.disk.stat_if_present(&self.path).ok().flatten();
            return Err(error.into());
        }
        let end = whole + lines.len() as u64;
        self.seen = Some(Stat { size: end, ..before });
        self.whole_bytes = end;
        self.note_end(lines);
        Ok(())
    }

    fn open(&mut self) -> disk::Result<&mut DiskFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                if let Some(dir) = self.path.parent() {
                    self.disk.create_dir(dir)?;
                }
                self.disk.open_or_create(&self.path)?
            }
        };
        Ok(self.file.insert(file))
    }

    /// Makes every line durable that is there; afterwards [`IngestionLog::synced_seq_nr`] is the latest number.
    ///
    /// Not a change: it may be done while another program holds the lock. Of a log that has lost lines there is nothing to make durable.
    pub fn sync(&mut self) -> disk::Result<()> {
        if self.synced == self.ids.len() || self.is_lost {
            return Ok(());
        }
        // Its name is not known to be durable until we have made it so once.
        let first = self.synced == 0;
        self.open()?.sync_data()?;
        if first {
            for dir in self.path.ancestors().skip(1).take(2) {
                self.disk.sync_dir(dir)?;
            }
        }
        self.synced = self.ids.len();
        Ok(())
    }

    /// The same, if the line of this number is not known to be durable.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn sync_upto(&mut self, seq_nr: u64) -> disk::Result<()> {
        if seq_nr <= self.synced_seq_nr() { Ok(()) } else { self.sync() }
    }

    /// Writes the whole log anew, durably, after somebody removed or damaged the file: every number stays what it is.
    ///
    /// Afterwards the file has a line for each number, and nothing odd.
    pub fn rewrite(&mut self, _lock: &CommitLock) -> disk::Result<()> {
        if let Some(dir) = self.path.parent() {
            self.disk.create_dir(dir)?;
        }
        let lines = parse::lines_of(&self.ids, 1);
        self.disk.replace_durably(&self.path, &self.path.with_extension("log.tmp"), &lines)?;
        self.file = None;
        self.seen = Some(self.disk.stat(&self.path)?);
        self.whole_bytes = lines.len() as u64;
        self.end.clear();
        self.note_end(&lines);
        self.problems.clear();
        (self.synced, self.is_lost) = (0, false);
        self.sync()
    }

    /// The digest of the first `seq_nr` events in their order: it tells one log from another. None beyond the end.
    ///
    /// Costs what lies between the last question and this one, or all of it for a smaller number.
    pub fn digest_upto(&mut self, seq_nr: u64) -> Option<[u8; 32]> {
        let end = usize::try_from(seq_nr).ok()?;
        if end < self.digest.0 {
            self.digest = (0, Sha256::new());
        }
        let (start, hasher) = &mut self.digest;
        self.ids.get(*start..end)?.iter().for_each(|id| hasher.update(id.as_bytes()));
        *start = end;
        Some(hasher.clone().finalize().into())
    }
}

/// The UUID of a number: the number in the first 8 bytes, big-endian, then zeros, as eventcore-fs has it.
#[must_use]
pub fn position_of_seq_nr(seq_nr: u64) -> Uuid {
    Uuid::from_u128(u128::from(seq_nr) << 64)
}

/// The number of a UUID that [`position_of_seq_nr`] made, whatever its last 8 bytes are.
#[must_use]
pub fn seq_nr_of_position(position: Uuid) -> u64 {
    position.as_u64_pair().0
}

#[cfg(test)]
mod tests;
