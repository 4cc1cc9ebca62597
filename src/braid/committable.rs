//! Which files of `events/` git may get: what somebody changed before git had it must not become the truth.

use std::collections::BTreeSet;

use crate::braid::git::{Program, State};
use crate::braid::keeper::intake::Look;
use crate::braid::survey::{ignored, restored_line_ends};
use crate::braid::{Braid, Failure};
use crate::model::{Finding, FindingKind};

/// Files that git does not have as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committable {
    /// New ones, as their writers wrote them.
    pub new: Vec<String>,
    /// New ones that the views do not show under that name, or whose bytes are not those that were written: each has a finding.
    pub left_out: Vec<String>,
    /// Those of which git has the line ends changed, and which have them again as their writers wrote them.
    pub mended: Vec<String>,
    /// Those that git ignores, which are among those that are left out.
    pub ignored: Option<Finding>,
}

impl Braid {
    /// The files of `events/` that git may get and those that it must not, each as it is now.
    ///
    /// # Errors
    /// If git gives no answer, the store was closed, or its files cannot be read.
    pub fn committable(&self, git: &Program) -> Result<Committable, Failure> {
        let changes = git.changes()?;
        let in_state = |states: &[State]| {
            let names = changes.iter().filter(|change| states.contains(&change.state) && change.name.ends_with(".jsonl"));
            names.map(|change| change.name.clone()).collect::<BTreeSet<String>>()
        };
        let (new, changed) = (in_state(&[State::Untracked, State::Added]), in_state(&[State::Modified]));
        let altered = self.altered(new.union(&changed).cloned().collect())?;
        let shown = self.epoch();
        let is_whole = |name: &String| shown.shows_file(name) && !altered.contains(name);
        let (new, mut left_out): (Vec<String>, Vec<String>) = new.into_iter().partition(is_whole);
        let ignored = ignored(git, &shown)?.map(|(names, finding)| {
            left_out.extend(names);
            finding
        });
        let changed: Vec<&str> = changed.iter().filter(|name| is_whole(name)).map(String::as_str).collect();
        let mended = restored_line_ends(&self.inner.store, git, &changed)?;
        Ok(Committable { new, left_out, mended: mended.into_iter().collect(), ignored })
    }

    /// Which of these files say something else than they did first, or are not as they were written; each is read again, as one that
    /// was rewritten in place keeps its name and inode.
    fn altered(&self, names: Vec<String>) -> Result<BTreeSet<String>, Failure> {
        let altered = self.at_keeper(move |keeper, shared| {
            let mut look = Look::default();
            names.iter().for_each(|name| look.add(name.clone()));
            keeper.take_in_apart(look)?;
            keeper.publish_if_dirty(shared);
            let is_healed = |name: &String| {
                let findings = keeper.roster.findings().get(name);
                findings.is_some_and(|findings| findings.iter().any(|finding| finding.kind == FindingKind::Healed))
            };
            Ok(names.into_iter().filter(|name| keeper.memory.edited.contains_key(name) || is_healed(name)).collect())
        });
        altered.ok_or_else(Failure::closed)?
    }
}
