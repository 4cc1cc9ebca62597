//! See [`braidfs_fuzz::name`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: braidfs_fuzz::give_seeds("name"), |data: &[u8]| braidfs_fuzz::name::holds(data));
