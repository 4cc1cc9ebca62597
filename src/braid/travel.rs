//! Time travel: the epoch of exactly those files that were there, or that a revision, a time or a transaction names.
//!
//! A past epoch is the present one without what is not chosen, plus what only git still has, so it shares nearly all of
//! its memory with the present. It equals a fresh store of exactly those files: its feed is the ingestion order of a
//! replica that takes them in at once, that is canonical order from number 1 (which number an event got *here* tells the
//! present `feed.jsonl`). Nothing can be written to it.

mod build;
mod choose;
mod revision;
mod when;

use std::cell::LazyCell;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::braid::git::{GitError, Oid, Program, TreeFile};
use crate::braid::keeper::memory::held_digest;
use crate::braid::keeper::numbered::SharedHistory;
use crate::braid::parents::ParentsInGit;
use crate::braid::{Failure, Shared};
use crate::epoch::{Epoch, PastFacts};
use crate::format::time::parse_rfc3339;
use crate::model::{FindingKind, TransactionId};
use crate::store::Store;
use crate::view::{File, Past, States, Tree};

pub use when::When;

/// How many pasts are kept: enough to compare a few with each other.
const PASTS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
/// How long a remote may answer nothing of what a partial clone lacks.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How many names are remembered with what they meant.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Stands for the epoch of a name that means the same as of every epoch.
const NEVER_MOVES: u64 = u64::MAX;

/// Why there is no such past.
#[derive(Debug, thiserror::Error)]
pub enum TravelError {
    /// The text names no moment.
    #[error("\"{when}\" names no moment: {why}")]
    Malformed {
        /// The text.
        when: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A position, a sequence number or an epoch's number that is not given yet.
    #[error("{what} {asked} does not exist: the last one is {last}")]
    Beyond {
        /// What is counted.
        what: &'static str,
        /// The number asked for.
        asked: u64,
        /// The largest one.
        last: u64,
    },
    /// An epoch of which it is not known any more what came since.
    #[error("epoch {asked} is not remembered: the oldest one that is has number {oldest}")]
    Forgotten {
        /// The number asked for.
        asked: u64,
        /// The oldest one.
        oldest: u64,
    },
    /// The transaction is not in the views.
    #[error("transaction \"{id}\" is not in this store")]
    UnknownTransaction {
        /// The one asked for.
        id: TransactionId,
        /// Whether the store lies in a git repository, which may have it.
        in_git: bool,
    },
    /// A revision whose files are not in `events/` and too large to hold.
    #[error("revision \"{revision}\" holds more than {limit} bytes of files that are not in events/")]
    TooLarge {
        /// The revision as asked for.
        revision: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Git has no answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store was closed.
    #[error("the store was closed")]
    Closed,
}

impl TravelError {
    /// What helps; may be empty.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Beyond { what: "position", .. } => "braidfs log --last 1 shows the last one; in a mount: status.json".to_owned(),
            Self::Beyond { what: "sequence number", .. } => "braidfs feed --last 1 shows the last one; in a mount: status.json".to_owned(),
            Self::Beyond { .. } => "braidfs status --format json tells the present one; in a mount: status.json".to_owned(),
            Self::Malformed { .. } => {
                "position:N, seq:N, epoch:N, time:2026-01-31T12:00:00Z, tx:ID, git:REVISION, or one of the last three without its prefix"
                    .to_owned()
            }
            // A repository that is made now has no revision.
            Self::Git(GitError::NoRepository(_)) => {
                "position:N, seq:N, epoch:N, time:2026-01-31T12:00:00Z or tx:ID; without git there are no revisions".to_owned()
            }
            // What would be a time if it said where.
            Self::Git(GitError::UnknownRevision(name))
                if ["Z", "T00:00:00Z"].iter().any(|rest| parse_rfc3339(&format!("{name}{rest}")).is_some()) =>
            {
                format!("a time has its zone: {name}{}", if name.contains(':') { "Z" } else { "T00:00:00Z" })
            }
            Self::Git(error) => error.hint(),
            Self::UnknownTransaction { id, in_git } => cure_of_absent(&[*id], *in_git),
            Self::TooLarge { .. } => "check the revision out in a work tree of its own: git worktree add".to_owned(),
            Self::Forgotten { .. } => "seq:N, where N is latest_seq_nr in the status.json of then, or position:N".to_owned(),
            Self::Closed => String::new(),
        }
    }
}

impl From<TravelError> for Failure {
    fn from(error: TravelError) -> Self {
        Self::new(error.to_string(), error.hint())
    }
}

/// What brings transactions here that are not: in git it tells which commits have them.
fn cure_of_absent(absent: &[TransactionId], in_git: bool) -> String {
    if !in_git {
        return ParentsInGit::NoRepository.hint(absent);
    }
    let paths: Vec<String> = absent.iter().map(|id| format!("events/{id}.jsonl")).collect();
    format!("git log --all --oneline -- {}", paths.join(" "))
}

/// What a name came to: a set of files, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Meaning {
    /// The files of this tree, and those of its commit to which its links lead; none if the commit has no `events/`.
    Tree(Option<Oid>, Vec<TreeFile>),
    /// Transactions of the present, by the digest of what they say, and of how they were read: their numbers, the names of their files and
    /// what is told of these.
    Transactions { said: [u8; 32], read: [u8; 32] },
}

struct Cache {
    /// Each with what was made to be shown of it.
    pasts: LruCache<Meaning, Tree>,
    /// What names that do not move meant, and as of which epoch.
    names: LruCache<(String, u64), Meaning>,
    /// The names of the links in a tree.
    links: LruCache<Oid, Arc<[String]>>,
}

/// The past of an open store.
pub(super) struct Travel {
    present: Weak<Shared>,
    store: Arc<Store>,
    git: Program,
    states: Arc<dyn States>,
    history: SharedHistory,
    cache: Mutex<Cache>,
    /// What is being built, so that many who ask for one epoch build it once.
    building: Mutex<HashSet<Meaning>>,
    built: Condvar,
}

impl std::fmt::Debug for Travel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Travel").field("store", &self.store.dir()).finish_non_exhaustive()
    }
}

impl Travel {
    /// The past of a store; `is_attended` where git may ask somebody for a password.
    pub(super) fn new(
        present: Weak<Shared>,
        store: &Arc<Store>,
        states: Arc<dyn States>,
        history: SharedHistory,
        is_attended: bool,
    ) -> Self {
        let git = Program::new(store.dir());
        let cache = Cache { pasts: LruCache::new(PASTS_MAX), names: LruCache::new(NAMES_MAX), links: LruCache::new(NAMES_MAX) };
        Self {
            present,
            git: if is_attended { git } else { git.patient(PATIENCE) },
            store: Arc::clone(store),
            states,
            history,
            cache: Mutex::new(cache),
            building: Mutex::default(),
            built: Condvar::new(),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of exactly those files that `when` names; a revision that can move is resolved anew.
    pub(super) fn at(&self, when: &str) -> Result<Arc<Epoch>, TravelError> {
        Ok(Arc::clone(self.past(when)?.epoch()))
    }

    fn past(&self, when: &str) -> Result<Tree, TravelError> {
        let moment = When::parse(when)?;
        let present = self.present.upgrade().ok_or(TravelError::Closed)?.epoch();
        if let When::Revision(revision) = &moment {
            return self.at_revision(revision, &present);
        }
        let name = (when.to_owned(), present.number);
        {
            let mut cache = self.cache();
            let known = cache.names.get(&name).cloned();
            if let Some(past) = known.and_then(|meaning| cache.pasts.get(&meaning).cloned()) {
                return Ok(past);
            }
        }
        let in_git = LazyCell::new(|| self.git.has_repository());
        let chosen = choose::choose(&moment, &present, &self.history, || *in_git)?;
        let meaning = meaning(&present, &chosen);
        self.cache().names.put(name, meaning.clone());
        self.built(meaning, || Ok(build::from_present(&present, &chosen, |absent| cure_of_absent(absent, *in_git))))
    }

    fn at_revision(&self, revision: &str, present: &Arc<Epoch>) -> Result<Tree, TravelError> {
        let never_moves = Oid::parse(revision).is_some();
        let name = (revision.to_owned(), NEVER_MOVES);
        if never_moves {
            let mut cache = self.cache();
            let known = cache.names.get(&name).cloned();
            if let Some(past) = known.and_then(|meaning| cache.pasts.get(&meaning).cloned()) {
                return Ok(past);
            }
        }
        let commit = self.git.commit(revision)?;
        let tree = self.git.events_tree(&commit)?;
        let linked = tree.as_ref().map_or(Ok(Vec::new()), |tree| self.git.linked_files(&commit, &self.links(tree)?))?;
        let meaning = Meaning::Tree(tree.clone(), linked.clone());
        if never_moves {
            self.cache().names.put(name, meaning.clone());
        }
        self.built(meaning, || {
            let read = revision::read(&self.git, (&commit, tree.as_ref()), linked, present, revision)?;
            let elsewhere = revision::FromGit::new(&self.git, present, tree, &read);
            Ok(build::from_revision(present, &read, elsewhere))
        })
    }

    /// The names of the links in a tree of `events/`.
    fn links(&self, tree: &Oid) -> Result<Arc<[String]>, GitError> {
        if let Some(links) = self.cache().links.get(tree) {
            return Ok(Arc::clone(links));
        }
        let links: Arc<[String]> = self.git.transaction_entries(tree)?.1.into();
        self.cache().links.put(tree.clone(), Arc::clone(&links));
        Ok(links)
    }

    fn built(&self, meaning: Meaning, build: impl FnOnce() -> Result<Epoch, TravelError>) -> Result<Tree, TravelError> {
        let known = |travel: &Self| travel.cache().pasts.get(&meaning).cloned();
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(past) = known(self) {
                return Ok(past);
            }
            if building.insert(meaning.clone()) {
                break;
            }
            building = self.built.wait(building).unwrap_or_else(PoisonError::into_inner);
        }
        drop(building);
        let _turn = Turn { travel: self, meaning: &meaning };
        let mut epoch = build()?;
        let elsewhere = epoch.past.and_then(|past| past.elsewhere);
        epoch.past = Some(PastFacts { incarnation: incarnation(&meaning), elsewhere });
        let past = Tree::of(Arc::new(epoch)).with_states(Arc::clone(&self.states));
        self.cache().pasts.put(meaning.clone(), past.clone());
        Ok(past)
    }
}

/// Somebody builds an epoch, until this ends.
struct Turn<'t> {
    travel: &'t Travel,
    meaning: &'t Meaning,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.travel.building.lock().unwrap_or_else(PoisonError::into_inner).remove(self.meaning);
        self.travel.built.notify_all();
    }
}

impl Past for Travel {
    fn resolve(&self, when: &str) -> Option<Tree> {
        match self.past(when) {
            Ok(past) => Some(past),
            Err(error) => {
                tracing::debug!(%error, when, "no such past");
                None
            }
        }
    }

    fn find_kept(&self, find: &dyn Fn(&Tree) -> Option<File>) -> Option<File> {
        let kept: Vec<(Meaning, Tree)> = self.cache().pasts.iter().map(|(meaning, past)| (meaning.clone(), past.clone())).collect();
        let (meaning, file) = kept.into_iter().find_map(|(meaning, past)| Some((meaning, find(&past)?)))?;
        self.cache().pasts.promote(&meaning);
        Some(file)
    }

    fn settled(&self, when: &str) -> Option<String> {
        match When::parse(when).ok()? {
            When::Revision(revision) => Some(format!("git:{}", self.git.commit(&revision).ok()?)),
            _ => None,
        }
    }
}

fn incarnation(meaning: &Meaning) -> u64 {
    let digest: [u8; 32] = match meaning {
        Meaning::Tree(tree, linked) => {
            let mut hash = Sha256::new_with_prefix(tree.as_ref().map_or("", Oid::as_str));
            linked.iter().for_each(|file| hash.update(file.oid.as_str()));
            hash.finalize().into()
        }
        Meaning::Transactions { said, .. } => *said,
    };
    digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// What a choice of the present transactions means.
fn meaning(present: &Epoch, chosen: &[u32]) -> Meaning {
    let transactions = &present.index.transactions;
    let (mut said, mut read) = (Sha256::new(), Sha256::new());
    // A first line tells the bytes of all others but in files of old, and where somebody has edited both.
    let edited = present.findings.iter().filter(|finding| finding.kind == FindingKind::Edited);
    let edited: HashSet<TransactionId> = edited.filter_map(|finding| finding.transaction_id).collect();
    for &tx in chosen {
        let id = transactions.id(tx);
        said.update(id.as_bytes());
        said.update(transactions.header_sum(tx).to_le_bytes());
        if edited.contains(&id) {
            said.update(held_digest(&present.index, tx));
        }
        read.update(tx.to_le_bytes());
        if let Some(name) = transactions.odd_name(tx) {
            read.update(name);
        }
    }
    for finding in build::findings_of_bytes(present) {
        read.update(format!("{finding:?}"));
    }
    Meaning::Transactions { said: said.finalize().into(), read: read.finalize().into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
