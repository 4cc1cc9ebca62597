//! What stands in `events/` against what is known: the names that are to be read, and those that have gone.

use std::collections::{BTreeSet, HashSet};

use super::Look;
use crate::braid::Failure;
use crate::braid::keeper::Keeper;
use crate::braid::keeper::roster::{Known, Odd};
use crate::disk::{self, Disk, EntryKind, Stat};
use crate::model::TransactionId;
use crate::store::{Listed, ListedKind};

/// What was found under a name.
#[derive(Clone, Copy)]
enum Standing {
    Nothing,
    /// A file, or a link to one; from a listing with its inode. What a hint names has changed, whatever its inode is.
    File(Option<u64>),
    /// What `eventcore-fs` trips over.
    NoFile(&'static str),
}

const DIRECTORY: &str = "a directory";
const BROKEN_LINK: &str = "a broken link";
/// A pipe, a socket, a device, or a link to one of these or to a directory.
const OTHER: &str = "no regular file";

/// What is to be done about a name.
enum Verdict {
    /// Nothing.
    Same,
    /// What stands there is to be read.
    Read,
    /// What was known has gone.
    Gone,
    /// Both.
    Replaced,
    /// What stands there is no file, and that is all that reading it would tell.
    NoFile(&'static str),
}

impl Keeper {
    /// The names that are to be read and those that have gone.
    pub(super) fn compare(&mut self, look: &Look) -> Result<(Vec<String>, Vec<String>), Failure> {
        // Nothing of a store that is elsewhere for now is gone. It may go while it is looked at.
        self.is_at_home()?;
        let (mut came, mut went) = if look.names.is_empty() { Default::default() } else { self.compare_names(&look.names)? };
        if look.everything {
            let listed = self.store.list()?;
            let (more, missing) = self.compare_listing(listed.into_iter());
            add_new(&mut came, more);
            add_new(&mut went, missing);
        }
        self.is_at_home()?;
        Ok((came, went))
    }

    /// Whether the store is where it was opened.
    pub(in crate::braid) fn is_at_home(&self) -> Result<(), Failure> {
        // What does not answer is where it was, for all that is known.
        if self.store.disk().finds_home()? {
            return Ok(());
        }
        let shown = self.store.dir().display();
        // The disk of a store that was moved away does not look behind its back.
        if Disk::real().exists(&self.store.layout().events()) {
            let message = format!("store '{shown}' is another one than was opened: a copy, or its disk came back as another device");
            return Err(Failure::new(message, "bring the first one back, or unmount it (braidfs umount --force) and mount it anew"));
        }
        let message = format!("store '{shown}' was moved away, or what it lies on is not mounted");
        Err(Failure::new(message, "bring it back, or mount it where it is now"))
    }

    fn verdict(&self, known: Known, standing: Standing) -> Verdict {
        match (known, standing) {
            (Known::Nothing, Standing::Nothing) => Verdict::Same,
            (_, Standing::Nothing) => Verdict::Gone,
            (Known::NoFile(before), Standing::NoFile(what)) if before == what => Verdict::Same,
            (Known::Nothing | Known::NoFile(_), Standing::NoFile(what)) => Verdict::NoFile(what),
            // Where it stands in the place of a file, that has gone.
            (Known::Entered(_) | Known::Beside(_), Standing::NoFile(_)) => Verdict::Replaced,
            (Known::Entered(number), Standing::File(Some(inode))) if self.index.transactions.inode(number) == inode => Verdict::Same,
            (Known::Beside(before), Standing::File(Some(inode))) if before == inode => Verdict::Same,
            // A file may get the inode of what was no file.
            (_, Standing::File(_)) => Verdict::Read,
        }
    }

    /// What of a listing is new, and what is missing from it.
    pub(in crate::braid) fn compare_listing(&mut self, listed: impl Iterator<Item = Listed>) -> (Vec<String>, Vec<String>) {
        let mut came = self.saving.take_read_again();
        came.reserve(if self.index.transactions.is_empty() { listed.size_hint().0 } else { 0 });
        let mut seen_numbers = vec![false; self.index.transactions.len() as usize];
        let mut seen_names: HashSet<String> = HashSet::new();
        for Listed { name, inode, kind } in listed {
            let standing = match kind {
                ListedKind::File => Standing::File(Some(inode)),
                ListedKind::Directory => Standing::NoFile(DIRECTORY),
                ListedKind::BrokenLink => Standing::NoFile(BROKEN_LINK),
                ListedKind::Other => Standing::NoFile(OTHER),
            };
            let known = self.roster.known(&self.index, &name);
            let verdict = self.verdict(known, standing);
            match known {
                _ if matches!(verdict, Verdict::Gone | Verdict::Replaced) => {}
                Known::Entered(number) => seen_numbers.get_mut(number as usize).into_iter().for_each(|seen| *seen = true),
                Known::Nothing if !matches!(verdict, Verdict::NoFile(_)) => {}
                _ => drop(seen_names.insert(name.clone())),
            }
            match verdict {
                Verdict::Same | Verdict::Gone => {}
                Verdict::Read | Verdict::Replaced => came.push(name),
                Verdict::NoFile(what) => came.extend(self.note_no_file(&name, inode, what)),
            }
        }
        // Ids of version 7 sort by time, so the pack comes to lie nearly in canonical order.
        came.sort_by_cached_key(|name| match TransactionId::of_file_name(name) {
            Some(id) => (Some(id), None),
            None => (None, Some(name.clone())),
        });
        came.dedup();
        let mut went: Vec<String> = self.roster.odd_names().filter(|name| !seen_names.contains(*name)).map(str::to_owned).collect();
        let transactions = &self.index.transactions;
        let gone = (0..).zip(seen_numbers).filter(|&(number, seen)| !seen && transactions.is_present(number));
        went.extend(gone.map(|(number, _)| transactions.file_name(number)));
        (came, went)
    }

    /// What of the names that hints told is to be read, and what has gone.
    fn compare_names(&mut self, names: &BTreeSet<String>) -> Result<(Vec<String>, Vec<String>), Failure> {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        let events = self.store.layout().events();
        // Where it cannot be opened, each name is looked for by itself.
        let disk = self.store.disk().clone();
        let dir = disk.open_dir(&events).ok();
        let stat = |name: &str| match &dir {
            Some(dir) => dir.stat_if_present(name),
            None => disk.stat_if_present(&Disk::entry_path(&events, name)),
        };
        for name in names.iter().filter(|name| name.len() > ".jsonl".len()) {
            let known = self.roster.known(&self.index, name);
            // Whoever reads a new name finds out what it is; a look at each of a checkout's thousands costs more than it is worth.
            if matches!(known, Known::Nothing) {
                came.push(name.clone());
                continue;
            }
            let stat = stat(name);
            let inode = stat.as_ref().ok().and_then(Option::as_ref).map_or(0, |stat| stat.inode);
            match self.verdict(known, self.standing(name, stat)?) {
                Verdict::Same => {}
                Verdict::Read => came.push(name.clone()),
                Verdict::Gone => went.push(name.clone()),
                Verdict::Replaced => {
                    came.push(name.clone());
                    went.push(name.clone());
                }
                Verdict::NoFile(what) => came.extend(self.note_no_file(name, inode, what)),
            }
        }
        Ok((came, went))
    }

    /// What a name stands for whose facts are these.
    fn standing(&self, name: &str, stat: disk::Result<Option<Stat>>) -> disk::Result<Standing> {
        Ok(match stat.as_ref().map(|stat| stat.map(|stat| stat.kind)) {
            Ok(Some(EntryKind::File)) => Standing::File(None),
            Ok(Some(EntryKind::Dir)) if !self.is_link(name) => Standing::NoFile(DIRECTORY),
            Ok(Some(_)) => Standing::NoFile(OTHER),
            Ok(None) if self.is_link(name) => Standing::NoFile(BROKEN_LINK),
            Ok(None) => Standing::Nothing,
            Err(error) if self.is_link(name) => match error.leads_nowhere() {
                true => Standing::NoFile(BROKEN_LINK),
                // Whoever reads it is told why it cannot be followed.
                false => Standing::File(None),
            },
            Err(_) => return stat.map(|_| Standing::Nothing),
        })
    }

    /// Tells of a name that was to be read what stands there if that is no file by now; gives the names that are to be looked at with new
    /// eyes for that.
    pub(super) fn note_unless_gone(&mut self, name: &str) -> BTreeSet<String> {
        let path = Disk::entry_path(&self.store.layout().events(), name);
        match self.standing(name, self.store.disk().stat_if_present(&path)) {
            Ok(Standing::NoFile(what)) => self.note_no_file(name, 0, what),
            _ => BTreeSet::new(),
        }
    }

    /// Whether a name is that of a link, wherever it leads.
    fn is_link(&self, name: &str) -> bool {
        let path = Disk::entry_path(&self.store.layout().events(), name);
        self.store.disk().stat_link(&path).is_ok_and(|stat| stat.kind == EntryKind::Link)
    }

    fn note_no_file(&mut self, name: &str, inode: u64, what: &'static str) -> BTreeSet<String> {
        if matches!(self.roster.known(&self.index, name), Known::NoFile(before) if before == what) {
            return BTreeSet::new();
        }
        self.mark_dirty();
        self.roster.put(name, Odd::no_file(inode, what)).unwrap_or_default()
    }

    pub(in crate::braid) fn is_known(&self, name: &str) -> bool {
        !matches!(self.roster.known(&self.index, name), Known::Nothing)
    }
}

/// Adds the names that are not there yet.
fn add_new(names: &mut Vec<String>, more: Vec<String>) {
    let held: HashSet<String> = names.iter().cloned().collect();
    names.extend(more.into_iter().filter(|name| !held.contains(name)));
}
