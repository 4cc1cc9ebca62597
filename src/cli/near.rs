//! What somebody may have meant.

/// A name is near another if so many letters differ at most, or fewer where it is short.
const DIFFERENCE_MAX: usize = 3;
/// So many names are compared at most: a hint is not worth more.
const COMPARED_MAX: usize = 100_000;

/// The name that is nearest to what was asked for; none if none is near.
pub(super) fn nearest(asked: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let limit = DIFFERENCE_MAX.min(asked.chars().count() / 3);
    // A name of quite another length is not near, and costs nothing.
    let near = names.into_iter().take(COMPARED_MAX).filter(|name| name.len().abs_diff(asked.len()) <= 4 * limit);
    let measured = near.map(|name| (strsim::osa_distance(asked, &name), name));
    measured.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_of_those_that_are_near_was_meant() {
        let near = |asked| nearest(asked, ["account-1", "account-12", "b"].map(str::to_owned));
        assert_eq!(near("acount-1").as_deref(), Some("account-1"));
        assert_eq!(near("acocunt-12").as_deref(), Some("account-12"));
        assert_eq!(near("invoice-1"), None);
        assert_eq!(near("c"), None);
    }
}
