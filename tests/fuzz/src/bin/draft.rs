//! See [`braidfs_fuzz::draft`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: braidfs_fuzz::give_seeds("draft"), |data: &[u8]| braidfs_fuzz::draft::holds(data));
