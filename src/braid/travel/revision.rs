//! What a commit's tree holds: files that `events/` still has, and files that only git has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::braid::git::{GitError, Oid, Program, TreeFile};
use crate::braid::keeper::load::{self, Good};
use crate::braid::keeper::memory::{good_digest, held_digest};
use crate::braid::travel::TravelError;
use crate::disk::os_name;
use crate::epoch::{Elsewhere, Epoch, Place};
use crate::index::Index;
use crate::model::TransactionId;

/// How many bytes of files that `events/` does not have one past epoch may hold.
const FOREIGN_BYTES_MAX: u64 = 1 << 30;

/// The transactions in a commit's tree.
pub(super) struct Revision {
    /// Transactions of the present whose files are the same there, by number.
    pub(super) kept: Vec<u32>,
    /// Files that count and that the present does not have so.
    pub(super) foreign: Vec<Counted>,
    /// Files that do not count, with the reason.
    pub(super) refused: Vec<(Arc<Blob>, String)>,
    /// Names under which a transaction is there once more, with its id.
    pub(super) duplicates: Vec<(String, TransactionId)>,
}

/// A file that only git has.
pub(super) struct Blob {
    pub(super) name: String,
    pub(super) bytes: Arc<[u8]>,
}

/// A file that only git has and that counts.
pub(super) struct Counted {
    pub(super) blob: Arc<Blob>,
    pub(super) good: Good,
}

/// Reads what a commit's tree holds, and to what its links lead.
pub(super) fn read(
    git: &Program,
    (commit, tree): (&Oid, Option<&Oid>),
    linked: Vec<TreeFile>,
    present: &Epoch,
    name: &str,
) -> Result<Revision, TravelError> {
    let mut revision = Revision { kept: Vec::new(), foreign: Vec::new(), refused: Vec::new(), duplicates: Vec::new() };
    let Some(tree) = tree else { return Ok(revision) };
    let differing = git.differing(commit)?;
    let mut kept: HashMap<u32, TreeFile> = HashMap::new();
    // Where a link is the same what it leads to may not be.
    let mut files = linked;
    for file in git.transaction_files(tree)? {
        match transaction_of(&present.index, &file.name).filter(|_| !differing.contains(&file.name)) {
            Some(number) => drop(kept.insert(number, file)),
            None => files.push(file),
        }
    }
    let mut counted: BTreeMap<TransactionId, Vec<Counted>> = BTreeMap::new();
    let mut waiting = files;
    while !waiting.is_empty() {
        let mut claimed = Vec::new();
        let (mut refused, files) = (Vec::new(), std::mem::take(&mut waiting));
        let mut count = |blob: Arc<Blob>, good: Good| {
            let id = good.header.transaction_id;
            claimed.extend(present.index.transactions.find(id));
            counted.entry(id).or_default().push(Counted { blob, good });
        };
        for (n, blob) in load_blobs(git, &files, name)?.into_iter().enumerate() {
            match load::read(&blob.bytes) {
                Ok(good) => count(blob, good),
                Err(refusal) => refused.push((n, blob, refusal.to_string())),
            }
        }
        let asked =
            refused.iter().filter_map(|(n, ..)| files.get(*n)).map(|file| (file.name.clone(), file.oid.clone())).collect::<Vec<_>>();
        for ((_, blob, reason), bytes) in refused.into_iter().zip(git.through_filter(&asked)) {
            match bytes.and_then(|bytes| Some((load::read(&bytes).ok()?, bytes))) {
                Some((good, bytes)) => count(Arc::new(Blob { name: blob.name.clone(), bytes: bytes.into() }), good),
                None => revision.refused.push((blob, reason)),
            }
        }
        // Whoever else has such an id is compared byte by byte.
        waiting = claimed.into_iter().filter_map(|number| kept.remove(&number)).collect();
    }
    for (id, files) in counted {
        revision.settle(id, files);
    }
    revision.kept = kept.into_keys().collect();
    Ok(revision)
}

impl Revision {
    /// Of files that claim one id and say the same the one with the proper name counts; of those that differ none.
    fn settle(&mut self, id: TransactionId, mut files: Vec<Counted>) {
        let proper = format!("{id}.jsonl");
        files.sort_by(|a, b| (a.blob.name != proper).cmp(&(b.blob.name != proper)).then_with(|| a.blob.name.cmp(&b.blob.name)));
        let mut files = files.into_iter();
        let Some(first) = files.next() else { return };
        let rest: Vec<Counted> = files.collect();
        if rest.iter().all(|other| other.good.says_the_same(&first.good)) {
            self.foreign.push(first);
            self.duplicates.extend(rest.into_iter().map(|other| (other.blob.name.clone(), id)));
            return;
        }
        let reason = crate::braid::keeper::roster::claim_reason(id);
        self.refused.extend(std::iter::once(first).chain(rest).map(|counted| (counted.blob, reason.clone())));
    }
}

/// The transaction in the views whose file has this name, which is that of its id.
fn transaction_of(index: &Index, name: &str) -> Option<u32> {
    let id = TransactionId::of_file_name(name)?;
    index.transactions.find_valid(id).filter(|&number| index.transactions.file_name(number) == name)
}

fn load_blobs(git: &Program, files: &[TreeFile], revision: &str) -> Result<Vec<Arc<Blob>>, TravelError> {
    let oids: Vec<Oid> = files.iter().map(|file| file.oid.clone()).collect();
    let mut names = files.iter().map(|file| file.name.clone());
    let mut blobs = Vec::with_capacity(oids.len());
    let mut total = 0u64;
    git.read_blobs(&oids, |_, blob| {
        let (Some(bytes), Some(name)) = (blob, names.next()) else { return Err(GitError::Unexpected("cat-file").into()) };
        total += bytes.len() as u64;
        if total > FOREIGN_BYTES_MAX {
            return Err(TravelError::TooLarge { revision: revision.to_owned(), limit: FOREIGN_BYTES_MAX });
        }
        blobs.push(Arc::new(Blob { name, bytes: bytes.into() }));
        Ok(())
    })?;
    Ok(blobs)
}

/// The files of a past epoch that `events/` does not have, or has no longer.
pub(super) struct FromGit {
    git: Program,
    /// Where the files were that are the same in `events/`.
    present: Arc<Epoch>,
    tree: Option<Oid>,
    foreign: HashMap<String, Arc<Blob>>,
}

impl std::fmt::Debug for FromGit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromGit").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl FromGit {
    pub(super) fn new(git: &Program, present: &Arc<Epoch>, tree: Option<Oid>, revision: &Revision) -> Self {
        let counted = revision.foreign.iter().map(|counted| &counted.blob);
        let blobs = counted.chain(revision.refused.iter().map(|(blob, _)| blob));
        let foreign = blobs.map(|blob| (blob.name.clone(), Arc::clone(blob))).collect();
        Self { git: git.clone(), present: Arc::clone(present), tree, foreign }
    }

    /// Whether the file that has a name in `events/` now says what the one did that was there.
    fn is_as_read(&self, name: &str) -> bool {
        let Epoch { index, store, .. } = &*self.present;
        let (Some(number), Ok(stat)) = (transaction_of(index, name), store.stat(name)) else { return false };
        let is_same = index.transactions.inode(number) == stat.inode && load::has_stamp(stat, index.transactions.stamp(number));
        let says_the_same = || {
            let good = store.load(name).ok().and_then(|(bytes, _)| load::read(&bytes).ok());
            good.is_some_and(|good| good_digest(&good) == held_digest(index, number))
        };
        is_same || says_the_same()
    }

    /// The bytes that git has of a file, as it would write them; none if it does not give them.
    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let mut object = std::ffi::OsString::from(format!("{}:", self.tree.as_ref()?));
        object.push(os_name(name));
        let words = ["rev-parse".into(), "--verify".into(), "--quiet".into(), "--end-of-options".into(), object];
        let oid = Oid::parse(&self.git.text(&words).ok()?)?;
        let bytes = self.git.run(&["cat-file", "blob", oid.as_str()]).ok()?;
        let through_filter = || self.git.through_filter(&[(name.to_owned(), oid)]).pop().flatten();
        Some(if load::read(&bytes).is_ok() { bytes } else { through_filter().unwrap_or(bytes) })
    }
}

impl Elsewhere for FromGit {
    fn find(&self, name: &str) -> Place {
        if let Some(blob) = self.foreign.get(name) {
            return Place::Elsewhere(Arc::clone(&blob.bytes));
        }
        // It was in events/ when this epoch was built, and may have left since or been written anew.
        if self.is_as_read(name) {
            return Place::Events;
        }
        self.bytes(name).map_or(Place::Nowhere, |bytes| Place::Elsewhere(bytes.into()))
    }
}

/// The names of the kept transactions' files.
pub(super) fn names(present: &Epoch, kept: &[u32]) -> HashSet<String> {
    kept.iter().map(|&tx| present.index.transactions.file_name(tx)).collect()
}
