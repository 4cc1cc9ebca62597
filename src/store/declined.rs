//! Which conflicts somebody declined to settle here, and why: `.eventcore/braidfs/declined.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::disk::{self, Stat};
use crate::model::Declined;
use crate::store::{CommitLock, Store};

impl Store {
    fn declined_file(&self) -> PathBuf {
        self.layout().private().join("declined.json")
    }

    /// The facts of that file; they differ when it does.
    pub fn declined_stat(&self) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&self.declined_file())
    }

    /// The conflicts by id; none where what was kept cannot be read.
    pub fn declined(&self) -> disk::Result<BTreeMap<String, Declined>> {
        let bytes = self.disk().read_if_present(&self.declined_file())?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Keeps these and no others; durable when it returns.
    pub fn keep_declined(&self, _lock: &CommitLock, declined: &BTreeMap<String, Declined>) -> disk::Result<()> {
        self.ensure_dir(&self.layout().private())?;
        // These types hold nothing that JSON cannot.
        let bytes = serde_json::to_vec(declined).unwrap_or_default();
        self.disk().replace_durably(&self.declined_file(), &self.temporary("declined")?, &bytes)
    }
}
