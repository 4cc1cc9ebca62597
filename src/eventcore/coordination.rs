//! Checkpoints and leadership, also in a directory that is no store yet.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use eventcore_types::{CheckpointStore, ProjectorCoordinator, StreamPosition};
use uuid::Uuid;

use crate::disk::{self, Disk, LockGuard};
use crate::eventcore::error::{FsCheckpointError, FsCoordinationError, from_disk};
use crate::eventcore::thread;
use crate::format::time::new_uuid;
use crate::store::{
    CHECKPOINT_NAME_BYTES_MAX, CheckpointError, IngestionLog, Mode, Standing, Store, position_of_seq_nr, seq_nr_of_position,
};

/// A name as a file's name.
fn hex(name: &str) -> io::Result<String> {
    if !(1..=CHECKPOINT_NAME_BYTES_MAX).contains(&name.len()) {
        let message = format!("subscription name of {} bytes is not between 1 and {CHECKPOINT_NAME_BYTES_MAX} bytes long", name.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(name.bytes().fold(String::with_capacity(name.len() * 2), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

fn make_dir(root: &Path, name: &str) -> io::Result<PathBuf> {
    let dir = root.join(name);
    Disk::real().create_dir(&dir).map_err(|error| from_disk(&error))?;
    Ok(dir)
}

fn closed() -> io::Error {
    io::Error::other("no thread could be started")
}

/// Subscriptions' cursors: a file each.
#[derive(Debug, Clone)]
pub struct FileCheckpointStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    dir: PathBuf,
    /// The ingestion log that the numbers are of, once there is a store.
    log: Mutex<Option<(Store, IngestionLog)>>,
}

impl FileCheckpointStore {
    /// Opens the checkpoints of the store in a directory.
    ///
    /// # Errors
    /// If `checkpoints/` cannot be made.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, FsCheckpointError> {
        let root = root.as_ref().to_path_buf();
        let dir = make_dir(&root, "checkpoints")?;
        Ok(Self { inner: Arc::new(Inner { root, dir, log: Mutex::default() }) })
    }
}

impl CheckpointStore for FileCheckpointStore {
    type Error = FsCheckpointError;

    async fn load(&self, name: &str) -> Result<Option<StreamPosition>, Self::Error> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        thread::run(move || inner.load(&name)).await.unwrap_or_else(|| Err(closed().into()))
    }

    async fn save(&self, name: &str, position: StreamPosition) -> Result<(), Self::Error> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        thread::run(move || inner.save(&name, position.into_inner())).await.unwrap_or_else(|| Err(closed().into()))
    }
}

impl Inner {
    /// Does something with the store and its ingestion log, as far as that has come by now; none where there is no store.
    fn with_log<T>(&self, job: impl FnOnce(&Store, &mut IngestionLog) -> T) -> disk::Result<Option<T>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.is_none() {
            let Ok(store) = Store::open(&self.root, &Disk::real(), Mode::Writable) else { return Ok(None) };
            let read = IngestionLog::read(&store)?;
            *log = Some((store, read));
        }
        let Some((store, log)) = log.as_mut() else { return Ok(None) };
        log.refresh()?;
        Ok(Some(job(store, log)))
    }

    fn load(&self, name: &str) -> Result<Option<StreamPosition>, FsCheckpointError> {
        let path = self.dir.join(format!("{}.json", hex(name)?));
        let corrupted = |detail: String| FsCheckpointError::Corrupted { path: path.clone(), detail };
        let Some(bytes) = Disk::real().read_if_present(&path).map_err(|error| from_disk(&error))? else { return Ok(None) };
        let position = Uuid::try_parse_ascii(bytes.trim_ascii()).map_err(|error| corrupted(error.to_string()))?;
        let Some(seq_nr) = seq_nr_of(position) else { return Ok(Some(StreamPosition::new(position))) };
        let found = self.with_log(|store, log| store.checkpoint(name, log)).map_err(|error| from_disk(&error))?;
        match found {
            Some(Ok(Some(checkpoint))) if checkpoint.standing == Standing::Orphaned => {
                Err(corrupted("it belongs to another ingestion log: remove it and read from the start".to_owned()))
            }
            // What stands behind the number on disk tells of the log and is no part of the position.
            Some(_) => Ok(Some(StreamPosition::new(position_of_seq_nr(seq_nr)))),
            None => Ok(Some(StreamPosition::new(position))),
        }
    }

    fn save(&self, name: &str, position: Uuid) -> Result<(), FsCheckpointError> {
        let hex = hex(name)?;
        if let Some(seq_nr) = seq_nr_of(position) {
            let saved = self.with_log(|store, log| store.save_checkpoint(name, seq_nr, log, true)).map_err(|error| from_disk(&error))?;
            match saved {
                Some(Ok(())) => return Ok(()),
                // Whatever a caller gives is kept for it.
                None | Some(Err(CheckpointError::Beyond { .. })) => {}
                Some(Err(error)) => return Err(io::Error::from_raw_os_error(error.errno().raw()).into()),
            }
        }
        let path = self.dir.join(format!("{hex}.json"));
        let temporary = self.dir.join(format!(".{}.tmp", new_uuid()));
        let written = Disk::real().replace_durably(&path, &temporary, position.to_string().as_bytes());
        Ok(written.map_err(|error| from_disk(&error))?)
    }
}

/// The number that a position stands for; none for a UUID that no reader of ours gives.
fn seq_nr_of(position: Uuid) -> Option<u64> {
    Some(seq_nr_of_position(position)).filter(|&seq_nr| seq_nr <= u64::from(u32::MAX))
}

/// Leadership of subscriptions: a lock each.
#[derive(Debug, Clone)]
pub struct FileProjectorCoordinator {
    dir: PathBuf,
}

impl FileProjectorCoordinator {
    /// Opens the locks of the store in a directory.
    ///
    /// # Errors
    /// If `locks/` cannot be made.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, FsCoordinationError> {
        Ok(Self { dir: make_dir(root.as_ref(), "locks")? })
    }
}

impl ProjectorCoordinator for FileProjectorCoordinator {
    type Error = FsCoordinationError;
    type Guard = FileLeadershipGuard;

    async fn try_acquire(&self, subscription_name: &str) -> Result<Self::Guard, Self::Error> {
        let path = self.dir.join(format!("{}.lock", hex(subscription_name)?));
        match Disk::real().try_lock(&path).map_err(|error| from_disk(&error))? {
            Some(guard) => Ok(FileLeadershipGuard { _guard: guard }),
            None => Err(FsCoordinationError::LeadershipNotAcquired { subscription_name: subscription_name.to_owned() }),
        }
    }
}

/// The leadership of a subscription, until it is dropped.
#[derive(Debug)]
pub struct FileLeadershipGuard {
    _guard: LockGuard,
}
