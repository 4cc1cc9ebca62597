//! What the disk did not take of a draft: without it nothing of the draft is committed.

use std::ops::Range;

use crate::fs::receipt::sha256_hex;
use crate::fs::staging::{Inner, Staging};
use crate::model::{Errno, Rejection};

/// So many writes that failed are kept apart; of more, only cutting off what they were to fill helps.
const LOST_MAX: usize = 16;

/// The writes that failed and that nobody has made good.
#[derive(Default)]
pub(super) struct Lost(Vec<LostWrite>);

struct LostWrite {
    begin: u64,
    end: u64,
    sha256: String,
    errno: Errno,
}

impl Lost {
    /// What the first of them was told.
    pub(super) fn errno(&self) -> Option<Errno> {
        self.0.first().map(|write| write.errno)
    }

    /// Why the draft is not committed.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        self.errno().map(|errno| {
            let hint = match errno {
                Errno::EFBIG => "let the daemon write larger files (ulimit -f), then save it again, whole",
                _ => "make room, then save it again, whole",
            };
            Rejection::whole(errno, "a write failed: not every byte arrived", hint)
        })
    }

    fn add(&mut self, begin: u64, bytes: &[u8], errno: Errno) {
        // A buffer that is kept where it could not be written and then has more is tried again, not another one.
        self.0.retain(|write| write.begin != begin || !write.begins(bytes));
        if self.0.len() == LOST_MAX {
            let begin = self.0.iter().map(|write| write.begin).min().unwrap_or(0);
            self.0.truncate(1);
            self.0.iter_mut().for_each(|write| (write.begin, write.end) = (begin, u64::MAX));
        }
        self.0.push(LostWrite { begin, end: begin.saturating_add(bytes.len() as u64), sha256: sha256_hex(bytes), errno });
    }

    /// A file is cut off here, so that what was to be behind is not missing.
    pub(super) fn cut(&mut self, size: u64) {
        self.0.retain(|write| write.begin < size);
    }
}

impl LostWrite {
    fn begins(&self, bytes: &[u8]) -> bool {
        let len = usize::try_from(self.end - self.begin).unwrap_or(usize::MAX);
        bytes.get(..len).is_some_and(|begins| sha256_hex(begins) == self.sha256)
    }
}

impl Inner {
    /// The disk did not take a write, or only some of it, which nobody counts.
    pub(super) fn lose(&mut self, offset: u64, bytes: &[u8], errno: Errno) {
        self.checking.lost.add(offset, bytes, errno);
        let size = self.size;
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.truncate(size)) {
            tracing::warn!(%error, "what was written of a refused write cannot be cut off");
        }
    }
}

impl Staging {
    /// What failed is made good once all of its bytes are where they were to be, in one piece or in several. Anything else there is not:
    /// the kernel takes a write that failed as not done, so that the next one has the same offset, whatever it writes.
    pub(super) fn regain(&self, inner: &mut Inner, written: &Range<u64>) {
        let mut lost = std::mem::take(&mut inner.checking.lost);
        lost.0.retain(|write| {
            let may_be_there = written.start < write.end && write.begin < written.end && write.end <= inner.size;
            !may_be_there || !self.has(inner, write.begin..write.end, &write.sha256).unwrap_or(false)
        });
        inner.checking.lost = lost;
    }
}
