//! `braidfs import git`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::git::{git, git_at, git_command};
use crate::support::run::{Ran, braidfs, braidfs_command, run_with};
use crate::support::store::TestStore;

const TIME: u64 = 1_700_000_000;

fn write(repository: &Path, name: &str, lines: std::ops::Range<u32>) {
    let path = repository.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, lines.map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
}

fn commit(repository: &Path, seconds: u64, message: &str) {
    git(repository, ["add", "-A"]);
    git_at(repository, seconds, ["commit", "-q", "-m", message]);
}

/// A repository with a rename, a merge whose conflict was settled, a merge that git made alone, and odd paths.
fn repository() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    git(at, ["init", "-q"]);
    write(at, "a.txt", 0..20);
    write(at, "b.txt", 0..30);
    commit(at, TIME, "start");
    git(at, ["checkout", "-q", "-b", "side"]);
    write(at, "a.txt", 5..20);
    write(at, "app/[id]/page 1.ts", 0..3);
    commit(at, TIME + 10, "side: \u{1b}[31mshorten");
    git(at, ["checkout", "-q", "main"]);
    write(at, "a.txt", 0..25);
    git(at, ["mv", "b.txt", "c.txt"]);
    commit(at, TIME + 20, "lengthen and rename");
    // A merge without a common line would need an editor: both sides are taken by hand.
    git(at, ["merge", "-q", "--no-commit", "-s", "ours", "side"]);
    write(at, "a.txt", 5..25);
    write(at, "app/[id]/page 1.ts", 0..3);
    commit(at, TIME + 30, "settle a.txt");
    git(at, ["checkout", "-q", "side"]);
    write(at, "d.txt", 0..2);
    commit(at, TIME + 40, "one more file");
    git(at, ["checkout", "-q", "main"]);
    git_at(at, TIME + 50, ["merge", "-q", "--no-ff", "-m", "alone", "side"]);
    fs::remove_file(at.join("d.txt")).unwrap();
    commit(at, TIME + 60, "remove d.txt");
    home
}

fn import(store: &TestStore, repository: &Path, more: &[&str]) -> Ran {
    let mut arguments = vec!["import", "git", repository.to_str().unwrap(), "--format", "json"];
    arguments.extend(more);
    let path = store.path();
    braidfs(arguments.into_iter().chain(["--store", path.to_str().unwrap()]))
}

fn files(store: &TestStore) -> BTreeMap<String, String> {
    let entries = fs::read_dir(store.events_dir()).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}

/// What lies in `tmp/`; nothing before it is there.
fn left_in_tmp(store: &TestStore) -> Vec<String> {
    let entries = fs::read_dir(store.path().join("tmp")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Headers and events by the commit's message; a transaction without events has no message.
fn read(store: &TestStore) -> BTreeMap<String, (Value, Vec<Value>)> {
    let parsed = files(store).into_values().map(|text| {
        let mut lines = text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let header = lines.next().unwrap();
        let events: Vec<Value> = lines.collect();
        let message = events.first().map_or(String::new(), |event| event["event_data"]["message"].as_str().unwrap().to_owned());
        (message, (header, events))
    });
    parsed.collect()
}

#[test]
fn commits_become_transactions_with_their_parents() {
    let (repository, store) = (repository(), TestStore::new());
    let done = import(&store, repository.path(), &[]).ok().json();
    assert_eq!((done["transactions"].as_u64(), done["already_present"].as_u64()), (Some(7), Some(0)), "{done}");

    let read = read(&store);
    let id = |message: &str| read[message].0["transaction_id"].clone();
    let (settle, events) = &read["settle a.txt"];
    let mut parents = vec![id("lengthen and rename"), id("side: \u{1b}[31mshorten")];
    parents.sort_by_key(|parent| parent.as_str().unwrap().to_owned());
    assert_eq!(settle["parent_transaction_ids"], Value::from(parents));
    let changed: Vec<_> =
        events.iter().map(|event| (event["stream_id"].as_str().unwrap(), event["stream_version"].as_u64().unwrap())).collect();
    assert_eq!(changed, [("a.txt", 4)]);
    assert_eq!(settle["created_at"], "2023-11-14T22:13:50+00:00");

    let alone = &read[""];
    assert_eq!(alone.0["parent_transaction_ids"].as_array().unwrap().len(), 2);
    assert!(alone.1.is_empty() && alone.0["stream_bases"].as_object().unwrap().is_empty());

    let renamed: Vec<_> =
        read["lengthen and rename"].1.iter().map(|e| (e["stream_id"].as_str().unwrap(), e["event_type"].as_str().unwrap())).collect();
    assert_eq!(renamed, [("a.txt", "FileModified"), ("b.txt", "FileRenamed"), ("c.txt", "FileAdded")]);
    assert_eq!(read["side: \u{1b}[31mshorten"].1[1]["stream_id"], "app/%5Bid%5D/page 1.ts");
    assert_eq!(read["remove d.txt"].1[0]["event_type"], "FileDeleted");
}

#[test]
fn a_second_import_adds_only_what_is_new() {
    let (repository, store) = (repository(), TestStore::new());
    import(&store, repository.path(), &["--revision", "HEAD~1"]).ok();
    let before = files(&store);
    let done = import(&store, repository.path(), &[]).ok().json();
    assert_eq!((done["transactions"].as_u64(), done["already_present"].as_u64()), (Some(1), Some(6)), "{done}");
    let after = files(&store);
    assert!(before.iter().all(|(name, text)| after.get(name) == Some(text)));

    let other = TestStore::new();
    import(&other, repository.path(), &["--all"]).ok();
    assert_eq!(files(&other), after, "the same history gives the same bytes everywhere");
}

#[test]
fn the_public_crate_finds_nothing_wrong_with_an_import() {
    let (repository, store) = (repository(), TestStore::new());
    import(&store, repository.path(), &[]).ok();
    let peer = eventcore_fs::FileEventStore::open(store.path()).unwrap();
    let status = peer.status().unwrap();
    assert!(status.is_clean(), "{status:?}");
    assert_eq!(peer.topology_generation().unwrap(), 2);
}

#[test]
fn what_is_no_repository_and_no_commit_is_refused() {
    let (store, empty) = (TestStore::new(), tempfile::tempdir().unwrap());
    let ran = import(&store, empty.path(), &[]).code(1);
    assert!(ran.err.contains("lies in no git repository") && ran.err.contains("name a git repository"), "{}", ran.err);
    let repository = repository();
    git(repository.path(), ["tag", "tree", "HEAD^{tree}"]);
    for revision in ["--upload-pack=x", "nosuch", "", "HEAD^{tree}", "HEAD:a.txt", "tree", "HEAD~2..HEAD", "^HEAD"] {
        let ran = import(&store, repository.path(), &[&format!("--revision={revision}")]).code(1);
        assert!(ran.err.contains("names no commit") && ran.err.contains("--revision REV"), "{revision}: {}", ran.err);
    }
    assert!(files(&store).is_empty());
    // A tag of something else is no part of the history.
    assert_eq!(import(&store, repository.path(), &["--all"]).ok().json()["transactions"], 7);
}

/// Everything in whatever order: a commit that came later changed its siblings' transactions, and two siblings were one replica.
#[test]
fn a_transaction_depends_on_what_its_commit_descends_from_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path();
    git(at, ["init", "-q"]);
    write(at, "a", 0..1);
    commit(at, TIME, "one");
    git(at, ["checkout", "-q", "-b", "topic"]);
    write(at, "t", 0..1);
    commit(at, TIME + 10, "topic");
    git(at, ["checkout", "-q", "main"]);
    write(at, "a", 0..2);
    commit(at, TIME + 20, "two");
    // On one day main is imported, on the next what it became.
    let (early, late) = (TestStore::new(), TestStore::new());
    import(&early, at, &[]).ok();
    git_at(at, TIME + 30, ["merge", "-q", "--no-edit", "topic"]);
    write(at, "a", 0..3);
    commit(at, TIME + 40, "after");
    git_at(at, TIME + 50, ["commit", "-q", "--amend", "-m", "amended"]);
    import(&early, at, &[]).ok();
    import(&late, at, &[]).ok();
    assert_eq!(files(&early), files(&late));

    // Every part by itself, the newest last, the newest first, and all at once.
    let log = git(at, ["rev-list", "--all", "--reflog"]).out;
    let commits: Vec<&str> = log.lines().collect();
    let every = |commits: &mut dyn Iterator<Item = &&str>| {
        let store = TestStore::new();
        commits.for_each(|commit| drop(import(&store, at, &["--revision", commit]).ok()));
        files(&store)
    };
    let all = every(&mut commits.iter());
    assert_eq!((all.len(), all == every(&mut commits.iter().rev())), (6, true));
    assert!(files(&late).iter().all(|(name, text)| all.get(name) == Some(text)));

    let replicas: BTreeMap<String, usize> = all.values().fold(BTreeMap::new(), |mut replicas, text| {
        let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        *replicas.entry(header["replica_id"].as_str().unwrap().to_owned()).or_default() += 1;
        replicas
    });
    assert_eq!(replicas.len(), 6, "siblings are never one replica: {replicas:?}");
    let authors: BTreeSet<&str> = replicas.keys().map(|replica| &replica[..8]).collect();
    assert_eq!(authors.len(), 1, "one author: {replicas:?}");
}

/// The cut commits were taken for roots; once the history was whole, every stream was forked.
#[test]
fn a_history_that_is_cut_is_refused_with_what_makes_it_whole() {
    let (repository, store, home) = (repository(), TestStore::new(), tempfile::tempdir().unwrap());
    let url = format!("file://{}", repository.path().display());
    git(home.path(), ["clone", "-q", "--depth", "2", &url, "shallow clone"]);
    let shallow = home.path().join("shallow clone");
    for more in [&[][..], &["--all"]] {
        let ran = import(&store, &shallow, more).code(1);
        assert!(ran.err.contains("is cut: it is a shallow clone"), "{}", ran.err);
    }
    // The way to the store is told first, and the cure works from there.
    let mut command = braidfs_command();
    command.args(["import", "git", "shallow clone", "--store"]).arg(store.path()).current_dir(home.path());
    let ran = run_with(&mut command, b"").code(1);
    let (way, cure) = (format!("hint: cd {}", store.path().display()), format!("hint: git -C '{}' fetch --unshallow", shallow.display()));
    assert!(ran.err.contains(&way) && ran.err.contains(&cure), "{}", ran.err);
    assert!(files(&store).is_empty());
    git(&shallow, ["fetch", "-q", "--unshallow"]);
    let whole = TestStore::new();
    import(&store, &shallow, &[]).ok();
    import(&whole, repository.path(), &[]).ok();
    assert_eq!(files(&store), files(&whole));
}

/// Root commits were empty, a subdirectory had only its own files, a hook's repository was taken for the one that was named.
#[test]
fn neither_settings_nor_grafts_nor_the_environment_change_the_result() {
    let (repository, other) = (repository(), repository_of_one());
    let (plain, changed) = (TestStore::new(), TestStore::new());
    let at = repository.path();
    // A rename only if line ends are no difference, which they are in what an attribute calls binary.
    fs::remove_file(at.join("c.txt")).unwrap();
    fs::write(at.join("e.txt"), (0..30).map(|n| format!("line {n}\r\n")).collect::<String>()).unwrap();
    commit(at, TIME + 70, "other line ends");
    import(&plain, at, &[]).ok();
    assert_eq!(read(&plain)["other line ends"].1[0]["event_type"], "FileRenamed");
    let attributes = at.join(".gitattributes");
    fs::write(&attributes, "*.txt -diff\n").unwrap();
    for (name, value) in [
        ("log.showRoot", "false"),
        ("log.showSignature", "true"),
        ("log.diffMerges", "off"),
        ("log.follow", "true"),
        ("log.mailmap", "true"),
        ("log.date", "relative"),
        ("diff.relative", "true"),
        ("diff.renames", "false"),
        ("diff.renameLimit", "1"),
        ("diff.noPrefix", "true"),
        ("diff.external", "false"),
        ("color.ui", "always"),
        ("core.quotePath", "true"),
        ("format.pretty", "oneline"),
        ("i18n.logOutputEncoding", "latin1"),
        ("core.attributesFile", attributes.to_str().unwrap()),
    ] {
        git(at, ["config", name, value]);
    }
    git(at, ["replace", "HEAD~1", "HEAD~2"]);
    fs::write(at.join(".git/info/grafts"), git(at, ["rev-parse", "HEAD"]).out).unwrap();
    let dir = at.join("app/[id]");
    let mut command = braidfs_command();
    command.args(["import", "git"]).arg(&dir).arg("--store").arg(changed.path());
    let git_dir = other.path().join(".git");
    command.env("GIT_DIR", &git_dir).env("GIT_WORK_TREE", other.path()).env("GIT_OBJECT_DIRECTORY", git_dir.join("objects"));
    command.env("GIT_SHALLOW_FILE", at.join("a.txt")).env("GIT_PAGER", "false");
    let ran = run_with(&mut command, b"").ok();
    assert_eq!(ran.err, "");
    assert_eq!(files(&changed), files(&plain));
    // A revision is looked for in the same history.
    let part = TestStore::new();
    import(&part, at, &["--revision", "HEAD~2^1"]).ok();
    assert!(files(&part).iter().all(|(name, text)| files(&plain).get(name) == Some(text)));
    assert_eq!(files(&part).len(), 4);
}

fn repository_of_one() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    git(home.path(), ["init", "-q"]);
    write(home.path(), "other", 0..1);
    commit(home.path(), TIME, "other");
    home
}

/// What was there was known by its name alone.
#[test]
fn what_is_there_with_other_bytes_stays_and_is_told() {
    let (repository, store) = (repository(), TestStore::new());
    import(&store, repository.path(), &["--revision", "HEAD~1"]).ok();
    let (name, text) = files(&store).into_iter().find(|(_, text)| text.contains("settle a.txt")).unwrap();
    let edited = text.replacen("replica_id\":\"", "replica_id\":\"00000000-0000-4000-8000-000000000000\",\"was\":\"", 1);
    fs::write(store.events_dir().join(&name), &edited).unwrap();
    let ran = import(&store, repository.path(), &[]).code(1);
    let done = ran.json();
    assert_eq!((&done["transactions"], &done["already_present"], &done["differing"]), (&1.into(), &5.into(), &serde_json::json!([name])));
    let path = store.path();
    let again = braidfs(["import", "git", repository.path().to_str().unwrap(), "--store", path.to_str().unwrap()]).code(1);
    assert!(again.err.contains(&format!("1 file was there with other bytes and stays: {name}")), "{}", again.err);
    assert!(again.err.contains("hint: braidfs doctor") && again.err.contains("--store NEW"), "{}", again.err);
    assert_eq!(files(&store)[&name], edited);
    fs::write(store.events_dir().join(&name), &text).unwrap();
    import(&store, repository.path(), &[]).ok();
}

/// The files that a kill left in `tmp/` had the names that the next import asked for.
#[test]
fn an_import_that_was_killed_at_any_step_can_be_run_again() {
    let repository = repository();
    let whole = TestStore::new();
    import(&whole, repository.path(), &[]).ok();
    let mut left_behind = 0;
    for spared in 0.. {
        let store = TestStore::new();
        let order = store.home().join("mishap");
        fs::write(&order, format!("kill disk {spared}")).unwrap();
        let mut command = braidfs_command();
        command.args(["import", "git"]).arg(repository.path()).arg("--store").arg(store.path()).env("BRAIDFS_MISHAP", &order);
        let was_killed = run_with(&mut command, b"").code == 128 + 9;
        left_behind += left_in_tmp(&store).len();
        import(&store, repository.path(), &[]).ok();
        assert_eq!(files(&store), files(&whole), "killed before change {spared}");
        assert_eq!(left_in_tmp(&store), [""; 0], "killed before change {spared}");
        if !was_killed {
            assert!(spared > 14 && left_behind > 7, "{spared} changes, {left_behind} files left");
            break;
        }
    }
}

/// A long subject stood in each event: one transaction had 121 MB.
#[test]
fn a_transaction_and_its_lines_keep_within_the_limits() {
    let (home, store) = (tempfile::tempdir().unwrap(), TestStore::new());
    let at = home.path();
    git(at, ["init", "-q"]);
    // So many events that each has a share of the subject, then one with a long subject alone, then paths beyond every limit.
    let (subject, long) = ("é".repeat(20_000), ["p".repeat(60_000).as_str(); 300].join("/"));
    let mut stream =
        format!("commit refs/heads/main\ncommitter {} <a> {TIME} +0000\ndata {}\n{subject}\n", "A".repeat(3000), subject.len());
    for n in 0..50_000 {
        stream += &format!("M 100644 inline {}/{n}\ndata 1\nx\n", "d".repeat(20));
    }
    for (n, paths) in [(1, &["f"][..]), (2, &[&format!("{long}/x"), "g"])] {
        stream += &format!("commit refs/heads/main\ncommitter A <a> {} +0000\ndata {}\n{subject}\n", TIME + n, subject.len());
        paths.iter().for_each(|path| stream += &format!("M 100644 inline {path}\ndata 1\nx\n"));
    }
    run_with(git_command(at).args(["fast-import", "--quiet"]), stream.as_bytes()).ok();
    let done = import(&store, at, &[]).ok().json();
    assert_eq!((&done["transactions"], &done["changes_left_out"]), (&3.into(), &1.into()));
    let files = files(&store);
    assert!(files.values().all(|text| text.len() <= 64 << 20 && text.lines().all(|line| line.len() <= 16 << 20)));
    let mut subjects: Vec<usize> = Vec::new();
    for text in files.values() {
        let event: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        let message = event["event_data"]["message"].as_str().unwrap();
        assert!(message.ends_with("é…") && event["event_data"]["author"].as_str().unwrap().chars().count() <= 201);
        subjects.push(message.len());
    }
    assert_eq!(subjects, [334 + 3, 1000 + 3, 1000 + 3]);
    assert_eq!(files.values().next().unwrap().lines().count(), 50_001);
}

#[test]
fn a_store_that_another_program_holds_is_busy() {
    let (repository, store) = (repository(), TestStore::new());
    let holder = eventcore_fs::FileEventStore::open(store.path()).unwrap();
    let ran = import(&store, repository.path(), &[]).code(3);
    assert!(ran.err.contains("is locked by"), "{}", ran.err);
    drop(holder);
    import(&store, repository.path(), &[]).ok();
}

/// Story: with `--store` forgotten, a store got the commits of its own files as transactions, and nothing takes those back.
#[test]
fn a_store_does_not_get_its_own_history_unless_it_is_forced_to() {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", serde_json::json!(1)).write();
    let other = repository();
    git(&store.path(), ["init", "-q"]);
    commit(&store.path(), TIME, "events");
    for repository in [store.path(), store.events_dir()] {
        let refused = run_with(braidfs_command().args(["import", "git"]).arg(&repository).current_dir(store.path()), b"").code(1);
        assert!(refused.err.contains("its own history") && refused.err.contains("--store NEW"), "{}", refused.err);
    }
    assert_eq!(files(&store).len(), 1);
    // Another one's is what it is for, and so is a store beside what is committed.
    import(&store, other.path(), &[]).ok();
    let beside = store.path().join("beside");
    braidfs(["import", "git", store.path().to_str().unwrap(), "--store", beside.to_str().unwrap()]).ok();
    let before = files(&store).len();
    assert_eq!(import(&store, &store.path(), &["--force"]).ok().json()["transactions"], 1);
    assert_eq!(files(&store).len(), before + 1);
}
