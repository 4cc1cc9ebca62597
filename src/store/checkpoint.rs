//! Checkpoints: subscriptions' cursors, in eventcore-fs's files, and leadership as a lock beside them.
//!
//! Such a file holds a UUID of which only the first 8 bytes count, the number. In the others, where eventcore-fs has zeros,
//! ours say to which ingestion log it belongs: the beginning of the digest of all events up to the number. So a cursor
//! that was carried to another log is known for what it is, and its order against eventcore-fs's positions is the same.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::disk::{self, LockGuard};
use crate::model::Errno;
use crate::store::{IngestionLog, Mode, Store, seq_nr_of_position};

/// The longest name of a subscription, in bytes: twice that and the endings fit into a file's name.
pub const CHECKPOINT_NAME_BYTES_MAX: usize = 123;

/// How long one save waits for another.
const SAVE_WAIT: Duration = Duration::from_secs(5);

/// Whether a checkpoint can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was saved by us against this ingestion log.
    Belongs,
    /// It was written by another program; its number is within this log.
    Foreign,
    /// It was saved against another ingestion log, or is beyond the end of this one.
    Orphaned,
}

/// A subscription's cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The subscription.
    pub name: String,
    /// The last number that it has dealt with; 0 for none.
    pub seq_nr: u64,
    /// Whether it can be relied on.
    pub standing: Standing,
}

/// Why a checkpoint was not read or saved.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The name cannot be one.
    #[error("checkpoint name of {0} bytes is not between 1 and {CHECKPOINT_NAME_BYTES_MAX} bytes long")]
    Name(usize),
    /// The file holds something else.
    #[error("checkpoint \"{0}\" holds no position")]
    Unreadable(String),
    /// The number was not given yet.
    #[error("checkpoint \"{name}\" at {seq_nr} is beyond the latest number {latest}")]
    Beyond {
        /// The subscription.
        name: String,
        /// What was to be saved.
        seq_nr: u64,
        /// The latest number.
        latest: u64,
    },
    /// Events that wait for their numbers cannot have them now.
    #[error("checkpoint \"{name}\" at {seq_nr} is beyond the numbers that were given; more cannot be given: {why}")]
    Unnumbered {
        /// The subscription.
        name: String,
        /// What was to be saved.
        seq_nr: u64,
        /// What a system call reports.
        errno: Errno,
        /// Who or what stands in the way.
        why: String,
    },
    /// The number is smaller than the saved one.
    #[error("checkpoint \"{name}\" at {seq_nr} is behind the saved number {saved}")]
    Behind {
        /// The subscription.
        name: String,
        /// What was to be saved.
        seq_nr: u64,
        /// What is saved.
        saved: u64,
    },
    /// What is saved belongs to another log.
    #[error("checkpoint \"{name}\" at {saved} belongs to another ingestion log")]
    Orphaned {
        /// The subscription.
        name: String,
        /// What is saved.
        saved: u64,
    },
    /// Somebody else is saving for too long.
    #[error("checkpoint \"{0}\" is being saved by another process")]
    Busy(String),
    /// The store was closed meanwhile.
    #[error("checkpoint \"{0}\" cannot be reached: the store was closed")]
    Closed(String),
    /// The store was opened for reading only.
    #[error("checkpoint \"{0}\" cannot be changed: the store is open for reading only")]
    ReadOnly(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl CheckpointError {
    /// The error number that a system call reports for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Name(0) | Self::Beyond { .. } | Self::Behind { .. } => Errno::EINVAL,
            Self::Name(_) => Errno::ENAMETOOLONG,
            Self::Orphaned { .. } => Errno::ESTALE,
            Self::Unreadable(_) | Self::Closed(_) => Errno::EIO,
            Self::Busy(_) => Errno::EBUSY,
            Self::Unnumbered { errno, .. } => *errno,
            Self::ReadOnly(_) => Errno::EROFS,
            Self::Disk(error) => error.errno(),
        }
    }

    /// The cure; may be empty.
    #[must_use]
    pub fn hint(&self) -> String {
        let what = match self {
            Self::Disk(error) => return error.hint(),
            Self::Behind { .. } => "add --force to read those events again",
            Self::Orphaned { .. } | Self::Unreadable(_) => "forget it and read from the start, or set it with --force",
            Self::Busy(_) | Self::Unnumbered { errno: Errno::EBUSY, .. } => "try again",
            Self::Beyond { .. } => "braidfs feed --last 1 shows the latest number",
            Self::Unnumbered { .. } | Self::Name(_) | Self::ReadOnly(_) | Self::Closed(_) => "",
        };
        what.to_owned()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn unhex(hex: &str) -> Option<String> {
    let digits = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let name = String::from_utf8(digits.collect::<Option<Vec<u8>>>()?).ok()?;
    // Upper case, or half a digit, would be another name's file.
    (self::hex(name.as_bytes()) == hex).then_some(name)
}

fn checked(name: &str) -> Result<String, CheckpointError> {
    match name.len() {
        1..=CHECKPOINT_NAME_BYTES_MAX => Ok(hex(name.as_bytes())),
        bytes => Err(CheckpointError::Name(bytes)),
    }
}

impl Store {
    /// A subscription's checkpoint, or none.
    pub fn checkpoint(&self, name: &str, log: &mut IngestionLog) -> Result<Option<Checkpoint>, CheckpointError> {
        let Some(position) = self.read_position(name)? else { return Ok(None) };
        let standing = standing(position, log);
        Ok(Some(Checkpoint { name: name.to_owned(), seq_nr: seq_nr_of_position(position), standing }))
    }

    fn read_position(&self, name: &str) -> Result<Option<Uuid>, CheckpointError> {
        let file = self.checkpoint_file(name)?;
        let Some(bytes) = self.disk().read_if_present(&file)? else { return Ok(None) };
        Uuid::try_parse_ascii(bytes.trim_ascii()).map(Some).map_err(|_| CheckpointError::Unreadable(name.to_owned()))
    }

    fn checkpoint_file(&self, name: &str) -> Result<PathBuf, CheckpointError> {
        Ok(self.layout().checkpoints().join(format!("{}.json", checked(name)?)))
    }

    /// Every checkpoint that can be read, by the number, and of each other one why it cannot; costs one pass over the log.
    ///
    /// # Errors
    /// The directory cannot be listed.
    #[allow(clippy::type_complexity)]
    pub fn checkpoints(&self, log: &mut IngestionLog) -> disk::Result<(Vec<Checkpoint>, Vec<(String, CheckpointError)>)> {
        let (mut read, mut unread) = (Vec::new(), Vec::new());
        for name in self.checkpoint_names()? {
            match self.read_position(&name) {
                Ok(position) => read.extend(position.map(|position| (seq_nr_of_position(position), name, position))),
                Err(error) => unread.push((name, error)),
            }
        }
        read.sort();
        let checkpoint = |(seq_nr, name, position)| Checkpoint { name, seq_nr, standing: standing(position, log) };
        Ok((read.into_iter().map(checkpoint).collect(), unread))
    }

    /// Saves a checkpoint durably; first makes the log durable up to it, so that the number stays what it is.
    ///
    /// Unless forced, it must not be behind the saved one, and that one must belong to this log. Never beyond the end.
    pub fn save_checkpoint(&self, name: &str, seq_nr: u64, log: &mut IngestionLog, force: bool) -> Result<(), CheckpointError> {
        let file = self.checkpoint_file(name)?;
        let guard = self.lock_checkpoints(name)?;
        let beyond = || CheckpointError::Beyond { name: name.to_owned(), seq_nr, latest: log.latest_seq_nr() };
        if seq_nr > log.latest_seq_nr() {
            return Err(beyond());
        }
        if !force {
            self.refuse_older(name, seq_nr, log)?;
        }
        if seq_nr > log.synced_seq_nr() {
            log.sync()?;
        }
        let position = position_in(log, seq_nr).ok_or_else(|| CheckpointError::Unreadable(name.to_owned()))?;
        self.ensure_dir(&self.layout().checkpoints())?;
        self.disk().replace_durably(&file, &self.temporary("checkpoint")?, position.to_string().as_bytes())?;
        drop(guard);
        Ok(())
    }

    fn refuse_older(&self, name: &str, seq_nr: u64, log: &mut IngestionLog) -> Result<(), CheckpointError> {
        match self.checkpoint(name, log)? {
            Some(Checkpoint { standing: Standing::Orphaned, seq_nr: saved, .. }) => {
                Err(CheckpointError::Orphaned { name: name.to_owned(), saved })
            }
            Some(Checkpoint { seq_nr: saved, .. }) if saved > seq_nr => {
                Err(CheckpointError::Behind { name: name.to_owned(), seq_nr, saved })
            }
            _ => Ok(()),
        }
    }

    /// One save at a time, also between processes: what is compared is what is replaced.
    fn lock_checkpoints(&self, name: &str) -> Result<LockGuard, CheckpointError> {
        if self.mode() == Mode::ReadOnly {
            return Err(CheckpointError::ReadOnly(name.to_owned()));
        }
        self.ensure_dir(&self.layout().private())?;
        let path = self.layout().private().join("checkpoints.lock");
        self.disk().lock_within(&path, SAVE_WAIT)?.ok_or_else(|| CheckpointError::Busy(name.to_owned()))
    }

    /// Forgets a checkpoint durably; false if there was none.
    pub fn forget_checkpoint(&self, name: &str) -> Result<bool, CheckpointError> {
        let file = self.checkpoint_file(name)?;
        let _guard = self.lock_checkpoints(name)?;
        let is_there = self.checkpoint_names()?.iter().any(|other| other == name);
        if is_there {
            self.disk().remove_if_present(&file)?;
            self.disk().sync_dir(&self.layout().checkpoints())?;
        }
        Ok(is_there)
    }

    /// The names of the subscriptions that have a checkpoint, sorted.
    pub fn checkpoint_names(&self) -> disk::Result<Vec<String>> {
        let entries = self.disk().list_if_present(&self.layout().checkpoints())?;
        let mut names: Vec<String> = entries.iter().filter_map(|entry| unhex(entry.name.strip_suffix(".json")?)).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        Ok(names)
    }

    /// Takes the leadership of a subscription, which eventcore-fs's projectors respect; none if somebody has it.
    pub fn lead(&self, name: &str) -> Result<Option<LockGuard>, CheckpointError> {
        let hex = checked(name)?;
        if self.mode() == Mode::ReadOnly {
            return Err(CheckpointError::ReadOnly(name.to_owned()));
        }
        self.disk().create_dir(&self.layout().locks())?;
        Ok(self.disk().try_lock(&self.layout().locks().join(format!("{hex}.lock")))?)
    }

    /// Who leads a subscription now.
    pub fn leader(&self, name: &str) -> Result<Option<disk::Holder>, CheckpointError> {
        let hex = checked(name)?;
        Ok(self.disk().lock_holder(&self.layout().locks().join(format!("{hex}.lock"))))
    }
}

/// A number as our checkpoints hold it: behind it, the beginning of the digest of all events up to it.
fn position_in(log: &mut IngestionLog, seq_nr: u64) -> Option<Uuid> {
    let digest = log.digest_upto(seq_nr)?;
    let start = digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    // Zeros are eventcore-fs's: they say nothing of a log.
    Some(Uuid::from_u64_pair(seq_nr, start.max(1)))
}

fn standing(position: Uuid, log: &mut IngestionLog) -> Standing {
    let (seq_nr, log_digest) = position.as_u64_pair();
    if seq_nr > log.latest_seq_nr() {
        Standing::Orphaned
    } else if log_digest == 0 {
        Standing::Foreign
    } else if position_in(log, seq_nr) == Some(position) {
        Standing::Belongs
    } else {
        Standing::Orphaned
    }
}

/// The digest of a name as a file's name, where the name itself may be too long for one.
pub(super) fn name_digest(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes()))
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
    hex(bytes)
}

#[cfg(test)]
mod tests;
