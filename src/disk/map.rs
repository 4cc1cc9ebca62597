//! Read-only mappings, so that large derived files cost no anonymous memory.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use super::error::Context as _;
use super::read::open_at_once;
use super::torn::Keep;
use super::{Disk, DiskFile, Op, Result};

/// The bytes of a file as they were when it was mapped; an empty file is an empty slice.
#[derive(Debug, Default)]
pub struct Mapping {
    /// Ends before what it looks after; none for an empty file.
    keep: Option<Keep>,
    map: Option<Mmap>,
}

impl Mapping {
    fn of(map: Mmap) -> Self {
        Self { keep: Some(Keep::of(&map)), map: Some(map) }
    }

    /// Whether zeros were read in the place of bytes that are not there any more: another program cut the file, or its disk fails.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.keep.as_ref().is_some_and(Keep::is_torn)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl Disk {
    /// Maps a file that nobody should cut or change while it is mapped: ours alone, append-only or replaced by rename. Where somebody does
    /// cut it, zeros are read and [`Mapping::is_torn`].
    pub fn map(&self, path: &Path) -> Result<Mapping> {
        self.admit(Op::Map, path)?;
        let file = open_at_once(path).context(Op::Map, path)?;
        map_file(&file).context(Op::Map, path)
    }
}

impl DiskFile {
    /// Maps `len` bytes from `offset` on, also where the file does not reach that far yet.
    ///
    /// What lies beyond its present end may be read only once it is written.
    ///
    /// # Errors
    /// What mmap(2) answered.
    pub fn map_beyond(&self, offset: u64, len: u64) -> Result<Mapping> {
        self.disk().admit(Op::Map, self.path())?;
        if len == 0 {
            return Ok(Mapping::default());
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        // SAFETY: as for `map_file`; what is read beyond the end of the file is zeros, as where it was cut.
        #[allow(unsafe_code)]
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(self.raw()) }.context(Op::Map, self.path())?;
        Ok(Mapping::of(map))
    }
}

fn map_file(file: &File) -> std::io::Result<Mapping> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len == 0 {
        return Ok(Mapping::default());
    }
    // SAFETY: nobody writes through the mapping. This program changes no byte of what it has mapped, but nothing keeps another one from it:
    // a backup is copied over the file, somebody cuts it. Where there is no page any more, zeros are read (`torn.rs`). Where a byte
    // changes, it is a wrong one and no more: what is made of mapped bytes is a number that counts only within bounds, or is copied before
    // it is taken for text, and whether lines are those that were written is asked again (`keeper/saving/torn.rs`).
    #[allow(unsafe_code)]
    let map = unsafe { MmapOptions::new().len(len).map(file) }?;
    Ok(Mapping::of(map))
}
