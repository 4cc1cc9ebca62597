//! What git must be told about a store, and the settings that keep it fast with many files.

use std::path::Path;

use super::{GitError, Program};
use crate::disk::Disk;
use crate::format::text::quoted_path;
use crate::store::ATTRIBUTES;

/// What git does where it was not told that the files of `events/` are bytes.
const CHANGES: &str = "git may change line ends in events/, or splice two versions of a file";

/// What must be ignored: everything that is this working copy's own.
const OWN: [&str; 6] = ["tmp/x", "checkpoints/x", "locks/x", "index/x", ".eventcore/x", ".lock"];

/// A setting of this repository, with the reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// The value that helps.
    pub value: &'static str,
    /// Why, in one sentence.
    pub reason: &'static str,
}

/// The settings that keep git fast where a directory holds very many files that never change.
pub const SETTINGS: [Setting; 6] = [
    Setting { name: "core.untrackedCache", value: "true", reason: "git status remembers which directories hold nothing new" },
    Setting {
        name: "index.version",
        value: "4",
        reason: "the index shares the beginnings of names: half the bytes to write at each command",
    },
    Setting { name: "index.threads", value: "true", reason: "the index is read by several threads" },
    Setting { name: "status.renames", value: "false", reason: "transaction files are never renamed, so status need not look for it" },
    Setting { name: "diff.renames", value: "false", reason: "the same for diff and log" },
    Setting {
        name: "merge.renames",
        value: "false",
        reason: "the same for merge, which otherwise compares every new file with every gone one",
    },
];

/// What git should know and does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// That the files of `events/` are bytes, which a line in `.gitattributes` tells.
    pub attributes: bool,
    /// The same, but such a line is there and a stronger file says otherwise.
    pub overruled: Option<Overruled>,
    /// That a working copy's own files are nobody else's.
    pub ignores: bool,
}

/// A file of attributes that is stronger than `.gitattributes` beside `events/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overruled {
    /// What is wrong, in a sentence.
    pub message: String,
    /// The command that mends it.
    pub hint: String,
}

impl Program {
    /// What git should know of this store and does not.
    ///
    /// # Errors
    /// If git cannot be run or the store lies in no repository.
    pub fn lacks(&self) -> Result<Lacks, GitError> {
        let attributes = self.run(&["check-attr", "-z", "text", "merge", "--", "events/x.jsonl"])?;
        let values: Vec<&[u8]> = attributes.split(|byte| *byte == 0).skip(2).step_by(3).collect();
        let attributes = values.first() != Some(&b"unset".as_slice()) || !matches!(values.get(1), Some(&b"binary" | &b"unset"));
        let ignores = self.ignored()? < OWN.len();
        let overruled = if attributes { self.overruled()? } else { None };
        Ok(Lacks { attributes: attributes && overruled.is_none(), overruled, ignores })
    }

    /// The strongest file of attributes that may overrule the line in `.gitattributes`, if that is there: git does not tell where a
    /// value is from.
    fn overruled(&self) -> Result<Option<Overruled>, GitError> {
        let disk = Disk::real();
        let read = |path: &Path| disk.read_if_present(path).ok().flatten().unwrap_or_default();
        let text = |path: &Path| String::from_utf8_lossy(&read(path)).into_owned();
        if !text(&self.dir.join(".gitattributes")).lines().any(|line| line.trim_end() == ATTRIBUTES.trim_end()) {
            return Ok(None);
        }
        let git_path = self.text(&["rev-parse", "--git-path", "info/attributes"])?;
        let is_top = self.text(&["rev-parse", "--show-prefix"])?.is_empty();
        let anywhere = format!("**/{}", ATTRIBUTES.trim_end());
        let lines = [
            (git_path.as_str(), if is_top { ATTRIBUTES.trim_end() } else { &anywhere }),
            ("events/.gitattributes", ATTRIBUTES.trim_end().trim_start_matches("events/")),
        ];
        let strongest = lines.into_iter().find(|(path, _)| text(&self.dir.join(path)).lines().any(may_overrule));
        Ok(strongest.map(|(path, line)| Overruled {
            message: format!("{CHANGES}: {} overrules .gitattributes", quoted_path(Path::new(path))),
            // It may end without a line end.
            hint: format!("printf '\\n%s\\n' '{line}' >> {}", quoted_path(Path::new(path))),
        }))
    }

    fn ignored(&self) -> Result<usize, GitError> {
        let words: Vec<&str> = ["check-ignore", "--no-index", "--"].into_iter().chain(OWN).collect();
        let mut command = self.command();
        // This command knows no literal paths, and these need none.
        command.env_remove("GIT_LITERAL_PATHSPECS").args(&words);
        // Where nothing is ignored it says no.
        let names = self.run_unless_no(&mut command, &words)?.unwrap_or_default();
        Ok(names.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).count())
    }

    /// The value of a setting in this repository or above; none if it is not set.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<String> {
        self.text(&["config", "--get", name]).ok()
    }

    /// Sets a value in this repository.
    ///
    /// # Errors
    /// If git cannot write its configuration.
    pub fn set(&self, name: &str, value: &str) -> Result<(), GitError> {
        self.run(&["config", name, value]).map(drop)
    }
}

impl Lacks {
    /// Each lack in a sentence that `braidfs git setup` mends.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let attributes = format!("{CHANGES}: .gitattributes lacks \"{}\"", ATTRIBUTES.trim_end());
        let ignores = "git would take this working copy's own files into commits: .gitignore lacks some of index/, tmp/, checkpoints/, locks/, .eventcore/, .lock".to_owned();
        [(self.attributes, attributes), (self.ignores, ignores)].into_iter().filter(|(lacks, _)| *lacks).map(|(_, text)| text)
    }
}

/// Whether a line of attributes may say of a transaction file what git does with its bytes: one for other files does not.
fn may_overrule(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let Some(pattern) = words.next().filter(|pattern| !pattern.starts_with('#')) else { return false };
    let ending = pattern.trim_end_matches('"').rsplit_once('.').map(|(_, ending)| ending);
    let for_others = ending.is_some_and(|ending| ending != "jsonl" && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let names = |word: &str| {
        let name = word.trim_start_matches(['-', '!']).split('=').next().unwrap_or_default();
        ["text", "crlf", "merge", "binary"].contains(&name)
    };
    !for_others && words.any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_for_such_files_overrule() {
        for line in ["*.jsonl text eol=crlf", "* text=auto", "events/** !merge", "*.json* -merge", "\"*.jsonl\" text", "x.*l crlf"] {
            assert!(may_overrule(line), "{line}");
        }
        for line in ["", "# * text", "*.png binary", "*.jsonl eol=crlf", "*.jsonl diff", "*.txt text"] {
            assert!(!may_overrule(line), "{line}");
        }
    }
}
