//! Which events of the feed a command reads, for `feed` and `watch`.

use clap::Args;

use crate::view::FeedFilter;

/// The choice of streams and types.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Filter {
    /// Only events of streams whose id begins with this
    #[arg(long, value_name = "TEXT")]
    pub(super) stream_prefix: Option<String>,
    /// Only events of streams that match; `*` and `?` match any text and any character
    #[arg(long, value_name = "GLOB")]
    pub(super) stream: Option<String>,
    /// Only events of this type; `*` and `?` match any text and any character
    #[arg(long = "type", value_name = "GLOB")]
    pub(super) event_type: Option<String>,
}

impl Filter {
    /// With so many events a page.
    pub(super) fn to_feed(&self, limit: u64) -> FeedFilter {
        FeedFilter {
            limit,
            stream_prefix: self.stream_prefix.clone(),
            stream_glob: self.stream.clone(),
            event_type: self.event_type.clone(),
        }
    }
}
