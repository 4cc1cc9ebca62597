//! Mapped files that another program cuts: the kernel ends who reads what is not there any more (`SIGBUS`), unless he says what to read
//! instead. It is zeros then, and the mapping knows that it is torn.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

/// Where a mapping lies; read by the signal's handler.
struct Place {
    is_taken: AtomicBool,
    /// Odd while the range is written.
    version: AtomicUsize,
    /// 0 where nothing is looked after.
    start: AtomicUsize,
    end: AtomicUsize,
    is_torn: AtomicBool,
    /// Made where all before it are taken, and kept for good: the handler may be reading it.
    next: OnceLock<Box<Place>>,
}

static FIRST: Place = Place::free();

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Who handled the signal before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

impl Place {
    const fn free() -> Self {
        Self {
            is_taken: AtomicBool::new(false),
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            is_torn: AtomicBool::new(false),
            next: OnceLock::new(),
        }
    }

    /// Takes the first free place from this one on; only who has it may write it, until it is released.
    fn take(&self, range: Range<usize>) -> &Self {
        let mut place = self;
        while place.is_taken.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            place = place.next.get_or_init(|| Box::new(Self::free()));
        }
        place.version.fetch_add(1, Ordering::SeqCst);
        place.is_torn.store(false, Ordering::SeqCst);
        place.start.store(range.start, Ordering::SeqCst);
        place.end.store(range.end, Ordering::SeqCst);
        place.version.fetch_add(1, Ordering::SeqCst);
        place
    }

    fn release(&self) {
        self.start.store(0, Ordering::SeqCst);
        self.is_taken.store(false, Ordering::SeqCst);
    }

    /// What is looked after here; none also where that changes now. Never waits and takes no memory.
    fn range(&self) -> Option<Range<usize>> {
        self.range_while(|| ())
    }

    /// The same, where something happens meanwhile.
    fn range_while(&self, happens: impl FnOnce()) -> Option<Range<usize>> {
        let version = self.version.load(Ordering::SeqCst);
        let start = self.start.load(Ordering::SeqCst);
        happens();
        let range = start..self.end.load(Ordering::SeqCst);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == version;
        (is_whole && range.start != 0).then_some(range)
    }

    /// This place and all that follow.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |place| place.next.get().map(AsRef::as_ref))
    }
}

/// Looks after a mapping as long as it lives.
pub(super) struct Keep(&'static Place);

impl Keep {
    /// Looks after these bytes of memory, all of which one mapping covers.
    pub(super) fn of(bytes: &[u8]) -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(install);
        let start = bytes.as_ptr() as usize;
        Self(FIRST.take(start..start + bytes.len()))
    }

    /// Whether something was read that is not there any more.
    pub(super) fn is_torn(&self) -> bool {
        self.0.is_torn.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keep").field("range", &self.0.range()).field("is_torn", &self.is_torn()).finish()
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn install() {
    // SAFETY: asks for a number.
    #[allow(unsafe_code)]
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE_BYTES.store(usize::try_from(page).unwrap_or(4096), Ordering::SeqCst);
    // SAFETY: the handler makes no call but mmap(2), sigaction(2) and those that tell errno and the address, and reads and writes nothing
    // but statics and what they own for good, as atomics; the structures are plain data.
    #[allow(unsafe_code)]
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) != 0 {
            return;
        }
        // Known before ours can be called.
        let _ = BEFORE.set(before);
        action.sa_sigaction = on_bus_error as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

/// Puts zeros where a mapping that is looked after has nothing any more; everything else is left to who handled the signal before.
extern "C" fn on_bus_error(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a valid structure. What is replaced lies in one mapping of ours, which nobody writes and nobody gives back
    // meanwhile: a range is read whole (`Place::range`), and one that has the address is that of the mapping that the stopped thread
    // reads. That one's place was written before it could be read, and is released only before it is given back; every other range that
    // can be seen is of a mapping that lives beside it, and so elsewhere, or of one whose place was released before this one was made.
    #[allow(unsafe_code)]
    unsafe {
        let errno = *libc::__errno_location();
        let address = (*info).si_addr() as usize;
        for place in FIRST.all() {
            let Some(range) = place.range().filter(|range| range.contains(&address)) else { continue };
            // Noted first: another thread may read the zeros at once.
            place.is_torn.store(true, Ordering::SeqCst);
            let page = address - address % PAGE_BYTES.load(Ordering::SeqCst);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            if libc::mmap(page as *mut c_void, range.end - page, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED {
                *libc::__errno_location() = errno;
                return;
            }
        }
        // The read is tried again, and meets that one.
        if let Some(before) = BEFORE.get() {
            libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut());
        }
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::thread;

    use super::*;

    /// Of a place that changes hands, who looks sees one mapping's range or none, never the start of one with the end of another.
    #[test]
    fn no_start_comes_with_the_end_of_another_mapping() {
        let place = Place::free();
        place.take(1_000..2_000);
        let changes_hands = || {
            place.release();
            place.take(5_000..6_000);
        };
        assert_eq!(place.range_while(changes_hands), None);
        assert_eq!(place.range(), Some(5_000..6_000));
        place.release();
        assert_eq!(place.range(), None);
    }

    /// The same where threads do it as fast as they can.
    #[test]
    fn a_range_is_read_whole_or_not_at_all() {
        const SEEN_MIN: usize = 100_000;
        let (first, seen, wrong) = (Place::free(), AtomicUsize::new(0), AtomicUsize::new(0));
        let is_over = || seen.load(Ordering::SeqCst) >= SEEN_MIN;
        let look = || {
            while !is_over() {
                for range in first.all().filter_map(Place::range) {
                    seen.fetch_add(1, Ordering::SeqCst);
                    wrong.fetch_add(usize::from(range.end != range.start * 2), Ordering::SeqCst);
                }
            }
        };
        let take = |odd: usize| {
            for start in (odd..).step_by(4).take_while(|_| !is_over()) {
                let place = first.take(start..start * 2);
                assert_eq!(place.range(), Some(start..start * 2), "nobody else has it");
                place.release();
            }
        };
        thread::scope(|scope| {
            scope.spawn(look);
            scope.spawn(look);
            scope.spawn(|| take(1));
            scope.spawn(|| take(2));
        });
        assert_eq!((wrong.into_inner(), first.all().filter_map(Place::range).count()), (0, 0));
        assert!(first.all().count() <= 2, "two at once need no more");
    }

    /// A process that has many stores open, or one store's pasts.
    #[test]
    fn a_thousand_mappings_are_looked_after_and_each_knows_if_it_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let page = PAGE_BYTES.load(Ordering::SeqCst);
        std::fs::write(&path, vec![b'x'; page * 2]).unwrap();
        let disk = crate::disk::Disk::real();
        let mappings: Vec<_> = (0..1_000).map(|_| disk.map(&path).unwrap()).collect();
        assert_eq!(mappings[999][page], b'x');
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
        assert_eq!((mappings[999][0], mappings[999][page]), (b'x', 0));
        let torn: Vec<usize> = (0..1_000).filter(|&n| mappings[n].is_torn()).collect();
        assert_eq!(torn, [999]);
    }
}
