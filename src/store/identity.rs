//! Who this working copy is: the replica id under which it writes, bound to where it lies.
//!
//! `replica_id` and `replica_fingerprint` are eventcore-fs's files. Beside them, in `.eventcore/braidfs/`, lie
//! `identity.json` (whose `.eventcore/` that was, and the ids minted there) and `last_transaction` (what was last written
//! under the id). The latter is overwritten in place without a sync: an older content is still an ancestor of all that
//! was written since, and a torn one costs a new id.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::disk::{self, Stat};
use crate::model::{ReplicaId, TransactionId};
use crate::store::{CommitLock, Store};

/// Why the next write needs a new replica id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintReason {
    /// There is none yet.
    First,
    /// The machine, the path or `.git` is another one: a copy, a move or a restored backup.
    FingerprintDiffers,
    /// `.eventcore/` is another directory than the one that the id was made in.
    DirectoryDiffers,
    /// What was remembered cannot be read.
    Unreadable,
    /// The last transaction that was written under the id is not in the past of the next one: a branch switch or a reset.
    LastTransactionGone,
}

/// What became of the replica id since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is still the one that is known.
    Same,
    /// Another program has made another one, which was taken over.
    Another,
    /// Somebody has taken it away, and nothing else: the next write is to make a new one.
    TakenAway,
}

/// What this working copy knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The replica id of the last write, whoever minted it.
    pub replica_id: Option<ReplicaId>,
    /// The replica ids that this working copy has written under, the present one last.
    pub own_replicas: Vec<ReplicaId>,
    /// The last transaction that was written under [`Identity::replica_id`].
    pub last_transaction: Option<TransactionId>,
    /// Why the id must not be used again, as far as the files tell.
    doubt: Option<MintReason>,
    /// Whether `identity.json` names the present id.
    recorded: bool,
    /// Whether the id was given by who opened the store: it is not this working copy's, and nothing is remembered of it.
    is_given: bool,
    /// The facts of `replica_id` when it was last read or written; none if there was none.
    seen: Option<Stat>,
}

impl Identity {
    /// Writes under this id, whatever this working copy's own is; who gives it keeps writers apart.
    #[must_use]
    pub fn given(mut self, id: ReplicaId) -> Self {
        self.own_replicas.retain(|own| *own != id);
        self.own_replicas.push(id);
        Self { replica_id: Some(id), last_transaction: None, doubt: None, recorded: false, is_given: true, ..self }
    }

    /// Whether what is written under [`Identity::replica_id`] is surely this working copy's.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.doubt.is_none() && !self.is_given
    }

    /// Why the next write needs a new replica id, or none if it does not.
    ///
    /// `is_in_past` tells whether a transaction is an ancestor of the next one.
    pub fn must_mint(&self, is_in_past: impl FnOnce(TransactionId) -> bool) -> Option<MintReason> {
        let gone = || self.last_transaction.is_some_and(|id| !is_in_past(id)).then_some(MintReason::LastTransactionGone);
        self.doubt.or_else(gone)
    }
}

/// `identity.json`.
#[derive(Serialize, Deserialize)]
struct Record {
    own_replicas: Vec<String>,
    inode: u64,
    birth_ns: Option<u64>,
}

impl Store {
    fn record_path(&self) -> PathBuf {
        self.layout().private().join("identity.json")
    }

    /// What marks this working copy: machine, path and the inode of `.git`, as eventcore-fs writes it.
    pub fn fingerprint(&self) -> disk::Result<String> {
        let git = match self.disk().stat_if_present(&self.dir().join(".git"))? {
            Some(stat) => stat.inode.to_string(),
            None => "none".to_owned(),
        };
        Ok(format!("machine={};path={};git={git}", disk::machine_id(), self.dir().to_string_lossy()))
    }

    /// Reads who this working copy is; nothing is written.
    pub fn identity(&self) -> disk::Result<Identity> {
        let text =
            |path: PathBuf| self.disk().read_if_present(&path).map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        let unknown = |doubt| Identity {
            replica_id: None,
            own_replicas: Vec::new(),
            last_transaction: None,
            doubt,
            recorded: false,
            is_given: false,
            seen: None,
        };
        let (bytes, seen) = match self.disk().read_with_stat(&self.layout().replica_id()) {
            Ok((bytes, stat)) => (Some(bytes), Some(stat)),
            Err(error) if error.is_not_found() => (None, None),
            Err(error) => return Err(error),
        };
        let unknown = |doubt| Identity { seen, ..unknown(doubt) };
        let Some(id) = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) else { return Ok(unknown(Some(MintReason::First))) };
        let Ok(id) = ReplicaId::from_str(id.trim()) else { return Ok(unknown(Some(MintReason::Unreadable))) };
        let found = Identity { replica_id: Some(id), own_replicas: vec![id], ..unknown(None) };
        if text(self.layout().replica_fingerprint())?.is_none_or(|text| Ok(text) != self.fingerprint().map_err(|_| ())) {
            return Ok(Identity { doubt: Some(MintReason::FingerprintDiffers), ..found });
        }
        match text(self.record_path())? {
            // eventcore-fs made it, and we have never written here.
            None => Ok(found),
            Some(record) => self.identity_as_recorded(found, id, &record, text(self.layout().last_transaction())?),
        }
    }

    /// Takes on the replica id that another program has made here since `identity` was read or written.
    ///
    /// Cheap if nothing has changed.
    pub fn follow_identity(&self, identity: &mut Identity) -> disk::Result<Followed> {
        if identity.is_given || self.disk().stat_if_present(&self.layout().replica_id())? == identity.seen {
            return Ok(Followed::Same);
        }
        let present = self.identity()?;
        // The cure of a collision takes the id away, `git clean -fdx` all that is there.
        if present.replica_id.is_none() && identity.replica_id.is_some() && self.disk().exists(&self.record_path()) {
            return Ok(Followed::TakenAway);
        }
        // An id is there before its fingerprint is: until then it is in doubt, and looked at again.
        let is_another = present.replica_id.is_some() && present.replica_id != identity.replica_id && present.is_own();
        if is_another {
            *identity = present;
        } else if present.replica_id == identity.replica_id {
            identity.seen = present.seen;
        }
        Ok(if is_another { Followed::Another } else { Followed::Same })
    }

    fn identity_as_recorded(&self, found: Identity, id: ReplicaId, record: &str, last: Option<String>) -> disk::Result<Identity> {
        let Ok(record) = serde_json::from_str::<Record>(record) else {
            return Ok(Identity { doubt: Some(MintReason::Unreadable), ..found });
        };
        if (record.inode, record.birth_ns) != self.directory_mark()? {
            return Ok(Identity { doubt: Some(MintReason::DirectoryDiffers), ..found });
        }
        let mut own_replicas: Vec<ReplicaId> = record.own_replicas.iter().filter_map(|id| ReplicaId::from_str(id).ok()).collect();
        if own_replicas.last() != Some(&id) {
            // eventcore-fs has minted one since: of its transactions nothing was remembered.
            own_replicas.retain(|own| *own != id);
            own_replicas.push(id);
            return Ok(Identity { own_replicas, ..found });
        }
        let (doubt, last_transaction) = match last.as_deref().and_then(|last| parse_last_transaction(last, id)) {
            Some(last) => (None, last),
            None => (Some(MintReason::Unreadable), None),
        };
        Ok(Identity { own_replicas, last_transaction, doubt, recorded: true, ..found })
    }

    /// The inode and the time of birth of `.eventcore/`: a copy has others.
    fn directory_mark(&self) -> disk::Result<(u64, Option<u64>)> {
        let dir = self.layout().eventcore();
        let birth = self.disk().birth_time(&dir)?.map(ns_since_1970);
        Ok((self.disk().stat(&dir)?.inode, birth))
    }

    /// Makes `id` the replica id of this working copy, durably. The ingestion log must have been synced before.
    pub fn mint(&self, _lock: &CommitLock, identity: &mut Identity, reason: MintReason, id: ReplicaId) -> disk::Result<()> {
        if !matches!(reason, MintReason::LastTransactionGone | MintReason::Unreadable) {
            // What another place has written is not ours.
            identity.own_replicas.clear();
        }
        identity.own_replicas.push(id);
        *identity = Identity {
            replica_id: Some(id),
            own_replicas: std::mem::take(&mut identity.own_replicas),
            last_transaction: None,
            doubt: None,
            recorded: false,
            is_given: false,
            seen: None,
        };
        self.write_identity(identity, id)
    }

    fn write_identity(&self, identity: &mut Identity, id: ReplicaId) -> disk::Result<()> {
        self.ensure_dir(&self.layout().eventcore())?;
        // The id first: a crash then leaves one under which nothing was written. The other way round it would leave the old id
        // beside a record that has forgotten what was written under it. The fingerprint last, so that until then there is doubt.
        let write = |path: PathBuf, text: String| self.disk().replace_durably(&path, &path.with_extension("tmp"), text.as_bytes());
        write(self.layout().replica_id(), id.to_string())?;
        identity.seen = self.disk().stat_if_present(&self.layout().replica_id())?;
        self.record(identity)?;
        write(self.layout().replica_fingerprint(), self.fingerprint()?)
    }

    /// Remembers that `id` was the last transaction written under the present replica id.
    ///
    /// To be called after each commit, and when a transaction of the present replica id arrives by other means. Costs one
    /// write and no sync.
    pub fn remember(&self, _lock: &CommitLock, identity: &mut Identity, id: TransactionId) -> disk::Result<()> {
        if !identity.is_own() {
            return Ok(());
        }
        identity.last_transaction = Some(id);
        if !identity.recorded {
            return self.record(identity);
        }
        let text = last_transaction_text(identity);
        let written = self.disk().open_file(&self.layout().last_transaction()).and_then(|mut file| file.write_at(0, text.as_bytes()));
        match written {
            Err(error) if error.is_not_found() => self.write_identity_again(identity),
            written => written,
        }
    }

    /// Whether eventcore-fs may have opened the store since a transaction was remembered last: it changes the time of `.lock` then, as we
    /// never do.
    #[must_use]
    pub fn was_opened_by_eventcore_fs(&self) -> bool {
        let remembered = self.disk().stat(&self.layout().last_transaction()).map(|stat| stat.modified());
        self.lock_changed().zip(remembered.ok()).is_some_and(|(opened, remembered)| opened >= remembered)
    }

    /// Makes durable which transaction was remembered last.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn sync_last(&self, identity: &Identity) -> disk::Result<()> {
        if !identity.recorded || !identity.is_own() {
            return Ok(());
        }
        match self.disk().open_file(&self.layout().last_transaction()).and_then(|file| file.sync_data()) {
            Err(error) if error.is_not_found() => Ok(()),
            synced => synced,
        }
    }

    /// Writes the files anew where `git clean -fdx` took them away; an id that another program has made there meanwhile is taken on.
    fn write_identity_again(&self, identity: &mut Identity) -> disk::Result<()> {
        let present = self.identity()?;
        match identity.replica_id {
            Some(id) if present.replica_id.is_none_or(|present| present == id) => self.write_identity(identity, id),
            _ => {
                *identity = present;
                Ok(())
            }
        }
    }

    /// Writes both private files durably.
    fn record(&self, identity: &mut Identity) -> disk::Result<()> {
        self.ensure_dir(&self.layout().private())?;
        let (inode, birth_ns) = self.directory_mark()?;
        let own_replicas = identity.own_replicas.iter().map(ReplicaId::to_string).collect();
        let record = serde_json::to_vec(&Record { own_replicas, inode, birth_ns }).unwrap_or_default();
        let last = last_transaction_text(identity);
        for (path, bytes) in [(self.layout().last_transaction(), last.as_bytes()), (self.record_path(), &record)] {
            self.disk().replace_durably(&path, &path.with_extension("tmp"), bytes)?;
        }
        identity.recorded = true;
        Ok(())
    }
}

fn ns_since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Always of one length, so that it can be overwritten in place.
fn last_transaction_text(identity: &Identity) -> String {
    let transaction = identity.last_transaction.map_or(uuid::Uuid::nil(), |id| id.0);
    let replica = identity.replica_id.map_or(uuid::Uuid::nil(), |id| id.0);
    format!("{transaction} {replica}\n")
}

/// The last transaction (none before the first) if the text is whole and about that replica.
fn parse_last_transaction(text: &str, replica: ReplicaId) -> Option<Option<TransactionId>> {
    let (transaction, of) = text.strip_suffix('\n')?.split_once(' ')?;
    let transaction = TransactionId::from_str(transaction).ok()?;
    (ReplicaId::from_str(of).ok()? == replica).then(|| Some(transaction).filter(|id| !id.0.is_nil()))
}

#[cfg(test)]
mod tests;
