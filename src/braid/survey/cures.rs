//! What brings files in order that are refused or were changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::braid::git::{GitError, Oid, Program, Said};
use crate::braid::keeper::load;
use crate::braid::keeper::memory::{FirstSaid, changed_since, edited};
use crate::braid::keeper::roster::is_claim;
use crate::disk::quoted_name;
use crate::epoch::Epoch;
use crate::model::{Finding, FindingKind};
use crate::store::Store;

/// How long git may look for what files said first.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);

/// What git first got of a file.
pub(super) struct First {
    commit: Oid,
    blob: Oid,
    /// Whether that is a transaction as it was written.
    is_whole: bool,
    /// Whether the file has these bytes now.
    pub(super) is_now: bool,
}

/// What git has of files that are not as they were.
pub(super) struct InGit<'a> {
    /// What the last commit has of all.
    pub(super) committed: &'a BTreeMap<String, Oid>,
    /// With what git first got them; none where it did not tell.
    pub(super) first: Option<&'a BTreeMap<String, First>>,
    /// Whether git takes a file to be as the last commit has it.
    pub(super) is_unchanged: &'a dyn Fn(&str) -> bool,
    /// The filter that attributes name for the files, if they do.
    pub(super) filter: &'a dyn Fn() -> Option<String>,
}

impl InGit<'_> {
    fn takes_for_unchanged(&self, name: &str, blob: &Oid) -> bool {
        self.committed.get(name) == Some(blob) && (self.is_unchanged)(name)
    }

    /// The filter that was to make a transaction of a file, where that lies here in the form that it has in git.
    fn unfiltered(&self, name: &str) -> Option<String> {
        self.first?.get(name).filter(|first| first.is_now)?;
        (self.filter)()
    }
}

fn cure_of_unfiltered(path: &str, filter: &str) -> String {
    let setup = if filter == "lfs" { "git lfs install".to_owned() } else { format!("git config filter.{filter}.smudge COMMAND") };
    format!(
        "rm {path} && git checkout HEAD -- {path}   # once the filter \"{filter}\" is set up here ({setup}): without it this is only what git has of \
         the file"
    )
}

/// With what git first got these files, as far as it has them; none where it does not tell.
pub(super) fn ask_first(store: &Store, git: &Program, names: BTreeSet<String>) -> Option<BTreeMap<String, First>> {
    let ask = || {
        let said: Vec<(String, Said)> = git.first_said(names, FIRST_PATIENCE)?.into_iter().collect();
        let blobs: Vec<Oid> = said.iter().map(|(_, said)| said.blob.clone()).collect();
        let mut first = BTreeMap::new();
        let mut odd = Vec::new();
        let of = |name: &str, said: &Said, bytes: &[u8]| {
            let is_whole = load::read(bytes).is_ok_and(|good| good.header.transaction_id.is_file_name(name));
            let is_now = store.load(name).is_ok_and(|(now, _)| now == bytes);
            First { commit: said.commit.oid.clone(), blob: said.blob.clone(), is_whole, is_now }
        };
        git.read_blobs(&blobs, |n, bytes| {
            if let (Some((name, said)), Some(bytes)) = (said.get(n), bytes) {
                let as_it_is = of(name, said, &bytes);
                if !as_it_is.is_whole {
                    odd.push((name.clone(), said.clone()));
                }
                first.insert(name.clone(), as_it_is);
            }
            Ok::<(), GitError>(())
        })?;
        let asked: Vec<(String, Oid)> = odd.iter().map(|(name, said)| (name.clone(), said.blob.clone())).collect();
        for ((name, said), bytes) in odd.into_iter().zip(git.through_filter(&asked)) {
            if let Some(bytes) = bytes {
                let through = of(&name, &said, &bytes);
                first.insert(name, through);
            }
        }
        Ok::<_, GitError>(first)
    };
    ask().inspect_err(|error| tracing::debug!(%error, "git does not tell what files said first")).ok()
}

/// Whether a file cannot be read: then neither we nor git know what it says, and the finding that it is refused tells what helps.
pub(super) fn is_unreadable(store: &Store, name: &str) -> bool {
    store.load(name).is_err_and(|error| !error.is_not_found())
}

/// What is told of files that are refused or were changed, also what is told only once this survey is taken over.
pub(super) fn wrong(epoch: &Epoch, first_said: &BTreeMap<String, FirstSaid>) -> Vec<Finding> {
    let is_wrong = |finding: &&Finding| matches!(finding.kind, FindingKind::Quarantined | FindingKind::Edited);
    let told = epoch.findings.iter().filter(is_wrong).cloned();
    told.chain(changed_since(&epoch.index, first_said).into_iter().map(|(name, _)| edited(&name))).collect()
}

/// What brings these in order: the bytes with which git first got them, where these make sense; a refused one that git never had
/// whole is out of the way elsewhere, as no view has it. One that is whole, and refused since another file claims its id, stays.
pub(super) fn cures(store: &Store, git: Option<&InGit<'_>>, wrong: &[Finding]) -> BTreeMap<String, String> {
    let mut cures = BTreeMap::new();
    // The gravest comes first: that a refused file was changed as well needs nothing else.
    for finding in wrong {
        if let Some(name) = &finding.file
            && !cures.contains_key(name)
            && !is_unreadable(store, name)
            && let Some(cure) = cure(git, finding, name)
        {
            cures.insert(name.clone(), cure);
        }
    }
    cures
}

fn cure(git: Option<&InGit<'_>>, finding: &Finding, name: &str) -> Option<String> {
    let path = format!("events/{}", quoted_name(name));
    let first = match git.map(|git| git.first) {
        Some(None) => {
            let look = || format!("git log --oneline -- {path}   # and restore the version that was committed first");
            return (finding.kind == FindingKind::Edited).then(look);
        }
        Some(Some(first)) => first.get(name).filter(|first| first.is_whole),
        None => None,
    };
    match first {
        Some(First { is_now: true, .. }) => None,
        // Where attributes made of it what it is, git sees nothing to do.
        Some(First { commit, blob, .. }) if git.is_some_and(|git| git.takes_for_unchanged(name, blob)) => {
            Some(format!("rm {path} && git checkout {} -- {path}", commit.short()))
        }
        Some(First { commit, .. }) => Some(format!("git checkout {} -- {path}", commit.short())),
        None if finding.kind == FindingKind::Quarantined => {
            if let Some(filter) = git.and_then(|git| git.unfiltered(name)) {
                return Some(cure_of_unfiltered(&path, &filter));
            }
            let aside = || format!("mv {path} .   # git never had it whole; or, from a clone or a backup: cp BACKUP/{path} {path}");
            (!is_claim(&finding.message)).then(aside)
        }
        None if git.is_some_and(|git| git.committed.contains_key(name)) => None,
        None => {
            let copy = format!("cp BACKUP/{path} {path}   # from a clone or a backup");
            let keep = format!("git never had it; or keep it as it is now: git add {path} && git commit -m edited -- {path}");
            Some(if git.is_none() { copy } else { format!("{copy}: {keep}") })
        }
    }
}
