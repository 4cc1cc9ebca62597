use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::ledger::{Failure, Ledger};
use super::memory::Memory;
use super::model_tests::table::{LINE, OTHER};
use super::*;
use crate::braid::{Committed, CommittedEvent};
use crate::disk::twin::Twin;
use crate::disk::{Disk, Op};
use crate::model::{Draft, Errno, EventId, Expectation, Finding, Rejection, TransactionId};
use crate::store::Store;

/// Stands in for `braid`: keeps drafts, holds expectations and remembers ids.
#[derive(Default)]
struct Book {
    drafts: Mutex<Vec<Draft>>,
    failure: Mutex<Option<Failure>>,
    settled: AtomicU64,
    findings: Mutex<Vec<Finding>>,
    /// How many events were looked at before their draft was handed in.
    checked: AtomicU64,
    /// Once, a draft is kept and the answer lost.
    loses_answer: AtomicBool,
    /// Called once, when a draft has just become durable.
    durable: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Ledger for Arc<Book> {
    fn append(&self, draft: Draft) -> Result<Committed, Failure> {
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        self.check(&draft).map_err(Failure::Rejected)?;
        let mut drafts = self.drafts.lock().unwrap();
        let ids = |draft: &Draft| draft.events.iter().map(|event| event.event_id).collect::<Vec<Option<EventId>>>();
        let known = drafts.iter().any(|kept| ids(kept) == ids(&draft) && draft.events.iter().all(|event| event.event_id.is_some()));
        if !known {
            drafts.push(draft.clone());
        }
        if self.loses_answer.swap(false, Ordering::Relaxed) {
            return Err(Failure::Error { errno: Errno::EIO, message: "the answer is lost".to_owned(), may_count: true });
        }
        if let Some(durable) = self.durable.lock().unwrap().take() {
            durable();
        }
        let events = draft.events.iter().enumerate().map(|(n, event)| CommittedEvent {
            event_id: event.event_id.unwrap_or(EventId(uuid::Uuid::nil())),
            stream_id: event.stream_id.clone(),
            stream_version: n as u64 + 1,
            position: n as u64 + 1,
            seq_nr: Some(n as u64 + 1),
        });
        Ok(Committed { transaction_id: TransactionId(uuid::Uuid::nil()), events: events.collect(), repeated: known, snapshot: None })
    }

    fn count_refused(&self, _: i8) {}

    fn report(&self, findings: Vec<Finding>) {
        *self.findings.lock().unwrap() = findings;
    }

    fn check(&self, draft: &Draft) -> Result<(), Rejection> {
        self.checked.fetch_add(draft.events.len() as u64, Ordering::Relaxed);
        let drafts = self.drafts.lock().unwrap();
        let events = |stream: &str| drafts.iter().flat_map(|draft| &draft.events).filter(|event| event.stream_id == stream).count() as u64;
        let fails = draft.expect.iter().any(|(stream, expect)| match expect {
            Expectation::Version(version) => events(stream) != *version,
            Expectation::None => events(stream) != 0,
            Expectation::Exists => events(stream) == 0,
            Expectation::Any => false,
        });
        if fails { Err(Rejection::whole(Errno::ESTALE, "stream has another version", "read it again")) } else { Ok(()) }
    }
}

pub const ME: Caller = Caller { uid: 1000, gid: 1000, pid: 7 };
pub const NEW: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;

pub struct Desk {
    pub fs: Fs,
    grace: Duration,
    book: Arc<Book>,
    pub home: TempDir,
}

fn open_desk(home: &Path, disk: &Disk, book: &Arc<Book>, grace: Duration) -> Fs {
    let store = Store::init(home, disk).unwrap();
    let staging = Staging::new(store.staging().unwrap(), store.receipts().unwrap(), Arc::new(Arc::clone(book))).with_grace(grace);
    let unfinished = staging.recover().unwrap();
    staging.finish(unfinished, &|| ());
    let views =
        ["log.jsonl", "streams/a.jsonl", "streams/b.jsonl"].iter().fold(Memory::default(), |views, path| views.with(path, 1, "x\n"));
    Fs::new(Manner { uid: 1000, gid: 1000, ..Manner::default() }, views.shown(), Some(staging))
}

impl Desk {
    /// Committed names resolve for ever, so that no test depends on time.
    pub fn new() -> Self {
        Self::with_grace(Duration::from_secs(1 << 20))
    }

    fn with_grace(grace: Duration) -> Self {
        let home = tempfile::tempdir().unwrap();
        let book = Arc::new(Book::default());
        Self { fs: open_desk(home.path(), &Disk::real(), &book, grace), grace, book, home }
    }

    /// On a disk that fails as it is told.
    pub fn on_faulty_disk() -> (Self, Arc<Twin>) {
        let desk = Self::new();
        let (disk, twin) = Disk::faulty(desk.home.path()).unwrap();
        (Self { fs: open_desk(desk.home.path(), &disk, &desk.book, desk.grace), ..desk }, twin)
    }

    /// The daemon dies and another one comes.
    pub fn restart(&mut self) {
        self.fs = open_desk(self.home.path(), &Disk::real(), &self.book, self.grace);
    }

    /// Calls this once, when a draft has just become durable.
    pub fn when_durable(&self, then: impl FnOnce() + Send + 'static) {
        *self.book.durable.lock().unwrap() = Some(Box::new(then));
    }

    /// Another daemon begins in a copy of the store.
    pub fn at(self, home: TempDir) -> Self {
        Self { fs: open_desk(home.path(), &Disk::real(), &self.book, self.grace), home, ..self }
    }

    pub fn directory(&self, name: &str) -> u64 {
        self.fs.look_up(ROOT, name).unwrap().0.attr.ino
    }

    /// Opens as open(2) does: a name that is there is opened, else created.
    pub fn open(&self, name: &str, flags: i32) -> Result<u64, Errno> {
        let parent = self.directory("staging");
        match self.fs.look_up(parent, name) {
            Ok(_) if flags & libc::O_EXCL != 0 => Err(Errno::EEXIST),
            Ok((found, _)) => self.fs.open(found.attr.ino, flags, ME).map(|opened| opened.handle),
            Err(Errno::ENOENT) if flags & libc::O_CREAT != 0 => self.fs.create(parent, name, flags, ME).map(|(_, opened)| opened.handle),
            Err(error) => Err(error),
        }
    }

    pub fn close(&self, handle: u64) -> Result<(), Errno> {
        let (_, flushed) = self.fs.flush(handle);
        if let Release::Commit(file) = self.fs.release(handle) {
            self.fs.decide(
                handle,
                &file,
                || (),
                || {
                    self.book.settled.fetch_add(1, Ordering::Relaxed);
                },
            );
        }
        flushed
    }

    /// Writes a file as `cp` does: the first error that a system call reports.
    pub fn drop_file(&self, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        let handle = self.open(name, NEW)?;
        let written = self.fs.write(handle, 0, bytes);
        written.and(self.close(handle))
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let parent = self.directory("staging");
        self.fs.rename((parent, from), (parent, to), 0, ME, || ())
    }

    pub fn text(&self, directory: &str, name: &str) -> Result<String, Errno> {
        let (found, _) = self.fs.look_up(self.directory(directory), name)?;
        let opened = self.fs.open(found.attr.ino, libc::O_RDONLY, ME)?;
        let bytes = self.fs.read(found.attr.ino, opened.handle, 0, 1 << 20)?;
        assert_eq!(bytes.len() as u64, self.fs.attributes(found.attr.ino)?.0.size, "the size is exact");
        self.fs.release(opened.handle);
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// The hints of what is told of drafts, once it has been looked.
    pub fn told(&self, after: Duration) -> Vec<String> {
        self.fs.staging.as_ref().unwrap().tend(Instant::now() + after);
        self.told_by_itself()
    }

    /// The same as it was told last.
    pub fn told_by_itself(&self) -> Vec<String> {
        self.book.findings.lock().unwrap().iter().map(|finding| finding.hint.clone()).collect()
    }

    pub fn receipt(&self, name: &str) -> Value {
        serde_json::from_str(&self.text("receipts", &format!("{name}.json")).unwrap()).unwrap()
    }

    pub fn list(&self, directory: &str) -> Vec<String> {
        let ino = self.directory(directory);
        let handle = self.fs.open_directory(ino).unwrap();
        let (children, _) = self.fs.children(ino, handle, 0).unwrap();
        self.fs.close_directory(handle);
        children.iter().map(|child| child.entry.name.clone()).collect()
    }

    pub fn commits(&self) -> usize {
        self.book.drafts.lock().unwrap().len()
    }
}

#[test]
fn a_dropped_file_is_committed_at_its_last_close_and_leaves_the_listing() {
    let desk = Desk::new();
    assert_eq!(desk.drop_file("x.jsonl", LINE), Ok(()));
    assert_eq!(desk.commits(), 1);
    assert_eq!(desk.list("staging"), [""; 0]);
    assert_eq!(desk.text("staging", "x.jsonl").unwrap().as_bytes(), LINE, "the name still resolves");
    let receipt = desk.receipt("x.jsonl");
    assert_eq!(receipt["state"], "committed");
    assert_eq!(receipt["name"], "x.jsonl");
    assert_eq!(receipt["events"][0]["stream_id"], "a");
    assert_eq!(receipt["bytes"], LINE.len());
    assert_eq!(desk.list("receipts"), ["x.jsonl.json"]);
    assert_eq!(desk.book.settled.load(Ordering::Relaxed), 1, "the kernel was told before the verdict");
}

#[test]
fn several_writers_of_one_file_make_one_transaction() {
    let desk = Desk::new();
    let shell = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(shell, 0, LINE).unwrap();
    let child = desk.open("x.jsonl", libc::O_WRONLY | libc::O_APPEND).unwrap();
    desk.fs.write(child, 0, OTHER).unwrap();
    assert_eq!(desk.receipt("x.jsonl")["state"], "pending");
    desk.close(child).unwrap();
    assert_eq!(desk.commits(), 0);
    desk.close(shell).unwrap();
    assert_eq!(desk.commits(), 1);
    assert_eq!(desk.book.drafts.lock().unwrap()[0].events.len(), 2);
}

/// Story: each child of a shell that holds a file open closes it, and at each close the whole was checked: 5,000 lines took 64 s.
#[test]
fn what_was_checked_at_a_close_is_not_checked_at_the_next_one() {
    const LINES: u64 = 300;
    let desk = Desk::new();
    let shell = desk.open("x.jsonl", NEW).unwrap();
    for n in 0..LINES {
        desk.fs.write(shell, n * LINE.len() as u64, LINE).unwrap();
        desk.fs.flush(shell).1.unwrap();
    }
    let checked = desk.book.checked.load(Ordering::Relaxed);
    assert!(checked <= 4 * LINES, "{checked}");
    desk.close(shell).unwrap();
    assert_eq!(desk.book.drafts.lock().unwrap()[0].events.len() as u64, LINES);
}

/// The last close of a shell writes nothing, and its children have written to other streams.
#[test]
fn each_close_tells_of_all_that_was_written_and_still_holds_to_what_is_expected() {
    let desk = Desk::new();
    let ino = |path: &str| path.split('/').fold(ROOT, |parent, name| desk.fs.look_up(parent, name).unwrap().0.attr.ino);
    let streams = ["a", "b"].map(|stream| ino(&format!("streams/{stream}.jsonl")));
    let shell = desk.open("x.jsonl", NEW).unwrap();
    let header = b"{\"expect\":{\"c\":\"none\"}}\n";
    let mut size = 0;
    for text in [&header[..], LINE, OTHER, b""] {
        desk.fs.write(shell, size, text).unwrap();
        size += text.len() as u64;
        desk.fs.flush(shell).1.unwrap();
    }
    let (notices, _) = desk.fs.flush(shell);
    for ino in streams {
        assert!(notices.contains(&Notice::Attributes { ino }), "{notices:?}");
    }
    desk.fs.append(b"{\"stream\":\"c\",\"type\":\"T\",\"data\":1}\n").unwrap();
    assert_eq!(desk.fs.flush(shell).1, Err(Errno::ESTALE));
}

#[test]
fn a_bad_line_is_refused_in_the_write_that_brings_it_and_the_file_stays() {
    let desk = Desk::new();
    let bad = [LINE, b"{\"stream_id\":\"a\"}\n"].concat();
    assert_eq!(desk.drop_file("x.jsonl", &bad), Err(Errno::EINVAL));
    assert_eq!(desk.commits(), 0);
    assert_eq!(desk.list("staging"), ["x.jsonl", "x.jsonl.error"]);
    assert_eq!(desk.text("staging", "x.jsonl").unwrap().as_bytes(), bad, "every byte that arrived is there");
    let receipt = desk.receipt("x.jsonl");
    assert_eq!((&receipt["state"], &receipt["transaction_id"]), (&Value::from("refused"), &Value::Null));
    assert_eq!((&receipt["reasons"][0]["errno"], &receipt["reasons"][0]["line"]), (&Value::from("EINVAL"), &Value::from(2)));
    assert!(desk.text("staging", "x.jsonl.error").unwrap().contains("line 2"));
    assert_eq!(desk.drop_file("x.jsonl", LINE), Ok(()), "mended and saved again");
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
}

#[test]
fn an_expectation_that_fails_is_told_at_once_and_kept_to() {
    let desk = Desk::new();
    let text = [b"{\"expect\":{\"a\":3}}\n", LINE].concat();
    assert_eq!(desk.drop_file("x.jsonl", &text), Err(Errno::ESTALE));
    assert_eq!(desk.receipt("x.jsonl")["reasons"][0]["errno"], "ESTALE");
    assert_eq!(desk.commits(), 0);
}

/// It was told only after the close, by the receipt.
#[test]
fn what_a_last_line_without_its_end_expects_is_told_by_the_close() {
    let desk = Desk::new();
    for name in ["x.jsonl", "x.json"] {
        let text = b"{\"expect\":{\"a\":3},\"events\":[{\"stream\":\"a\",\"type\":\"T\",\"data\":1}]}";
        let handle = desk.open(name, NEW).unwrap();
        desk.fs.write(handle, 0, text).unwrap();
        assert_eq!(desk.fs.flush(handle).1, Err(Errno::ESTALE), "{name}");
    }
}

#[test]
fn what_was_committed_without_an_answer_is_not_committed_again() {
    let desk = Desk::new();
    desk.book.loses_answer.store(true, Ordering::Relaxed);
    assert_eq!(desk.drop_file("x.jsonl", LINE), Ok(()));
    let receipt = desk.receipt("x.jsonl");
    assert_eq!((&receipt["state"], &receipt["reasons"][0]["errno"]), (&Value::from("refused"), &Value::from("EIO")));
    let handle = desk.open("x.jsonl", libc::O_WRONLY).unwrap();
    desk.close(handle).unwrap();
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
    assert_eq!(desk.receipt("x.jsonl")["state"], "committed");
}

/// Story: a disk was full, and so was there no room for the receipt of the refusal. The one on disk said that it was pending, and the next
/// daemon committed what its author had been told was refused, and had appended in another way.
#[test]
fn what_was_refused_is_not_committed_by_the_next_daemon_where_its_receipt_found_no_room() {
    for (by_rename, has_room_again) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut desk, twin) = Desk::on_faulty_disk();
        *desk.book.failure.lock().unwrap() =
            Some(Failure::Error { errno: Errno::ENOSPC, message: "disk is full".to_owned(), may_count: false });
        // There is room for the draft and for the receipt of the attempt.
        twin.fail(Op::Create, 2, None, Errno::ENOSPC);
        if by_rename {
            desk.drop_file(".x", LINE).unwrap();
            assert_eq!(desk.rename(".x", "x.jsonl"), Err(Errno::ENOSPC));
        } else {
            desk.drop_file("x.jsonl", LINE).unwrap();
        }
        assert_eq!(desk.receipt("x.jsonl")["reasons"][0]["errno"], "ENOSPC");
        twin.heal();
        if has_room_again {
            desk.fs.staging.as_ref().unwrap().tend(Instant::now());
        }
        *desk.book.failure.lock().unwrap() = None;
        desk.restart();
        assert_eq!(desk.commits(), 0, "by rename {by_rename}, room {has_room_again}");
        assert!(desk.list("staging").contains(&if by_rename { ".x" } else { "x.jsonl" }.to_owned()));
        let told =
            desk.list("receipts").contains(&"x.jsonl.json".to_owned()).then(|| desk.receipt("x.jsonl")["reasons"][0]["errno"].clone());
        let expected = if has_room_again { Some("ENOSPC") } else { Some("EINTR").filter(|_| !by_rename) };
        assert_eq!(told, expected.map(Value::from), "by rename {by_rename}, room {has_room_again}");
        if by_rename {
            desk.rename(".x", "x.jsonl").unwrap();
        } else {
            let touch = desk.open("x.jsonl", libc::O_WRONLY).unwrap();
            desk.close(touch).unwrap();
        }
        assert_eq!((desk.commits(), desk.receipt("x.jsonl")["state"].clone()), (1, Value::from("committed")));
    }
}

/// What may be a transaction all the same is not forgotten: the next daemon finds it out, and who tries again commits nothing twice.
#[test]
fn what_may_count_is_found_out_by_the_next_daemon_where_its_receipt_found_no_room() {
    let (mut desk, twin) = Desk::on_faulty_disk();
    desk.book.loses_answer.store(true, Ordering::Relaxed);
    twin.fail(Op::Create, 2, None, Errno::ENOSPC);
    desk.drop_file("x.jsonl", LINE).unwrap();
    assert_eq!((desk.commits(), desk.receipt("x.jsonl")["state"].clone()), (1, Value::from("refused")));
    desk.restart();
    assert_eq!((desk.commits(), desk.receipt("x.jsonl")["state"].clone()), (1, Value::from("committed")));
    assert_eq!(desk.list("staging"), [""; 0]);
}

#[test]
fn half_a_line_is_only_refused_at_the_last_close() {
    let desk = Desk::new();
    assert_eq!(desk.drop_file("x.jsonl", &LINE[..20]), Ok(()));
    assert_eq!(desk.receipt("x.jsonl")["state"], "refused");
    assert_eq!(desk.drop_file("y.jsonl", &LINE[..LINE.len() - 1]), Ok(()));
    assert_eq!(desk.receipt("y.jsonl")["state"], "committed", "a whole object needs no newline");
}

#[test]
fn an_empty_file_is_nothing() {
    let desk = Desk::new();
    assert_eq!(desk.drop_file("x.jsonl", b""), Ok(()));
    assert_eq!((desk.commits(), desk.list("receipts")), (0, vec![]));
    let handle = desk.open("x.jsonl", libc::O_WRONLY | libc::O_APPEND).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    desk.close(handle).unwrap();
    assert_eq!(desk.commits(), 1);
}

/// Story: it was neither committed nor refused, and after a restart it was said never to have been closed, whatever was done.
#[test]
fn white_space_only_is_refused_the_same_however_it_comes_and_after_a_restart() {
    let mut desk = Desk::new();
    let refused = |desk: &Desk, name: &str| {
        let receipt = desk.receipt(name);
        assert_eq!(
            (&receipt["state"], &receipt["reasons"][0]["message"]),
            (&"refused".into(), &"draft holds no event".into()),
            "{receipt}"
        );
    };
    for name in ["x.jsonl", "y.json"] {
        // Whoever holds the file open may write on: the write and the close are no failure.
        assert_eq!(desk.drop_file(name, b" \n"), Ok(()));
        refused(&desk, name);
    }
    desk.drop_file(".z", b"\n").unwrap();
    assert_eq!(desk.rename(".z", "z.jsonl"), Err(Errno::EINVAL));
    refused(&desk, "z.jsonl");
    desk.restart();
    for name in ["x.jsonl", "y.json"] {
        refused(&desk, name);
        let touch = desk.open(name, libc::O_WRONLY).unwrap();
        desk.close(touch).unwrap();
        refused(&desk, name);
    }
    assert_eq!(desk.commits(), 0);
}

#[test]
fn renaming_a_draft_commits_it_or_leaves_it() {
    let desk = Desk::new();
    desk.drop_file(".x", LINE).unwrap();
    assert_eq!((desk.commits(), desk.list("staging")), (0, vec![".x".to_owned()]));
    assert_eq!(desk.rename(".x", "x.jsonl"), Ok(()));
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
    assert_eq!(desk.receipt("x.jsonl")["state"], "committed");
    desk.drop_file(".y", b"nonsense").unwrap();
    assert_eq!(desk.rename(".y", "y.jsonl"), Err(Errno::EINVAL));
    assert_eq!(desk.list("staging"), [".y", "y.jsonl.error"]);
    assert_eq!(desk.receipt("y.jsonl")["state"], "refused");
    assert_eq!(desk.rename("nowhere", "z.jsonl"), Err(Errno::ENOENT));
}

#[test]
fn a_refused_file_is_mended_by_renaming_another_over_it() {
    let desk = Desk::new();
    assert!(desk.drop_file("x.jsonl", b"{}\n").is_err());
    desk.drop_file("sedAbCdEf", LINE).unwrap();
    assert_eq!(desk.rename("sedAbCdEf", "x.jsonl"), Ok(()));
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
}

#[test]
fn a_second_save_of_the_same_bytes_is_refused_and_leaves_no_file() {
    let desk = Desk::new();
    desk.drop_file("x.jsonl", LINE).unwrap();
    let first = desk.receipt("x.jsonl");
    assert_eq!(desk.drop_file("x.jsonl", LINE), Err(Errno::EEXIST));
    assert_eq!(desk.drop_file("x.jsonl", &[LINE, OTHER].concat()), Err(Errno::EEXIST));
    assert_eq!((desk.commits(), desk.list("staging"), desk.receipt("x.jsonl")), (1, vec![], first.clone()));
    desk.drop_file(".x", LINE).unwrap();
    assert_eq!(desk.rename(".x", "x.jsonl"), Err(Errno::EEXIST));
    assert_eq!(desk.list("staging"), [".x"]);
    assert_eq!(desk.receipt("x.jsonl"), first);
    assert_eq!(desk.drop_file("x.jsonl", OTHER), Ok(()), "other content is another transaction");
    assert_eq!(desk.commits(), 2);
    let receipts = desk.directory("receipts");
    desk.fs.unlink(receipts, "x.jsonl.json", ME).unwrap();
    assert_eq!(desk.drop_file("x.jsonl", OTHER), Ok(()), "forgotten with its receipt");
    assert_eq!(desk.commits(), 3);
}

#[test]
fn a_name_that_is_taken_is_not_created_or_replaced_against_the_will() {
    let desk = Desk::new();
    desk.drop_file(".x", LINE).unwrap();
    desk.drop_file(".y", OTHER).unwrap();
    let parent = desk.directory("staging");
    assert_eq!(desk.fs.create(parent, ".x", NEW | libc::O_EXCL, ME).err(), Some(Errno::EEXIST));
    assert_eq!(desk.fs.rename((parent, ".x"), (parent, ".y"), libc::RENAME_NOREPLACE, ME, || ()), Err(Errno::EEXIST));
    assert_eq!(desk.fs.rename((parent, ".x"), (parent, ".y"), libc::RENAME_EXCHANGE, ME, || ()), Err(Errno::EINVAL));
    assert_eq!(desk.fs.rename((parent, ".x"), (ROOT, "x"), 0, ME, || ()), Err(Errno::EXDEV));
    assert_eq!(desk.fs.rename((ROOT, "log.jsonl"), (parent, "x"), 0, ME, || ()), Err(Errno::EXDEV));
    assert_eq!(desk.fs.rename((parent, ".x"), (parent, ".y"), 0, ME, || ()), Ok(()));
    assert_eq!(desk.text("staging", ".y").unwrap().as_bytes(), LINE);
    assert_eq!(desk.fs.refuse_node(parent), Errno::EPERM);
    assert_eq!(desk.fs.make_node(parent, "fifo", libc::S_IFIFO, ME).err(), Some(Errno::EPERM));
    assert_eq!(desk.fs.create(parent, &"x".repeat(256), NEW, ME).err(), Some(Errno::ENAMETOOLONG));
}

#[test]
fn drafts_work_like_ordinary_files() {
    let desk = Desk::new();
    let handle = desk.open("x~", libc::O_RDWR | libc::O_CREAT).unwrap();
    desk.fs.write(handle, 0, b"0123456789").unwrap();
    desk.fs.write(handle, 4, b"ab").unwrap();
    assert_eq!(desk.fs.read(0, handle, 2, 4).unwrap(), b"23ab");
    let ino = desk.fs.look_up(desk.directory("staging"), "x~").unwrap().0.attr.ino;
    let size = |size| Changes { size: Some(size), ..Changes::default() };
    assert_eq!(desk.fs.set_attributes(ino, size(3), ME).unwrap().0.size, 3);
    assert_eq!(desk.fs.set_attributes(ino, size(5), ME).unwrap().0.size, 5);
    assert_eq!(desk.fs.read(0, handle, 0, 9).unwrap(), b"012\0\0");
    desk.fs.unlink(desk.directory("staging"), "x~", ME).unwrap();
    desk.fs.write(handle, 0, b"still").unwrap();
    assert_eq!(desk.fs.read(0, handle, 0, 9).unwrap(), b"still", "who has it open keeps it");
    desk.close(handle).unwrap();
    assert_eq!(desk.list("staging"), [""; 0]);
}

#[test]
fn others_may_read_but_not_append() {
    let desk = Desk::new();
    desk.drop_file(".x", LINE).unwrap();
    let parent = desk.directory("staging");
    let other = Caller { uid: 1001, ..ME };
    let ino = desk.fs.look_up(parent, ".x").unwrap().0.attr.ino;
    assert!(desk.fs.open(ino, libc::O_RDONLY, other).is_ok());
    assert_eq!(desk.fs.open(ino, libc::O_WRONLY, other).err(), Some(Errno::EACCES));
    assert_eq!(desk.fs.create(parent, "y", NEW, other).err(), Some(Errno::EACCES));
    assert_eq!(desk.fs.unlink(parent, ".x", other), Err(Errno::EACCES));
    assert_eq!(desk.fs.rename((parent, ".x"), (parent, "x.jsonl"), 0, other, || ()), Err(Errno::EACCES));
    assert_eq!(desk.fs.open(desk.directory("append"), libc::O_WRONLY, other).err(), Some(Errno::EACCES));
    assert_eq!(desk.fs.access(parent, libc::W_OK, other), Err(Errno::EACCES));
    let touched = Changes { touched: true, ..Changes::default() };
    for (directory, expected) in [("staging", Ok(())), ("receipts", Err(Errno::EPERM))] {
        assert_eq!(desk.fs.set_attributes(desk.directory(directory), touched, ME).map(drop), expected, "{directory}");
    }
    assert_eq!(desk.fs.set_attributes(parent, touched, other).err(), Some(Errno::EACCES));
    let root = Caller { uid: 0, ..ME };
    assert_eq!(desk.fs.access(parent, libc::W_OK, root), Ok(()));
}

#[test]
fn each_write_to_append_is_one_transaction_of_exactly_one_line() {
    let desk = Desk::new();
    assert_eq!(desk.fs.append(LINE), Ok(()));
    assert_eq!(desk.fs.append(&[LINE, OTHER].concat()), Err(Errno::EINVAL));
    assert_eq!(desk.fs.append(&LINE[..LINE.len() - 1]), Err(Errno::EINVAL));
    assert_eq!(desk.fs.append(b"[{\"stream\":\"a\",\"type\":\"T\",\"data\":1},{\"stream\":\"b\",\"type\":\"T\",\"data\":2}]\n"), Ok(()));
    assert_eq!(desk.fs.append(b"{\"expect\":{\"a\":9},\"events\":[{\"stream\":\"a\",\"type\":\"T\",\"data\":1}]}\n"), Err(Errno::ESTALE));
    assert_eq!(desk.fs.append(&vec![b' '; (1 << 20) - 4095]), Err(Errno::EFBIG));
    assert_eq!(desk.commits(), 2);
    let ino = desk.directory("append");
    let opened = desk.fs.open(ino, libc::O_RDWR | libc::O_TRUNC, ME).unwrap();
    assert_eq!(desk.fs.read(ino, opened.handle, 0, 100), Ok(vec![]));
    assert_eq!(desk.fs.set_attributes(ino, Changes { size: Some(7), touched: true, now: true }, ME).unwrap().0.size, 0);
}

#[test]
fn a_store_that_cannot_be_written_refuses_and_the_next_attempt_succeeds() {
    let desk = Desk::new();
    *desk.book.failure.lock().unwrap() =
        Some(Failure::Error { errno: Errno::EBUSY, message: "store is locked".to_owned(), may_count: false });
    assert_eq!(desk.drop_file("x.jsonl", LINE), Ok(()));
    assert_eq!(desk.receipt("x.jsonl")["reasons"][0]["errno"], "EBUSY");
    assert_eq!(desk.fs.append(LINE), Err(Errno::EBUSY));
    *desk.book.failure.lock().unwrap() = None;
    let touch = desk.open("x.jsonl", libc::O_WRONLY).unwrap();
    desk.close(touch).unwrap();
    assert_eq!((desk.commits(), desk.receipt("x.jsonl")["state"].clone()), (1, Value::from("committed")));
}

#[test]
fn what_was_not_closed_when_the_daemon_ended_stays_refused() {
    let mut desk = Desk::new();
    desk.drop_file(".draft", b"any bytes").unwrap();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    desk.restart();
    assert_eq!(desk.commits(), 0);
    assert_eq!(desk.list("staging"), [".draft", "x.jsonl", "x.jsonl.error"]);
    assert!(desk.text("staging", "x.jsonl.error").unwrap().contains("the daemon ended first"));
    let touch = desk.open("x.jsonl", libc::O_WRONLY).unwrap();
    desk.close(touch).unwrap();
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![".draft".to_owned()]));
    desk.restart();
    assert_eq!(desk.list("staging"), [".draft"]);
    assert_eq!(desk.receipt("x.jsonl")["state"], "committed");
    assert_eq!(desk.drop_file("x.jsonl", LINE), Err(Errno::EEXIST), "a restart does not forget what was committed");
}

#[test]
fn a_commit_that_the_daemon_did_not_answer_is_finished_exactly_once() {
    let mut desk = Desk::new();
    let handle = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    // The daemon dies when the transaction is durable and nothing else has been done.
    let files = ["receipts/x.jsonl", "staging/x.jsonl"].map(|name| desk.home.path().join("tmp").join(name));
    let (tell, told) = std::sync::mpsc::channel();
    let at_death = files.clone();
    desk.when_durable(move || tell.send(at_death.map(|file| std::fs::read(file).unwrap())).unwrap());
    desk.close(handle).unwrap();
    let left = told.recv().unwrap();
    assert!(String::from_utf8_lossy(&left[0]).contains("\"pending\""));
    for (file, bytes) in files.iter().zip(&left) {
        std::fs::write(file, bytes).unwrap();
    }
    desk.restart();
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
    assert_eq!(desk.receipt("x.jsonl")["state"], "committed");
}

#[test]
fn time_removes_committed_names_unused_drafts_and_nothing_else() {
    let desk = Desk::with_grace(Duration::ZERO);
    desk.drop_file(".draft", b"x").unwrap();
    assert!(desk.drop_file("bad.jsonl", b"{}\n").is_err());
    let staging = desk.fs.staging.as_ref().unwrap();
    assert!(staging.tend(Instant::now()) > Duration::from_secs(60), "nothing is to go soon");
    assert_eq!(desk.list("staging"), [".draft", "bad.jsonl", "bad.jsonl.error"]);
    desk.drop_file("x.jsonl", LINE).unwrap();
    assert_eq!(desk.text("staging", "x.jsonl"), Err(Errno::ENOENT), "its time is over");
    let on_disk = desk.home.path().join("tmp/staging/x.jsonl");
    assert!(on_disk.exists());
    staging.tend(Instant::now());
    assert!(!on_disk.exists());
    staging.tend(Instant::now() + Duration::from_secs(25 * 3600));
    assert_eq!(desk.list("staging"), ["bad.jsonl", "bad.jsonl.error"]);
}

/// Story: a receipt had a name that is longer than any file's may be, so `cp -r receipts` failed.
#[test]
fn no_name_is_longer_than_a_file_may_have() {
    let mut desk = Desk::new();
    let [good, bad] = ["good", "bad"].map(|name| format!("{name}{}.jsonl", "x".repeat(249 - name.len())));
    desk.drop_file(&good, LINE).unwrap();
    desk.drop_file(&bad, b"{}\n").unwrap_err();
    desk.restart();
    for directory in ["receipts", "staging"] {
        let names = desk.list(directory);
        assert!(names.len() == 2 && names.iter().all(|name| name.len() <= 255), "{names:?}");
        names.iter().for_each(|name| drop(desk.text(directory, name).unwrap()));
    }
    for (name, state) in [(&good, "committed"), (&bad, "refused")] {
        assert_eq!((&desk.receipt(name)["state"], &desk.receipt(name)["name"]), (&state.into(), &name.as_str().into()));
    }
    let error = desk.list("staging").into_iter().find(|name| name.ends_with(".error")).unwrap();
    assert!(desk.text("staging", &error).unwrap().starts_with(&bad));
    for directory in ["staging", "receipts"] {
        let parent = desk.directory(directory);
        desk.list(directory).iter().for_each(|name| desk.fs.unlink(parent, name, ME).unwrap());
        assert_eq!(desk.list(directory), [""; 0]);
    }
}

#[test]
fn what_is_refused_can_be_removed_and_dismissed() {
    let desk = Desk::new();
    assert!(desk.drop_file("x.jsonl", b"{}\n").is_err());
    assert!(desk.drop_file("y.jsonl", b"{}\n").is_err());
    let staging = desk.directory("staging");
    desk.fs.unlink(staging, "x.jsonl.error", ME).unwrap();
    desk.fs.unlink(staging, "y.jsonl", ME).unwrap();
    assert_eq!(desk.list("staging"), ["x.jsonl"]);
    assert_eq!(desk.list("receipts"), ["x.jsonl.json", "y.jsonl.json"]);
    assert_eq!(desk.fs.unlink(staging, "y.jsonl", ME), Err(Errno::ENOENT));
}

/// Story: what was cut to nothing, or opened anew and not written, had the reasons beside it of bytes that were gone.
#[test]
fn what_is_left_empty_has_no_reasons() {
    let desk = Desk::new();
    let names = ["x.jsonl", "y.jsonl"];
    for _ in 0..2 {
        names.iter().for_each(|name| assert_eq!(desk.drop_file(name, b"{}\n"), Err(Errno::EINVAL)));
        assert_eq!(desk.list("staging").len(), 4);
        let ino = desk.fs.look_up(desk.directory("staging"), "x.jsonl").unwrap().0.attr.ino;
        let cut = Changes { size: Some(0), ..Changes::default() };
        desk.fs.set_attributes(ino, cut, ME).unwrap();
        assert_eq!(desk.fs.try_again(ino, cut, || (), || ()), Ok(()));
        let handle = desk.open("y.jsonl", libc::O_WRONLY | libc::O_TRUNC).unwrap();
        assert_eq!(desk.close(handle), Ok(()));
        assert_eq!(desk.list("staging"), names);
    }
}

#[test]
fn readers_of_views_wait_while_a_closed_file_is_undecided() {
    let desk = Desk::new();
    let log = desk.fs.look_up(ROOT, "log.jsonl").unwrap().0.attr.ino;
    let handle = desk.open("x.jsonl", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    assert!(!desk.fs.waits(log));
    let (notices, flushed) = desk.fs.flush(handle);
    assert_eq!(flushed, Ok(()));
    assert!(notices.contains(&Notice::Attributes { ino: log }), "the kernel asks for the log's size");
    assert!(!desk.fs.waits(desk.directory("staging")), "only views wait");
    if let Release::Commit(file) = desk.fs.release(handle) {
        assert!(!desk.fs.waits(ROOT), "who wants the receipt has its own wait");
        desk.fs.decide(handle, &file, || (), || ());
    }
    assert!(!desk.fs.waits(log));
    desk.fs.wait_decided(desk.fs.closes());
}

/// Story: the disk refused the move in `staging/` after the commit, and the rename answered with its error what was durable.
#[test]
fn a_draft_that_is_committed_is_renamed_though_the_disk_cannot_move_it() {
    let (desk, twin) = Desk::on_faulty_disk();
    assert_eq!(desk.drop_file("x.jsonl", b"{}\n"), Err(Errno::EINVAL));
    for (draft, name) in [(".x", "x.jsonl"), (".y", "y.jsonl")] {
        desk.drop_file(draft, [LINE, OTHER][usize::from(draft == ".y")]).unwrap();
        twin.fail_at(Op::Rename, Path::new(&format!("tmp/staging/{name}")), Errno::EIO);
        assert_eq!(desk.rename(draft, name), Ok(()), "{name}");
        assert_eq!(desk.receipt(name)["state"], "committed");
    }
    assert_eq!((desk.commits(), desk.list("staging")), (2, vec![]));
    twin.heal();
    desk.drop_file(".x", b"another").unwrap();
    assert_eq!(desk.text("staging", ".x").unwrap(), "another");
}

/// Story: the file that was to be replaced had lost its name, and could neither be saved nor removed.
#[test]
fn a_rename_that_the_disk_refuses_leaves_both_files_as_they_were() {
    let (desk, twin) = Desk::on_faulty_disk();
    desk.drop_file(".a", b"a").unwrap();
    desk.drop_file(".b", b"b").unwrap();
    twin.fail_at(Op::Rename, Path::new("tmp/staging/.b"), Errno::EIO);
    assert_eq!(desk.rename(".a", ".b"), Err(Errno::EIO));
    assert_eq!((desk.text("staging", ".a").unwrap(), desk.text("staging", ".b").unwrap()), ("a".to_owned(), "b".to_owned()));
    desk.fs.unlink(desk.directory("staging"), ".b", ME).unwrap();
    assert_eq!(desk.list("staging"), [".a"]);
    assert!(!desk.home.path().join("tmp/staging/.b").exists());
}

/// Found by the model: it came back into the listing as if it had been refused. Later: under another name the same bytes were committed a
/// second time, and as a draft they came back.
#[test]
fn a_committed_name_cannot_be_renamed() {
    let desk = Desk::new();
    desk.drop_file("b.jsonl", LINE).unwrap();
    desk.drop_file("a.jsonl", &[LINE, OTHER].concat()).unwrap();
    for to in ["b.jsonl", "c.jsonl", ".keep"] {
        assert_eq!(desk.rename("a.jsonl", to), Err(Errno::ENOENT), "{to}");
    }
    assert_eq!((desk.commits(), desk.list("staging")), (2, vec![]));
    assert_eq!(desk.list("receipts"), ["a.jsonl.json", "b.jsonl.json"]);
    assert!(desk.text("staging", "a.jsonl").is_ok(), "chmod, utimes and stat still find it");
}

/// Story: between the wait for the verdict and the count of the writer the last close of another began a decision. What was written
/// after its bytes had been read was answered with success and went with the file.
#[test]
fn who_opens_a_file_as_it_is_closed_for_the_last_time_loses_nothing() {
    let desk = Desk::new();
    let parent = desk.directory("staging");
    for round in 0..200 {
        let name = format!("{round}.jsonl");
        let handle = desk.open(&name, NEW).unwrap();
        desk.fs.write(handle, 0, LINE).unwrap();
        let ino = desk.fs.look_up(parent, &name).unwrap().0.attr.ino;
        let before = desk.book.drafts.lock().unwrap().len();
        let start = std::sync::Barrier::new(2);
        let written = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                desk.close(handle).unwrap();
            });
            start.wait();
            let opened = desk.fs.open(ino, libc::O_WRONLY | libc::O_APPEND, ME).unwrap();
            let written = desk.fs.write(opened.handle, 0, OTHER);
            written.and(desk.close(opened.handle))
        });
        let events: usize = desk.book.drafts.lock().unwrap()[before..].iter().map(|draft| draft.events.len()).sum();
        match written {
            Ok(()) => assert_eq!(events, 2, "{round}"),
            Err(errno) => assert_eq!((events, errno), (1, Errno::EEXIST), "{round}: those bytes and more"),
        }
        // A second save has removed it.
        let _ = desk.fs.unlink(parent, &name, ME);
    }
}

#[test]
fn a_draft_that_is_still_written_takes_nothing_while_a_rename_commits_it() {
    let desk = Arc::new(Desk::new());
    let handle = desk.open(".x", NEW).unwrap();
    desk.fs.write(handle, 0, LINE).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let writer = Arc::clone(&desk);
    desk.when_durable(move || tell.send(writer.fs.write(handle, LINE.len() as u64, OTHER)).unwrap());
    desk.rename(".x", "x.jsonl").unwrap();
    assert_eq!(told.recv().unwrap(), Err(Errno::EBUSY));
    assert_eq!(desk.fs.write(handle, LINE.len() as u64, OTHER), Err(Errno::EEXIST), "those bytes and more");
    assert!(desk.close(handle).is_err());
    assert_eq!((desk.commits(), desk.list("staging")), (1, vec![]));
    assert_eq!(desk.receipt("x.jsonl")["bytes"], LINE.len());
}
