//! See [`braidfs_fuzz::log`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: braidfs_fuzz::give_seeds("log"), |data: &[u8]| braidfs_fuzz::log::holds(data));
