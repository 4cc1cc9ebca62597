//! What stands under a name in `events/`, and what takes its place.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::braid::tests::{append, event, open, store, text};
use crate::braid::{Braid, OpenOptions};
use crate::disk::{Disk, Op};
use crate::model::FindingKind;

fn found(braid: &Braid) -> Vec<(FindingKind, String)> {
    let epoch = braid.refresh().unwrap();
    let mut found: Vec<_> = epoch.findings.iter().filter_map(|finding| Some((finding.kind, finding.file.clone()?))).collect();
    found.retain(|(kind, _)| *kind != FindingKind::Vanished);
    found.sort();
    found
}

fn make(events: &Path, what: &str, name: &str) {
    let path = events.join(name);
    match what {
        "a directory" => fs::create_dir(&path).unwrap(),
        "a broken link" => symlink("nowhere", &path).unwrap(),
        "a link to a directory" => symlink(".", &path).unwrap(),
        "a link to a device" => symlink("/dev/null", &path).unwrap(),
        "a pipe" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        _ => drop(UnixListener::bind(&path).unwrap()),
    }
}

const ALL: [&str; 6] = ["a directory", "a broken link", "a pipe", "a socket", "a link to a directory", "a link to a device"];

/// A commit's own hint makes nobody look into the file, or into the directory, again.
#[test]
fn what_we_wrote_is_not_read_again() {
    let (_temp, dir) = store();
    let (disk, twin) = Disk::faulty(&dir).unwrap();
    let braid = Braid::open(&dir, &OpenOptions { follow: true, disk, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    append(&braid, &event("s", 0));
    braid.refresh().unwrap();
    twin.forget_ops();
    for n in 1..20 {
        append(&braid, &event("s", n));
    }
    // Behind the hints of the commits comes one of another's file.
    let events = dir.canonicalize().unwrap().join("events");
    let other = events.join("other.jsonl");
    fs::write(&other, "other").unwrap();
    braid.wait(|epoch| !epoch.quarantined.is_empty(), Duration::from_secs(60)).unwrap();
    let mut looks = twin.looks();
    looks.retain(|(_, path)| *path != other);
    // The directory itself is opened to be synced.
    let is_look = |op, path: &PathBuf| op == Op::List || (op == Op::Read && *path != events);
    let read: Vec<_> = looks.iter().filter(|(op, path)| is_look(*op, path) && path.starts_with(&events)).collect();
    assert_eq!(read, Vec::<&(Op, PathBuf)>::new());
    assert!(looks.iter().any(|(op, path)| *op == Op::Stat && path.starts_with(&events)));
}

/// Two renames to one name are one hint where nobody takes the first in time.
#[test]
fn what_takes_the_place_of_what_we_wrote_is_seen_however_soon_it_comes() {
    let (temp, dir) = store();
    let braid = open(&dir, true);
    append(&braid, &event("first", 0));
    for n in 0..20 {
        let id = append(&braid, &event("s", n)).transaction_id;
        let other = temp.path().join("other");
        fs::write(&other, "other").unwrap();
        fs::rename(&other, dir.join(format!("events/{id}.jsonl"))).unwrap();
        let start = Instant::now();
        while braid.epoch().quarantined.len() <= n as usize {
            assert!(start.elapsed() < Duration::from_secs(30), "file {n} was not looked at");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// By a hint, by a listing, and at a start the same is found, for `eventcore-fs` trips over all of it.
#[test]
fn what_is_no_file_is_told_and_never_waited_for() {
    for (follow, is_early) in [(true, false), (false, false), (false, true)] {
        let (_temp, dir) = store();
        let events = dir.join("events");
        let braid = (!is_early).then(|| open(&dir, follow));
        for (n, what) in ALL.into_iter().enumerate() {
            make(&events, what, &format!("{n}.jsonl"));
        }
        let braid = braid.unwrap_or_else(|| open(&dir, follow));
        let expected: Vec<_> = (0..ALL.len()).map(|n| (FindingKind::UnreadableByEventcore, format!("{n}.jsonl"))).collect();
        assert_eq!(found(&braid), expected);
        append(&braid, &event("s", 1));
        fs::remove_dir(events.join("0.jsonl")).unwrap();
        assert_eq!(found(&braid), expected[1..]);
    }
}

/// What is told of a name is what stands there now.
#[test]
fn a_directory_in_the_place_of_a_broken_link_is_told_as_one() {
    for follow in [true, false] {
        let (_temp, dir) = store();
        let path = dir.join("events/0.jsonl");
        let braid = open(&dir, follow);
        let told = || {
            let epoch = braid.refresh().unwrap();
            epoch.findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>()
        };
        for what in ["a broken link", "a directory", "a pipe", "a broken link", "a link to a directory"] {
            make(&dir.join("events"), what, "0.jsonl");
            let named = if matches!(what, "a broken link" | "a directory") { what } else { "no regular file" };
            assert_eq!(told(), [format!("\"0.jsonl\" is {named}: eventcore-fs cannot open this store while it is there")]);
            if what == "a directory" { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
        }
        assert_eq!(told(), [""; 0]);
    }
}

/// Two files that claimed one id are none: the other one counts again, however it is noticed.
#[test]
fn a_claimant_in_whose_place_something_else_stands_claims_no_more() {
    for follow in [true, false] {
        let (_temp, dir) = store();
        let braid = open(&dir, follow);
        let id = append(&braid, &event("s", 1)).transaction_id;
        let (one, other) = (dir.join(format!("events/{id}.jsonl")), dir.join("events/other.jsonl"));
        let text_of = fs::read_to_string(&one).unwrap();
        let (header, payload) = text_of.split_once('\n').unwrap();
        let payload = payload.replace("Counted", "Guessed");
        let hash = |payload: &str| crate::format::transaction::content_hash(payload.as_bytes()).map(|byte| format!("{byte:02x}")).concat();
        let header = header.replace(&hash(text_of.split_once('\n').unwrap().1), &hash(&payload));
        fs::write(&other, format!("{header}\n{payload}")).unwrap();
        assert_eq!(found(&braid).len(), 2, "{:?}", found(&braid));
        // Of either, the other one is what goes.
        let epoch = braid.epoch();
        let hints = epoch.findings.iter().filter(|finding| finding.kind == FindingKind::Quarantined).map(|finding| finding.hint.as_str());
        assert_eq!(hints.collect::<Vec<_>>(), ["mv events/other.jsonl .   # then the file that is named after the id counts again"; 2]);
        fs::remove_file(&other).unwrap();
        make(&dir.join("events"), "a directory", "other.jsonl");
        assert_eq!(found(&braid), [(FindingKind::UnreadableByEventcore, "other.jsonl".to_owned())]);
        assert_eq!(text(&braid.tree(), "log.jsonl").lines().count(), 1);
    }
}

/// Found by reading: what stood in the place of a file was told, and the file's transaction stayed in every view.
#[test]
fn a_file_in_whose_place_something_else_stands_has_gone() {
    for follow in [true, false] {
        let (_temp, dir) = store();
        let braid = Braid::open(&dir, &OpenOptions { follow, ..OpenOptions::default() }).unwrap();
        for what in ALL {
            let id = append(&braid, &event("s", 1)).transaction_id;
            let path = dir.join(format!("events/{id}.jsonl"));
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            make(&dir.join("events"), what, &format!("{id}.jsonl"));
            let told = found(&braid);
            assert_eq!(text(&braid.tree(), "log.jsonl"), "", "{what}");
            assert_eq!(told.len(), 1, "{what}: {told:?}");
            if what == "a directory" { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
            fs::write(&path, bytes).unwrap();
            assert_eq!(found(&braid), [], "{what}");
            assert_eq!(text(&braid.tree(), "log.jsonl").lines().count(), 1, "{what}");
            fs::remove_file(&path).unwrap();
            assert_eq!(found(&braid), [], "{what}");
        }
    }
}

/// Story: the file of a transaction was replaced by another one's, or damaged, and the mount showed it no more though a second file had its
/// bytes; when it was mended, it stayed refused.
#[test]
fn a_second_name_stands_in_for_a_file_that_is_replaced_until_it_is_mended() {
    for follow in [true, false] {
        let (_temp, dir) = store();
        let braid = open(&dir, follow);
        let (first, second) = (append(&braid, &event("s", 1)).transaction_id, append(&braid, &event("s", 2)).transaction_id);
        let [path, aside] = [format!("events/{first}.jsonl"), "aside".to_owned()].map(|name| dir.join(name));
        let bytes = fs::read(&path).unwrap();
        let replace = |bytes: &[u8]| {
            fs::write(&aside, bytes).unwrap();
            fs::rename(&aside, &path).unwrap();
        };
        let lines = || text(&braid.tree(), "log.jsonl").lines().count();
        fs::copy(&path, dir.join("events/twin.jsonl")).unwrap();
        let twin = (FindingKind::Duplicate, "twin.jsonl".to_owned());
        assert_eq!(found(&braid), std::slice::from_ref(&twin));

        replace(b"damaged\n");
        let told = || found(&braid).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !told().contains(&FindingKind::Quarantined) {
            assert!(Instant::now() < deadline, "{:?}", told());
        }
        assert_eq!((lines(), told().contains(&FindingKind::Duplicate)), (2, false));
        replace(&bytes);
        assert_eq!((found(&braid), lines()), (vec![twin.clone()], 2));

        // The other transaction's file comes in its place, and the first one's bytes are those of the second name alone.
        let other = fs::read(dir.join(format!("events/{second}.jsonl"))).unwrap();
        replace(&other);
        let name = || format!("{first}.jsonl");
        let edited_twin_copy = [(FindingKind::Edited, name()), (FindingKind::Misnamed, twin.1.clone()), (FindingKind::Duplicate, name())];
        assert_eq!((found(&braid), lines()), (edited_twin_copy.into(), 2));
    }
}

/// Story: of three names of one transaction two went, or were damaged, together: the third one was taken for a duplicate of nothing.
#[test]
fn the_last_of_several_names_stands_in_where_the_others_go_together() {
    for (follow, is_damaged) in [(true, true), (true, false), (false, true), (false, false)] {
        let (_temp, dir) = store();
        let braid = open(&dir, follow);
        append(&braid, &event("first", 0));
        let id = append(&braid, &event("s", 1)).transaction_id;
        let [path, second, third] = [id.to_string(), "a".to_owned(), "b".to_owned()].map(|name| dir.join(format!("events/{name}.jsonl")));
        fs::copy(&path, &second).unwrap();
        fs::copy(&path, &third).unwrap();
        assert_eq!(found(&braid).len(), 2);
        for path in [&path, &second] {
            if is_damaged { fs::write(path, "damaged\n") } else { fs::remove_file(path) }.unwrap();
        }
        let is_told = || found(&braid).iter().any(|found| *found == (FindingKind::Misnamed, "b.jsonl".to_owned()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_told() {
            assert!(Instant::now() < deadline, "{follow} {is_damaged} {:?}", found(&braid));
        }
        assert_eq!(text(&braid.tree(), "log.jsonl").lines().count(), 2, "{follow} {is_damaged}");
    }
}

/// Story: a second name of a transaction stayed a duplicate of it while its file was given another first line, or another file claimed its id.
#[test]
fn a_second_name_of_what_is_claimed_claims_it_too() {
    for (follow, is_edited) in [(true, true), (true, false), (false, true), (false, false)] {
        let (_temp, dir) = store();
        let braid = open(&dir, follow);
        append(&braid, &event("first", 0));
        let id = append(&braid, &event("s", 1)).transaction_id;
        let path = |name: &str| dir.join(format!("events/{name}.jsonl"));
        let own = path(&id.to_string());
        let changed = fs::read_to_string(&own).unwrap().replacen("\"stream_bases\"", "\"note\":1,\"stream_bases\"", 1);
        fs::copy(&own, path("twin")).unwrap();
        assert_eq!(found(&braid), [(FindingKind::Duplicate, "twin.jsonl".to_owned())]);
        fs::write(if is_edited { own } else { path("other") }, changed).unwrap();
        let refused = |found: Vec<(FindingKind, String)>| found.iter().filter(|(kind, _)| *kind == FindingKind::Quarantined).count();
        let expected = if is_edited { 2 } else { 3 };
        assert_eq!(refused(found(&braid)), expected, "{follow} {is_edited} {:?}", found(&braid));
        assert_eq!(refused(found(&open(&dir, false))), expected);
    }
}

/// Story: three files claimed one id and two of them said the same; once the third was gone these stayed refused.
#[test]
fn claimants_that_say_the_same_count_once_the_other_one_is_gone() {
    for follow in [true, false] {
        let (_temp, dir) = store();
        let braid = open(&dir, follow);
        let id = append(&braid, &event("s", 1)).transaction_id;
        let [path, other, same] = [id.to_string(), "a".to_owned(), "b".to_owned()].map(|name| dir.join(format!("events/{name}.jsonl")));
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&other, whole.replacen("\"stream_bases\"", "\"note\":1,\"stream_bases\"", 1)).unwrap();
        fs::copy(&path, &same).unwrap();
        assert_eq!(found(&braid).iter().filter(|(kind, _)| *kind == FindingKind::Quarantined).count(), 3, "{:?}", found(&braid));
        fs::remove_file(&other).unwrap();
        assert_eq!(found(&braid), [(FindingKind::Duplicate, "b.jsonl".to_owned())]);
        assert_eq!(text(&braid.tree(), "log.jsonl").lines().count(), 1);
    }
}
