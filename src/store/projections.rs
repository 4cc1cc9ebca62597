//! Definitions of folds in `projections/`, and their states as this working copy saved them, by the definition's digest.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::disk::{self, EntryKind, Stat};
use crate::store::Store;
use crate::store::checkpoint::hex_of;

/// The ending of a definition's file.
const ENDING: &str = ".jq";

/// So much of a definition is read: more than it may have, so that too much is noticed by whoever parses it.
const TEXT_BYTES_READ: usize = 128 << 10;

impl Store {
    fn projection_path(&self, name: &str) -> PathBuf {
        self.layout().projections().join(format!("{name}{ENDING}"))
    }

    fn states_dir(&self) -> PathBuf {
        self.layout().private().join("states")
    }

    fn state_path(&self, fold: &[u8; 32], key: &str) -> PathBuf {
        self.states_dir().join(hex_of(fold)).join(hex_of(&Sha256::digest(key.as_bytes())))
    }

    /// The names of all definitions, sorted.
    pub fn projections(&self) -> disk::Result<Vec<String>> {
        let entries = self.disk().list_if_present(&self.layout().projections())?;
        let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Dir);
        let mut names: Vec<String> = files.filter_map(|entry| entry.name.strip_suffix(ENDING).map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// The facts of a definition's file; they differ once its text does.
    pub fn projection_stat(&self, name: &str) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&self.projection_path(name))
    }

    /// The bytes of a definition; the caller knows that it is there.
    pub fn read_projection(&self, name: &str) -> disk::Result<Vec<u8>> {
        self.disk().read_at(&self.projection_path(name), 0, TEXT_BYTES_READ)
    }

    /// Writes a definition durably, in place of the one that has the name.
    pub fn write_projection(&self, name: &str, text: &str) -> disk::Result<()> {
        self.ensure_dir(&self.layout().projections())?;
        self.disk().replace_durably(&self.projection_path(name), &self.temporary("projection")?, text.as_bytes())
    }

    /// Removes a definition; false if there was none.
    pub fn remove_projection(&self, name: &str) -> disk::Result<bool> {
        let is_there = self.projection_stat(name)?.is_some();
        self.disk().remove_if_present(&self.projection_path(name))?;
        Ok(is_there)
    }

    /// Keeps a state of a fold; it may be lost or torn at a loss of power, whoever reads it checks it.
    pub fn save_fold_state(&self, fold: &[u8; 32], key: &str, bytes: &[u8]) -> disk::Result<()> {
        self.ensure_dir(&self.states_dir().join(hex_of(fold)))?;
        self.disk().replace_loosely(&self.state_path(fold, key), &self.temporary("state")?, bytes)
    }

    /// What was kept, as it is on disk.
    pub fn read_fold_state(&self, fold: &[u8; 32], key: &str) -> disk::Result<Option<Vec<u8>>> {
        self.disk().read_if_present(&self.state_path(fold, key))
    }

    /// Forgets the states of all folds but these.
    pub fn forget_fold_states_but(&self, folds: &[[u8; 32]]) -> disk::Result<()> {
        let kept: Vec<String> = folds.iter().map(|fold| hex_of(fold)).collect();
        for entry in self.disk().list_if_present(&self.states_dir())? {
            if entry.kind == EntryKind::Dir && !kept.contains(&entry.name) {
                self.disk().remove_dir_all(&self.states_dir().join(&entry.name))?;
            }
        }
        Ok(())
    }
}
