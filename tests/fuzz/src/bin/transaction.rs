//! See [`braidfs_fuzz::transaction`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: braidfs_fuzz::give_seeds("transaction"), |data: &[u8]| braidfs_fuzz::transaction::holds(data));
