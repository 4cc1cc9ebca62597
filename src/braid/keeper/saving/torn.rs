//! Packed lines that another program cut or overwrote while the store is open, as a backup does that is copied over it: they are read from
//! the files again.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::braid::keeper::Keeper;
use crate::braid::keeper::load::{Good, Loaded, load};
use crate::disk::{self, Stat};
use crate::index::pack::Pack;
use crate::store::Mode;

/// A file that does not count and was changed less than this ago may be one that is being copied over. All of them together are waited for as
/// long.
const COPYING: Duration = Duration::from_secs(1);
/// The wait between two looks at it.
const PAUSE: Duration = Duration::from_millis(2);

fn is_fresh(stat: Stat) -> bool {
    SystemTime::now().duration_since(stat.modified()).is_ok_and(|age| age < COPYING)
}

/// What was found of the packed lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::braid::keeper) enum Packed {
    /// They are what was written.
    Whole,
    /// They were not; what was read of them before may be wrong.
    Mended,
    /// They are not, and cannot be read from the files now.
    Torn,
}

impl Keeper {
    /// Looks whether the packed lines are those that were written, as far as the end of their file tells.
    ///
    /// Where they are not, reads all of them from the files again, into memory, and gives up the file that they were in; another one is
    /// made as where somebody deleted it. Every view is a new file, since what was read of the old ones may have been wrong. Where a file
    /// cannot be looked at now, nothing changes and it is tried again.
    pub(in crate::braid::keeper) fn keep_pack_whole(&mut self) -> Packed {
        // At a start they were compared with their checksums a moment ago.
        if !self.progress.ready || self.index.pack.is_whole() {
            return Packed::Whole;
        }
        tracing::warn!("the packed lines of the saved index were changed by another program; they are read from the files again");
        let (lines, differing) = match self.lines_of_files() {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "the files cannot be read now; it is tried again");
                return Packed::Torn;
            }
        };
        self.end_base();
        self.saving.saved = None;
        self.saving.is_elsewhere = self.store.mode() == Mode::Writable;
        self.index.pack = Pack::of_bytes(&lines);
        let touched = self.index.renew();
        self.touched.extend(touched);
        differing.into_iter().for_each(|name| self.pending.add(name));
        self.mark_dirty();
        Packed::Mended
    }

    /// The lines of all files where the index has them, zeros for what is not here, and the names of files that say something else by now.
    fn lines_of_files(&self) -> disk::Result<(Vec<u8>, Vec<String>)> {
        let (transactions, events) = (&self.index.transactions, &self.index.events);
        let mut lines = vec![0; usize::try_from(self.index.pack.len()).unwrap_or(usize::MAX)];
        let mut differing = Vec::new();
        let deadline = Instant::now() + COPYING;
        for number in (0..transactions.len()).filter(|&number| transactions.is_present(number)) {
            let place = |event| {
                let (start, len) = events.place(event);
                start as usize..start as usize + len
            };
            let places: Vec<Range<usize>> = transactions.events(number).map(place).collect();
            let (Some(first), Some(last)) = (places.first(), places.last()) else { continue };
            let name = transactions.file_name(number);
            let good = self.read_once_written(&name, deadline)?;
            let room = lines.get_mut(first.start..last.end);
            match good.zip(room).filter(|(good, room)| good.lines.len() == room.len()) {
                Some((good, room)) => room.copy_from_slice(&good.lines),
                None => differing.push(name),
            }
        }
        Ok((lines, differing))
    }

    /// What a file says, if it counts. Who copies over the lines copies over the files too: one that was just cut is waited for.
    fn read_once_written(&self, name: &str, deadline: Instant) -> disk::Result<Option<Box<Good>>> {
        loop {
            match self.store.load(name) {
                Ok((bytes, stat)) => match load(&bytes, stat) {
                    Loaded::Good(good, _) => return Ok(Some(good)),
                    // It may have been cut while it was read.
                    _ if Instant::now() < deadline && self.store.stat(name).is_ok_and(is_fresh) => {}
                    _ => return Ok(None),
                },
                Err(error) if error.is_shortage() => return Err(error),
                Err(_) => return Ok(None),
            }
            thread::sleep(PAUSE);
        }
    }
}
