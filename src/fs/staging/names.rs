//! Which names in `staging/` are ever committed.

use crate::format::draft::DraftKind;

/// The kind of draft that a name asks for; none if files of that name are never committed.
///
/// `[A-Za-z0-9][A-Za-z0-9._-]*`, ending in `.json` or `.jsonl`.
#[must_use]
pub fn commit_kind(name: &str) -> Option<DraftKind> {
    let (stem, _) = name.rsplit_once('.')?;
    let begins = stem.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if begins && plain { DraftKind::of_name(name) } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_the_two_endings_are_committed() {
        for name in ["x.jsonl", "9.json", "a.b-c_d.jsonl", "x.jsonl.json", "X..json"] {
            assert!(commit_kind(name).is_some(), "{name}");
        }
        let drafts = [
            ".x.jsonl",
            ".jsonl",
            ".json",
            "x.jsonl~",
            "4913",
            "sedAbCdEf",
            ".#x.jsonl",
            "x.jsonl.part",
            "x.tmp",
            "#x.jsonl#",
            "-x.json",
            "_x.json",
            "a b.json",
            "ä.json",
            "x.JSONL",
            "x.jsonl ",
            "jsonl",
            "",
        ];
        for name in drafts {
            assert!(commit_kind(name).is_none(), "{name}");
        }
    }
}
