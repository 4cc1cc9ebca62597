//! Text for people that quotes what others wrote.

/// The most bytes of a message: a stream id of the longest kind fits with what is said about it.
const MESSAGE_LEN_MAX: usize = 2_000;

/// Cuts a message that quotes something endless.
pub(crate) fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_LEN_MAX {
        let end = (0..=MESSAGE_LEN_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_is_cut() {
        let fits = "é".repeat(MESSAGE_LEN_MAX / 2);
        assert_eq!(shorten(fits.clone()), fits);
        assert_eq!(shorten(format!("{fits}x")), format!("{fits}…"));
        assert_eq!(shorten(format!("x{fits}")).chars().count(), MESSAGE_LEN_MAX / 2 + 1);
    }
}
