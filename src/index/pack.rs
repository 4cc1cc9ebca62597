//! The packed event lines, in the order in which they were taken in.
//!
//! A line's bytes never change and never move. What the derived file on disk holds is read through a mapping; what could
//! not be written there (a full or read-only disk) stays in memory, so a view never depends on `index/`.

use std::sync::Arc;

/// How many bytes one piece in memory takes before the next begins; longer lines get a piece of their own.
const PIECE_BYTES: usize = 256 * 1024;

/// So many bytes of the end of a file are kept beside it.
const END_BYTES: usize = 128;

/// Bytes that stay readable while anybody holds them: a mapped file or memory.
pub trait Bytes: Send + Sync {
    /// All bytes that can be read now.
    fn bytes(&self) -> &[u8];

    /// Whether some that were read are not what was written, since they are not there any more.
    fn is_torn(&self) -> bool {
        false
    }
}

/// A file to which packed lines are appended and through which they are read.
pub trait Backing: Send + Sync {
    /// Writes bytes at the end of what counts; what lies behind it was given up.
    ///
    /// # Errors
    /// What the disk answered.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()>;

    /// At least the first `len` bytes of the file, which are written; beyond them only what is written later may be read.
    ///
    /// # Errors
    /// What the kernel answered.
    fn map(&self, len: u64) -> std::io::Result<Arc<dyn Bytes>>;
}

/// An append-only array of bytes; clones share everything.
#[derive(Clone, Default)]
pub struct Pack {
    backing: Option<Arc<dyn Backing>>,
    mapping: Option<Arc<dyn Bytes>>,
    /// Bytes before this one lie in the file.
    file_len: u64,
    /// The last of these.
    end: Arc<[u8]>,
    pieces: Vec<(u64, Arc<Vec<u8>>)>,
    len: u64,
    /// The checksum of all that was appended, whatever became of the file.
    sum: u32,
}

/// The checksum of bytes of which those before these have the checksum `sum`; of none it is 0.
#[must_use]
pub fn sum_behind(sum: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(bytes);
    hasher.finalize()
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pack").field("file_len", &self.file_len).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Pack {
    /// A pack whose first `len` bytes are those of `backing`, with the checksum `sum`.
    ///
    /// # Errors
    /// What mapping the file answered.
    pub fn open(backing: Arc<dyn Backing>, len: u64, sum: u32) -> std::io::Result<Self> {
        let mapping = if len == 0 { None } else { Some(backing.map(len)?) };
        Ok(Self { backing: Some(backing), mapping, file_len: len, len, sum, ..Self::default() }.with_end())
    }

    /// The same with bytes that are mapped from a file which somebody else owns; what is new stays in memory.
    #[must_use]
    pub fn read_only(mapping: Arc<dyn Bytes>, len: u64, sum: u32) -> Self {
        Self { mapping: Some(mapping), file_len: len, len, sum, ..Self::default() }.with_end()
    }

    /// A pack in memory.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut pack = Self::default();
        for piece in bytes.chunks(PIECE_BYTES) {
            pack.append(piece);
        }
        pack
    }

    /// Whether what was read may be something else than what was appended: another program cut the file, or a disk fails.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| mapping.is_torn())
    }

    /// Whether the file ends as it did when it was written to: another program may have cut it, or written another one over it. Only a file
    /// of the same lines has these there, for event ids stand in them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.end_in_file().is_none_or(|end| end == &*self.end) && !self.is_torn()
    }

    fn end_in_file(&self) -> Option<&[u8]> {
        let end = usize::try_from(self.file_len).ok()?;
        self.mapping.as_ref()?.bytes().get(end.saturating_sub(END_BYTES)..end)
    }

    fn with_end(mut self) -> Self {
        self.note_end();
        self
    }

    fn note_end(&mut self) {
        self.end = self.end_in_file().unwrap_or_default().into();
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether everything lies in the file.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.has_file() && self.pieces.is_empty()
    }

    /// Whether a file takes what is appended, at the latest with [`Pack::flush`].
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.backing.is_some()
    }

    /// Writes everything that another file holds to this one, and goes on with it; what is in memory follows with [`Pack::flush`].
    ///
    /// # Errors
    /// What the disk answered; the other file goes on then.
    pub fn move_to(&mut self, backing: Arc<dyn Backing>) -> std::io::Result<()> {
        let held = self.mapping.as_ref().map_or(&[][..], |mapping| mapping.bytes());
        let held = usize::try_from(self.file_len).ok().and_then(|len| held.get(..len));
        let held = held.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))?;
        for (at, piece) in held.chunks(PIECE_BYTES).enumerate() {
            backing.write_at((at * PIECE_BYTES) as u64, piece)?;
        }
        self.mapping = if held.is_empty() { None } else { Some(backing.map(self.file_len)?) };
        self.backing = Some(backing);
        Ok(())
    }

    /// Keeps what is appended from now on in memory, so that a clone leaves the file to its owner.
    pub fn detach(&mut self) {
        self.backing = None;
    }

    /// Appends lines that belong together; gives the offset of the first byte. They lie in memory until [`Pack::flush`].
    pub fn append(&mut self, bytes: &[u8]) -> u64 {
        let offset = self.len;
        if bytes.is_empty() {
            return offset;
        }
        match self.pieces.last_mut() {
            Some((_, piece)) if piece.len() + bytes.len() <= PIECE_BYTES => Arc::make_mut(piece).extend_from_slice(bytes),
            _ => self.pieces.push((offset, Arc::new(bytes.to_vec()))),
        }
        self.len += bytes.len() as u64;
        self.sum = sum_behind(self.sum, bytes);
        offset
    }

    /// The checksum of all that was appended.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.sum
    }

    /// Moves what was appended to the file; once a write has failed it stays in memory, and so does everything later.
    pub fn flush(&mut self) {
        if self.backing.is_none() || self.pieces.is_empty() {
            return;
        }
        let pieces = std::mem::take(&mut self.pieces);
        for (at, (_, piece)) in pieces.iter().enumerate() {
            if !self.append_to_file(piece) {
                self.backing = None;
                self.pieces = pieces.get(at..).unwrap_or_default().to_vec();
                return;
            }
            self.file_len += piece.len() as u64;
            self.note_end();
        }
    }

    fn append_to_file(&mut self, bytes: &[u8]) -> bool {
        let Some(backing) = &self.backing else { return false };
        if !self.is_whole() {
            // Behind a cut it would make the file as long as before, with zeros in between.
            tracing::warn!("the index file was changed by another program; what is new stays in memory");
            return false;
        }
        if let Err(error) = backing.write_at(self.file_len, bytes) {
            tracing::warn!(%error, "the index file takes no more; what is new stays in memory");
            return false;
        }
        let end = self.file_len + bytes.len() as u64;
        if self.mapping.as_ref().is_some_and(|mapping| mapping.bytes().len() as u64 >= end) {
            return true;
        }
        match backing.map(end) {
            Ok(mapping) => {
                self.mapping = Some(mapping);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the index file cannot be mapped; what is new stays in memory");
                false
            }
        }
    }

    /// The bytes at a place; none if they are not there (never for what [`Pack::append`] gave, unless the file was cut).
    #[must_use]
    pub fn get(&self, offset: u64, len: usize) -> Option<&[u8]> {
        if offset < self.file_len {
            let at = usize::try_from(offset).ok()?;
            return self.mapping.as_ref()?.bytes().get(at..at.checked_add(len)?);
        }
        let at = self.pieces.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (start, piece) = self.pieces.get(at)?;
        let at = (offset - start) as usize;
        piece.get(at..at.checked_add(len)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Shown(Vec<u8>);
    impl Bytes for Shown {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
    }

    /// A file that is full after some bytes.
    struct Small {
        bytes: Mutex<Vec<u8>>,
        max: usize,
    }
    impl Backing for Small {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
            let mut held = self.bytes.lock().unwrap();
            held.truncate(offset as usize);
            if held.len() + bytes.len() > self.max {
                return Err(std::io::Error::from_raw_os_error(libc::ENOSPC));
            }
            held.extend_from_slice(bytes);
            Ok(())
        }
        fn map(&self, _: u64) -> std::io::Result<Arc<dyn Bytes>> {
            Ok(Arc::new(Shown(self.bytes.lock().unwrap().clone())))
        }
    }

    #[test]
    fn a_full_disk_moves_what_is_new_into_memory_and_every_byte_stays() {
        let backing = Arc::new(Small { bytes: Mutex::default(), max: 100 });
        let mut pack = Pack::open(backing, 0, 0).unwrap();
        let lines: Vec<Vec<u8>> = (0u8..40).map(|n| vec![n; 7]).collect();
        let offsets: Vec<u64> = lines
            .iter()
            .map(|line| {
                let offset = pack.append(line);
                pack.flush();
                offset
            })
            .collect();
        let older = pack.clone();
        pack.append(&vec![9; PIECE_BYTES + 1]);
        pack.flush();
        for (line, offset) in lines.iter().zip(offsets) {
            assert_eq!(pack.get(offset, 7), Some(&line[..]));
            assert_eq!(older.get(offset, 7), Some(&line[..]));
        }
        assert!(!pack.is_on_disk());
        assert_eq!(pack.get(pack.len(), 1), None);
    }
}
