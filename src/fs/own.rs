//! What a writable mount has besides the views: `append`, `staging/` and `receipts/`.

use std::sync::Arc;

use crate::fs::attr::{Attr, Found, Ttl};
use crate::fs::checkpoints::Checkpoints;
use crate::fs::names::{APPEND, CHECKPOINTS, RECEIPTS, STAGING};
use crate::fs::nodes::Identity;
use crate::fs::receipt::{ENDING, shown_name};
use crate::fs::source::Entry;
use crate::fs::staging::Staging;
use crate::fs::{Fs, locked};
use crate::model::Errno;

/// What an inode of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// `append`.
    Append,
    /// `staging/`.
    Staging,
    /// A staged file, by its number.
    Staged(u64),
    /// A refusal in plain words, by the staged name.
    Error(String),
    /// `receipts/`.
    Receipts,
    /// A receipt, by the staged name.
    Receipt(String),
    /// `checkpoints/`.
    Checkpoints,
    /// A checkpoint, by its name there.
    Checkpoint(String),
}

impl Own {
    /// What an identity stands for; none if it is a view.
    pub fn of(identity: &Identity) -> Option<Self> {
        let path = &*identity.path;
        match path.split_once('/') {
            None if path == APPEND => Some(Self::Append),
            None if path == STAGING => Some(Self::Staging),
            None if path == RECEIPTS => Some(Self::Receipts),
            None if path == CHECKPOINTS => Some(Self::Checkpoints),
            Some((STAGING, "/")) => Some(Self::Staged(identity.incarnation)),
            Some((STAGING, of)) => Some(Self::Error(of.to_owned())),
            Some((RECEIPTS, of)) => Some(Self::Receipt(of.to_owned())),
            Some((CHECKPOINTS, of)) => Some(Self::Checkpoint(of.to_owned())),
            _ => None,
        }
    }

    /// The identity of it: that of a staged file is its number, for it keeps its inode when it is renamed.
    pub(super) fn identity(&self) -> Identity {
        let (path, incarnation) = match self {
            Self::Append => (APPEND.to_owned(), 0),
            Self::Staging => (STAGING.to_owned(), 0),
            Self::Receipts => (RECEIPTS.to_owned(), 0),
            Self::Staged(id) => (format!("{STAGING}//"), *id),
            Self::Error(of) => (format!("{STAGING}/{of}"), 0),
            Self::Receipt(of) => (format!("{RECEIPTS}/{of}"), 0),
            Self::Checkpoints => (CHECKPOINTS.to_owned(), 0),
            Self::Checkpoint(of) => (format!("{CHECKPOINTS}/{of}"), 0),
        };
        let directory = matches!(self, Self::Staging | Self::Receipts | Self::Checkpoints);
        Identity { path: path.into(), incarnation, directory }
    }
}

impl Fs {
    /// What an inode is if it is none of the views.
    pub(super) fn own(&self, ino: u64) -> Result<Option<Own>, Errno> {
        let identity = self.held(ino)?.identity;
        Ok(if self.staging.is_some() { Own::of(&identity) } else { None })
    }

    /// The staging area; none of what needs it is found on a read-only mount.
    pub(super) fn staging(&self) -> Result<&Staging, Errno> {
        self.staging.as_ref().ok_or(Errno::EROFS)
    }

    /// The checkpoints that can be written; none on a read-only mount.
    pub(super) fn checkpoints(&self) -> Result<&Arc<Checkpoints>, Errno> {
        self.checkpoints.as_ref().ok_or(Errno::EROFS)
    }

    /// What of ours a name in a directory is; none if the directory is one of the views'.
    pub(super) fn find_own(&self, directory: &str, name: &str) -> Option<Result<Own, Errno>> {
        let staging = self.staging.as_ref()?;
        match (directory, name) {
            ("", APPEND) => Some(Ok(Own::Append)),
            ("", STAGING) => Some(Ok(Own::Staging)),
            ("", RECEIPTS) => Some(Ok(Own::Receipts)),
            ("", CHECKPOINTS) if self.checkpoints.is_some() => Some(Ok(Own::Checkpoints)),
            (CHECKPOINTS, name) => {
                let found = self.checkpoints.as_ref()?.size(name);
                Some(found.map(|_| Own::Checkpoint(name.to_owned())))
            }
            (STAGING, name) => {
                let file = staging.find(name).map(|file| Own::Staged(file.id()));
                Some(file.or_else(|| staging.error(name).map(Own::Error)).ok_or(Errno::ENOENT))
            }
            (RECEIPTS, name) => {
                let of = staging.receipt_of(name).filter(|of| staging.receipt_facts(of).is_some());
                Some(of.map(Own::Receipt).ok_or(Errno::ENOENT))
            }
            _ => None,
        }
    }

    /// Counts a lookup of something of ours. The answer holds for nothing: it changes without notice.
    pub(super) fn look_up_own(&self, own: &Own) -> Result<(Found, u64), Errno> {
        let ino = locked(&self.nodes).look_up(own.identity());
        let attr = self.own_attributes(ino, own).inspect_err(|_| self.forget(ino, 1))?;
        // These always stand for the same.
        let entry_ttl =
            if matches!(own, Own::Append | Own::Staging | Own::Receipts | Own::Checkpoints) { Ttl::UntilTold } else { Ttl::Ask };
        Ok((Found { attr, attr_ttl: Ttl::Ask, entry_ttl }, self.serial()))
    }

    /// The number that something of ours has.
    pub(super) fn number_own(&self, own: &Own) -> u64 {
        locked(&self.nodes).number(&own.identity())
    }

    /// What stat(2) shows of something of ours.
    pub(super) fn own_attributes(&self, ino: u64, own: &Own) -> Result<Attr, Errno> {
        let staging = self.staging()?;
        let file = |(size, mtime_ns): (u64, i128), mode| Attr { ino, size, mtime_ns, directory: false, mode };
        let directory = |mode| Attr { ino, size: 0, mtime_ns: self.begun_ns, directory: true, mode };
        match own {
            Own::Append => Ok(file((0, self.begun_ns), 0o644)),
            Own::Staging => Ok(directory(0o755)),
            Own::Receipts | Own::Checkpoints => Ok(directory(0o755)),
            // Its size changes at every save, and nobody counts the time of a number.
            Own::Checkpoint(of) => Ok(file((self.checkpoints()?.size(of)?, self.begun_ns), 0o644)),
            Own::Staged(id) => {
                let staged = staging.find_id(*id).ok_or(Errno::ESTALE)?;
                Ok(file(staging.facts(&staged), 0o644))
            }
            Own::Error(of) => {
                let (text, mtime_ns) = staging.words(of).ok_or(Errno::ENOENT)?;
                Ok(file((text.len() as u64, mtime_ns), 0o444))
            }
            Own::Receipt(of) => Ok(file(staging.receipt_facts(of).ok_or(Errno::ENOENT)?, 0o444)),
        }
    }

    /// The names in a directory of ours, or those that the root has besides the views.
    pub(super) fn list_own(&self, path: &str) -> Option<Vec<Entry>> {
        let staging = self.staging.as_ref()?;
        let file = |name: String| Entry { name, directory: false };
        match path {
            STAGING => Some(staging.list().into_iter().map(file).collect()),
            CHECKPOINTS => Some(self.checkpoints.as_ref()?.list().into_iter().map(file).collect()),
            RECEIPTS => Some(staging.receipt_names().into_iter().map(|name| file(shown_name(&name, ENDING))).collect()),
            _ => None,
        }
    }

    /// What the root has besides the views.
    pub(super) fn own_of_root(&self) -> Vec<Entry> {
        let entry = |name: &str, directory| Entry { name: name.to_owned(), directory };
        match self.staging {
            Some(_) => {
                let mut own = vec![entry(APPEND, false), entry(STAGING, true), entry(RECEIPTS, true)];
                own.extend(self.checkpoints.as_ref().map(|_| entry(CHECKPOINTS, true)));
                own
            }
            None => Vec::new(),
        }
    }
}
