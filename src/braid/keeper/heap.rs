//! Memory that a start needed and nobody holds any more.

/// Gives free memory back to the system; a start takes several times what stays.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) touches only memory that the allocator knows to be free.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
