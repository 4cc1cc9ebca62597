//! What a publication looks at, and what it tells of.

use std::cell::RefCell;
use std::sync::Arc;

use super::memory::Memory;
use super::source::{Entry, Node};
use super::views_tests::{READ_ONLY, WRITABLE, fs, publish, text, walk};
use super::*;
use crate::format::draft::{DraftKind, parse_draft};
use crate::fs::concerned::Concerned;
use crate::fs::nodes::{Identity, Nodes};
use crate::fs::own::Own;
use crate::fs::source::Slow;

/// A tree that counts how often it is asked for what costs something: a state, which is folded by whoever asks, or a directory.
struct Asked {
    tree: Memory,
    asked: Arc<std::sync::atomic::AtomicUsize>,
    about: fn(&str) -> bool,
}

impl Tree for Asked {
    fn find(&self, path: &str) -> Option<Node> {
        self.asked.fetch_add(usize::from((self.about)(path)), std::sync::atomic::Ordering::Relaxed);
        self.tree.find(path)
    }

    fn list(&self, path: &str) -> Option<Vec<Entry>> {
        self.tree.list(path)
    }

    fn changed(&self) -> Vec<String> {
        self.tree.changed()
    }

    /// As of views: one order, one incarnation.
    fn is_same_below(&self, before: &dyn Tree, directory: &str) -> bool {
        let of = |tree: &dyn Tree| {
            tree.as_any().and_then(|tree| tree.downcast_ref::<Self>()).and_then(|tree| tree.tree.find("categories/a-0.jsonl"))
        };
        directory == "categories" && of(self).is_some_and(|now| of(before).is_some_and(|before| now.incarnation() == before.incarnation()))
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }

    fn is_ready(&self) -> bool {
        true
    }
}

/// Story: who had listed forty thousand directories made each append wait for all of them to be looked at.
#[test]
fn a_publication_looks_at_no_directory_below_which_nothing_changed() {
    const DIRECTORIES: usize = 500;
    let mut tree = Memory::default();
    for n in 0..DIRECTORIES {
        tree = tree.with(&format!("streams/d{n}/s.jsonl"), 1, "one\n");
    }
    let asked = Arc::default();
    let show = |tree: &Memory| Arc::new(Asked { tree: tree.clone(), asked: Arc::clone(&asked), about: |_| true }) as Arc<dyn Tree>;
    let fs = Fs::new(WRITABLE, show(&tree), None);
    let directories: Vec<u64> = (0..DIRECTORIES).map(|n| walk(&fs, &format!("streams/d{n}")).unwrap().ino).collect();
    let publish = |tree: &Memory| {
        let told = RefCell::new(Vec::new());
        fs.publish(show(tree), &["streams/d7/t.jsonl".to_owned()], &|notice| told.borrow_mut().push(notice.clone()), &|| ());
        told.into_inner()
    };
    publish(&tree);
    let before = asked.load(std::sync::atomic::Ordering::Relaxed);
    let told = publish(&tree.with("streams/d7/t.jsonl", 1, "one\n"));
    let of_directories = told.iter().filter(|notice| matches!(notice, Notice::Listing { ino } if directories.contains(ino)));
    assert_eq!(of_directories.collect::<Vec<_>>(), [&Notice::Listing { ino: directories[7] }]);
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed) - before;
    assert!(asked < 30, "{asked} paths were looked for");
}

/// Story: whoever had looked at three thousand categories made each append ten times as slow, and each file that was dropped left its receipt
/// among those that the next publication looked at.
#[test]
fn a_publication_looks_at_no_category_draft_or_receipt_that_did_not_change() {
    let mut nodes = Nodes::default();
    let file = |path: &str| Identity { path: path.into(), incarnation: 0, directory: false };
    for n in 0..500 {
        for path in [format!("categories/c{n}.jsonl"), format!("receipts/{n}.jsonl.json"), format!("staging/{n}.error")] {
            nodes.look_up(file(&path));
        }
        nodes.look_up(Own::Staged(n).identity());
    }
    // What no tree tells by name: all that begins with a longer prefix.
    let longer = nodes.look_up(file("categories/a-b.jsonl"));
    let begin = |nodes: &mut Nodes| nodes.begin_publication(false, |_| false).0.into_iter().map(|(ino, _)| ino).collect::<Vec<_>>();
    assert_eq!(begin(&mut nodes).len(), 2001, "the first one looks at all");
    assert_eq!(begin(&mut nodes), [longer]);
}

#[test]
fn a_small_file_of_the_root_is_made_neither_to_be_compared_nor_where_a_draft_is_closed() {
    let asked = Arc::default();
    let about = |path: &str| ["status.json", "metrics", "graph.txt"].contains(&path);
    let show = |text: &str| {
        let tree = ["status.json", "metrics", "graph.txt"].iter().fold(Memory::default(), |tree, path| tree.with_text(path, text));
        Arc::new(Asked { tree, asked: Arc::clone(&asked), about }) as Arc<dyn Tree>
    };
    let fs = Fs::new(WRITABLE, show("one\n"), None);
    fs.publish(show("one\n"), &[], &|_| (), &|| ());
    let ino = walk(&fs, "status.json").unwrap().ino;
    let made = |what: &dyn Fn()| {
        let before = asked.load(std::sync::atomic::Ordering::Relaxed);
        what();
        asked.load(std::sync::atomic::Ordering::Relaxed) - before
    };
    let mut concerned = Concerned::default();
    concerned.add(&parse_draft(b"{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n", DraftKind::Lines).unwrap());
    assert_eq!(made(&|| drop(fs.doubtful(&concerned))), 0);
    // Of the tree before it is at hand; whoever has it open keeps it.
    let looked = made(&|| drop(fs.publish(show("two\n"), &[], &|_| (), &|| ())));
    assert!(looked <= 4, "looked {looked} times");
    assert_eq!(text(&fs, ino), "one\n");
    assert_eq!(made(&|| drop(fs.publish(show("three\n"), &[], &|_| (), &|| ()))), 0, "it is kept already");
    let now = walk(&fs, "status.json").unwrap().ino;
    assert_eq!((text(&fs, ino), text(&fs, now)), ("one\n".to_owned(), "three\n".to_owned()));
}

/// Story: while somebody had the reason of a refusal open, and it changed, changed back, and changed again, its name showed what it had been.
#[test]
fn a_name_that_stands_for_a_file_again_is_told_of_again() {
    let path = "quarantine/a.jsonl.reason";
    let tree = |text: &str| Memory::default().with_text(path, text);
    let fs = fs(&tree("one\n"));
    publish(&fs, &tree("one\n"));
    let one = walk(&fs, path).unwrap().ino;
    publish(&fs, &tree("two\n"));
    assert_ne!(walk(&fs, path).unwrap().ino, one);
    publish(&fs, &tree("one\n"));
    assert_eq!(walk(&fs, path).unwrap().ino, one);
    let told = publish(&fs, &tree("three\n"));
    let parent = walk(&fs, "quarantine").unwrap().ino;
    assert!(told.contains(&Notice::Name { parent, name: "a.jsonl.reason".to_owned() }), "{told:?}");
    assert_eq!(text(&fs, one), "one\n");
}

/// Story: a name that stood for a held file again was looked up while the next file was published, and the file could not be read any more.
#[test]
fn a_file_whose_name_is_looked_up_again_while_it_is_replaced_stays_readable() {
    let path = "quarantine/a.jsonl.reason";
    let tree = |text: &str, log: &str| Memory::default().with_text(path, text).with("log.jsonl", 1, log);
    let fs = fs(&tree("one\n", "1\n"));
    publish(&fs, &tree("one\n", "1\n"));
    let (one, _) = (walk(&fs, path).unwrap().ino, walk(&fs, "log.jsonl").unwrap());
    publish(&fs, &tree("two\n", "1\n"));
    publish(&fs, &tree("one\n", "1\n"));
    let told = RefCell::new(Vec::new());
    let tell = |notice: &Notice| {
        // The first is of the log's old end, while sizes and names are still the old ones.
        if told.borrow().is_empty() {
            assert_eq!(walk(&fs, path).unwrap().ino, one);
        }
        told.borrow_mut().push(notice.clone());
    };
    fs.publish(tree("three\n", "1\n2\n").shown(), &[], &tell, &|| ());
    assert_eq!(text(&fs, one), "one\n");
    assert!(told.borrow().iter().any(|notice| matches!(notice, Notice::Name { name, .. } if name == "a.jsonl.reason")), "{told:?}");
    assert_ne!(walk(&fs, path).unwrap().ino, one);
}

/// Story: a program that read `feed/after/N.jsonl` for each new N made each append tell the kernel of all that it had ever read.
#[test]
fn the_names_of_many_that_came_after_a_number_are_dropped() {
    let tree = |text: &str| {
        (0..200).fold(Memory::default().with("feed/after/x.jsonl", 1, text), |tree, n| tree.with(&format!("feed/after/{n}.jsonl"), 1, text))
    };
    let fs = fs(&tree("one\n"));
    publish(&fs, &tree("one\n"));
    let names = |told: &[Notice]| told.iter().filter(|notice| matches!(notice, Notice::Name { .. })).count();
    let ino = walk(&fs, "feed/after/0.jsonl").unwrap().ino;
    let told = publish(&fs, &tree("one\ntwo\n"));
    assert_eq!(names(&told), 0, "one is told of as ever");
    (1..200).for_each(|n| assert!(walk(&fs, &format!("feed/after/{n}.jsonl")).is_ok()));
    let told = publish(&fs, &tree("one\ntwo\nthree\n"));
    assert_eq!(names(&told), 200);
    assert!(told.contains(&Notice::End { ino, size: 14 }), "who has it open goes on reading");
}

/// Story: each append made anew every longer prefix than a category that somebody had read: a thousand in a store of 3,000 streams 166 ms.
#[test]
fn a_longer_prefix_than_a_category_is_looked_at_where_it_has_grown_or_the_order_is_another_one() {
    let file = |prefix: &str| format!("categories/{prefix}.jsonl");
    let tree = |incarnation, text: &str| {
        (0..100)
            .fold(Memory::default().with("streams/a-7-x.jsonl", 1, text), |tree, n| tree.with(&file(&format!("a-{n}")), incarnation, text))
    };
    let asked = Arc::default();
    let about = |path: &str| path.starts_with("categories/");
    let show = |tree: &Memory| Arc::new(Asked { tree: tree.clone(), asked: Arc::clone(&asked), about }) as Arc<dyn Tree>;
    let fs = Fs::new(WRITABLE, show(&tree(1, "one\n")), None);
    let inos: Vec<u64> = (0..100).map(|n| walk(&fs, &file(&format!("a-{n}"))).unwrap().ino).collect();
    let publish = |tree: &Memory, changed: &[String]| {
        let (told, before) = (RefCell::new(Vec::new()), asked.load(std::sync::atomic::Ordering::Relaxed));
        fs.publish(show(tree), changed, &|notice| told.borrow_mut().push(notice.clone()), &|| ());
        (told.into_inner(), asked.load(std::sync::atomic::Ordering::Relaxed) - before)
    };
    publish(&tree(1, "one\n"), &[]);
    let grown = tree(1, "one\n").with(&file("a-7"), 1, "one\ntwo\n");
    let changed = ["streams/a-7-x.jsonl".to_owned(), file("a-7"), file("a-8-none")];
    let (told, looked) = publish(&grown, &changed);
    assert!(told.contains(&Notice::End { ino: inos[7], size: 8 }) && looked < 10, "{looked}: {told:?}");
    let (told, _) = publish(&tree(2, "one\n"), &[]);
    assert_eq!(told.iter().filter(|notice| matches!(notice, Notice::Name { .. })).count(), 100);
}

/// Story: a category whose file's name has an escape was taken for a longer prefix, which is not listed: after a merge `ls categories` did not show it.
#[test]
fn a_category_that_comes_is_listed_whatever_its_name() {
    for name in ["%.jsonl", "%25.jsonl", "%2Ex.jsonl", "b.jsonl"] {
        let tree = |name: &str| Memory::default().with("categories/a.jsonl", 1, "one\n").with(&format!("categories/{name}"), 1, "one\n");
        let fs = fs(&tree("z.jsonl"));
        publish(&fs, &tree("z.jsonl"));
        let ino = walk(&fs, "categories").unwrap().ino;
        let told = RefCell::new(Vec::new());
        // As many as before, so that nothing but the name tells.
        fs.publish(tree(name).shown(), &[format!("categories/{name}")], &|notice| told.borrow_mut().push(notice.clone()), &|| ());
        assert!(told.borrow().contains(&Notice::Listing { ino }), "{name}: {told:?}");
    }
}

/// Story: whoever had listed forty folds of twenty streams made each append take 6 ms.
#[test]
fn a_publication_looks_at_no_state_where_the_kernel_asks_for_all() {
    let asked = Arc::default();
    let tree = (0..100).fold(Memory::default(), |tree, n| tree.with(&format!("views/per/{n}.json"), 1, "1\n"));
    let about = |path: &str| path.starts_with("views");
    let show = || Arc::new(Asked { tree: tree.clone(), asked: Arc::clone(&asked), about }) as Arc<dyn Tree>;
    let fs = Fs::new(WRITABLE, show(), None);
    fs.publish(show(), &[], &|_| (), &|| ());
    (0..100).for_each(|n| assert!(walk(&fs, &format!("views/per/{n}.json")).is_ok()));
    let before = asked.load(std::sync::atomic::Ordering::Relaxed);
    fs.publish(show(), &[], &|_| (), &|| ());
    // `views` itself lies in the root.
    assert!(asked.load(std::sync::atomic::Ordering::Relaxed) - before <= 2);
}

/// Story: on a read-only mount a state that was open became ESTALE when its definition was replaced, for it was kept only once an epoch came.
#[test]
fn a_publication_folds_nothing_and_an_open_state_stays_whole() {
    let about = |path: &str| path.ends_with("state.json");
    for path in ["views/state.json", "views/per/state.json", "at/tx:1/views/state.json"] {
        for manner in [WRITABLE, READ_ONLY] {
            let folds = Arc::default();
            let show = |text: &str, incarnation| {
                Arc::new(Asked { tree: Memory::default().with(path, incarnation, text), asked: Arc::clone(&folds), about }) as Arc<dyn Tree>
            };
            let fs = Fs::new(manner, show("{\"n\":1}\n", 1), None);
            let ino = walk(&fs, path).unwrap().ino;
            assert_eq!(fs.slow(ino), Some(Slow::Fold));
            // The kernel of a read-only mount tells nobody of an open.
            if !manner.read_only {
                fs.open(ino, libc::O_RDONLY, Caller { uid: 1000, ..Caller::default() }).unwrap();
            }
            let before = folds.load(std::sync::atomic::Ordering::Relaxed);
            for serial in 2..=4 {
                let told = RefCell::new(Vec::new());
                let tell = |notice: &Notice| told.borrow_mut().push(notice.clone());
                fs.publish(show(&format!("{{\"n\":{serial}}}\n"), serial), &[], &tell, &|| ());
                assert!(!told.borrow().iter().any(|notice| matches!(notice, Notice::Bytes { ino: of, .. } if *of == ino)));
            }
            assert_eq!(folds.load(std::sync::atomic::Ordering::Relaxed), before, "{path}");
            assert_eq!(text(&fs, ino), "{\"n\":1}\n", "{path}");
            let now = walk(&fs, path).unwrap().ino;
            assert_ne!(now, ino);
            assert_eq!(text(&fs, now), "{\"n\":4}\n");
        }
    }
}
