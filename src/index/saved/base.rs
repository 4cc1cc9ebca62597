//! The base: a whole index as bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::disk::{self, Disk};
use crate::format::binary::{Binary, Input, binary_fields};
use crate::index::Index;
use crate::index::history::History;
use crate::index::saved::{MAGIC, Mark, checksum};

/// What the index's owner keeps beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// How many lines of the ingestion log the feed holds, and the checksum of their events' ids.
    pub log: (u64, u32),
    /// Files that count but have something to report: they are read again.
    pub read_again: BTreeSet<String>,
    /// Transactions whose draft's key another one has as well.
    pub delivered_twice: BTreeSet<u32>,
    /// Digests of what files said first that were changed since, by name.
    pub edited: BTreeMap<String, [u8; 32]>,
    /// What came and went.
    pub history: History,
}
binary_fields!(Extra { log, read_again, delivered_twice, edited, history });

/// A base that was read.
pub(super) struct Base {
    pub(super) mark: Mark,
    pub(super) pack_len: u64,
    pub(super) lines_sum: u32,
    pub(super) index: Index,
    pub(super) extra: Extra,
}

/// What stands before the index: the format, the pack's mark and the base's own, the checksum of all that follows, the bytes of the pack
/// that it speaks of.
type Head = ([u8; 8], ((Mark, Mark), u32));

/// Reads a base, if it is whole and belongs to this pack, whose lines are those that it was written beside.
pub(super) fn decode(bytes: &[u8], pack_mark: Mark, lines: &[u8]) -> Option<Base> {
    let mut from = Input(bytes);
    let (magic, ((of_pack, mark), sum)) = Head::take(&mut from)?;
    if magic != MAGIC || of_pack != pack_mark || checksum(from.0) != sum {
        return None;
    }
    let (pack_len, lines_sum) = <(u64, u32)>::take(&mut from)?;
    if lines.get(..usize::try_from(pack_len).ok()?).map(checksum) != Some(lines_sum) {
        return None;
    }
    let extra = Extra::take(&mut from)?;
    let index = Index::take(&mut from)?;
    from.is_empty().then_some(Base { mark, pack_len, lines_sum, index, extra })
}

/// Writes a base, on any thread.
#[derive(Debug)]
pub struct BaseWriter {
    disk: Disk,
    pack: PathBuf,
    base: PathBuf,
    pack_mark: Mark,
    mark: Mark,
}

impl BaseWriter {
    pub(super) fn new(disk: Disk, pack: PathBuf, base: PathBuf, pack_mark: Mark, mark: Mark) -> Self {
        Self { disk, pack, base, pack_mark, mark }
    }

    /// Writes the index, whose pack must lie on the disk, and gives it the base's name.
    ///
    /// # Errors
    /// What the disk answered; the base before is whole then.
    pub fn write(self, index: &Index, extra: &Extra) -> disk::Result<Mark> {
        // Lines that a loss of power takes must not be spoken of.
        self.disk.open_file(&self.pack)?.sync_data()?;
        let mut body = Vec::new();
        (index.pack.len(), index.pack.sum()).put(&mut body);
        extra.put(&mut body);
        index.put(&mut body);
        let mut head = Vec::new();
        let fields: Head = (MAGIC, ((self.pack_mark, self.mark), checksum(&body)));
        fields.put(&mut head);
        self.disk.replace_loosely_with(&self.base, &self.base.with_extension("base.tmp"), &[&head, &body])?;
        Ok(self.mark)
    }
}
