//! Transactions that git ignores, by a line that was meant for other files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{GitError, Program, events_file};
use crate::disk::shown_name;
use crate::format::text::quoted_path;

/// A name as any transaction file has it.
const PROBE: &str = "01900000-0000-7000-8000-000000000000.jsonl";

/// Transaction files that git ignores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Their names in `events/`; none of them where all of it is ignored, which may be a million.
    pub names: BTreeSet<String>,
    /// Whether all of `events/` is ignored, or what it lies in: then it may be meant.
    pub is_all: bool,
    /// Which line of which file says so.
    pub by: String,
    /// What has git take them.
    pub cure: String,
}

impl Program {
    /// The files in `events/` that git ignores and does not have; none where it would take a transaction file.
    ///
    /// # Errors
    /// If git cannot be run or the store lies in no repository.
    pub fn ignored(&self) -> Result<Option<Ignored>, GitError> {
        // Looking through all files is not for every time.
        if self.ignores(&events_file(PROBE))?.is_none() {
            return Ok(None);
        }
        let by_directory = self.ignores(OsStr::new("events"))?;
        let mut list = vec!["ls-files", "-z", "--others", "--ignored", "--exclude-standard"];
        list.extend(by_directory.is_some().then_some("--directory"));
        list.extend(["--", "events"]);
        let listed = self.run(&list)?;
        if listed.is_empty() {
            return Ok(None);
        }
        let names = listed.split(|byte| *byte == 0).filter_map(|path| path.strip_prefix(b"events/"));
        let names: BTreeSet<String> =
            names.map(|name| shown_name(OsStr::from_bytes(name))).filter(|name| name.ends_with(".jsonl")).collect();
        let is_all = by_directory.is_some();
        let by = match (by_directory, names.first()) {
            (Some(by), _) => Some(by),
            (None, Some(first)) => self.ignores(&events_file(first))?,
            (None, None) => None,
        };
        let Some((source, line)) = by else { return Ok(None) };
        let path = quoted_path(Path::new(&source));
        let cure = match (is_all, source.as_str()) {
            (true, _) => format!("take line {line} out of {path}, if git is to have them; then: braidfs sync --offline"),
            // What is nearer to a file is stronger.
            (false, "events/.gitignore") => format!("printf '\\n%s\\n' '!*.jsonl' >> {path}"),
            (false, _) => "printf '\\n%s\\n' '!/events/*.jsonl' >> .gitignore".to_owned(),
        };
        Ok(Some(Ignored { is_all, by: format!("line {line} of {path}"), cure, names }))
    }

    /// The file and the line in it by which git ignores a path, relative to the store where it lies in it.
    fn ignores(&self, path: &OsStr) -> Result<Option<(String, String)>, GitError> {
        let ask = |option: &str| {
            let words = [OsStr::new("check-ignore"), OsStr::new(option), OsStr::new("--no-index"), OsStr::new("--"), path];
            let mut command = self.command();
            // This command knows no literal paths, and these need none.
            command.env_remove("GIT_LITERAL_PATHSPECS").args(words);
            self.run_unless_no(&mut command, &words)
        };
        // With the line that is the last to match it tells lines too that have git take it.
        if ask("--quiet")?.is_none() {
            return Ok(None);
        }
        let Some(told) = ask("--verbose")? else { return Ok(None) };
        let told = String::from_utf8_lossy(&told).into_owned();
        let mut facts = told.splitn(3, ':');
        let (source, line) = (facts.next().unwrap_or_default(), facts.next().unwrap_or_default());
        // It is told from the top of the work tree.
        let [top, prefix] = [self.text(&["rev-parse", "--show-cdup"])?, self.text(&["rev-parse", "--show-prefix"])?];
        let source = match source.strip_prefix(&prefix) {
            Some(below) => below.to_owned(),
            None if Path::new(source).is_absolute() => source.to_owned(),
            None => format!("{top}{source}"),
        };
        Ok(Some((source, line.to_owned())))
    }
}
