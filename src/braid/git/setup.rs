//! What git must be told about a store, and the settings that keep it fast with many files.

use super::{GitError, Program};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// That the files of `events/` are bytes.
    pub attributes: bool,
    /// That a working copy's own files are nobody else's.
    pub ignores: bool,
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
        let ignored = self.ignored()?;
        Ok(Lacks { attributes, ignores: ignored < OWN.len() })
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
    /// Each lack in a sentence.
    pub fn sentences(self) -> impl Iterator<Item = &'static str> {
        let attributes = "git may change line ends in events/, or splice two versions of a file: .gitattributes lacks \"events/*.jsonl -text merge=binary\"";
        let ignores = "git would take this working copy's own files into commits: .gitignore lacks some of index/, tmp/, checkpoints/, locks/, .eventcore/, .lock";
        [(self.attributes, attributes), (self.ignores, ignores)].into_iter().filter(|(lacks, _)| *lacks).map(|(_, text)| text)
    }
}
