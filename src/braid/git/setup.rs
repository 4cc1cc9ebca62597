//! What git must be told about a store, and the settings that keep it fast with many files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{GitError, Program};
use crate::disk::{Disk, shown_name};
use crate::format::text::quoted_path;
use crate::model::Severity;
use crate::store::{AS_THEY_ARE, ATTRIBUTES, LackingLines};

/// What git does where it was not told that the files of `events/` are bytes.
const CHANGES: &str = "git may change line ends in events/, or splice two versions of a file";

/// The same where attributes have it write other bytes into the work tree than it was given.
const REWRITES: &str = "git writes other bytes into events/ than were committed (ident, working-tree-encoding)";

/// What must be ignored: everything that is this working copy's own.
const OWN: [&str; 6] = ["tmp", "checkpoints", "locks", "index", ".eventcore", ".lock"];

/// Files there: git tells of no directory that is not there whether it is ignored.
const IGNORED: [&str; 6] = ["tmp/x", "checkpoints/x", "locks/x", "index/x", ".eventcore/x", ".lock"];

/// The names of the attributes that a line says something of.
const OF_ATTRIBUTES: [&str; 4] = ["text", "crlf", "merge", "binary"];
const OF_AS_THEY_ARE: [&str; 2] = ["ident", "working-tree-encoding"];

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
    /// That the files of `events/` are bytes, and that a working copy's own files are nobody else's, which lines tell.
    pub lines: LackingLines,
    /// What no line that could be added mends.
    pub advice: Vec<Advice>,
}

/// What is for a person to decide or to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// How bad it is.
    pub severity: Severity,
    /// What is so, in a sentence.
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
        let words = ["check-attr", "-z", "text", "merge", "ident", "working-tree-encoding", "filter", "--", "events/x.jsonl"];
        let told = self.run(&words)?;
        let values: Vec<&[u8]> = told.split(|byte| *byte == 0).skip(2).step_by(3).collect();
        let [text, merge, ident, encoding, filter] = *values.as_slice() else { return Err(GitError::Unexpected("check-attr")) };
        let is_off = |value: &[u8]| matches!(value, b"unset" | b"unspecified");
        let mut lacks = Lacks::default();
        lacks.lines.attributes = text != b"unset" || !matches!(merge, b"binary" | b"unset");
        lacks.lines.as_they_are = !is_off(ident) || !is_off(encoding);
        lacks.lines.ignores = self.own_ignored()? < OWN.len();
        for (is_lacking, line, names, what) in [
            (&mut lacks.lines.attributes, ATTRIBUTES, OF_ATTRIBUTES.as_slice(), CHANGES),
            (&mut lacks.lines.as_they_are, AS_THEY_ARE, OF_AS_THEY_ARE.as_slice(), REWRITES),
        ] {
            if *is_lacking && let Some(advice) = self.overruled(line.trim_end(), names, what)? {
                *is_lacking = false;
                lacks.advice.push(advice);
            }
        }
        if !is_off(filter) {
            lacks.advice.push(filtered(&String::from_utf8_lossy(filter)));
        }
        lacks.advice.extend(self.tracked()?);
        Ok(lacks)
    }

    /// The strongest file of attributes that may overrule a line in `.gitattributes`, if that is there: git does not tell where a
    /// value is from.
    fn overruled(&self, wanted: &str, names: &[&str], what: &str) -> Result<Option<Advice>, GitError> {
        let disk = Disk::real();
        let read = |path: &Path| disk.read_if_present(path).ok().flatten().unwrap_or_default();
        let text = |path: &Path| String::from_utf8_lossy(&read(path)).into_owned();
        if !text(&self.dir.join(".gitattributes")).lines().any(|line| line.trim_end() == wanted) {
            return Ok(None);
        }
        let git_path = self.text(&["rev-parse", "--git-path", "info/attributes"])?;
        let is_top = self.text(&["rev-parse", "--show-prefix"])?.is_empty();
        let anywhere = format!("**/{wanted}");
        let lines =
            [(git_path.as_str(), if is_top { wanted } else { &anywhere }), ("events/.gitattributes", wanted.trim_start_matches("events/"))];
        let strongest = lines.into_iter().find(|(path, _)| text(&self.dir.join(path)).lines().any(|line| may_overrule(line, names)));
        Ok(strongest.map(|(path, line)| Advice {
            severity: Severity::Warning,
            message: format!("{what}: {} overrules .gitattributes", quoted_path(Path::new(path))),
            // It may end without a line end.
            hint: format!("printf '\\n%s\\n' '{line}' >> {}", quoted_path(Path::new(path))),
        }))
    }

    /// This working copy's own files that git has all the same: it takes what it has once for what others have too.
    fn tracked(&self) -> Result<Option<Advice>, GitError> {
        let listed = self.run(&[["ls-files", "-z", "--"].as_slice(), &OWN].concat())?;
        let names: Vec<String> =
            listed.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(|name| shown_name(OsStr::from_bytes(name))).collect();
        let Some(first) = names.first() else { return Ok(None) };
        let others = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        let is_in =
            |own: &str| names.iter().any(|name| name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let own: Vec<&str> = OWN.into_iter().filter(|own| is_in(own)).collect();
        Ok(Some(Advice {
            severity: Severity::Warning,
            message: format!(
                "git has \"{first}\"{others} in its commits, which are this working copy's own: what another one commits of them overwrites them here"
            ),
            hint: format!(
                "git rm -r -q --cached {} && git commit -m \"own files\"   # in each clone before it pulls: what has them still loses them",
                own.join(" ")
            ),
        }))
    }

    fn own_ignored(&self) -> Result<usize, GitError> {
        let words: Vec<&str> = ["check-ignore", "--no-index", "--"].into_iter().chain(IGNORED).collect();
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
        let as_they_are = format!("{REWRITES}: .gitattributes lacks \"{}\"", AS_THEY_ARE.trim_end());
        let ignores = "git would take this working copy's own files into commits: .gitignore lacks some of index/, tmp/, checkpoints/, locks/, .eventcore/, .lock".to_owned();
        let LackingLines { attributes: lacks_attributes, as_they_are: rewrites, ignores: lacks_ignores } = self.lines;
        [(lacks_attributes, attributes), (rewrites, as_they_are), (lacks_ignores, ignores)]
            .into_iter()
            .filter(|(lacks, _)| *lacks)
            .map(|(_, text)| text)
    }
}

/// What a filter makes of the files is read back through it, and to encrypt them, say, is somebody's decision.
fn filtered(name: &str) -> Advice {
    Advice {
        severity: Severity::Info,
        message: format!(
            "git keeps the files of events/ in the form that the filter \"{}\" gives them: where that is not set up, nobody can read them",
            name.escape_debug()
        ),
        hint: "printf '\\n%s\\n' 'events/*.jsonl -filter' >> .gitattributes && git add --renormalize events   # only if that is not meant; then: braidfs sync"
            .to_owned(),
    }
}

/// Whether a line of attributes may say one of these of a transaction file: one for other files does not.
fn may_overrule(line: &str, attributes: &[&str]) -> bool {
    let mut words = line.split_ascii_whitespace();
    let Some(pattern) = words.next().filter(|pattern| !pattern.starts_with('#')) else { return false };
    let ending = pattern.trim_end_matches('"').rsplit_once('.').map(|(_, ending)| ending);
    let for_others = ending.is_some_and(|ending| ending != "jsonl" && ending.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let names = |word: &str| {
        let name = word.trim_start_matches(['-', '!']).split('=').next().unwrap_or_default();
        attributes.contains(&name)
    };
    !for_others && words.any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_for_such_files_overrule() {
        for line in ["*.jsonl text eol=crlf", "* text=auto", "events/** !merge", "*.json* -merge", "\"*.jsonl\" text", "x.*l crlf"] {
            assert!(may_overrule(line, &OF_ATTRIBUTES), "{line}");
        }
        for line in ["", "# * text", "*.png binary", "*.jsonl eol=crlf", "*.jsonl diff", "*.txt text"] {
            assert!(!may_overrule(line, &OF_ATTRIBUTES), "{line}");
        }
    }
}
