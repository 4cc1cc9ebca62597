//! See [`braidfs_fuzz::files`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: braidfs_fuzz::give_seeds("files"), |data: &[u8]| braidfs_fuzz::files::holds(data));
