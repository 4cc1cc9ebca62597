//! The keys of a draft.

use super::source::Member;

/// The keys of a header.
pub(super) const HEADER_KEYS: &[&str] = &["expect", "key", "count", "resolve", "snapshot", "state", "events"];

/// The keys of an event: the long name, and the short one.
pub(super) const EVENT_KEYS: [[&str; 2]; 5] =
    [["stream_id", "stream"], ["event_type", "type"], ["event_data", "data"], ["metadata", "metadata"], ["event_id", "event_id"]];

/// Tells a header from an event.
pub(super) fn is_header(members: &[Member]) -> bool {
    let has_event_key = members.iter().any(|member| EVENT_KEYS.as_flattened().contains(&member.key.as_str()));
    !has_event_key && members.iter().any(|member| HEADER_KEYS.contains(&member.key.as_str()))
}
