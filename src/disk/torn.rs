//! Mapped files that another program cuts: the kernel ends who reads what is not there any more (`SIGBUS`), unless he says what to read
//! instead. It is zeros then, and the mapping knows that it is torn.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

/// How many mappings are looked after at once; one more is not.
const PLACES_MAX: usize = 256;

/// Where a mapping lies; read by the signal's handler.
struct Place {
    is_taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    is_torn: AtomicBool,
}

static PLACES: [Place; PLACES_MAX] = [const {
    Place { is_taken: AtomicBool::new(false), start: AtomicUsize::new(0), end: AtomicUsize::new(0), is_torn: AtomicBool::new(false) }
}; PLACES_MAX];

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Who handled the signal before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Looks after a mapping as long as it lives.
#[derive(Debug)]
pub(super) struct Keep(usize);

impl Keep {
    /// Looks after these bytes of memory, all of which one mapping covers; none where too many are looked after.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(install);
        let is_free = |place: &Place| place.is_taken.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        let at = PLACES.iter().position(is_free)?;
        let keep = Self(at);
        if let Some(place) = PLACES.get(at) {
            let start = bytes.as_ptr() as usize;
            place.is_torn.store(false, Ordering::SeqCst);
            place.end.store(start + bytes.len(), Ordering::SeqCst);
            place.start.store(start, Ordering::SeqCst);
        }
        Some(keep)
    }

    /// Whether something was read that is not there any more.
    pub(super) fn is_torn(&self) -> bool {
        PLACES.get(self.0).is_some_and(|place| place.is_torn.load(Ordering::SeqCst))
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if let Some(place) = PLACES.get(self.0) {
            place.start.store(0, Ordering::SeqCst);
            place.is_taken.store(false, Ordering::SeqCst);
        }
    }
}

fn install() {
    // SAFETY: asks for a number.
    #[allow(unsafe_code)]
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE_BYTES.store(usize::try_from(page).unwrap_or(4096), Ordering::SeqCst);
    // SAFETY: the handler makes no call but mmap(2) and sigaction(2), and reads only statics; the structures are plain data.
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
    // SAFETY: the kernel gives a valid structure; the pages that are replaced lie in a mapping of this process that nobody writes and that
    // is not given back meanwhile, since the thread that reads it is the one that was stopped.
    #[allow(unsafe_code)]
    unsafe {
        let errno = *libc::__errno_location();
        let address = (*info).si_addr() as usize;
        for place in &PLACES {
            let (start, end) = (place.start.load(Ordering::SeqCst), place.end.load(Ordering::SeqCst));
            if start == 0 || !(start..end).contains(&address) {
                continue;
            }
            let page = address - address % PAGE_BYTES.load(Ordering::SeqCst);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            if libc::mmap(page as *mut c_void, end - page, libc::PROT_READ, flags, -1, 0) != libc::MAP_FAILED {
                place.is_torn.store(true, Ordering::SeqCst);
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
