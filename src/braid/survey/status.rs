//! What git says of the files as they are now, and what brings them in order.

use std::collections::{BTreeMap, BTreeSet};

use super::{FILES_ASKED_MAX, ORIGINS_PATIENCE, PARENTS_ASKED_MAX, Surveyed};
use crate::braid::git::{GitError, Program, State, Unfinished};
use crate::braid::keeper::load;
use crate::braid::keeper::memory::{FirstSaid, changed_since, edited, good_digest};
use crate::braid::keeper::roster::is_claim;
use crate::braid::parents::ParentsInGit;
use crate::disk::quoted_name;
use crate::epoch::Epoch;
use crate::format::text::counted_as;
use crate::model::{Errno, Finding, FindingKind, Severity, TransactionId};
use crate::store::Store;

/// Whether a file may not be read: then neither we nor git know what it says, and the finding that it is refused tells what helps.
fn is_denied(store: &Store, name: &str) -> bool {
    store.load(name).is_err_and(|error| matches!(error.errno(), Errno::EACCES | Errno::EPERM))
}

/// What brings files in order that are refused or were changed: the bytes with which git first got them, where these make
/// sense; a refused one that git never had whole is out of the way elsewhere, as no view has it. One that is whole, and refused
/// since another file claims its id, stays.
pub(super) fn cures(
    store: &Store,
    git: Option<&Program>,
    epoch: &Epoch,
    first_said: &BTreeMap<String, FirstSaid>,
) -> BTreeMap<String, String> {
    let is_wrong = |finding: &&Finding| matches!(finding.kind, FindingKind::Quarantined | FindingKind::Edited);
    let told = epoch.findings.iter().filter(is_wrong).cloned();
    // These are told once this survey is taken over.
    let learned = changed_since(&epoch.index, first_said).into_iter().map(|(name, _)| edited(&name));
    let wrong: Vec<Finding> = told.chain(learned).take(FILES_ASKED_MAX).collect();
    let ids: BTreeSet<TransactionId> = wrong.iter().filter_map(|finding| finding.transaction_id).collect();
    let origins = git.and_then(|git| git.origins(&ids, ORIGINS_PATIENCE).ok()).unwrap_or_default();
    let original = |id: TransactionId, name: &str| {
        let commit = &origins.get(&id)?.commit;
        let bytes = git?.file_in(commit, name).ok()?;
        let is_whole = load::read(&bytes).is_ok_and(|good| good.header.transaction_id == id);
        is_whole.then_some((commit, bytes))
    };
    let mut cures = BTreeMap::new();
    for finding in &wrong {
        let Some(name) = &finding.file else { continue };
        if is_denied(store, name) {
            continue;
        }
        if let Some((commit, bytes)) = finding.transaction_id.and_then(|id| original(id, name)) {
            if store.load(name).is_ok_and(|(now, _)| now != bytes) {
                let commit: String = commit.chars().take(12).collect();
                cures.insert(name.clone(), format!("git checkout {commit} -- events/{}", quoted_name(name)));
            }
        } else if finding.kind == FindingKind::Quarantined && !is_claim(&finding.message) {
            let cure = format!("mv events/{} .   # git never had it whole; keep it for whoever can mend it", quoted_name(name));
            cures.insert(name.clone(), cure);
        } else if finding.kind == FindingKind::Edited {
            cures.extend(cure_without_git(git, name).map(|cure| (name.clone(), cure)));
        }
    }
    cures
}

/// What gives an edited file its bytes back that no commit was found to have whole; none where the last commit has it.
fn cure_without_git(git: Option<&Program>, name: &str) -> Option<String> {
    if git.is_some_and(|git| git.file_in("HEAD", name).is_ok()) {
        return None;
    }
    let path = format!("events/{}", quoted_name(name));
    let copy = format!("cp BACKUP/{path} {path}   # from a clone or a backup");
    let keep = format!("git never had it; or keep it as it is now: git add {path} && git commit -m edited -- {path}");
    Some(if git.is_none() { copy } else { format!("{copy}: {keep}") })
}

/// Those of these files that have the bytes again that their writers wrote, where the last commit has the same with line ends changed: the
/// hash proves which of both was written.
pub(in crate::braid) fn restored_line_ends(store: &Store, git: &Program, names: &[&str]) -> Result<BTreeSet<String>, GitError> {
    let whole = names.iter().filter_map(|name| {
        let id: TransactionId = name.strip_suffix(".jsonl")?.parse().ok()?;
        let good = load::read(&store.load(name).ok()?.0).ok()?;
        (id.is_file_name(name) && good.healing.is_none()).then(|| (id, (*name).to_owned(), good_digest(&good)))
    });
    let whole: Vec<(TransactionId, String, FirstSaid)> = whole.collect();
    let ids: Vec<TransactionId> = whole.iter().map(|(id, ..)| *id).collect();
    let mut restored = BTreeSet::new();
    git.read_committed(&ids, |n, bytes| {
        let committed = bytes.and_then(|bytes| load::read(&bytes).ok());
        if let (Some((_, name, digest)), Some(committed)) = (whole.get(n), committed)
            && committed.healing.is_some()
            && good_digest(&committed) == *digest
        {
            restored.insert(name.clone());
        }
        Ok::<(), GitError>(())
    })?;
    Ok(restored)
}

pub(super) fn ask_git(git: &Program, epoch: &Epoch, surveyed: &mut Surveyed) -> Result<(), GitError> {
    let changes = git.changes()?;
    let in_state =
        |states: &[State]| changes.iter().filter(|change| states.contains(&change.state)).map(|change| change.name.as_str()).collect();
    let of_kind = |kinds: &[FindingKind]| {
        let files = epoch.findings.iter().filter(|finding| kinds.contains(&finding.kind)).filter_map(|finding| finding.file.as_deref());
        files.collect::<BTreeSet<&str>>()
    };
    let (healed, edits) = (of_kind(&[FindingKind::Healed]), of_kind(&[FindingKind::Edited]));
    let mut new: Vec<&str> = in_state(&[State::Untracked, State::Added]);
    // What has another name, stands beside the views for another reason, or is not as it was written is told as that.
    new.retain(|name| epoch.shows_file(name) && !healed.contains(name) && !edits.contains(name));
    let mut changed: Vec<&str> = in_state(&[State::Modified, State::Unmerged]);
    let restored = restored_line_ends(&epoch.store, git, &in_state(&[State::Modified]))?;
    changed.retain(|name| !restored.contains(*name));
    new.extend(restored.iter().map(String::as_str).filter(|name| !edits.contains(name)));
    if !new.is_empty() {
        surveyed.findings.extend(uncommitted(&new, git.unfinished()?));
    }
    let mut back = Vec::new();
    for name in changed.iter().copied().take(FILES_ASKED_MAX).collect::<Vec<_>>() {
        // Git also calls changed what was given its bytes back and has another size than git remembers.
        if is_denied(&epoch.store, name) || git.is_as_committed(name)? {
            changed.retain(|other| *other != name);
        } else if git.is_original(name)? {
            // Where an edit was committed, the first bytes differ from the last commit: they are what is to be committed.
            changed.retain(|other| *other != name);
            back.push(name);
        }
    }
    if !back.is_empty() {
        let git_is_at_it = git.unfinished()?.is_some();
        surveyed.findings.extend(back.into_iter().map(|name| brought_back(name, git_is_at_it)));
    }
    let remembered = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::Edited);
    for name in remembered.filter_map(|finding| finding.file.as_deref()).take(FILES_ASKED_MAX) {
        if !is_denied(&epoch.store, name) && git.is_original(name)? {
            surveyed.originals.push(name.to_owned());
        }
    }
    // What was healed is told as that.
    surveyed.findings.extend(changed.into_iter().filter(|name| !healed.contains(name)).map(edited));
    let deleted: Vec<&str> = in_state(&[State::Deleted]);
    surveyed.findings.extend(deleted.into_iter().map(deleted_finding));
    let transactions = &epoch.index.transactions;
    let missing = transactions.missing().keys().take(PARENTS_ASKED_MAX).map(|&parent| transactions.id(parent));
    surveyed.parents = ParentsInGit::ask(git, missing.collect())?;
    let lacks = git.lacks()?;
    let lacking = lacks.sentences().map(|lack| (lack, "braidfs git setup".to_owned()));
    let overruled = lacks.overruled.iter().map(|overruled| (overruled.message.clone(), overruled.hint.clone()));
    surveyed.findings.extend(lacking.chain(overruled).map(|(message, hint)| Finding {
        kind: FindingKind::GitSetup,
        severity: Severity::Warning,
        file: None,
        transaction_id: None,
        message,
        hint,
    }));
    Ok(())
}

/// Git is there and gave no answer, so nothing is told of what only it knows.
pub(super) fn unanswered(reason: &str, hint: String) -> Finding {
    Finding {
        kind: FindingKind::GitSetup,
        severity: Severity::Warning,
        file: None,
        transaction_id: None,
        message: format!("git could not be asked what is uncommitted, changed or gone: {reason}"),
        hint,
    }
}

/// While git has something to finish, nothing is committed beside it: that comes first, and may already bring these files along.
fn uncommitted(names: &[&str], unfinished: Option<Unfinished>) -> Option<Finding> {
    let sync = "braidfs sync --offline";
    let first = names.first()?;
    Some(Finding {
        kind: FindingKind::Uncommitted,
        severity: Severity::Info,
        file: (names.len() == 1).then(|| (*first).to_owned()),
        transaction_id: None,
        message: counted_as(names.len(), "transaction file is not committed to git yet", "transaction files are not committed to git yet"),
        hint: match unfinished.map(Unfinished::finishing) {
            None => sync.to_owned(),
            Some(Some(finishing)) => format!("{finishing} && {sync}"),
            Some(None) => format!("{sync}   # it says what git has to finish first"),
        },
    })
}

/// A file that has its first bytes again, which the last commit does not have.
fn brought_back(name: &str, git_is_at_it: bool) -> Finding {
    let path = format!("events/{}", quoted_name(name));
    Finding {
        kind: FindingKind::Uncommitted,
        severity: Severity::Info,
        file: Some(name.to_owned()),
        transaction_id: name.strip_suffix(".jsonl").and_then(|id| id.parse().ok()),
        message: format!("file \"{name}\" has its first bytes again, and that is not committed to git yet"),
        hint: if git_is_at_it {
            format!("git add {path}   # and finish what git has begun")
        } else {
            format!("git add {path} && git commit -m \"bring an event back\" -- {path}")
        },
    }
}

fn deleted_finding(name: &str) -> Finding {
    Finding {
        kind: FindingKind::Vanished,
        severity: Severity::Warning,
        file: Some(name.to_owned()),
        transaction_id: name.strip_suffix(".jsonl").and_then(|id| id.parse().ok()),
        message: format!("file \"{name}\" is committed to git and gone from events/"),
        hint: format!("braidfs restore {}", quoted_name(name)),
    }
}
