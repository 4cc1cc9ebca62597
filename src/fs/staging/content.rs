//! The bytes of staged files, checked as they are written.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::format::draft::{DRAFT_LEN_MAX, DraftKind, LineChecker};
use crate::fs::concerned::Concerned;
use crate::fs::locked;
use crate::fs::receipt::State as Verdict;
use crate::fs::staging::{Checking, Handle, Inner, Phase, RefusedAt, Staged, Staging, Told, commit_kind};
use crate::model::{Errno, Rejection};

/// What a write has to be checked against.
struct Checked {
    kind: DraftKind,
    /// Bytes and hash of what was committed under this name, while its receipt stands.
    committed: Option<(u64, String)>,
}

impl Staging {
    /// Reads at most `len` bytes of an open file.
    ///
    /// # Errors
    /// `EBADF` for a handle that is not open, what the disk answers otherwise.
    pub fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
        match self.handle(handle)? {
            Handle::Append => Ok(Vec::new()),
            Handle::Text(text) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                let end = start.saturating_add(len).min(text.len());
                Ok(text.get(start..end).unwrap_or_default().to_vec())
            }
            Handle::Staged { file, .. } => self.read_at(&mut locked(&file.inner), offset, len),
        }
    }

    /// Writes to an open file; what is refused is kept all the same.
    ///
    /// # Errors
    /// Why the file will not be committed, as far as can be told now; `EBUSY` while it is being committed; `ENOSPC` and its like when the bytes cannot be kept.
    pub fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let Handle::Staged { file, writes: true, appends } = self.handle(handle)? else { return Err(Errno::EBADF) };
        let against = self.checked_against(&file);
        let mut inner = locked(&file.inner);
        inner.undecided()?;
        let asked = if appends { inner.size } else { offset };
        let offset = self.place(&mut inner, asked, bytes)?;
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::EFBIG)?;
        if against.is_some() && end > DRAFT_LEN_MAX as u64 {
            let message = format!("draft has {end} bytes, at most {DRAFT_LEN_MAX} are allowed");
            return Err(inner.checking.refuse(Rejection::whole(Errno::EFBIG, message, "cut it into several")));
        }
        inner.reopen();
        let written = self.ensure_open(&mut inner).and_then(|file| file.write_at(offset, bytes).map_err(|error| error.errno()));
        if let Err(errno) = written {
            inner.lose(offset, bytes, errno);
            return Err(errno);
        }
        inner.size = inner.size.max(end);
        self.regain(&mut inner, &(offset..end));
        inner.touch();
        let Some(against) = against else { return Ok(()) };
        let checked = self
            .check_second_save(&mut inner, &against, offset, end)
            .and_then(|()| self.check_written(&mut inner, against.kind, offset, bytes));
        if checked.is_err() {
            inner.checking.refuse_at(asked, offset);
        }
        checked
    }

    /// Where these bytes go. The kernel takes a refused write as not done, so that the next one has the same offset; what arrived before
    /// would be overwritten. The same bytes as just before, or those and more, are another attempt; all else goes behind.
    fn place(&self, inner: &mut Inner, offset: u64, bytes: &[u8]) -> Result<u64, Errno> {
        let Some(before) = inner.checking.refused_at.filter(|refused| refused.offset == offset).map(|refused| refused.last) else {
            return Ok(offset);
        };
        let len = usize::try_from(inner.size.saturating_sub(before)).unwrap_or(usize::MAX).min(bytes.len());
        let there = self.read_at(inner, before, len)?;
        Ok(if bytes.starts_with(&there) { before } else { inner.size })
    }

    fn checked_against(&self, file: &Staged) -> Option<Checked> {
        let name = locked(&file.inner).name.clone()?;
        let kind = commit_kind(name.as_str())?;
        let committed = self.brief(name.as_str()).filter(|brief| brief.state == Verdict::Committed);
        Some(Checked { kind, committed: committed.map(|brief| (brief.bytes, brief.sha256)) })
    }

    /// The bytes just committed, or those and more, are a second save of the same.
    fn check_second_save(&self, inner: &mut Inner, against: &Checked, offset: u64, end: u64) -> Result<(), Errno> {
        let Some((bytes, sha256)) = &against.committed else { return Ok(()) };
        if offset > *bytes || end < *bytes || inner.size < *bytes || !self.has(inner, 0..*bytes, sha256)? {
            return Ok(());
        }
        Err(inner.checking.tell(Told::SecondSave))
    }

    /// Whether the bytes of a file from here to there have this hash.
    pub(super) fn has(&self, inner: &mut Inner, place: Range<u64>, sha256: &str) -> Result<bool, Errno> {
        const PIECE: u64 = 1 << 20;
        let mut hash = Sha256::new();
        let mut at = place.start;
        while at < place.end {
            let len = usize::try_from(PIECE.min(place.end - at)).unwrap_or(usize::MAX);
            let piece = self.read_at(inner, at, len)?;
            if piece.is_empty() {
                return Ok(false);
            }
            at += piece.len() as u64;
            hash.update(&piece);
        }
        Ok(crate::fs::receipt::hex(&hash.finalize()) == sha256)
    }

    fn check_written(&self, inner: &mut Inner, kind: DraftKind, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let checking = &mut inner.checking;
        if let Some(told) = &checking.told {
            return Err(told.errno());
        }
        if offset == 0 && checking.checked == 0 {
            checking.checker = Some(Box::new(LineChecker::new(kind)));
        }
        if offset != checking.checked {
            // Not in order: the whole is checked when it is closed.
            checking.checker = None;
            return Ok(());
        }
        let Some(checker) = &mut checking.checker else { return Ok(()) };
        let verdict = checker.push(bytes);
        checking.checked = offset + bytes.len() as u64;
        if let Err(rejection) = verdict {
            return Err(checking.refuse(rejection));
        }
        // Often enough to be early, seldom enough to cost little for a large draft.
        let (events, stated) = (checker.draft().events.len(), usize::from(!checker.draft().expect.is_empty()));
        if events + stated < (checking.events * 2).max(1) {
            return Ok(());
        }
        checking.events = events + stated;
        self.ledger.check(checker.draft()).map_err(|rejection| checking.refuse(rejection))
    }

    /// Checks a file that was closed, perhaps not for the last time: what has come since the last check, all but an unfinished end. Returns
    /// which views it will change.
    ///
    /// # Errors
    /// Why it will not be committed.
    pub fn flush(&self, handle: u64) -> Result<Option<Arc<Concerned>>, Errno> {
        let Handle::Staged { file, writes: true, .. } = self.handle(handle)? else { return Ok(None) };
        let Some(against) = self.checked_against(&file) else { return Ok(None) };
        let mut inner = locked(&file.inner);
        let lost = inner.checking.lost.errno();
        if (inner.size == 0 && lost.is_none()) || !matches!(inner.phase, Phase::Open) {
            return Ok(None);
        }
        inner.closed = true;
        if let Some(errno) = lost {
            return Err(errno);
        }
        if let Some(told) = &inner.checking.told {
            return Err(told.errno());
        }
        if inner.checking.checker.is_none() || inner.checking.checked != inner.size {
            self.check_anew(&mut inner, against.kind)?;
        }
        let checking = &mut inner.checking;
        let Some(checker) = &mut checking.checker else { return Ok(None) };
        let checked = checker.check().and_then(|draft| self.ledger.check(&draft).map(|()| draft));
        match checked {
            Ok(draft) => {
                Arc::make_mut(&mut checking.concerned).add(&draft);
                Ok(Some(Arc::clone(&checking.concerned)))
            }
            Err(rejection) => Err(checking.refuse(rejection)),
        }
    }

    fn check_anew(&self, inner: &mut Inner, kind: DraftKind) -> Result<(), Errno> {
        let bytes = self.all_bytes(inner)?;
        let mut checker = Box::new(LineChecker::new(kind));
        let verdict = checker.push(&bytes);
        inner.checking.checker = Some(checker);
        inner.checking.checked = inner.size;
        verdict.map_err(|rejection| inner.checking.refuse(rejection))
    }

    pub(super) fn all_bytes(&self, inner: &mut Inner) -> Result<Vec<u8>, Errno> {
        let size = usize::try_from(inner.size).map_err(|_| Errno::EFBIG)?;
        if size > DRAFT_LEN_MAX {
            return Err(Errno::EFBIG);
        }
        self.read_at(inner, 0, size)
    }

    /// Cuts or extends a file.
    ///
    /// # Errors
    /// `EEXIST` for a name that was committed and that nobody has open, what the disk answers otherwise.
    pub fn truncate(&self, file: &Staged, size: u64) -> Result<(), Errno> {
        let mut inner = self.lock_decided(file);
        // It is no draft any more, and the cut alone begins no other.
        if matches!(inner.phase, Phase::Committed { .. }) && inner.openers == 0 {
            return Err(Errno::EEXIST);
        }
        self.cut(&mut inner, size)
    }

    pub(super) fn cut(&self, inner: &mut Inner, size: u64) -> Result<(), Errno> {
        inner.undecided()?;
        if inner.is_committed_by_name() && size > DRAFT_LEN_MAX as u64 {
            return Err(Errno::EFBIG);
        }
        self.ensure_open(inner)?.truncate(size).map_err(|error| error.errno())?;
        if inner.openers == 0 {
            inner.file = None;
        }
        inner.size = size;
        inner.checking.begin_anew();
        inner.checking.lost.cut(size);
        inner.reopen();
        inner.touch();
        Ok(())
    }

    /// Makes the bytes of an open file durable.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn sync(&self, handle: u64) -> Result<(), Errno> {
        let Handle::Staged { file, .. } = self.handle(handle)? else { return Ok(()) };
        let mut inner = locked(&file.inner);
        self.ensure_open(&mut inner)?.sync().map_err(|error| error.errno())
    }

    /// Extends an open file so that it has at least so many bytes; `append` has none whatever its size is to be.
    ///
    /// # Errors
    /// `EBADF` for a handle that does not write, what the disk answers otherwise.
    pub fn extend(&self, handle: u64, size: u64) -> Result<(), Errno> {
        let file = match self.handle(handle)? {
            Handle::Staged { file, writes: true, .. } => file,
            Handle::Append => return Ok(()),
            _ => return Err(Errno::EBADF),
        };
        let present = locked(&file.inner).size;
        if size > present { self.truncate(&file, size) } else { Ok(()) }
    }
}

impl Checking {
    /// Keeps what a system call is about to report, so that the last close keeps to it.
    fn tell(&mut self, told: Told) -> Errno {
        let errno = told.errno();
        self.told.get_or_insert(told);
        errno
    }

    fn refuse(&mut self, rejection: Rejection) -> Errno {
        self.tell(Told::Refused(rejection))
    }

    /// A write at this offset was refused and kept at that place. Only the first offset counts: who writes on all the same stays there.
    fn refuse_at(&mut self, offset: u64, place: u64) {
        let refused = self.refused_at.get_or_insert(RefusedAt { offset, last: place });
        if refused.offset == offset {
            refused.last = place;
        }
    }

    /// Nothing counts any more but what is missing: no verdict and no other name brings it back.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { lost: std::mem::take(&mut self.lost), ..Self::default() };
    }
}

impl Inner {
    /// Of what is being committed the bytes were read already: others would be lost with the file. A draft that is renamed may be open.
    fn undecided(&self) -> Result<(), Errno> {
        if self.phase == Phase::Deciding { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// What was decided no longer holds once the bytes change.
    fn reopen(&mut self) {
        self.phase = Phase::Open;
        self.closed = false;
    }
}
