//! Globs over stream ids.

/// Says whether `glob` matches the whole of `text`: `*` stands for any characters, also none and also `/`; `?` for
/// one character; all else for itself.
///
/// Stream ids contain neither `*` nor `?`, so nothing needs an escape. Costs at most the product of both lengths.
#[must_use]
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob.chars(), text.chars());
    // Where to go on if what follows the last `*` does not fit: one character further. Only the last one matters.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut glob_next = glob.clone();
        match glob_next.next() {
            Some('*') => {
                glob = glob_next;
                retry = Some((glob.clone(), text.clone()));
                continue;
            }
            Some(wanted) => {
                let mut text_next = text.clone();
                if text_next.next().is_some_and(|found| wanted == '?' || wanted == found) {
                    (glob, text) = (glob_next, text_next);
                    continue;
                }
            }
            None if text.as_str().is_empty() => return true,
            None => {}
        }
        let Some((after_star, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        (glob, text) = (after_star.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_ids() {
        for (glob, text, matches) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("account-*", "account-7", true),
            ("account-*", "account-", true),
            ("account-*", "my-account-7", false),
            ("*-7", "account-7-7", true),
            ("a?c", "aäc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-bb-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "a", false),
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
        ] {
            assert_eq!(glob_matches(glob, text), matches, "{glob:?} {text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!glob_matches(&"a*".repeat(100), &format!("{}b", "a".repeat(99))));
    }
}
