//! What git says of the files as they are now.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Surveyed;
use super::cures::{InGit, ask_first, cures, is_unreadable, wrong};
use crate::braid::git::{GitError, Oid, Program, State, Unfinished};
use crate::braid::keeper::load;
use crate::braid::keeper::memory::{edited, good_digest};
use crate::braid::parents::ParentsInGit;
use crate::disk::quoted_name;
use crate::epoch::Epoch;
use crate::format::text::counted_as;
use crate::model::{Finding, FindingKind, Severity, TransactionId};
use crate::store::Store;

/// Those of these files that have the bytes again that their writers wrote, where the last commit has the same with line ends changed: the
/// hash proves which of both was written.
pub(in crate::braid) fn restored_line_ends(store: &Store, git: &Program, names: &[&str]) -> Result<BTreeSet<String>, GitError> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    Ok(Compared::with(&git.committed()?, store, git, names)?.restored)
}

/// How files stand to the last commit that git calls changed.
#[derive(Default)]
struct Compared {
    /// Those that have its bytes: git goes by the size that it remembers.
    same: BTreeSet<String>,
    /// Those that have the line ends again that their writers wrote, and those that are whole and that git never had as a transaction.
    restored: BTreeSet<String>,
}

impl Compared {
    fn with(committed: &BTreeMap<String, Oid>, store: &Store, git: &Program, names: &[&str]) -> Result<Self, GitError> {
        let (names, blobs): (Vec<&str>, Vec<Oid>) = names.iter().filter_map(|&name| Some((name, committed.get(name)?.clone()))).unzip();
        let mut compared = Self::default();
        git.read_blobs(&blobs, |n, bytes| {
            if let (Some(&name), Some(bytes)) = (names.get(n), bytes)
                && let Ok((now, _)) = store.load(name)
            {
                if now == bytes {
                    compared.same.insert(name.to_owned());
                } else if is_whole_again(name, &now, &bytes) {
                    compared.restored.insert(name.to_owned());
                }
            }
            Ok::<(), GitError>(())
        })?;
        Ok(compared)
    }
}

/// Whether the hash proves that this is what was written, and what was committed is the same with other line ends, or no transaction at
/// all: torn, or in the form that a filter gave it which is set no more.
fn is_whole_again(name: &str, now: &[u8], committed: &[u8]) -> bool {
    let Ok(now) = load::read(now) else { return false };
    let is_whole = now.header.transaction_id.is_file_name(name) && now.healing.is_none();
    is_whole && load::read(committed).map_or(true, |committed| committed.healing.is_some() && good_digest(&committed) == good_digest(&now))
}

fn is_healed(store: &Store, name: &str) -> bool {
    store.load(name).is_ok_and(|(now, _)| load::read(&now).is_ok_and(|good| good.healing.is_some()))
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
    let (store, wrong) = (&epoch.store, wrong(epoch, &surveyed.first_said));
    let mut changed: Vec<&str> = in_state(&[State::Modified, State::Unmerged]);
    let committed = if changed.is_empty() && wrong.is_empty() { BTreeMap::new() } else { git.committed()? };
    let mut compared = Compared::with(&committed, store, git, &changed)?;
    let unmerged = in_state(&[State::Unmerged]);
    compared.restored.retain(|name| !unmerged.contains(&name.as_str()));
    changed.retain(|name| !compared.same.contains(*name) && !compared.restored.contains(*name));
    // What was healed is told as that.
    changed.retain(|name| !is_unreadable(store, name) && !is_healed(store, name));
    new.extend(compared.restored.iter().map(String::as_str).filter(|name| !edits.contains(name)));
    if !new.is_empty() {
        surveyed.findings.extend(uncommitted(&new, git.unfinished()?));
    }
    surveyed.findings.extend(ignored(git, epoch)?.map(|(_, finding)| finding));
    let names = wrong.iter().filter_map(|finding| finding.file.as_deref()).chain(changed.iter().copied());
    let first = ask_first(store, git, names.map(str::to_owned).collect());
    let has_first = |name: &str| first.as_ref().and_then(|first| first.get(name)).is_some_and(|first| first.is_now);
    let is_unchanged = |name: &str| changes.iter().all(|change| change.name != name);
    let filter = LazyCell::new(|| git.filter().ok().flatten());
    let in_git = InGit { committed: &committed, first: first.as_ref(), is_unchanged: &is_unchanged, filter: &|| (*filter).clone() };
    surveyed.cures = cures(store, Some(&in_git), &wrong);
    // Where an edit was committed, the first bytes differ from the last commit: they are what is to be committed.
    let (back, changed): (Vec<&str>, Vec<&str>) = changed.into_iter().partition(|name| has_first(name));
    if !back.is_empty() {
        let git_is_at_it = git.unfinished()?.is_some();
        surveyed.findings.extend(back.into_iter().map(|name| brought_back(name, git_is_at_it)));
    }
    surveyed.originals.extend(edits.iter().filter(|name| has_first(name)).map(|&name| name.to_owned()));
    surveyed.findings.extend(changed.into_iter().map(edited));
    let deleted: Vec<&str> = in_state(&[State::Deleted]);
    surveyed.findings.extend(deleted.into_iter().map(deleted_finding));
    let transactions = &epoch.index.transactions;
    let missing = transactions.missing().keys().map(|&parent| transactions.id(parent));
    surveyed.parents = ParentsInGit::ask(git, missing.collect())?;
    let lacks = git.lacks()?;
    let lacking = lacks.sentences().map(|lack| (Severity::Warning, lack, "braidfs git setup".to_owned()));
    let advice = lacks.advice.iter().map(|advice| (advice.severity, advice.message.clone(), advice.hint.clone()));
    surveyed.findings.extend(lacking.chain(advice).map(|(severity, message, hint)| Finding {
        kind: FindingKind::GitSetup,
        severity,
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

/// The transactions that git ignores, and what is told of them. That of a directory which is ignored whole may be meant.
pub(in crate::braid) fn ignored(git: &Program, epoch: &Epoch) -> Result<Option<(BTreeSet<String>, Finding)>, GitError> {
    let Some(mut ignored) = git.ignored()? else { return Ok(None) };
    ignored.names.retain(|name| epoch.shows_file(name));
    let (first, count) = (ignored.names.first(), ignored.names.len());
    let files = match (first, ignored.is_all) {
        (_, true) if epoch.index.transactions.valid_count() > 0 => "the transaction files are ignored by git".to_owned(),
        (Some(_), false) => counted_as(count, "transaction file is ignored by git", "transaction files are ignored by git"),
        _ => return Ok(None),
    };
    let finding = Finding {
        kind: FindingKind::Uncommitted,
        severity: if ignored.is_all { Severity::Info } else { Severity::Warning },
        file: first.filter(|_| count == 1 && !ignored.is_all).cloned(),
        transaction_id: None,
        message: format!("{files} and never committed: {}", ignored.by),
        hint: ignored.cure,
    };
    Ok(Some((ignored.names, finding)))
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
        transaction_id: TransactionId::of_file_name(name),
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
        transaction_id: TransactionId::of_file_name(name),
        message: format!("file \"{name}\" is committed to git and gone from events/"),
        hint: format!("braidfs restore {}", quoted_name(name)),
    }
}
