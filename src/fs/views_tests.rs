use std::cell::RefCell;
use std::collections::BTreeSet;

use super::memory::Memory;
use super::*;
use crate::model::Errno;

pub(super) const WRITABLE: Manner = Manner { read_only: false, uid: 1000, gid: 1000, uncached: false };
pub(super) const READ_ONLY: Manner = Manner { read_only: true, ..WRITABLE };

pub(super) fn fs(tree: &Memory) -> Fs {
    Fs::new(WRITABLE, tree.shown(), None)
}

/// Walks a path from the root; every step counts as a lookup, as the kernel's do.
pub(super) fn walk(fs: &Fs, path: &str) -> Result<Attr, Errno> {
    let mut at = ROOT;
    let mut attr = Err(Errno::EINVAL);
    for name in path.split('/') {
        let (found, _) = fs.look_up(at, name)?;
        at = found.attr.ino;
        attr = Ok(found.attr);
    }
    attr
}

/// Publishes a tree, and gives what is told of anything but of listings.
fn publish_files(fs: &Fs, tree: &Memory) -> Vec<Notice> {
    let mut told = publish(fs, tree);
    told.retain(|notice| !matches!(notice, Notice::Listing { .. }));
    told
}

pub(super) fn publish(fs: &Fs, tree: &Memory) -> Vec<Notice> {
    let told = RefCell::new(Vec::new());
    fs.publish(tree.shown(), &tree.shown().changed(), &|notice| told.borrow_mut().push(notice.clone()), &|| ());
    let mut told = told.into_inner();
    told.retain(|notice| *notice != Notice::Listing { ino: ROOT });
    told
}

pub(super) fn text(fs: &Fs, ino: u64) -> String {
    String::from_utf8(fs.read_view(ino, 0, 1 << 20).unwrap()).unwrap()
}

#[test]
fn a_file_that_grows_keeps_its_inode_and_loses_only_its_last_page() {
    let tree = Memory::default().with("streams/a.jsonl", 1, "one\n");
    let fs = fs(&tree);
    let before = walk(&fs, "streams/a.jsonl").unwrap();
    let told = publish_files(&fs, &tree.clone().with("streams/a.jsonl", 1, "one\ntwo\n"));
    let ino = before.ino;
    assert_eq!(told, [Notice::Bytes { ino, from: 4 }, Notice::Attributes { ino }, Notice::End { ino, size: 8 }]);
    assert_eq!(fs.attributes(ino).unwrap().0.size, 8);
    assert_eq!(text(&fs, ino), "one\ntwo\n");
    assert_eq!(walk(&fs, "streams/a.jsonl").unwrap().ino, ino);
}

#[test]
fn a_publication_looks_through_no_past_but_drops_its_listings_where_the_kernel_keeps_them() {
    let tree = Memory::default().with("at/position:1/log.jsonl", 1, "one\n").with("log.jsonl", 1, "one\n");
    let after = tree.clone().with("at/position:1/log.jsonl", 2, "two\n");
    let moment = |fs: &Fs| [walk(fs, "at/position:1").unwrap(), walk(fs, "at/position:1/log.jsonl").unwrap()].map(|attr| attr.ino);
    let writable = fs(&tree);
    let held = moment(&writable);
    let about = |told: Vec<Notice>| -> Vec<Notice> {
        told.into_iter().filter(|notice| held.iter().any(|ino| format!("{notice:?}").contains(&format!("ino: {ino}")))).collect()
    };
    assert_eq!(about(publish(&writable, &after)), []);
    assert_ne!(walk(&writable, "at/position:1/log.jsonl").unwrap().ino, held[1], "whoever comes is told what it means now");
    let read_only = Fs::new(READ_ONLY, tree.shown(), None);
    assert_eq!(moment(&read_only), held);
    assert_eq!(about(publish(&read_only, &after)), [Notice::Listing { ino: held[0] }]);
}

#[test]
fn the_end_that_was_learned_right_before_a_file_grew_is_dropped_once_more() {
    let file = |text: &str| Memory::default().with("a", 1, text);
    let fs = fs(&file("one\n"));
    let attr = walk(&fs, "a").unwrap();
    let ino = attr.ino;
    fs.note_told(7, &attr);
    let grow = |text: &str| fs.publish(file(text).shown(), &[], &|_| (), &|| ()).learned;
    assert_eq!(grow("one\ntwo\n"), [Notice::Bytes { ino, from: 4 }]);
    // Whoever was told may still be at it.
    assert_eq!(grow("one\ntwo\nthree\n"), [Notice::Bytes { ino, from: 4 }]);
    fs.note_asked(7);
    assert_eq!(grow("one\ntwo\nthree\nfour\n"), []);
}

#[test]
fn while_the_last_page_is_dropped_the_size_is_still_the_old_one_and_the_bytes_are_there() {
    let tree = Memory::default().with("a", 1, "one\n");
    let fs = fs(&tree);
    let ino = walk(&fs, "a").unwrap().ino;
    let mut seen = Vec::new();
    let sizes = RefCell::new(&mut seen);
    fs.publish(
        tree.with("a", 1, "one\ntwo\n").shown(),
        &[],
        &|notice| {
            if !matches!(notice, Notice::Listing { .. }) {
                sizes.borrow_mut().push((notice.clone(), fs.attributes(ino).unwrap().0.size, text(&fs, ino)));
            }
        },
        &|| (),
    );
    assert_eq!(seen[0], (Notice::Bytes { ino, from: 4 }, 4, "one\ntwo\n".to_owned()));
    assert_eq!(seen[1], (Notice::Attributes { ino }, 8, "one\ntwo\n".to_owned()));
}

#[test]
fn new_ends_come_when_all_views_are_in_doubt_and_only_where_the_kernel_keeps_something() {
    let tree = Memory::default().with("a", 1, "one\n").with("b", 1, "one\n").with("c", 1, "one\ntwo\n");
    let next = tree.clone().with("a", 1, "one\ntwo\n").with("b", 1, "one\n2\n").with("c", 1, "one\n");
    for uncached in [false, true] {
        let fs = Fs::new(Manner { uncached, ..WRITABLE }, tree.shown(), None);
        let [a, b, c] = ["a", "b", "c"].map(|path| walk(&fs, path).unwrap().ino);
        let told = publish(&fs, &next);
        let first = told.iter().position(|notice| matches!(notice, Notice::End { .. })).unwrap_or(told.len());
        let (before, ends) = told.split_at(first);
        assert!([a, b, c].iter().all(|ino| before.contains(&Notice::Attributes { ino: *ino })), "{told:?}");
        let mut wanted = vec![Notice::End { ino: a, size: 8 }, Notice::End { ino: b, size: 6 }];
        wanted.retain(|_| !uncached);
        wanted.sort();
        assert_eq!(BTreeSet::from_iter(ends), wanted.iter().collect(), "what has shrunk has no new end");
    }
}

#[test]
fn a_name_that_comes_to_stand_for_another_file_leaves_the_old_one_whole() {
    let tree = Memory::default().with("streams/a", 1, "old\n").with("streams/b", 1, "b\n");
    let fs = fs(&tree);
    let old = walk(&fs, "streams/a").unwrap().ino;
    let parent = walk(&fs, "streams").unwrap().ino;
    let told = publish_files(&fs, &tree.clone().with("streams/a", 2, "newer\n"));
    assert_eq!(told, [Notice::Name { parent, name: "a".to_owned() }]);
    let new = walk(&fs, "streams/a").unwrap().ino;
    assert_ne!(new, old);
    assert_eq!((text(&fs, old), fs.attributes(old).unwrap().0.size), ("old\n".to_owned(), 4));
    assert_eq!(text(&fs, new), "newer\n");
    publish(&fs, &tree.clone().with("streams/a", 3, "x"));
    assert_eq!(text(&fs, old), "old\n");
    assert_eq!(text(&fs, new), "newer\n");
    fs.forget(old, 1);
    assert_eq!(fs.attributes(old), Err(Errno::ENOENT));
}

#[test]
fn a_file_whose_name_goes_stays_whole_for_those_who_have_it() {
    let tree = Memory::default().with("streams/a", 1, "a\n").with("streams/b", 1, "b\n");
    let fs = fs(&tree);
    let ino = walk(&fs, "streams/a").unwrap().ino;
    publish(&fs, &tree.without("streams/a"));
    assert_eq!(walk(&fs, "streams/a"), Err(Errno::ENOENT));
    assert_eq!(text(&fs, ino), "a\n");
    assert_eq!(fs.attributes(ino).unwrap().0.size, 2);
}

#[test]
fn what_has_not_changed_is_not_told() {
    let tree = Memory::default().with("streams/a", 1, "a\n").with("streams/b", 1, "b\n");
    let fs = fs(&tree);
    walk(&fs, "streams/a").unwrap();
    walk(&fs, "streams/b").unwrap();
    assert_eq!(publish_files(&fs, &tree), []);
    let ino = fs.peek(fs.peek(ROOT, "streams").unwrap(), "b").unwrap();
    let told = publish(&fs, &tree.with("streams/b", 1, "b\nb\n"));
    // The tree has named it: of the directory it says nothing.
    assert_eq!(told, [Notice::Bytes { ino, from: 2 }, Notice::Attributes { ino }, Notice::End { ino, size: 4 }]);
}

#[test]
fn an_answer_from_the_tree_before_is_told_of_again() {
    let tree = Memory::default().with("a", 1, "a\n");
    let fs = fs(&tree);
    let (found, serial) = fs.look_up(ROOT, "a").unwrap();
    assert_eq!(fs.overtaken(serial, found.attr.ino), None);
    publish(&fs, &tree.with("a", 1, "a\nb\n"));
    assert_eq!(fs.overtaken(serial, found.attr.ino), Some(Notice::Attributes { ino: found.attr.ino }));
}

fn names(fs: &Fs, ino: u64, handle: u64, after: u64) -> Vec<(u64, String)> {
    let (children, start) = fs.children(ino, handle, after).unwrap();
    children.iter().skip(start).map(|child| (child.cookie, child.entry.name.clone())).collect()
}

#[test]
fn a_listing_is_a_snapshot_until_it_is_rewound() {
    let tree = Memory::default().with("a", 1, "").with("c", 1, "");
    let fs = Fs::new(Manner { uncached: true, ..WRITABLE }, tree.shown(), None);
    let handle = fs.open_directory(ROOT).unwrap();
    assert_ne!(handle, KEPT);
    assert_eq!(names(&fs, ROOT, handle, 0), [(3, "a".to_owned()), (4, "c".to_owned())]);
    publish(&fs, &tree.clone().with("b", 1, "").without("a"));
    assert_eq!(names(&fs, ROOT, handle, 3), [(4, "c".to_owned())]);
    assert_eq!(names(&fs, ROOT, handle, 0), [(4, "c".to_owned()), (5, "b".to_owned())]);
    fs.close_directory(handle);
}

#[test]
fn a_listing_that_the_kernel_keeps_shows_each_name_once_while_names_come_and_go() {
    let mut tree = Memory::default();
    for n in 0..300 {
        tree = tree.with(&format!("d/{n:03}"), 1, "");
    }
    let fs = fs(&tree);
    let ino = walk(&fs, "d").unwrap().ino;
    assert_eq!(fs.open_directory(ino), Ok(KEPT));
    let (mut seen, mut after) = (Vec::new(), 0);
    for round in 0.. {
        let chunk: Vec<(u64, String)> = names(&fs, ino, KEPT, after).into_iter().take(20).collect();
        let Some((last, _)) = chunk.last() else { break };
        after = *last;
        seen.extend(chunk.into_iter().map(|(_, name)| name));
        tree = tree.with(&format!("d/{round:03}.5"), 1, "");
        if round < 20 {
            publish(&fs, &tree);
        }
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "no name comes twice");
    assert!((0..300).all(|n| once.contains(&format!("{n:03}"))), "what was there all along is listed");
}

#[test]
fn views_refuse_every_change_to_everyone() {
    let fs = fs(&Memory::default().with("streams/a", 1, "a\n"));
    let ino = walk(&fs, "streams/a").unwrap().ino;
    let directory = walk(&fs, "streams").unwrap().ino;
    for uid in [0, 1000, 7] {
        let caller = Caller { uid, gid: uid, pid: 1 };
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_RDONLY | libc::O_TRUNC] {
            assert_eq!(fs.open(ino, flags, caller), Err(Errno::EROFS));
        }
        assert_eq!(fs.create(directory, "x", libc::O_WRONLY, caller).err(), Some(Errno::EROFS));
        assert_eq!(fs.create(ROOT, "x", libc::O_WRONLY, caller).err(), Some(Errno::EROFS));
        assert_eq!(fs.make_node(directory, "x", libc::S_IFREG, caller).err(), Some(Errno::EROFS));
        assert_eq!(fs.set_attributes(ino, Changes::default(), caller).err(), Some(Errno::EROFS));
        assert_eq!(fs.unlink(directory, "a", caller), Err(Errno::EROFS));
        assert_eq!(fs.rename((directory, "a"), (directory, "b"), 0, caller, || ()), Err(Errno::EROFS));
        assert_eq!(fs.access(ino, libc::W_OK, caller), Err(Errno::EROFS));
        assert_eq!(fs.access(ino, libc::X_OK, caller), Err(Errno::EACCES));
        assert_eq!(fs.access(ino, libc::R_OK, caller), Ok(()));
        assert!(fs.open(ino, libc::O_RDONLY, caller).is_ok());
    }
    assert_eq!(fs.refuse_node(directory), Errno::EROFS);
    assert_eq!(fs.refuse_rmdir(ROOT, "streams"), Errno::EROFS);
    assert_eq!(fs.refuse_xattr(ino), Errno::EROFS);
}

#[test]
fn the_size_is_where_data_ends() {
    let fs = fs(&Memory::default().with("a", 1, "abc\n"));
    let ino = walk(&fs, "a").unwrap().ino;
    assert_eq!(fs.seek(ino, 1, libc::SEEK_DATA), Ok(1));
    assert_eq!(fs.seek(ino, 1, libc::SEEK_HOLE), Ok(4));
    assert_eq!(fs.seek(ino, 4, libc::SEEK_DATA), Err(Errno::ENXIO));
    assert_eq!(fs.xattr(ino, "user.braidfs.size"), Ok(b"4".to_vec()));
    assert_eq!(fs.xattr(ino, "user.other"), Err(Errno::ENODATA));
    for never in ["system.posix_acl_access", "security.selinux", "security.capability", "trusted.x"] {
        assert_eq!(fs.xattr(ino, never), Err(Errno::EOPNOTSUPP), "{never}");
    }
}

#[test]
fn locks_exclude_as_flock_does() {
    use std::sync::mpsc::channel;
    let fs = fs(&Memory::default().with("a", 1, ""));
    let (tell, told) = channel();
    let ask = |owner: u64, kind, wait| {
        let tell = tell.clone();
        fs.lock(2, owner, Lock { kind, pid: owner as u32 }, wait, Box::new(move |result| tell.send((owner, result)).unwrap()));
    };
    ask(1, LockKind::Shared, false);
    ask(2, LockKind::Shared, false);
    ask(3, LockKind::Exclusive, false);
    ask(3, LockKind::Exclusive, true);
    assert_eq!(fs.lock_holder(2, 9, LockKind::Shared), None);
    assert!(fs.lock_holder(2, 9, LockKind::Exclusive).is_some());
    fs.unlock_all(2, 1);
    fs.unlock_all(2, 2);
    ask(4, LockKind::Shared, true);
    fs.unlock_all(2, 3);
    fs.unlock_all(2, 4);
    let answers: Vec<(u64, Result<(), Errno>)> = told.try_iter().collect();
    assert_eq!(answers, [(1, Ok(())), (2, Ok(())), (3, Err(Errno::EAGAIN)), (3, Ok(())), (4, Ok(()))]);
    assert_eq!(fs.lock_holder(2, 9, LockKind::Exclusive), None);
}

#[test]
fn the_kernel_keeps_listings_of_which_no_name_came_or_went() {
    let tree = Memory::default().with("streams/a.jsonl", 1, "one\n").with("forks/x/report.json", 1, "{}\n");
    let fs = fs(&tree);
    let (streams, forks) = (walk(&fs, "streams").unwrap().ino, walk(&fs, "forks").unwrap().ino);
    let told = |tree: &Memory| {
        let told: BTreeSet<Notice> = publish(&fs, tree).into_iter().collect();
        [streams, forks].map(|ino| told.contains(&Notice::Listing { ino }))
    };
    assert_eq!(told(&tree), [true, true], "nobody knows what the first one changed");
    assert_eq!(told(&tree), [false, true], "of forks no names are told");
    let grown = tree.with("streams/a.jsonl", 1, "one\ntwo\n");
    assert_eq!(told(&grown), [false, true]);
    let deeper = grown.with("streams/b/c.jsonl", 1, "one\n");
    assert_eq!(told(&deeper), [true, true], "a directory came with it");
    let (inner, _) = fs.look_up(streams, "b").unwrap();
    let notices = publish(&fs, &deeper.with("streams/b/d.jsonl", 1, "one\n"));
    assert!(notices.contains(&Notice::Listing { ino: inner.attr.ino }) && !notices.contains(&Notice::Listing { ino: streams }));
}

/// The store was ready before anybody handed trees in; the first one after it named no changes, and the kernel kept a stream's old size
/// for ever.
/// Story: the tree before looked for it on the disk too, where it was no more, so nobody was told.
#[test]
fn a_file_that_was_off_the_disk_before_a_tree_told_of_it_is_told_of_all_the_same() {
    let tree = Memory::default().with("transactions/a.jsonl", 1, "one\n").with("transactions/b.jsonl", 1, "two\n");
    let gone = Memory::default().with("transactions/b.jsonl", 1, "two\n");
    let fs = Fs::new(READ_ONLY, tree.shown(), None);
    publish(&fs, &tree);
    let (directory, file) = (walk(&fs, "transactions").unwrap().ino, walk(&fs, "transactions/a.jsonl").unwrap().ino);
    fs.publish(gone.shown(), &[], &|_| (), &|| ());
    let after = |gone: &Memory| publish(&fs, &gone.clone().without("transactions/a.jsonl"));
    let name = Notice::Name { parent: directory, name: "a.jsonl".into() };
    let told = after(&gone);
    assert!(told.contains(&name) && told.contains(&Notice::Listing { ino: directory }), "{told:?}");
    fs.forget(file, 1);
    let told = after(&gone);
    assert!(!told.contains(&name) && told.contains(&Notice::Listing { ino: directory }), "nobody holds it any more: {told:?}");
}

#[test]
fn the_first_publication_tells_also_what_nobody_has_named() {
    let tree = Memory::default().with("streams/a.jsonl", 1, "one\n");
    let fs = fs(&tree);
    let ino = walk(&fs, "streams/a.jsonl").unwrap().ino;
    let told = RefCell::new(Vec::new());
    let next = tree.with("streams/a.jsonl", 1, "one\ntwo\n");
    fs.publish(next.shown(), &[], &|notice| told.borrow_mut().push(notice.clone()), &|| ());
    assert!(told.borrow().contains(&Notice::Attributes { ino }), "{told:?}");
    assert_eq!(fs.attributes(ino).unwrap().0.size, 8);
}
