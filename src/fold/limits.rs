//! What a fold may use.

/// What a worker may use for at most `CHUNK_EVENTS_MAX` events and for its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time on a processor for one chunk of events, in milliseconds.
    pub cpu_ms: u64,
    /// Time on the clock for one chunk; far above `cpu_ms`, so that a busy machine breaks no fold.
    pub wall_ms: u64,
    /// Address space of the worker, its own code included.
    pub memory_bytes_max: u64,
    /// Longest state, as JSON.
    pub state_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_ms: 5_000, wall_ms: 60_000, memory_bytes_max: 1 << 30, state_bytes_max: 64 << 20 }
    }
}
