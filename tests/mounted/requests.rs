//! What reading costs: the requests that the kernel sends, counted. No clock is asked, so that no busy machine decides.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde_json::json;

use crate::support::mount::{Mount, MountOptions};
use crate::support::run::bash;
use crate::support::store::TestStore;
use crate::support::wait::eventually;

/// Enough that a request a file cannot hide among the others.
const STREAMS: usize = 300;
/// What a command may ask whatever it reads: names on the way, files that tell `rg` what to leave out.
const FEW: usize = 32;

/// How often the kernel has sent each kind of request.
type Requests = BTreeMap<String, usize>;

/// A mount that logs every request.
fn counting(options: MountOptions) -> Mount {
    let mount = options.env("BRAIDFS_LOG", "braidfs::mount::shell=debug").start();
    // Until the log is whole the answers hold for a moment only.
    assert!(fs::metadata(mount.join("log.jsonl")).unwrap().len() > 0);
    mount
}

fn requests(mount: &Mount) -> Requests {
    let mut requests = Requests::new();
    for line in mount.log().lines().filter(|line| line.ends_with("braidfs::mount::shell: asked")) {
        let kind = line.split("request=\"").nth(1).and_then(|rest| rest.split('"').next());
        *requests.entry(kind.unwrap().to_owned()).or_default() += 1;
    }
    requests
}

/// What a command asks; it must succeed, or find nothing.
fn asked(mount: &Mount, command: &str) -> Requests {
    let before = requests(mount);
    let ran = bash(mount.path(), command);
    assert!(ran.code <= 1 && ran.err.is_empty(), "{command}: {}", ran.err);
    // What the kernel does not wait for comes late: it is behind what was asked before.
    assert!(mount.join("README.md").exists());
    let mut after = requests(mount);
    after.retain(|kind, count| {
        *count -= before.get(kind).copied().unwrap_or_default();
        *count > 0
    });
    after
}

fn all(requests: &Requests) -> usize {
    requests.values().sum()
}

fn of(requests: &Requests, kind: &str) -> usize {
    requests.get(kind).copied().unwrap_or_default()
}

fn many_streams() -> TestStore {
    let mut store = TestStore::new();
    let mut transaction = store.transaction();
    for n in 0..STREAMS {
        transaction = transaction.event(&format!("s{n:03}"), "T", json!({"n": n}));
    }
    transaction.write();
    store
}

const READERS: [&str; 6] = [
    "cat streams/* > /dev/null",
    "wc -l streams/*",
    "grep -r nowhere streams",
    "rg nowhere streams",
    "find streams -size +9k",
    "ls -l streams",
];

#[test]
fn on_a_read_only_mount_what_was_read_once_is_asked_for_never_again() {
    let store = many_streams();
    let mount = counting(Mount::options(&store.path()).arg("--read-only"));
    let first = asked(&mount, "grep -r nowhere streams");
    assert_eq!(of(&first, "read"), STREAMS, "{first:?}");
    // A page of a listing names some twenty files.
    assert!(all(&first) <= STREAMS + STREAMS / 16 + FEW, "one a file, and the listing: {first:?}");
    assert!(of(&first, "open") <= 1 && of(&first, "flush") <= 1, "once refused, the kernel opens and closes by itself: {first:?}");
    for reader in READERS {
        asked(&mount, reader);
        let again = asked(&mount, reader);
        // `ls` asks once a run whether there are labels, and once whether there are access lists.
        let labels = of(&again, "getxattr");
        assert!(labels <= if reader.starts_with("ls") { 2 } else { 0 }, "{reader}: {again:?}");
        assert!(all(&again) - labels <= FEW, "{reader}: {again:?}");
    }
    mount.unmount();
}

/// Reads the names of a directory in pieces; `between` is called after the first ones.
fn list_slowly(directory: &std::path::Path, between: impl FnOnce()) -> usize {
    let mut names = fs::read_dir(directory).unwrap();
    let first = names.by_ref().take(10).count();
    between();
    first + names.count()
}

#[test]
fn a_listing_during_which_names_came_is_kept_all_the_same_from_the_next_one_on() {
    // More than what one call of a reader asks for, so that it goes on after the change.
    const NAMES: usize = 2_000;
    for read_only in [true, false] {
        let mut store = TestStore::new();
        let mut transaction = store.transaction();
        for n in 0..NAMES {
            transaction = transaction.event(&format!("s{n:05}"), "T", json!({"n": n}));
        }
        transaction.write();
        let options = Mount::options(&store.path());
        let mount = counting(if read_only { options.arg("--read-only") } else { options });
        let streams = mount.join("streams");
        let listed = list_slowly(&streams, || {
            store.transaction().event("late", "T", json!({})).write();
            eventually("the new stream is found", || streams.join("late.jsonl").exists());
        });
        assert!((NAMES..=NAMES + 1).contains(&listed), "{listed}");
        let lists = |count| {
            let requests = asked(&mount, &format!("[ $(ls -U streams | wc -l) = {count} ]"));
            of(&requests, "readdir") + of(&requests, "readdirplus")
        };
        assert!(lists(NAMES + 1) > 0, "what was mixed is not kept");
        // What answers met on their way is told once more, a moment later.
        eventually("what is whole is kept", || lists(NAMES + 1) == 0);
        store.transaction().event("later", "T", json!({})).write();
        eventually("the new stream is found", || streams.join("later.jsonl").exists());
        assert!(lists(NAMES + 2) > 0, "what is old is not kept");
        eventually("what is whole is kept", || lists(NAMES + 2) == 0);
        mount.unmount();
    }
}

#[test]
fn a_listing_that_the_kernel_keeps_has_what_was_committed_right_before() {
    let store = many_streams();
    let mount = counting(Mount::options(&store.path()));
    let lists = |command: &str| {
        let requests = asked(&mount, command);
        of(&requests, "readdir") + of(&requests, "readdirplus")
    };
    for n in 0..20 {
        eventually("the listing is kept", || lists("ls -U streams types > /dev/null") == 0);
        let line = json!({"stream_id": format!("new-{n}"), "event_type": format!("New{n}"), "event_data": {}});
        // The last close is the shell's, and that is told to nobody who waits.
        let write = format!("{{ printf '%s' '{line}'; /bin/echo; }} > staging/d{n}.jsonl");
        let list =
            format!("{write}; ls streams | grep -qx new-{n}.jsonl && ls types | grep -qx New{n}.jsonl && ls receipts | grep -q d{n}");
        assert_eq!(bash(mount.path(), &list).code, 0, "{n}: {}", bash(mount.path(), "ls streams types receipts").out);
    }
    // Who has the directory open since before asks nothing that could wait.
    let mut open: Vec<Dir> = ["streams", "types", "transactions", "categories"]
        .map(|name| Dir::open(&mount.join(name), OFlag::O_RDONLY, Mode::empty()).unwrap())
        .into();
    let names = |open: &mut Vec<Dir>| open.iter_mut().map(|dir| dir.iter().count()).collect::<Vec<_>>();
    for n in 0..20 {
        names(&mut open);
        let before = names(&mut open);
        let line = json!({"stream_id": format!("c{n}-1"), "event_type": format!("Other{n}"), "event_data": {}});
        fs::write(mount.join(format!("staging/e{n}.jsonl")), format!("{line}\n")).unwrap();
        assert_eq!(names(&mut open), before.iter().map(|count| count + 1).collect::<Vec<_>>(), "{n}");
    }
    drop(open);
    mount.unmount();
}

/// Story: whoever came to the end of a listing of two trees waited for the thread that tells the kernel of names, and that one for the
/// directory which the reader held: nobody was told anything for five seconds.
#[test]
fn a_listing_during_which_names_come_and_go_holds_up_nobody() {
    let mut store = TestStore::new();
    let mut transaction = store.transaction();
    for n in 0..1_500 {
        transaction = transaction.event(&format!("s{n:05}"), "T", json!({"n": n}));
    }
    transaction.write();
    let mount = counting(Mount::options(&store.path()));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                fs::read_dir(mount.join("streams")).unwrap().for_each(|entry| drop(entry.unwrap()));
            }
        });
        let mut last: Option<PathBuf> = None;
        for n in 0..30_i32 {
            let (come, gone) = (mount.join(format!("streams/c{n}.jsonl")), mount.join(format!("streams/c{}.jsonl", n - 1)));
            // Both in one tree: of the directory the kernel is told first, then of the name in it.
            let id = store.transaction().event(&format!("c{n}"), "T", json!({})).write();
            if let Some(before) = last.replace(store.events_dir().join(format!("{id}.jsonl"))) {
                fs::remove_file(before).unwrap();
            }
            eventually("the one comes and the other goes", || come.exists() && !gone.exists());
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(
        !mount.log().contains("did not take the notices in time"),
        "{}",
        mount.log().lines().filter(|line| line.contains("WARN")).collect::<String>()
    );
    mount.unmount();
}

#[test]
fn on_a_writable_mount_what_was_read_once_costs_an_open_and_a_release() {
    let store = many_streams();
    let mount = counting(Mount::options(&store.path()));
    let first = asked(&mount, "grep -r nowhere streams");
    assert_eq!(of(&first, "read"), STREAMS, "{first:?}");
    for reader in READERS {
        asked(&mount, reader);
        // Of a file that was looked up while the first tree was shown the kernel is told once more, some time later.
        let runs = (0..3).map(|_| asked(&mount, reader));
        let again = runs.min_by_key(all).unwrap();
        let opens = if reader.starts_with("find") || reader.starts_with("ls") { 0 } else { STREAMS };
        // `rg` also opens the `.ignore` of the root.
        assert!((opens..=opens + 1).contains(&of(&again, "open")), "{reader}: {again:?}");
        assert!(of(&again, "release") <= opens + 1, "{reader}: {again:?}");
        assert!(all(&again) <= 2 * opens + 2 * FEW, "{reader}: {again:?}");
        assert!(of(&again, "lookup") <= FEW, "{reader}: {again:?}");
        for never in ["read", "flush", "readdir", "readdirplus"] {
            assert_eq!(of(&again, never), 0, "{reader}: {again:?}");
        }
        assert!(of(&again, "getxattr") <= 2, "{reader}: {again:?}");
    }
    mount.unmount();
}

#[test]
fn what_was_read_is_not_read_again_and_what_an_append_brings_costs_one_read() {
    let mut store = TestStore::new();
    for n in 0..8 {
        store.transaction().event("a", "T", json!({"n": n, "text": "x".repeat(50_000)})).write();
    }
    for (point, arguments) in [("rw", &[][..]), ("ro", &["--read-only"])] {
        let options = Mount::options(&store.path()).at(&store.home().join(point)).env("BRAIDFS_LOG", "braidfs::mount::shell=debug");
        let mount = arguments.iter().fold(options, |options, argument| options.arg(argument)).start();
        let requests = |what: &str| mount.log().matches(&format!("fuse{{request=\"{what}\"}}: braidfs::mount::shell: asked")).count();
        let cat = || bash(mount.path(), "cat log.jsonl | wc -l").ok().out.trim().to_owned();
        let lines = cat();
        let (reads, opens) = (requests("read"), requests("open"));
        assert!(reads > 0);
        assert_eq!(cat(), lines);
        assert_eq!(requests("read"), reads, "everything comes out of the page cache");
        if arguments.is_empty() {
            assert!(opens > 0);
            fs::write(mount.join("append"), "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n").unwrap();
            let reads = requests("read");
            assert_eq!(cat(), "9");
            assert_eq!(requests("read"), reads + 1, "only the page that held the old end");
        } else {
            assert_eq!(opens, 1, "once refused, the kernel opens by itself for ever");
            assert_eq!(requests("flush"), 1, "and closes by itself");
        }
        mount.unmount();
    }
}

/// Every file of a mount but what tells of the daemon itself: path and bytes.
fn every_byte(mount: &Mount) -> BTreeMap<String, Vec<u8>> {
    let lines = |name: &str| mount.read(name).lines().count();
    eventually("the numbers of the newest events are shown", || lines("feed.jsonl") == lines("log.jsonl"));
    let found = bash(mount.path(), "find . -type f -not -path './receipts/*' -not -path './staging/*' -not -name append | sort").ok();
    let files = found.lines().into_iter().filter(|path| !["./status.json", "./metrics", "./README.md"].contains(path));
    files.map(|path| (path.to_owned(), fs::read(mount.join(path)).unwrap())).collect()
}

#[test]
fn with_every_cache_switched_off_every_byte_is_the_same() {
    const WRITERS: usize = 6;
    let (store, _) = TestStore::forked();
    let fast = Mount::start(&store.path());
    every_byte(&fast);
    let write = "for n in $(seq WRITERS); do (echo '{\"stream\":\"w'$n'\",\"type\":\"T\",\"data\":'$n'}' > append; \
                 echo '{\"stream\":\"w\",\"type\":\"T\",\"data\":'$n'}' > staging/NAME$n.jsonl) & done; wait";
    let write = |name: &str| write.replace("WRITERS", &WRITERS.to_string()).replace("NAME", name);
    bash(fast.path(), &write("a")).ok();
    let slow = |arguments: &[&str]| {
        let options = Mount::options(&store.path()).at(&store.home().join("slow")).arg("--no-cache");
        arguments.iter().fold(options, |options, argument| options.arg(argument)).start()
    };
    let kept = every_byte(&fast);
    assert!(kept.len() > 4 * WRITERS, "{:?}", kept.keys());
    let beside = slow(&["--read-only"]);
    assert!(every_byte(&beside) == kept, "beside the mount that wrote");
    let mapped = bash(beside.path(), "rg --mmap --no-filename --no-line-number . log.jsonl").ok();
    assert_eq!(mapped.out.into_bytes(), kept["./log.jsonl"]);
    beside.unmount();
    fast.unmount();
    let uncached = slow(&[]);
    assert!(every_byte(&uncached) == kept, "after the mount that wrote");
    bash(uncached.path(), &write("b")).ok();
    let written = every_byte(&uncached);
    assert_eq!(written["./log.jsonl"].iter().filter(|byte| **byte == b'\n').count(), 7 + 4 * WRITERS);
    uncached.unmount();
    let again = Mount::start(&store.path());
    assert!(every_byte(&again) == written, "what was written without caches");
    again.unmount();
}

#[test]
fn with_every_cache_switched_off_everything_is_asked_for_again() {
    let store = many_streams();
    for arguments in [&["--no-cache"][..], &["--no-cache", "--read-only"]] {
        let options = arguments.iter().fold(Mount::options(&store.path()), |options, argument| options.arg(argument));
        let mount = counting(options);
        asked(&mount, "cat streams/* > /dev/null");
        let again = asked(&mount, "cat streams/* > /dev/null");
        for kind in ["lookup", "open", "read"] {
            assert!(of(&again, kind) >= STREAMS, "{arguments:?}: {kind}: {again:?}");
        }
        mount.unmount();
    }
}

/// A draft that was written is checked at each close of it; all else that is opened asks for nothing then.
#[test]
fn only_a_draft_that_was_written_is_told_of_each_close() {
    let mut store = TestStore::new();
    store.transaction().event("s", "T", json!(1)).write();
    let mount = counting(Mount::options(&store.path()));
    let line = r#"{"stream":"a","type":"T","data":1}"#;
    for (command, is_told) in [
        (format!("echo '{line}' > staging/x.jsonl"), true),
        ("cat receipts/x.jsonl.json".to_owned(), false),
        (format!("echo '{line}' > append"), false),
        (format!("echo '{line}' > staging/.draft"), true),
        ("cat staging/.draft".to_owned(), false),
        ("echo 1 > checkpoints/reader".to_owned(), false),
        ("cat checkpoints/reader".to_owned(), false),
    ] {
        let requests = asked(&mount, &command);
        // A shell closes more than once.
        assert_eq!(of(&requests, "flush") > 0, is_told, "{command}: {requests:?}");
    }
    assert_eq!(mount.count("log.jsonl"), 3);
    mount.unmount();
}
