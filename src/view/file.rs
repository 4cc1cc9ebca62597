//! A virtual file: an exact size and bytes that never change while it is held.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::model::Errno;
use crate::store::Store;
use crate::view::lines::Lines;

/// A virtual file as of one epoch; holding it keeps its bytes.
#[derive(Clone, Debug)]
pub struct File {
    content: Content,
    incarnation: u64,
    mtime_ns: i128,
    xattrs: Arc<Vec<(String, Vec<u8>)>>,
}

#[derive(Clone, Debug)]
enum Content {
    Lines(Lines),
    Bytes(Arc<[u8]>),
    /// One piece after the other, then lines where later epochs add some.
    Pieces {
        pieces: Arc<[Arc<[u8]>]>,
        lines: Option<Lines>,
    },
    Stored {
        store: Arc<Store>,
        name: String,
        size: u64,
    },
}

impl File {
    /// A view of JSON Lines; `incarnation` tells which file the name stands for.
    #[must_use]
    pub fn of_lines(lines: Lines, incarnation: u64, mtime_ns: i128, xattrs: Vec<(String, Vec<u8>)>) -> Self {
        Self { content: Content::Lines(lines), incarnation, mtime_ns, xattrs: Arc::new(xattrs) }
    }

    /// The same under a name that stands for another file whenever it begins elsewhere.
    #[must_use]
    pub(super) fn renewed(mut self, start: u64) -> Self {
        self.incarnation = self.incarnation.wrapping_add(start.wrapping_mul(1 << 32));
        self
    }

    /// A file of some bytes, replaced whenever they change.
    #[must_use]
    pub fn of_bytes(bytes: impl Into<Arc<[u8]>>, mtime_ns: i128) -> Self {
        let bytes = bytes.into();
        let digest = Sha256::digest(&bytes);
        let incarnation = digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Self { content: Content::Bytes(bytes), incarnation, mtime_ns, xattrs: Arc::default() }
    }

    /// A file of pieces that lie elsewhere as well, and of lines behind them; `incarnation` tells it from others.
    #[must_use]
    pub(super) fn of_pieces(pieces: Vec<Arc<[u8]>>, lines: Option<Lines>, incarnation: u64, mtime_ns: i128) -> Self {
        Self { content: Content::Pieces { pieces: pieces.into(), lines }, incarnation, mtime_ns, xattrs: Arc::default() }
    }

    /// A file of `events/`, byte for byte.
    #[must_use]
    pub fn of_stored(store: Arc<Store>, name: String, size: u64, mtime_ns: i128) -> Self {
        Self { content: Content::Stored { store, name, size }, incarnation: size ^ mtime_ns as u64, mtime_ns, xattrs: Arc::default() }
    }

    /// The same file with one more extended attribute.
    #[must_use]
    pub(super) fn with_xattr(mut self, name: &str, value: Vec<u8>) -> Self {
        Arc::make_mut(&mut self.xattrs).push((name.to_owned(), value));
        self
    }

    /// The same file, written at another time than the disk says.
    #[must_use]
    pub(super) fn written_at(self, mtime_ns: i128) -> Self {
        Self { mtime_ns, ..self }
    }

    /// The same file, which a name stands for whatever its bytes lie in.
    #[must_use]
    pub(super) fn known_as(self, incarnation: u64) -> Self {
        Self { incarnation, ..self }
    }

    /// The exact size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Lines(lines) => lines.size(),
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Pieces { pieces, lines } => {
                pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() + lines.as_ref().map_or(0, Lines::size)
            }
            Content::Stored { size, .. } => *size,
        }
    }

    /// Which file the name stands for: files of one name and incarnation share every byte that both have.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Bytes of memory that holding it takes, where nobody else holds the same.
    pub(super) fn held_bytes(&self) -> u64 {
        match &self.content {
            Content::Lines(lines) => lines.held_bytes(),
            Content::Stored { .. } => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Pieces { pieces, .. } => pieces.iter().map(|piece| piece.len() as u64).sum(),
        }
    }

    /// Whether later epochs may add bytes under the same incarnation.
    #[must_use]
    pub fn grows(&self) -> bool {
        matches!(self.content, Content::Lines(_) | Content::Pieces { lines: Some(_), .. })
    }

    /// A file of the feed as it goes on although its name stands for `next` now; none for one that has ended.
    #[must_use]
    pub fn continued_by(&self, next: &Self) -> Option<Self> {
        let lines = self.lines()?.continued_by(next.lines()?)?;
        Some(Self { content: Content::Lines(lines), incarnation: self.incarnation, ..next.clone() })
    }

    /// When its last event was written, in nanoseconds since 1970.
    #[must_use]
    pub fn mtime_ns(&self) -> i128 {
        self.mtime_ns
    }

    /// Extended attributes.
    #[must_use]
    pub fn xattrs(&self) -> Vec<(String, Vec<u8>)> {
        self.xattrs.to_vec()
    }

    /// The bytes of a range; shorter only at the end.
    ///
    /// # Errors
    /// What the disk answered for a file of `events/`; `EIO` where the packed lines were cut by another program, until they are made anew.
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.content {
            Content::Lines(lines) => whole(Some(lines), lines.read(offset, len)),
            Content::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(len).min(bytes.len());
                Ok(bytes.get(start..end).unwrap_or_default().to_vec())
            }
            Content::Pieces { pieces, lines } => whole(lines.as_ref(), read_pieces(pieces, lines.as_ref(), offset, len)),
            Content::Stored { store, name, .. } => {
                store.read_range(name, offset, len).map_err(|error| io::Error::from_raw_os_error(error.errno().raw()))
            }
        }
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`File::read`].
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < self.size() {
            let more = self.read(bytes.len() as u64, 1 << 20)?;
            if more.is_empty() {
                break;
            }
            bytes.extend_from_slice(&more);
        }
        Ok(bytes)
    }

    /// The lines of a view of JSON Lines, and of nothing else.
    #[must_use]
    pub fn lines(&self) -> Option<&Lines> {
        match &self.content {
            Content::Lines(lines) => Some(lines),
            _ => None,
        }
    }
}

/// What was read of lines, unless it may be something else than they say.
fn whole(lines: Option<&Lines>, read: Vec<u8>) -> io::Result<Vec<u8>> {
    if lines.is_some_and(Lines::is_torn) { Err(io::Error::from_raw_os_error(Errno::EIO.raw())) } else { Ok(read) }
}

fn read_pieces(pieces: &[Arc<[u8]>], lines: Option<&Lines>, mut offset: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        let size = piece.len() as u64;
        if offset >= size {
            offset -= size;
            continue;
        }
        let start = offset as usize;
        let end = start.saturating_add(len - out.len()).min(piece.len());
        out.extend_from_slice(piece.get(start..end).unwrap_or_default());
        offset = 0;
    }
    if let Some(lines) = lines {
        out.append(&mut lines.read(offset, len - out.len()));
    }
    out
}
