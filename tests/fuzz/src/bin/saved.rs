//! See [`braidfs_fuzz::saved`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: braidfs_fuzz::give_seeds("saved"), |data: &[u8]| braidfs_fuzz::saved::holds(data));
