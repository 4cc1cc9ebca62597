//! The receipts as files: which there are, what they say, and the refusals in plain words.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use crate::fs::locked;
use crate::fs::receipt::{ENDING, ERROR_ENDING, Receipt, State as Verdict, sha256_hex, shown_name, staged_name};
use crate::fs::staging::{Phase, Staged, Staging, State, commit_kind};
use crate::model::Errno;
use crate::store::{RECEIPTS_MAX, StagedName};

/// What is kept in memory of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Brief {
    pub(super) state: Verdict,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Where a draft was refused when it was renamed: its name.
    draft: Option<String>,
    size: u64,
    mtime_ns: i128,
}

/// So many receipts are written beside each other, but for names that chance puts together.
const WRITERS_MAX: usize = 64;

/// Who writes the receipts of which names.
pub(super) struct Writing([Mutex<()>; WRITERS_MAX]);

impl Default for Writing {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Writing {
    /// Waits until nobody writes that of a name, and keeps it so while what this returns is held.
    fn lock(&self, name: &str) -> Option<MutexGuard<'_, ()>> {
        let place = usize::try_from(BuildHasherDefault::<DefaultHasher>::default().hash_one(name)).unwrap_or_default() % WRITERS_MAX;
        self.0.get(place).map(locked)
    }
}

impl Staging {
    /// Writes a receipt in place of the one before.
    pub(in crate::fs) fn save(&self, receipt: &Receipt) -> Result<(), Errno> {
        let name = StagedName::new(&receipt.name).ok_or(Errno::EINVAL)?;
        let text = receipt.to_bytes();
        let _writing = self.writing.lock(&receipt.name);
        let dropped = if receipt.state == Verdict::Committed { Ok(()) } else { self.drop_graced(&receipt.name) };
        let saved = dropped.and_then(|()| self.kept.save(&name, &text).map_err(|error| error.errno()));
        // While undecided the one before still stands, for a second save is told by it.
        if receipt.state == Verdict::Pending {
            if saved.is_ok() {
                let mut state = locked(&self.state);
                state.unsaved.remove(&receipt.name);
                state.begun.insert(receipt.name.clone());
            }
            return saved;
        }
        if saved.is_err() && receipt.state == Verdict::Refused && receipt.attempt.is_none() {
            // What is there says that it is pending, which the next daemon would commit, or speaks of other bytes. To remove it takes no room.
            let _ = self.kept.forget(&name);
        }
        let brief = self.brief_of(receipt, text.len() as u64, super::now_ns());
        let mut state = locked(&self.state);
        state.show(receipt, brief);
        match saved {
            Ok(()) => drop(state.unsaved.remove(&receipt.name)),
            Err(_) => drop(state.unsaved.insert(receipt.name.clone(), text)),
        }
        saved
    }

    /// Shows the receipt of a commit that is still to be written.
    pub(in crate::fs) fn hold(&self, receipt: &Receipt) {
        let text = receipt.to_bytes();
        let brief = self.brief_of(receipt, text.len() as u64, super::now_ns());
        let mut state = locked(&self.state);
        state.show(receipt, brief);
        state.unsaved.insert(receipt.name.clone(), text);
    }

    /// Writes the receipts that could not be written, now that this may be possible.
    pub(super) fn save_unsaved(&self) {
        let unsaved: Vec<String> = locked(&self.state).unsaved.keys().cloned().collect();
        for name in unsaved {
            // It is tried again.
            let _ = self.save_held(&name);
        }
    }

    /// Writes a receipt that is shown and not written, unless the next one of its name was begun or it was forgotten.
    pub(in crate::fs) fn save_held(&self, name: &str) -> Result<(), Errno> {
        // Nothing newer is written meanwhile.
        let _writing = self.writing.lock(name);
        let text = locked(&self.state).unsaved.get(name).cloned();
        let Some((staged, text)) = StagedName::new(name).zip(text) else { return Ok(()) };
        self.kept.save(&staged, &text).map_err(|error| error.errno())?;
        locked(&self.state).unsaved.remove(name);
        Ok(())
    }

    /// The text of a receipt that was decided, or of one that was begun: what could not be written is remembered.
    fn text(&self, name: &StagedName) -> Option<Vec<u8>> {
        let unsaved = locked(&self.state).unsaved.get(name.as_str()).cloned();
        unsaved.or_else(|| self.kept.load(name).ok().flatten())
    }

    fn brief_of(&self, receipt: &Receipt, size: u64, mtime_ns: i128) -> Brief {
        Brief { state: receipt.state, bytes: receipt.bytes, sha256: receipt.sha256.clone(), draft: receipt.draft.clone(), size, mtime_ns }
    }

    /// What the receipt of a name says in brief; none without one that was decided.
    pub(super) fn brief(&self, name: &str) -> Option<Brief> {
        let known = locked(&self.state).receipts.get(name).cloned()?;
        if known.is_some() {
            return known;
        }
        let staged = StagedName::new(name)?;
        let text = self.text(&staged)?;
        let mtime_ns = self.kept.stat(&staged).ok().flatten().map_or(0, |stat| stat.mtime_ns);
        let brief = self.brief_of(&Receipt::parse(&text)?, text.len() as u64, mtime_ns);
        locked(&self.state).receipts.insert(name.to_owned(), Some(brief.clone()));
        Some(brief)
    }

    /// The names that have a receipt, decided or not.
    #[must_use]
    pub fn receipt_names(&self) -> Vec<String> {
        let mut names: Vec<String> = locked(&self.state).receipts.keys().cloned().collect();
        let files: Vec<(String, Arc<Staged>)> =
            locked(&self.state).names.iter().map(|(name, file)| (name.clone(), Arc::clone(file))).collect();
        names.extend(files.into_iter().filter(|(name, file)| is_pending(name, file)).map(|(name, _)| name));
        names.sort();
        names.dedup();
        names
    }

    /// The staged name whose receipt a name in `receipts/` would be.
    #[must_use]
    pub fn receipt_of(&self, shown: &str) -> Option<String> {
        staged_name(shown, ENDING, || self.receipt_names())
    }

    /// What the receipt of a name says on disk, decided or not, or would say.
    pub(super) fn receipt_on_disk(&self, name: &StagedName) -> Option<Receipt> {
        Receipt::parse(&self.text(name)?)
    }

    /// The text of a receipt: as decided, or that it is pending.
    #[must_use]
    pub fn receipt(&self, name: &str) -> Option<Vec<u8>> {
        let file = locked(&self.state).names.get(name).cloned();
        if let Some(file) = file.filter(|file| is_pending(name, file)) {
            let mut inner = locked(&file.inner);
            let bytes = self.all_bytes(&mut inner).unwrap_or_default();
            return Some(Receipt::pending(name, inner.size, sha256_hex(&bytes), None).to_bytes());
        }
        if !locked(&self.state).receipts.contains_key(name) {
            return None;
        }
        self.text(&StagedName::new(name)?)
    }

    /// Size and time of a receipt.
    #[must_use]
    pub fn receipt_facts(&self, name: &str) -> Option<(u64, i128)> {
        let file = locked(&self.state).names.get(name).cloned();
        if let Some(file) = file.filter(|file| is_pending(name, file)) {
            // All sums are of one length, so who asks for the size need not wait until the bytes are read.
            let text = Receipt::pending(name, locked(&file.inner).size, sha256_hex(b""), None).to_bytes();
            return Some((text.len() as u64, super::now_ns()));
        }
        self.brief(name).map(|brief| (brief.size, brief.mtime_ns))
    }

    /// Forgets a receipt.
    ///
    /// # Errors
    /// `ENOENT` without one, `EBUSY` while its name is being decided.
    pub fn forget_receipt(&self, name: &str) -> Result<(), Errno> {
        let staged = StagedName::new(name).ok_or(Errno::ENOENT)?;
        if !locked(&self.state).receipts.contains_key(name) {
            return Err(if self.receipt(name).is_some() { Errno::EBUSY } else { Errno::ENOENT });
        }
        let _writing = self.writing.lock(name);
        let was_unsaved = {
            let mut state = locked(&self.state);
            // What is on disk is of the next save: the next daemon would need it.
            if state.begun.contains(name) {
                return Err(Errno::EBUSY);
            }
            state.unsaved.remove(name).is_some()
        };
        match self.kept.forget(&staged) {
            Err(error) if !(was_unsaved && error.is_not_found()) => return Err(error.errno()),
            _ => drop(locked(&self.state).receipts.remove(name)),
        }
        self.drop_graced(name)?;
        Ok(())
    }

    /// Takes away what still lies under a name that was committed: once its receipt says something else, nothing tells that it was.
    fn drop_graced(&self, name: &str) -> Result<(), Errno> {
        let graced = locked(&self.state).names.get(name).cloned();
        match graced.filter(|file| matches!(locked(&file.inner).phase, Phase::Committed { .. })) {
            Some(file) => self.remove(name, &file),
            None => Ok(()),
        }
    }

    /// Takes up the receipts that are on disk, by name only.
    pub(super) fn take_up_receipts(&self) -> Result<(), Errno> {
        let kept = self.kept.list().map_err(|error| error.errno())?;
        let mut state = locked(&self.state);
        for (name, _) in kept {
            state.receipts.entry(name.as_str().to_owned()).or_insert(None);
        }
        Ok(())
    }

    /// Forgets receipts that are old now, if it is known when that is, and the oldest of too many. That takes a look at each of them, so it is done
    /// now and then where there are few.
    pub(super) fn drop_receipts(&self, now: Option<SystemTime>) {
        const PAUSE: Duration = Duration::from_secs(600);
        {
            let mut state = locked(&self.state);
            let is_due = state.receipts_looked.is_none_or(|looked| looked.elapsed() >= PAUSE);
            if !is_due && state.receipts.len() <= RECEIPTS_MAX {
                return;
            }
            state.receipts_looked = Some(Instant::now());
        }
        match self.kept.forget_old(now) {
            Ok(names) => {
                let mut state = locked(&self.state);
                for name in &names {
                    state.receipts.remove(name.as_str());
                    state.dismissed.remove(name.as_str());
                }
            }
            Err(error) => tracing::warn!(%error, "old receipts cannot be forgotten"),
        }
    }

    /// The names that show refusals in plain words.
    pub(super) fn errors(&self) -> Vec<String> {
        let state = locked(&self.state);
        let refused = state.receipts.iter().filter(|(name, brief)| brief.as_ref().is_some_and(|brief| state.tells(name, brief)));
        refused.map(|(name, _)| shown_name(name, ERROR_ENDING)).collect()
    }

    /// The staged name whose refusal a name shows; none if it shows none.
    #[must_use]
    pub fn error(&self, name: &str) -> Option<String> {
        let of = staged_name(name, ERROR_ENDING, || self.receipt_names())?;
        commit_kind(&of)?;
        let brief = self.brief(&of)?;
        locked(&self.state).tells(&of, &brief).then_some(of)
    }

    /// A refusal in plain words, and when it was decided.
    #[must_use]
    pub fn words(&self, of: &str) -> Option<(String, i128)> {
        let brief = self.brief(of).filter(|brief| brief.state == Verdict::Refused)?;
        Some((self.receipt_on_disk(&StagedName::new(of)?)?.words(), brief.mtime_ns))
    }

    /// Does not show refusals any more whose file or draft had this name, and went; a later file of that name is another one.
    pub(super) fn dismiss_of(&self, gone: &str) {
        let mut state = locked(&self.state);
        let is_of = |name: &str, brief: &Brief| name == gone || brief.draft.as_deref() == Some(gone);
        let of_it = state
            .receipts
            .iter()
            .filter_map(|(name, brief)| Some((name, brief.as_ref()?)))
            .filter(|(name, brief)| brief.state == Verdict::Refused && is_of(name, brief) && !state.tells(name, brief));
        let names: Vec<String> = of_it.map(|(name, _)| name.clone()).collect();
        state.dismissed.extend(names);
    }

    /// Does not show a refusal any more; its receipt stays.
    pub(super) fn dismiss(&self, name: &str) {
        let mut state = locked(&self.state);
        // Of names without a receipt there may be any number.
        if state.receipts.contains_key(name) {
            state.dismissed.insert(name.to_owned());
        }
    }
}

impl State {
    /// Shows a receipt that was decided.
    fn show(&mut self, receipt: &Receipt, brief: Brief) {
        self.begun.remove(&receipt.name);
        self.dismissed.remove(&receipt.name);
        self.receipts.insert(receipt.name.clone(), Some(brief));
    }

    /// Whether a refusal is shown in plain words: as long as the file or the draft that it speaks of is there, unless somebody removed it.
    fn tells(&self, name: &str, brief: &Brief) -> bool {
        let is_there = |name: &str| self.names.contains_key(name);
        brief.state == Verdict::Refused
            && !self.dismissed.contains(name)
            && (is_there(name) || brief.draft.as_deref().is_some_and(is_there))
    }
}

/// Whether a file of that name is to be committed and not decided.
fn is_pending(name: &str, file: &Staged) -> bool {
    let inner = locked(&file.inner);
    let undecided = inner.phase == Phase::Deciding || (inner.phase == Phase::Open && inner.writers > 0);
    undecided && inner.size > 0 && commit_kind(name).is_some()
}
