//! Which numbers of the ingestion log stand for events that were seen to be gone, under `.eventcore/braidfs/gone`.
//!
//! A reader that passed such a number did not get its event. If the event comes back while nobody looks, nothing in the
//! log or in `events/` tells that it was ever away; this does, so that it gets a fresh number all the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::disk;
use crate::model::EventId;
use crate::store::Store;

/// How long one change waits for another.
const WAIT: Duration = Duration::from_secs(5);

impl Store {
    fn gone_file(&self) -> PathBuf {
        self.layout().private().join("gone")
    }

    /// The numbers, each with its event; a line that is none is passed by.
    pub fn gone(&self) -> disk::Result<BTreeMap<u64, EventId>> {
        let bytes = self.disk().read_if_present(&self.gone_file())?.unwrap_or_default();
        let line = |line: &str| line.split_once(' ').and_then(|(seq_nr, id)| Some((seq_nr.parse().ok()?, id.parse().ok()?)));
        Ok(String::from_utf8_lossy(&bytes).lines().filter_map(line).collect())
    }

    /// Drops the numbers of which `is_of_this_log` says no, and adds others; durable when it returns. Gives all there are; none if
    /// another process is at it for too long.
    pub fn update_gone(
        &self,
        is_of_this_log: impl Fn(u64, EventId) -> bool,
        add: &[(u64, EventId)],
    ) -> disk::Result<Option<BTreeMap<u64, EventId>>> {
        self.ensure_dir(&self.layout().private())?;
        let path = self.layout().private().join("gone.lock");
        let deadline = Instant::now() + WAIT;
        let _guard = loop {
            match self.disk().try_lock(&path)? {
                Some(guard) => break guard,
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                None => return Ok(None),
            }
        };
        let before = self.gone()?;
        let mut all: BTreeMap<u64, EventId> = before.clone().into_iter().filter(|(seq_nr, id)| is_of_this_log(*seq_nr, *id)).collect();
        all.extend(add.iter().copied());
        if all != before {
            let mut text = String::with_capacity(all.len() * 48);
            for (seq_nr, id) in &all {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{seq_nr} {id}");
            }
            self.disk().replace_durably(&self.gone_file(), &self.temporary("gone")?, text.as_bytes())?;
        }
        Ok(Some(all))
    }
}
