//! The past equals a fresh store of exactly those files.

mod epochs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::braid::cursors::Dice;
use crate::braid::git::tests::git;
use crate::braid::tests::{append, event, everything, open, store};
use crate::braid::{Braid, TravelError};
use crate::model::FindingKind;
use crate::view::{Node, Tree};

/// Every file of a store that was made of these files just now.
fn fresh(files: &[(String, Vec<u8>)]) -> Vec<(String, String)> {
    let (_temp, dir) = store();
    for (name, bytes) in files {
        fs::write(dir.join("events").join(name), bytes).unwrap();
    }
    without_readme(&open(&dir, false).tree())
}

/// The README names the store's directory.
fn without_readme(tree: &Tree) -> Vec<(String, String)> {
    everything(tree).into_iter().filter(|(path, _)| path != "README.md").collect()
}

fn past(braid: &Braid, when: &str) -> Vec<(String, String)> {
    without_readme(&Tree::of(braid.at(when).unwrap_or_else(|error| panic!("{when}: {error}"))))
}

fn files(dir: &Path, names: impl IntoIterator<Item = String>) -> Vec<(String, Vec<u8>)> {
    names.into_iter().map(|name| (name.clone(), fs::read(dir.join("events").join(name)).unwrap())).collect()
}

fn all_names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir.join("events")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Two replicas that wrote without knowing of each other, put together, and one transaction more.
fn braided() -> (tempfile::TempDir, PathBuf, Braid) {
    let (temp, dir) = store();
    let ours = open(&dir, false);
    append(&ours, &format!("{}{}", event("a", 1), event("b/c", 2)));
    append(&ours, &event("a", 3));
    let other = temp.path().join("other");
    Braid::init(&other).unwrap();
    for (name, bytes) in files(&dir, all_names(&dir)) {
        fs::write(other.join("events").join(name), bytes).unwrap();
    }
    let theirs = open(&other, false);
    for n in 4..8 {
        append(&theirs, &event("a", n));
        append(&ours, &event(&format!("d-{n}"), n));
    }
    for (name, bytes) in files(&other, all_names(&other)) {
        fs::write(dir.join("events").join(name), bytes).unwrap();
    }
    ours.refresh().unwrap();
    append(&ours, &event("b/c", 9));
    (temp, dir, ours)
}

/// Two replicas that append and bring each other some of their files, in any order: parents may come late, or never.
fn wild(seed: u64) -> (tempfile::TempDir, PathBuf, Braid) {
    let mut dice = Dice(seed);
    let (temp, dir) = store();
    let dirs = [dir.clone(), temp.path().join("other")];
    Braid::init(&dirs[1]).unwrap();
    let braids = dirs.each_ref().map(|dir| open(dir, false));
    for n in 0..24 {
        let (place, stream) = (dice.roll(2), ["a", "b/c"][dice.roll(2)]);
        if dice.roll(3) > 0 {
            let version = braids[place].refresh().unwrap().index.stream_version(stream);
            append(&braids[place], &format!("{{\"expect\":{{\"{stream}\":{version}}}}}\n{}", event(stream, n)));
            continue;
        }
        for (name, bytes) in files(&dirs[place], all_names(&dirs[place])) {
            if dice.roll(3) > 0 {
                fs::write(dirs[1 - place].join("events").join(name), bytes).unwrap();
            }
        }
    }
    let [ours, _] = braids;
    ours.refresh().unwrap();
    (temp, dir, ours)
}

#[test]
fn every_position_equals_a_fresh_store_of_the_transactions_up_to_it() {
    assert_positions(&braided());
    let mut merged = 0;
    for seed in 0..5 {
        let store = wild(seed);
        merged += usize::from(store.2.epoch().index.transactions.heads().len() > 1 || store.2.epoch().index.log.incarnation > 0);
        assert_positions(&store);
    }
    assert!(merged > 2, "{merged}");
}

fn assert_positions((_temp, dir, braid): &(tempfile::TempDir, PathBuf, Braid)) {
    let epoch = braid.epoch();
    let index = &epoch.index;
    let last = index.log.events.len();
    for position in 0..=last {
        let until = position.checked_sub(1).map(|at| index.rank(index.events.transaction(index.log.events.get(at).unwrap())));
        let names = index.order.iter_from(0).take(until.map_or(0, |rank| rank as usize + 1)).map(|tx| index.transactions.file_name(tx));
        assert_eq!(past(braid, &format!("position:{position}")), fresh(&files(dir, names)), "position {position}");
    }
    assert!(matches!(braid.at(&format!("position:{}", last + 1)), Err(TravelError::Beyond { last: l, .. }) if l == last));
}

#[test]
fn a_sequence_number_names_what_was_here_then() {
    let (_temp, dir, braid) = braided();
    // Ours before the union: six transactions with seven events.
    let epoch = braid.epoch();
    let own = |tx: &u32| Some(epoch.index.transactions.replica(*tx)) == epoch.replica_id;
    let names = epoch.index.order.iter_from(0).filter(own).map(|tx| epoch.index.transactions.file_name(tx)).take(6);
    assert_eq!(past(&braid, "seq:7"), fresh(&files(&dir, names)));
    let last = epoch.feed_shown;
    assert_eq!(past(&braid, &format!("seq:{last}")), fresh(&files(&dir, all_names(&dir))));
    assert!(matches!(braid.at(&format!("seq:{}", last + 1)), Err(TravelError::Beyond { .. })));
    assert_eq!(past(&braid, "seq:0"), fresh(&[]));
    // What left and returned had its old number, and what has not returned is not here.
    let (first, second) = (epoch.index.order.iter_from(0).next().unwrap(), epoch.index.order.iter_from(0).nth(1).unwrap());
    let [first, second] = [first, second].map(|tx| dir.join("events").join(epoch.index.transactions.file_name(tx)));
    let numbers = [3, 7, last].map(|number| format!("seq:{number}"));
    let before = numbers.each_ref().map(|when| past(&braid, when));
    let away = dir.join("away");
    fs::rename(&first, &away).unwrap();
    braid.refresh().unwrap();
    fs::rename(&away, &first).unwrap();
    braid.refresh().unwrap();
    assert!(braid.epoch().feed_shown > last);
    assert_eq!(numbers.each_ref().map(|when| past(&braid, when)), before);
    fs::remove_file(second).unwrap();
    braid.refresh().unwrap();
    assert_eq!(past(&braid, &numbers[2]), fresh(&files(&dir, all_names(&dir))));
}

#[test]
fn a_transaction_names_its_ancestors_and_a_time_what_was_written_until_then() {
    let (_temp, dir, braid) = braided();
    let epoch = braid.epoch();
    let transactions = &epoch.index.transactions;
    for tx in epoch.index.order.iter_from(0) {
        let mut names = BTreeSet::new();
        let mut open = vec![tx];
        while let Some(tx) = open.pop() {
            names.insert(transactions.file_name(tx));
            open.extend(transactions.parents(tx));
        }
        let fresh = fresh(&files(&dir, names));
        assert_eq!(past(&braid, &format!("tx:{}", transactions.id(tx))), fresh);
        assert_eq!(past(&braid, &transactions.id(tx).to_string()), fresh);
        let time = transactions.created_at(tx);
        let until = epoch.index.order.iter_from(0).filter(|&other| transactions.created_at(other) <= time);
        let names: BTreeSet<String> = until.map(|tx| transactions.file_name(tx)).collect();
        assert_eq!(past(&braid, &format!("time:{time}")), self::fresh(&files(&dir, names)), "{time}");
    }
    let unknown = "tx:0199b3f0-0000-7000-8000-000000000001";
    assert!(matches!(braid.at(unknown), Err(TravelError::UnknownTransaction { .. })));
}

/// A store outside git: what git would know is asked for elsewhere.
#[test]
fn no_hint_for_a_moment_names_git_where_there_is_none() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let (lost, _) = (append(&braid, &event("a", 0)), append(&braid, &event("a", 1)));
    fs::remove_file(dir.join(format!("events/{}.jsonl", lost.transaction_id))).unwrap();
    braid.refresh().unwrap();
    let hints = |braid: &Braid| {
        let hint = |when: &str| braid.at(when).unwrap_err().hint();
        let unknown = hint(&format!("tx:{}", lost.transaction_id));
        let past = braid.at("position:1").unwrap();
        let dangling = past.findings.iter().find(|finding| finding.kind == FindingKind::Dangling).unwrap();
        [hint("HEAD"), unknown, dangling.hint.clone()]
    };
    let from_a_copy = format!(
        "cp OTHER/events/{}.jsonl events/   # OTHER is a working copy that has it; this store lies in no git repository",
        lost.transaction_id
    );
    let [revision, unknown, dangling] = hints(&braid);
    assert_eq!(revision, "position:N, seq:N, epoch:N, time:2026-01-31T12:00:00Z or tx:ID; without git there are no revisions");
    assert_eq!([unknown, dangling], [from_a_copy.clone(), from_a_copy]);
    git(&dir, &["init", "-q"]);
    let of_git = format!("git log --all --oneline -- events/{}.jsonl", lost.transaction_id);
    let [_, unknown, dangling] = hints(&open(&dir, false));
    assert_eq!([unknown, dangling], [of_git.clone(), of_git]);
}

fn commit_all(dir: &Path, message: &str) -> String {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
    git(dir, &["rev-parse", "HEAD"])
}

#[test]
fn a_revision_equals_a_fresh_store_of_the_files_in_its_tree() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    let mut revisions = Vec::new();
    let mut note = |message: &str| {
        let commit = commit_all(&dir, message);
        revisions.push((commit, files(&dir, all_names(&dir))));
    };
    note("everything");
    let names: Vec<String> = all_names(&dir).into_iter().collect();
    let bytes = |n: usize| fs::read(dir.join("events").join(&names[n])).unwrap();
    // A missing parent, a broken file, a healed one, a misnamed one with a twin, an id with two contents.
    fs::remove_file(dir.join("events").join(&names[1])).unwrap();
    fs::write(dir.join("events/broken.jsonl"), "no transaction\n").unwrap();
    let mut crlf = Vec::new();
    bytes(2).iter().for_each(|&byte| if byte == b'\n' { crlf.extend(b"\r\n") } else { crlf.push(byte) });
    fs::write(dir.join("events").join(&names[2]), crlf).unwrap();
    fs::write(dir.join("events/copy.jsonl"), bytes(3)).unwrap();
    let other = String::from_utf8(bytes(4)).unwrap().replacen("\"created_at\":\"2", "\"created_at\":\"3", 1);
    fs::write(dir.join("events/claim.jsonl"), other).unwrap();
    note("what can go wrong");
    fs::rename(dir.join("events").join(&names[5]), dir.join("events/odd name.jsonl")).unwrap();
    fs::remove_file(dir.join("events/claim.jsonl")).unwrap();
    note("misnamed");
    git(&dir, &["rm", "-q", "-r", "events"]);
    fs::create_dir_all(dir.join("events")).unwrap();
    git(&dir, &["commit", "-q", "-m", "nothing"]);
    revisions.push((git(&dir, &["rev-parse", "HEAD"]), Vec::new()));
    // From each of the states that the work tree can be in, each revision looks the same.
    for work_tree in ["main", "main~1", "main~3"] {
        git(&dir, &["checkout", "-q", work_tree]);
        fs::create_dir_all(dir.join("events")).unwrap();
        braid.refresh().unwrap();
        let again = open(&dir, false);
        for (commit, files) in &revisions {
            let expected = fresh(files);
            assert_eq!(past(&again, commit), expected, "at {work_tree}");
            assert_eq!(past(&braid, commit), expected, "at {work_tree}, kept");
        }
    }
    let kinds: BTreeSet<FindingKind> = braid.at("main~2").unwrap().findings.iter().map(|finding| finding.kind).collect();
    assert!(kinds.contains(&FindingKind::Healed) && kinds.contains(&FindingKind::Dangling), "{kinds:?}");
}

/// Story: a transaction that is a link was left out, and told by no finding.
#[test]
fn a_revision_follows_links_as_far_as_they_stay_in_it() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    let names: Vec<String> = all_names(&dir).into_iter().collect();
    let path = |n: usize| dir.join("events").join(&names[n]);
    let link = |to: &str, from: &Path| std::os::unix::fs::symlink(to, from).unwrap();
    fs::rename(path(1), dir.join("outside")).unwrap();
    link("../outside", &path(1));
    fs::rename(path(2), dir.join("events/elsewhere")).unwrap();
    link("elsewhere", &path(2));
    link(&names[3], &dir.join("events/copy.jsonl"));
    let mut revisions = Vec::new();
    let mut note = |message: &str| revisions.push((commit_all(&dir, message), files(&dir, all_names(&dir))));
    note("links");
    let outside = fs::read_to_string(dir.join("outside")).unwrap();
    fs::write(dir.join("outside"), outside.replacen("\"created_at\":\"2", "\"created_at\":\"3", 1)).unwrap();
    note("the same link to something else");
    fs::remove_file(path(1)).unwrap();
    fs::rename(dir.join("outside"), path(1)).unwrap();
    note("no link any more");
    // What leads to no file, or out of the commit, is none of its transactions.
    let mut expected = revisions[2].1.clone();
    expected.retain(|(name, _)| *name != names[4]);
    fs::rename(path(4), dir.parent().unwrap().join("away")).unwrap();
    link("../../away", &path(4));
    link("nowhere", &dir.join("events/dead.jsonl"));
    link("loop.jsonl", &dir.join("events/loop.jsonl"));
    link("..", &dir.join("events/directory.jsonl"));
    revisions.push((commit_all(&dir, "nowhere"), expected));
    drop(braid);
    for work_tree in ["main", "main~1", "main~2", "main~3"] {
        git(&dir, &["checkout", "-q", work_tree]);
        let braid = open(&dir, false);
        for (n, (commit, files)) in revisions.iter().enumerate() {
            assert!(past(&braid, commit) == fresh(files), "revision {n} at {work_tree}");
        }
    }
}

#[test]
fn a_branch_that_moves_is_resolved_anew_and_shares_the_epoch_of_its_commit() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    let first = commit_all(&dir, "first");
    git(&dir, &["branch", "side/way"]);
    let before = braid.at("HEAD").unwrap();
    assert!(Arc::ptr_eq(&before, &braid.at(&first).unwrap()));
    append(&braid, &event("z", 1));
    let second = commit_all(&dir, "second");
    let after = braid.at("git:HEAD").unwrap();
    assert!(Arc::ptr_eq(&after, &braid.at(&second).unwrap()));
    assert_eq!(after.index.transactions.valid_count(), before.index.transactions.valid_count() + 1);
    assert!(Arc::ptr_eq(&before, &braid.at("HEAD~1").unwrap()));

    let tree = braid.tree();
    let size = |path: &str| tree.find(path).and_then(Node::into_file).map(|file| file.size());
    assert_eq!(size("at/side%2Fway/log.jsonl"), size("at/HEAD~1/log.jsonl"));
    assert_eq!(size("at/HEAD/log.jsonl"), size("log.jsonl"));
    assert_eq!(tree.list("at"), Some(Vec::new()));
    assert!(tree.list("").unwrap().iter().any(|entry| entry.name == "at" && entry.directory));
    assert!(tree.list("at/HEAD~1/streams").unwrap().iter().any(|entry| entry.name == "a.jsonl"));
    assert!(tree.list("at/HEAD~1").unwrap().iter().all(|entry| entry.name != "at" && entry.name != "checkpoints"));
    assert!(tree.list("").unwrap().iter().any(|entry| entry.name == "checkpoints"));
    assert!(tree.find("at/HEAD~1/checkpoints").is_none() && tree.list("at/HEAD~1/checkpoints").is_none());
    for nothing in ["at/none", "at/side%2fway", "at/side/way", "at/HEAD%", "at/HEAD~1/at/HEAD", "at/position:x", "at/%2E%2E"] {
        assert!(tree.find(nothing).is_none(), "{nothing}");
        assert!(tree.list(nothing).is_none(), "{nothing}");
    }
}

#[test]
fn files_that_leave_the_work_tree_stay_readable_in_the_past() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    commit_all(&dir, "first");
    let tree = Tree::of(braid.at("HEAD").unwrap());
    let before = everything(&tree);
    git(&dir, &["rm", "-q", "-r", "events"]);
    git(&dir, &["commit", "-q", "-m", "gone"]);
    braid.refresh().unwrap();
    assert_eq!(everything(&tree), before);
    assert_eq!(braid.epoch().index.transactions.valid_count(), 0);
}

/// Moves an object of git's away, which lies in a file of its own; gives where it was and where it is.
fn hide(dir: &Path, object: &str) -> (PathBuf, PathBuf) {
    let oid = git(dir, &["rev-parse", object]);
    let (path, aside) = (dir.join(".git/objects").join(&oid[..2]).join(&oid[2..]), dir.join("tmp/hidden"));
    fs::rename(&path, &aside).unwrap();
    (path, aside)
}

/// Story: of a commit whose tree git could not read, as in a treeless clone whose remote is away, a past without any transaction was shown, and
/// kept for as long as the mount ran.
#[test]
fn a_revision_whose_trees_git_cannot_read_is_an_error_until_it_can() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    commit_all(&dir, "first");
    for object in ["HEAD:events", "HEAD^{tree}"] {
        let (path, aside) = hide(&dir, object);
        assert!(matches!(braid.at("HEAD"), Err(TravelError::Git(_))), "{object}");
        fs::rename(aside, path).unwrap();
        assert_eq!(braid.at("HEAD").unwrap().index.transactions.valid_count(), braid.epoch().index.transactions.valid_count());
        // What was read is kept; another commit is looked at anew.
        git(&dir, &["commit", "-q", "--allow-empty", "-m", "next"]);
    }
    git(&dir, &["rm", "-q", "-r", "--cached", "events"]);
    git(&dir, &["commit", "-q", "-m", "none"]);
    assert_eq!(braid.at("HEAD").unwrap().index.transactions.valid_count(), 0);
}

/// Where neither `events/` nor git gives a file that a past has, another one is not shown in its place.
#[test]
fn a_file_of_the_past_that_nobody_has_is_none() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    commit_all(&dir, "first");
    let names: Vec<String> = all_names(&dir).into_iter().collect();
    let tree = Tree::of(braid.at("HEAD").unwrap());
    let find = || tree.find(&format!("transactions/{}", names[0])).and_then(Node::into_file);
    let before = find().unwrap().read_all().unwrap();
    let (path, aside) = hide(&dir, &format!("HEAD:events/{}", names[0]));
    fs::copy(dir.join("events").join(&names[1]), dir.join("events").join(&names[0])).unwrap();
    assert!(find().is_none());
    fs::rename(aside, path).unwrap();
    assert_eq!(find().unwrap().read_all().unwrap(), before);
}

/// Story: the kernel keeps for good which file a name of a commit stands for. It had looked one up that lay in `events/`, and once git had taken that
/// away it was told that there is no such file any more.
#[test]
fn a_file_of_a_revision_is_the_same_one_wherever_it_lies() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    let commit = commit_all(&dir, "first");
    let name = all_names(&dir).into_iter().next().unwrap();
    let look = |braid: &Braid| {
        let file = Tree::of(braid.at(&commit).unwrap()).find(&format!("transactions/{name}")).and_then(Node::into_file).unwrap();
        (file.incarnation(), file.size(), file.mtime_ns(), file.read_all().unwrap())
    };
    let first = look(&braid);
    git(&dir, &["rm", "-q", "-r", "events"]);
    braid.refresh().unwrap();
    assert_eq!(look(&braid), first, "only in git");
    let later = open(&dir, false);
    assert_eq!(look(&later), first, "of a past that is made anew");
    git(&dir, &["reset", "-q", "--hard"]);
    braid.refresh().unwrap();
    assert_eq!((look(&braid), look(&later)), (first.clone(), first), "back again");
}

/// Story: a past that had been looked at went on with the names and bytes of then: a transaction showed another one's file, or none.
#[test]
fn a_past_that_was_looked_at_follows_what_becomes_of_its_files() {
    let (_temp, dir, braid) = braided();
    let names: Vec<String> = all_names(&dir).into_iter().collect();
    let (one, other) = (&names[0], &names[1]);
    let path = |name: &str| dir.join("events").join(name);
    let when = format!("tx:{}", one.trim_end_matches(".jsonl"));
    let agrees = |what: &str| {
        braid.refresh().unwrap();
        let chosen = braid.at(&when).unwrap();
        let was = chosen.index.order.iter_from(0).map(|tx| chosen.index.transactions.file_name(tx));
        assert_eq!(past(&braid, &when), fresh(&files(&dir, was)), "{what}");
        chosen.past.as_ref().unwrap().incarnation
    };
    let first = agrees("as it was written");
    fs::rename(path(one), path("copy.jsonl")).unwrap();
    assert_eq!(agrees("under another name"), first);
    fs::copy(path("copy.jsonl"), path(one)).unwrap();
    fs::copy(path(other), path("copy.jsonl")).unwrap();
    assert_eq!(agrees("where that name is another one's"), first);
    fs::remove_file(path("copy.jsonl")).unwrap();
    assert_eq!(agrees("where that name is gone"), first);
    // That is no edit, but told of.
    let text = fs::read_to_string(path(one)).unwrap();
    fs::write(path(one), text.replace('\n', "\r\n")).unwrap();
    agrees("with other line ends");
    fs::write(path(one), text.replacen("\"created_at\":\"2", "\"created_at\":\"1", 1)).unwrap();
    assert_ne!(agrees("edited in its first line"), first);
    // A file of the first version has no hash, so both may be edited.
    let old = |data: &str| {
        let (header, payload) = text.split_once('\n').unwrap();
        let mut header: serde_json::Value = serde_json::from_str(header).unwrap();
        header["format_version"] = 1.into();
        header.as_object_mut().unwrap().remove("content_hash");
        format!("{header}\n{}", payload.replacen("Counted", data, 1))
    };
    fs::write(path(one), old("Counted")).unwrap();
    let before = agrees("without a hash");
    fs::write(path(one), old("Guessed")).unwrap();
    assert_ne!(agrees("edited in another line"), before);
}

/// Story: what was rewritten in place since was shown as that commit's.
#[test]
fn a_revision_shows_what_its_commit_has_also_where_a_file_was_written_anew_since() {
    let (_temp, dir, braid) = braided();
    git(&dir, &["init", "-q"]);
    let commit = commit_all(&dir, "first");
    let before = past(&braid, &commit);
    let name = all_names(&dir).into_iter().next().unwrap();
    let path = dir.join("events").join(&name);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"created_at\":\"2", "\"created_at\":\"1", 1)).unwrap();
    braid.refresh().unwrap();
    assert_eq!(past(&braid, &commit), before);
    // The same once more, as another file.
    fs::remove_file(&path).unwrap();
    fs::write(&path, text).unwrap();
    assert_eq!(past(&braid, &commit), before);
    braid.refresh().unwrap();
    assert_eq!(past(&braid, &commit), before);
}
