//! What says that this program exports nothing.

use crate::mount::Error;
use crate::mount::otlp::Listening;

/// There is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collector {}

impl Collector {
    /// Says how to get what is missing.
    pub fn parse(url: &str) -> Result<Self, Error> {
        Err(Error::new(
            format!("spans cannot be exported to '{url}': braidfs was built without the feature otlp"),
            "build it with: cargo install --path . --features otlp",
        ))
    }

    /// Never called.
    pub fn begin(&self, _store: &str) -> Result<(Exporter, Listening), Error> {
        match *self {}
    }
}

/// Never made.
#[derive(Debug)]
pub enum Exporter {}
