//! Which numbers of the ingestion log stand for events that were seen to be gone, under `.eventcore/braidfs/gone`, and for which of
//! them somebody said that this is known, under `.eventcore/braidfs/forgotten`.
//!
//! A reader that passed such a number did not get its event. If the event comes back while nobody looks, nothing in the
//! log or in `events/` tells that it was ever away; this does, so that it gets a fresh number all the same. An event that comes back
//! and goes again has another number then, of which nobody has said anything.
//!
//! Transactions without events have no number; those that are gone are in `.eventcore/braidfs/eventless`, until they are back or somebody
//! says that this is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::disk::{self, Stat};
use crate::model::{EventId, TransactionId};
use crate::store::Store;

/// How long one change waits for another.
const WAIT: Duration = Duration::from_secs(5);

/// Numbers of the ingestion log, each with its event.
type Numbers = BTreeMap<u64, EventId>;

const GONE: &str = "gone";
const FORGOTTEN: &str = "forgotten";
const EVENTLESS: &str = "eventless";

impl Store {
    fn numbers_file(&self, name: &str) -> PathBuf {
        self.layout().private().join(name)
    }

    /// The numbers whose events are gone; a line that is none is passed by.
    pub fn gone(&self) -> disk::Result<BTreeMap<u64, EventId>> {
        self.read_numbers(GONE)
    }

    /// The numbers of which somebody said that they are known to be gone.
    pub fn forgotten(&self) -> disk::Result<BTreeMap<u64, EventId>> {
        self.read_numbers(FORGOTTEN)
    }

    /// The facts of the file with these; they differ when it does.
    pub fn gone_stat(&self) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&self.numbers_file(GONE))
    }

    /// The facts of the file with the forgotten ones; they differ when it does.
    pub fn forgotten_stat(&self) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&self.numbers_file(FORGOTTEN))
    }

    /// Drops the numbers of the gone of which `is_of_this_log` says no, and adds others; durable when it returns. Gives all there are;
    /// none if another process is at it for too long.
    pub fn update_gone(
        &self,
        is_of_this_log: impl Fn(u64, EventId) -> bool,
        add: &[(u64, EventId)],
    ) -> disk::Result<Option<BTreeMap<u64, EventId>>> {
        self.update_numbers(GONE, is_of_this_log, add)
    }

    /// The same of the forgotten.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn update_forgotten(
        &self,
        is_of_this_log: impl Fn(u64, EventId) -> bool,
        add: &[(u64, EventId)],
    ) -> disk::Result<Option<BTreeMap<u64, EventId>>> {
        self.update_numbers(FORGOTTEN, is_of_this_log, add)
    }

    /// The transactions without events that are gone; a line that is none is passed by.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn eventless(&self) -> disk::Result<BTreeSet<TransactionId>> {
        let bytes = self.disk().read_if_present(&self.numbers_file(EVENTLESS))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// The facts of the file with these; they differ when it does.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn eventless_stat(&self) -> disk::Result<Option<Stat>> {
        self.disk().stat_if_present(&self.numbers_file(EVENTLESS))
    }

    /// Adds transactions without events that are gone, and drops others; durable when it returns. Gives all there are; none if another
    /// process is at it for too long.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn update_eventless(
        &self,
        add: &BTreeSet<TransactionId>,
        drop: &BTreeSet<TransactionId>,
    ) -> disk::Result<Option<BTreeSet<TransactionId>>> {
        self.ensure_dir(&self.layout().private())?;
        let Some(_guard) = self.lock_gone()? else { return Ok(None) };
        let before = self.eventless()?;
        let mut all: BTreeSet<TransactionId> = before.difference(drop).copied().collect();
        all.extend(add);
        if all != before {
            let text: String = all.iter().map(|id| format!("{id}\n")).collect();
            self.disk().replace_durably(&self.numbers_file(EVENTLESS), &self.temporary(EVENTLESS)?, text.as_bytes())?;
        }
        Ok(Some(all))
    }

    /// Keeps other processes from changing what is gone; none if one is at it for too long.
    fn lock_gone(&self) -> disk::Result<Option<disk::LockGuard>> {
        self.disk().lock_within(&self.layout().private().join("gone.lock"), WAIT)
    }

    fn read_numbers(&self, name: &str) -> disk::Result<Numbers> {
        let bytes = self.disk().read_if_present(&self.numbers_file(name))?.unwrap_or_default();
        let line = |line: &str| line.split_once(' ').and_then(|(seq_nr, id)| Some((seq_nr.parse().ok()?, id.parse().ok()?)));
        Ok(String::from_utf8_lossy(&bytes).lines().filter_map(line).collect())
    }

    fn update_numbers(
        &self,
        name: &str,
        is_of_this_log: impl Fn(u64, EventId) -> bool,
        add: &[(u64, EventId)],
    ) -> disk::Result<Option<Numbers>> {
        self.ensure_dir(&self.layout().private())?;
        let Some(_guard) = self.lock_gone()? else { return Ok(None) };
        let before = self.read_numbers(name)?;
        let mut all: Numbers = before.clone().into_iter().filter(|(seq_nr, id)| is_of_this_log(*seq_nr, *id)).collect();
        all.extend(add.iter().copied());
        if all != before {
            let mut text = String::with_capacity(all.len() * 48);
            for (seq_nr, id) in &all {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{seq_nr} {id}");
            }
            self.disk().replace_durably(&self.numbers_file(name), &self.temporary(name)?, text.as_bytes())?;
        }
        Ok(Some(all))
    }
}
