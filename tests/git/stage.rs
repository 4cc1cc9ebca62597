//! Stores in repositories, open and followed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use braidfs::braid::{Braid, Committed, OpenOptions};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::model::FindingKind;
use braidfs::view::Node;

use crate::support::git::git;
use crate::support::mount::Mount;
use crate::support::wait::{eventually, eventually_eq};

/// A store in a repository of its own, open and followed, and mounted too where that is asked for.
pub struct Copy {
    pub dir: PathBuf,
    pub braid: Braid,
    mount: Option<Mount>,
}

/// A repository with a store whose first commit is empty of events.
pub fn repository(dir: &Path) -> Copy {
    store_in(dir, dir)
}

/// The same with the store anywhere in the repository.
pub fn store_in(repository: &Path, dir: &Path) -> Copy {
    Braid::init(dir).unwrap();
    git(repository, ["init", "-q"]);
    for (name, value) in [("user.name", "Ada"), ("user.email", "ada@example.org"), ("commit.gpgsign", "false")] {
        git(dir, ["config", name, value]);
    }
    git(dir, ["add", ".gitignore", ".gitattributes"]);
    git(dir, ["commit", "-q", "-m", "a store"]);
    Copy::open(dir)
}

/// An open clone.
pub fn clone(from: &Path, dir: &Path) -> Copy {
    git(dir.parent().unwrap(), ["clone", "-q", from.to_str().unwrap(), dir.to_str().unwrap()]);
    for (name, value) in [("user.name", "Bo"), ("user.email", "bo@example.org"), ("commit.gpgsign", "false")] {
        git(dir, ["config", name, value]);
    }
    Braid::init(dir).unwrap();
    Copy::open(dir)
}

/// Merges what a clone has on its branch `main`.
pub fn pull(dir: &Path, from: &Path) {
    git(dir, ["pull", "-q", "--no-rebase", "--no-edit", from.to_str().unwrap(), "main"]);
}

impl Copy {
    pub fn open(dir: &Path) -> Self {
        let braid = Braid::open(dir, &OpenOptions { follow: true, ..OpenOptions::default() }).unwrap();
        braid.wait_ready().unwrap();
        Self { dir: dir.to_path_buf(), braid, mount: None }
    }

    /// The same with a mount beside the store, which must follow too.
    pub fn mounted(self) -> Self {
        let mount = Mount::options(&self.dir).at(&self.dir.with_extension("mnt")).start();
        Self { mount: Some(mount), ..self }
    }

    /// The mount.
    pub fn mount(&self) -> &Mount {
        self.mount.as_ref().unwrap()
    }

    pub fn append(&self, stream: &str, n: u64) -> Committed {
        let line = format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"Counted\",\"event_data\":{{\"n\":{n}}}}}\n");
        self.braid.append(parse_draft(line.as_bytes(), DraftKind::Lines).unwrap()).unwrap()
    }

    /// Appends one event and commits it to git; gives the file's name.
    pub fn commit(&self, stream: &str, n: u64) -> String {
        let committed = self.append(stream, n);
        self.save(&format!("{stream} {n}"));
        format!("{}.jsonl", committed.transaction_id)
    }

    /// Writes on a new branch, and comes back to the one before.
    pub fn on_branch<T>(&self, branch: &str, write: impl FnOnce(&Self) -> T) -> T {
        git(&self.dir, ["switch", "-q", "-c", branch]);
        let written = write(self);
        git(&self.dir, ["switch", "-q", "-"]);
        self.follows();
        written
    }

    pub fn save(&self, message: &str) {
        git(&self.dir, ["add", "-A"]);
        git(&self.dir, ["commit", "-q", "-m", message]);
    }

    pub fn text(&self, path: &str) -> String {
        text(&self.braid, path)
    }

    /// The names in `events/`.
    pub fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.dir.join("events")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Returns once the views show exactly what lies in `events/` now.
    #[track_caller]
    pub fn follows(&self) {
        let fresh = Braid::open(&self.dir, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
        fresh.wait_ready().unwrap();
        for view in ["log.jsonl", "types/Counted.jsonl"] {
            eventually_eq(&text(&fresh, view), || self.text(view));
        }
        let ids = |braid: &Braid| braid.epoch().index.transactions.heads();
        eventually_eq(&ids(&fresh), || ids(&self.braid));
        if let Some(mount) = &self.mount {
            eventually_eq(&text(&fresh, "log.jsonl"), || mount.read("log.jsonl"));
            let heads: Vec<_> = ids(&fresh).iter().map(ToString::to_string).collect();
            eventually_eq(&serde_json::json!(heads), || mount.read_json("status.json")["heads"].clone());
        }
    }

    /// Returns once a finding of that kind is there or not there; gives its hint.
    #[track_caller]
    pub fn finding(&self, kind: FindingKind) -> String {
        let mut hint = String::new();
        eventually(&format!("a finding {}", kind.name()), || {
            let epoch = self.braid.survey().unwrap();
            let found = epoch.findings.iter().find(|finding| finding.kind == kind);
            hint = found.map(|finding| finding.hint.clone()).unwrap_or_default();
            found.is_some()
        });
        hint
    }

    #[track_caller]
    pub fn no_finding(&self, kind: FindingKind) {
        eventually(&format!("no finding {}", kind.name()), || {
            let epoch = self.braid.survey().unwrap();
            epoch.findings.iter().all(|finding| finding.kind != kind)
        });
    }

    /// How many different replica ids wrote.
    pub fn replicas(&self) -> usize {
        let epoch = self.braid.epoch();
        let transactions = &epoch.index.transactions;
        epoch.index.order.iter_from(0).map(|tx| transactions.replica(tx)).collect::<BTreeSet<_>>().len()
    }

    pub fn count(&self) -> usize {
        self.braid.epoch().index.transactions.valid_count() as usize
    }
}

pub fn text(braid: &Braid, path: &str) -> String {
    let file = braid.tree().find(path).and_then(Node::into_file);
    file.map(|file| String::from_utf8(file.read_all().unwrap()).unwrap()).unwrap_or_default()
}
