//! Who waits takes nothing that others need. No clock is asked: what must not wait is over before what it would have waited for.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use crate::support::draft::{event, save};
use crate::support::mount::Mount;
use crate::support::store::TestStore;
use crate::support::wait::eventually;

/// More than the daemon has threads for one kind of request.
const MANY: usize = 80;
/// As many as are grouped into one sync.
const TOGETHER: usize = 64;

/// Another program that holds the store.
fn hold(store: &Path) -> File {
    let lock = File::options().write(true).open(store.join(".lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// What the receipts say that lie in the store itself, where nobody waits.
fn states(store: &Path) -> Vec<String> {
    let texts = fs::read_dir(store.join("tmp/receipts")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    texts.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap()["state"].as_str().unwrap().to_owned()).collect()
}

/// Opens as open(2) does on a thread of its own, which tells that it is about to and that it has.
fn open_beside<'a>(scope: &'a thread::Scope<'a, '_>, open: impl FnOnce() + Send + 'a, opened: &'a AtomicUsize) -> String {
    let (tell, told) = channel();
    scope.spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        open();
        opened.fetch_add(1, Ordering::SeqCst);
    });
    format!("/proc/self/task/{}/syscall", told.recv().unwrap())
}

fn is_in_open(thread: &str) -> bool {
    fs::read_to_string(thread).is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_openat)))
}

/// Story: with 40 drops that waited for a held lock `echo x > staging/.draft` took 4.6 s.
#[test]
fn drafts_are_saved_while_commits_wait_for_a_lock() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let staged = |name: &str| mount.join("staging").join(name);
    let lock = hold(&store.path());
    thread::scope(|scope| {
        for n in 0..MANY {
            let path = staged(&format!("d{n}.jsonl"));
            scope.spawn(move || save(&path, event("a", n).as_bytes()).unwrap());
        }
        eventually("as many commits wait as can", || states(&store.path()).len() >= TOGETHER);
        save(&staged(".draft"), b"x").unwrap();
        let draft = OpenOptions::new().append(true).open(staged(".draft")).unwrap();
        (&draft).write_all(b"y").unwrap();
        draft.sync_all().unwrap();
        draft.set_len(1).unwrap();
        draft.set_modified(std::time::SystemTime::now()).unwrap();
        draft.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        drop(draft);
        fs::rename(staged(".draft"), staged("draft~")).unwrap();
        let states = states(&store.path());
        assert!(states.iter().all(|state| state == "pending"), "a commit has given up before: {states:?}");
        drop(lock);
    });
    eventually("all are committed", || mount.count("log.jsonl") == MANY);
    assert_eq!(mount.list("staging"), ["draft~"]);
    mount.unmount();
}

/// Story: sixteen at a time waited for their five seconds each, so the last of 64 drops was refused after twenty.
#[test]
fn whoever_drops_at_once_is_refused_at_once_where_the_lock_stays_held() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let lock = hold(&store.path());
    let begun = Instant::now();
    let refused = || states(&store.path()).iter().filter(|state| *state == "refused").count();
    let first = thread::scope(|scope| {
        for n in 0..TOGETHER {
            let path = mount.join("staging").join(format!("d{n}.jsonl"));
            scope.spawn(move || save(&path, event("a", n).as_bytes()).unwrap());
        }
        eventually("the first is refused", || refused() > 0);
        begun.elapsed()
    });
    eventually("all are", || refused() == TOGETHER);
    assert!(begun.elapsed() < first * 2, "{first:?} and {:?}", begun.elapsed());
    drop(lock);
    assert_eq!(mount.count("log.jsonl"), 0);
    mount.unmount();
}

/// Story: 40 programs that opened a receipt on its way kept everybody else from a view beside a writer for 4 s.
#[test]
fn a_view_is_opened_while_many_wait_for_a_verdict() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let staged = |name: &str| mount.join("staging").join(name);
    // A shell that holds it open; a child has closed it.
    let shell = File::create(staged("held.jsonl")).unwrap();
    (&shell).write_all(event("a", 1).as_bytes()).unwrap();
    drop(shell.try_clone().unwrap());
    let lock = hold(&store.path());
    let receipt = mount.join("receipts/held.jsonl.json");
    let (waited, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let waiting: Vec<String> = (0..MANY)
            .map(|_| open_beside(scope, || assert!(fs::read_to_string(&receipt).unwrap().contains("committed")), &waited))
            .collect();
        save(&staged("x.jsonl"), event("a", 2).as_bytes()).unwrap();
        let reader = open_beside(scope, || assert_eq!(mount.count("log.jsonl"), 1), &seen);
        eventually("all wait", || waiting.iter().chain([&reader]).all(|thread| is_in_open(thread)));
        drop(lock);
        eventually("the view is read", || seen.load(Ordering::SeqCst) == 1);
        assert_eq!(waited.load(Ordering::SeqCst), 0, "nobody had to come to his end before");
        drop(shell);
    });
    assert_eq!(mount.count("log.jsonl"), 2);
    mount.unmount();
}

/// Who opens a file that is being decided goes on once it is, however many they are.
#[test]
fn many_writers_wait_for_one_verdict() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    let path = mount.join("staging/x.jsonl");
    let lock = hold(&store.path());
    save(&path, event("a", 0).as_bytes()).unwrap();
    eventually("it is being decided", || states(&store.path()) == ["pending"]);
    let (opened, open) = (AtomicUsize::new(0), || drop(OpenOptions::new().write(true).open(&path)));
    thread::scope(|scope| {
        let waiting: Vec<String> = (0..MANY).map(|_| open_beside(scope, open, &opened)).collect();
        eventually("all wait", || waiting.iter().all(|thread| is_in_open(thread)));
        assert_eq!((mount.count("log.jsonl"), opened.load(Ordering::SeqCst)), (0, 0), "a reader of a view waits for 2 s and no longer");
        drop(lock);
    });
    assert_eq!(opened.load(Ordering::SeqCst), MANY);
    assert_eq!(mount.count("log.jsonl"), 1);
    mount.unmount();
}
