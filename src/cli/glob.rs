//! Patterns of stream ids and event types: `*` is any text, `?` any one character, all else itself.

/// True if the whole text matches.
///
/// Needs time in the worst case of both lengths multiplied, and no stack.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how much of the text it has swallowed up to now.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(want), _) if *want == '?' || want == c => (p, t) = (p + 1, t + 1),
            (_, Some((at, swallowed))) => {
                star = Some((at, swallowed + 1));
                (p, t) = (at + 1, swallowed + 1);
            }
            _ => return false,
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in
            [("", ""), ("*", ""), ("*", "a/b"), ("account-*", "account-1"), ("*/x.rs", "a/b/x.rs"), ("a?c", "aéc"), ("*a*b", "xaab")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("?", ""), ("account-*", "Account-1"), ("*a", "ab"), ("a*b", "acbc"), ("[a]", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_end_in_time() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
    }
}
