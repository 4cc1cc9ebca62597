//! The tools that users have, each on a view, a commit name and a draft: `scripts/install-tools` brings those that are not part of every system.

use std::fs;

use serde_json::json;

use crate::support::draft::event;
use crate::support::mount::Mount;
use crate::support::run::{bash, run};
use crate::support::store::TestStore;
use crate::support::terminal::Terminal;
use crate::support::wait::eventually;

/// A mount, and beside it a draft `in.jsonl` of one event.
fn desk() -> (TestStore, Mount) {
    let mut store = TestStore::new();
    store.transaction().event("first", "T", json!("needle")).write();
    fs::write(store.home().join("in.jsonl"), "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n").unwrap();
    fs::write(store.home().join("other.jsonl"), "{\"stream\":\"a\",\"type\":\"T\",\"data\":2}\n").unwrap();
    fs::write(store.home().join("bad.jsonl"), "{\"stream\":\"a\"}\n").unwrap();
    let mount = Mount::start(&store.path());
    (store, mount)
}

#[test]
fn readers_read_every_view() {
    let (_store, mount) = desk();
    let expected = mount.read("log.jsonl");
    let all = ["cat", "head -n 5", "tail -n 5", "tail -c +1", "grep needle", "sed -n p", "dd status=none if=/dev/stdin", "tee /dev/null"];
    for reader in all {
        assert_eq!(bash(mount.path(), &format!("{reader} < log.jsonl")).ok().out, expected, "{reader}");
    }
    for reader in ["rg --no-filename needle log.jsonl", "rg --no-filename --mmap needle log.jsonl", "jq -c . log.jsonl", "less log.jsonl"] {
        assert_eq!(bash(mount.path(), &format!("{reader} | cat")).ok().out, expected, "{reader}");
    }
    let found = bash(mount.path(), "grep -rl needle . | sort").ok();
    assert!(found.lines().contains(&"./streams/first.jsonl") && found.lines().contains(&"./log.jsonl"), "{}", found.out);
    let copy = "cp -r . ../copy && diff -r streams ../copy/streams && cmp log.jsonl ../copy/log.jsonl";
    bash(mount.path(), copy).ok();
    bash(mount.path(), "rsync -a streams/ ../synced/ && diff -r streams ../synced").ok();
    assert_eq!(bash(mount.path(), "rg -c needle .").ok().lines(), ["./streams/first.jsonl:1"], "by .ignore each event once");
    mount.unmount();
}

#[test]
fn writers_commit_once_at_their_exit() {
    let (_store, mount) = desk();
    let writers = [
        "cp ../in.jsonl staging/NAME",
        "cp -p ../in.jsonl staging/NAME",
        "cat ../in.jsonl > staging/NAME",
        "cat ../in.jsonl >> staging/NAME",
        "tee staging/NAME < ../in.jsonl > /dev/null",
        "dd status=none if=../in.jsonl of=staging/NAME",
        "dd status=none if=../in.jsonl of=staging/NAME bs=7",
        "install -m 644 ../in.jsonl staging/NAME",
        "cp ../in.jsonl staging/.x && mv staging/.x staging/NAME",
        "cp ../in.jsonl staging/NAME.part && mv -n staging/NAME.part staging/NAME",
        "cp ../in.jsonl ../tmp.jsonl && mv ../tmp.jsonl staging/NAME",
        "sed s/1/1/ ../in.jsonl > staging/NAME",
        "jq -c . ../in.jsonl > staging/NAME",
        "rsync ../in.jsonl staging/NAME",
        "rsync -a ../in.jsonl staging/NAME",
        "cp -a ../in.jsonl staging/NAME",
        "python3 -c 'import shutil; shutil.copy2(\"../in.jsonl\", \"staging/NAME\")'",
        "python3 -c 'import shutil; shutil.copy(\"../in.jsonl\", \"../tmp.jsonl\"); shutil.move(\"../tmp.jsonl\", \"staging/NAME\")'",
        "rsync --inplace ../in.jsonl staging/NAME",
        "sh -c 'cat ../in.jsonl > staging/NAME'",
        "{ cat ../in.jsonl; } > staging/NAME",
        "printf '%s\\n' \"$(cat ../in.jsonl)\" > staging/NAME",
    ];
    let mut expected = 1;
    for (n, writer) in writers.iter().enumerate() {
        let name = format!("f{n}.jsonl");
        let ran = bash(mount.path(), &writer.replace("NAME", &name));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{writer}");
        expected += 1;
        assert_eq!(mount.count("log.jsonl"), expected, "{writer}");
        assert_eq!(mount.read_json(&format!("receipts/{name}.json"))["state"], "committed", "{writer}");
        assert_eq!(mount.list("staging"), [""; 0], "{writer}");
    }
    mount.unmount();
}

/// Story: what has no event had the time of 1970, which a zip cannot hold.
#[test]
fn a_mount_without_an_event_is_zipped() {
    let store = TestStore::new();
    let mount = Mount::start(&store.path());
    bash(mount.path(), "python3 -c 'import shutil; shutil.make_archive(\"../empty\", \"zip\", \".\")'").ok();
    assert_eq!(bash(mount.path(), "find . ! -newermt 2020-01-01").ok().out, "");
    mount.append("{\"stream\":\"a\",\"type\":\"T\",\"data\":1}\n").unwrap();
    bash(mount.path(), "echo '{\"snapshot\":{\"name\":\"sum\",\"seq_nr\":1},\"state\":1}' > staging/s.json").ok();
    let times = bash(mount.path(), "stat -c %Y log.jsonl snapshots/sum/after.jsonl feed/after/9.jsonl | sort -u").ok();
    assert_eq!(times.lines().len(), 1, "{times:?}");
    mount.unmount();
}

/// Story: every file was committed, and the copy failed at the end, for the time and the mode of `staging/` itself.
#[test]
fn a_directory_of_drafts_is_copied_without_an_error() {
    let (_store, mount) = desk();
    let before = bash(mount.path(), "stat -c '%a %u %Y' staging checkpoints").ok().out;
    let copiers = ["cp -a ../drafts/. staging/", "rsync -a ../drafts/ staging/", "rsync -rlptgoD --chmod=D700 ../drafts/ staging/"];
    for (n, copier) in copiers.iter().enumerate() {
        let drafts = format!("rm -rf ../drafts && mkdir -m 700 ../drafts && for i in 1 2; do cp ../in.jsonl ../drafts/d{n}-$i.jsonl; done");
        let ran = bash(mount.path(), &format!("{drafts} && touch -d 2001-01-01 ../drafts && {copier}"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{copier}");
        for name in [format!("d{n}-1"), format!("d{n}-2")] {
            assert_eq!(mount.read_json(&format!("receipts/{name}.jsonl.json"))["state"], "committed", "{copier}");
        }
    }
    bash(mount.path(), "mkdir ../cursors && echo 1 > ../cursors/sub && cp -a ../cursors/. checkpoints/").ok();
    let after = bash(mount.path(), "stat -c '%a %u %Y' staging checkpoints").ok().out;
    let without_times = |text: &str| text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>();
    assert_eq!(without_times(&after), without_times(&before));
    assert!(!after.contains(" 978"), "no time of 2001: {after}");
    mount.unmount();
}

/// Story: the receipt of a draft whose name is as long as a name may be could not be copied anywhere, for its own was longer.
#[test]
fn receipts_are_copied_whatever_the_drafts_were_called() {
    let (store, mount) = desk();
    let name = format!("{}.jsonl", "x".repeat(249));
    bash(mount.path(), &format!("cp ../in.jsonl staging/{name} && cp -r receipts ../copied && cp -r staging ../staged")).ok();
    let copied: Vec<_> = fs::read_dir(store.home().join("copied")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let receipt: serde_json::Value = serde_json::from_slice(&fs::read(&copied[0]).unwrap()).unwrap();
    assert_eq!((copied.len(), &receipt["name"], &receipt["state"]), (1, &json!(name), &json!("committed")));
    assert_eq!(mount.read_json(&format!("receipts/{name}.json")), receipt);
    mount.unmount();
}

#[test]
fn writers_hear_of_a_refusal_by_their_exit_code() {
    let (_store, mount) = desk();
    let writers = [
        "cp ../bad.jsonl staging/NAME",
        "cat ../bad.jsonl > staging/NAME",
        "tee staging/NAME < ../bad.jsonl > /dev/null",
        "dd status=none if=../bad.jsonl of=staging/NAME",
        "install -m 644 ../bad.jsonl staging/NAME",
        "cp ../bad.jsonl ../tmp.jsonl && mv ../tmp.jsonl staging/NAME",
        "echo '{\"stream\":\"a\"}' > staging/NAME",
    ];
    for (n, writer) in writers.iter().enumerate() {
        let name = format!("f{n}.jsonl");
        let ran = bash(mount.path(), &writer.replace("NAME", &name));
        assert_ne!(ran.code, 0, "{writer}");
        assert_eq!(mount.read_json(&format!("receipts/{name}.json"))["state"], "refused", "{writer}");
    }
    assert_eq!(mount.count("log.jsonl"), 1);
    let draft = bash(mount.path(), "cp ../bad.jsonl staging/.x && mv staging/.x staging/x.jsonl");
    assert!(draft.code != 0 && mount.list("staging").contains(&".x".to_owned()), "the draft is still there");
    mount.unmount();
}

#[test]
fn a_refused_file_is_mended_in_place() {
    let (_store, mount) = desk();
    let menders = [
        "sed -i 's/\"a\"/\"a\",\"type\":\"T\",\"data\":NUMBER/' staging/NAME",
        "cp ../good staging/NAME",
        "cat ../good > staging/NAME",
        "cp ../good staging/.x && mv staging/.x staging/NAME",
        "rm staging/NAME && cp ../good staging/NAME",
        "truncate -s 0 staging/NAME; cat ../good >> staging/NAME",
    ];
    for (n, mender) in menders.iter().enumerate() {
        let name = format!("f{n}.jsonl");
        assert_ne!(bash(mount.path(), &format!("cp ../bad.jsonl staging/{name}")).code, 0);
        fs::write(mount.path().parent().unwrap().join("good"), format!("{{\"stream\":\"a\",\"type\":\"T\",\"data\":{n}}}\n")).unwrap();
        bash(mount.path(), &mender.replace("NAME", &name).replace("NUMBER", &n.to_string())).ok();
        assert_eq!(mount.read_json(&format!("receipts/{name}.json"))["state"], "committed", "{mender}");
        assert_eq!(mount.list("staging"), [""; 0], "{mender}");
        assert_eq!(mount.count("log.jsonl"), 2 + n, "{mender}");
    }
    mount.unmount();
}

#[test]
fn a_second_save_is_told_and_makes_nothing() {
    let (_store, mount) = desk();
    bash(mount.path(), "cp ../in.jsonl staging/x.jsonl").ok();
    let receipt = mount.read("receipts/x.jsonl.json");
    for again in ["cp ../in.jsonl staging/x.jsonl", "cat ../in.jsonl ../other.jsonl > staging/x.jsonl"] {
        let ran = bash(mount.path(), again);
        assert!(ran.code != 0 && ran.err.contains("File exists"), "{again}: {}", ran.err);
        assert_eq!((mount.list("staging"), mount.count("log.jsonl")), (vec![], 2), "{again}");
        assert_eq!(mount.read("receipts/x.jsonl.json"), receipt);
    }
    bash(mount.path(), "cp ../other.jsonl staging/x.jsonl").ok();
    assert_eq!(mount.count("log.jsonl"), 3);
    mount.unmount();
}

/// Story: for 2 s `mv` committed the same bytes under another name once more, or made a draft of them. So did a program that saves by a
/// temporary name and a rename, where the temporary one was committed already.
#[test]
fn what_was_committed_is_not_renamed_and_so_not_committed_again() {
    let (_store, mount) = desk();
    for to in ["m2.jsonl", ".keep"] {
        let ran =
            bash(mount.path(), &format!("rm -f receipts/*; cp ../in.jsonl staging/m1.jsonl && mv staging/m1.jsonl staging/{to}")).code(1);
        assert!(ran.err.contains("No such file"), "{}", ran.err);
        assert_eq!((mount.list("staging"), mount.list("receipts")), (vec![], vec!["m1.jsonl.json".to_owned()]), "{to}");
    }
    assert_eq!(mount.count("log.jsonl"), 3);
    // Who would keep aside what is there finds nothing to keep, and a name that is still taken.
    for backup in ["-b", "--backup=simple --suffix=.old.jsonl"] {
        bash(mount.path(), "rm -f receipts/*; cp ../in.jsonl staging/b.jsonl").ok();
        let (before, ran) = (mount.count("log.jsonl"), bash(mount.path(), &format!("cp {backup} ../other.jsonl staging/b.jsonl")));
        assert!(ran.code != 0 && ran.err.contains("File exists"), "{backup}: {}", ran.err);
        assert_eq!((mount.list("staging"), mount.count("log.jsonl")), (vec![], before), "{backup}");
    }
    let write = |n: usize| format!("-c 'call setline(1, '\"'\"'{}'\"'\"')' -c w", event("a", n).trim_end());
    let (first, second) = (write(11), write(12));
    bash(mount.path(), &format!("TERM=dumb vim -N -u NONE -i NONE -es {first} {second} -c qa! staging/v.jsonl")).ok();
    assert_eq!((mount.list("staging"), mount.count("log.jsonl")), (vec![], 7), "two saves, two transactions");
    mount.unmount();
}

#[test]
fn a_temporary_name_is_saved_by_a_rename_once_and_told_if_it_was_committed_already() {
    let (store, mount) = desk();
    let script = "import os, sys, tempfile\n\
        with tempfile.NamedTemporaryFile('w', suffix=sys.argv[1], dir='staging', delete=False) as file: file.write(open('../in.jsonl').read())\n\
        os.replace(file.name, 'staging/order.jsonl')\n";
    fs::write(store.home().join("save.py"), script).unwrap();
    let save = |ending: &str| bash(mount.path(), &format!("python3 ../save.py {ending}"));
    let ran = save(".jsonl").code(1);
    assert!(ran.err.contains("FileNotFoundError"), "{}", ran.err);
    assert_eq!((mount.list("staging"), mount.list("receipts").len(), mount.count("log.jsonl")), (vec![], 1, 2));
    assert!(mount.list("receipts")[0].starts_with("tmp"), "the name that was committed");
    save(".jsonl.tmp").ok();
    assert_eq!(mount.read_json("receipts/order.jsonl.json")["state"], "committed");
    assert_eq!((mount.list("staging"), mount.count("log.jsonl")), (vec![], 3));
    mount.unmount();
}

/// The receipt of the newest one, which may be on its way.
#[test]
fn a_receipt_that_is_removed_right_after_a_second_transaction_of_its_name_stays_away() {
    let (_store, mount) = desk();
    for round in 0..10 {
        let script =
            format!("cp ../in.jsonl staging/k{round}.jsonl; cp ../other.jsonl staging/k{round}.jsonl; rm receipts/k{round}.jsonl.json");
        bash(mount.path(), &script).ok();
        assert!(!mount.list("receipts").contains(&format!("k{round}.jsonl.json")), "{round}");
        bash(mount.path(), &format!("cp ../other.jsonl staging/k{round}.jsonl")).ok();
    }
    assert_eq!(mount.count("log.jsonl"), 31);
    mount.unmount();
}

/// The kernel still knows the file that went with the refusal.
#[test]
fn what_is_saved_right_after_a_refused_second_save_is_a_file_of_its_own() {
    let (_store, mount) = desk();
    let save = |file: &str, n: usize| {
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(mount.join("staging").join(file)).and_then(|mut file| {
            std::io::Write::write_all(&mut file, event("a", n).as_bytes())?;
            nix::unistd::close(file).map_err(Into::into)
        })
    };
    for round in 0..20 {
        let name = format!("r{round}.jsonl");
        save(&name, round).unwrap();
        assert_eq!(save(&name, round).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        save(&name, 100 + round).unwrap_or_else(|error| panic!("{round}: {error}"));
    }
    assert_eq!(mount.count("log.jsonl"), 41);
    mount.unmount();
}

#[test]
fn editors_save_drafts_and_commit_names_and_not_views() {
    let (_store, mount) = desk();
    let text = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}";
    let vim = |file: &str, text: &str| {
        bash(mount.path(), &format!("TERM=dumb vim -N -u NONE -i NONE -es -c 'call setline(1, '\"'\"'{text}'\"'\"')' -c wq! {file}"))
    };
    let emacs = |file: &str, text: &str| {
        let lisp = format!("(progn (find-file \"{file}\") (erase-buffer) (insert {text:?} \"\\n\") (save-buffer))");
        run("sh", ["-c", "cd \"$1\" && exec emacs -Q --batch --eval \"$2\"", "sh", mount.path().to_str().unwrap(), &lisp])
    };
    vim("staging/v.txt", text).ok();
    assert_eq!(mount.read("staging/v.txt"), format!("{text}\n"));
    vim("staging/v.jsonl", text).ok();
    assert_ne!(vim("log.jsonl", text).code, 0);
    emacs("staging/e.txt", text).ok();
    emacs("staging/e.jsonl", text).ok();
    assert_ne!(emacs("log.jsonl", text).code, 0);
    assert_eq!(mount.count("log.jsonl"), 3);
    bash(mount.path(), "rm -f staging/v.txt staging/e.txt staging/*~").ok();
    eventually("editors leave nothing behind", || mount.list("staging").is_empty());
    mount.unmount();
}

const TEXT: &str = "{\"stream\":\"a\",\"type\":\"T\",\"data\":1}";
const CONTROL_O: &str = "\u{f}";
const CONTROL_X: &str = "\u{18}";
const SAVE_IN_EMACS: &str = "\u{18}\u{13}";
const END_EMACS: &str = "\u{18}\u{3}";

#[test]
fn nano_saves_a_draft_and_a_commit_name_and_hears_of_refusals() {
    let (_store, mount) = desk();
    let save = |file: &str, text: &str, told: &str| {
        let mut nano = Terminal::start(mount.path(), &format!("nano -I {file}"));
        nano.type_after(&["GNU nano"], text);
        nano.type_after(&[text.get(..8).unwrap_or(text)], CONTROL_O);
        nano.type_after(&["File Name to Write"], "\r");
        nano.type_after(&[told], CONTROL_X);
        if told.starts_with("Error") {
            nano.type_after(&["Save modified buffer"], "n");
        }
        assert!(nano.wait_for_end(), "{file}");
    };
    save("staging/n.txt", TEXT, "Wrote 1 line");
    assert_eq!((mount.read("staging/n.txt").trim_end(), mount.count("log.jsonl")), (TEXT, 1));
    save("staging/n.jsonl", TEXT, "Wrote 1 line");
    assert_eq!(mount.read_json("receipts/n.jsonl.json")["state"], "committed");
    save("staging/bad.jsonl", "no event", "Error writing");
    assert_eq!(mount.read_json("receipts/bad.jsonl.json")["state"], "refused");
    assert_eq!(mount.read("staging/bad.jsonl").trim_end(), "no event");
    save("log.jsonl", "scribble", "Error writing");
    assert_eq!(mount.count("log.jsonl"), 2);
    assert_eq!(mount.list("staging"), ["bad.jsonl", "bad.jsonl.error", "n.txt"]);
    mount.unmount();
}

#[test]
fn emacs_on_a_terminal_saves_a_draft_and_a_commit_name_and_no_view() {
    let (_store, mount) = desk();
    for file in ["staging/e.txt", "staging/e.jsonl"] {
        let mut emacs = Terminal::start(mount.path(), &format!("emacs -nw -Q {file}"));
        emacs.type_after(&["(New file)"], TEXT);
        emacs.type_after(&["data"], SAVE_IN_EMACS);
        emacs.type_after(&["Wrote "], END_EMACS);
        assert!(emacs.wait_for_end(), "{file}");
    }
    assert_eq!((mount.read("staging/e.txt").trim_end(), mount.count("log.jsonl")), (TEXT, 2));
    assert_eq!(mount.read_json("receipts/e.jsonl.json")["state"], "committed");
    let mut emacs = Terminal::start(mount.path(), "emacs -nw -Q log.jsonl");
    emacs.type_after(&["needle"], "\u{18}\u{11}scribble");
    emacs.type_after(&["scribble"], SAVE_IN_EMACS);
    emacs.type_after(&["write-protected"], "yes\r");
    emacs.wait_for(&["Read-only file system", "read-only file system"]);
    drop(emacs);
    assert_eq!(mount.count("log.jsonl"), 2);
    eventually("emacs leaves nothing behind", || mount.list("staging") == ["e.txt"]);
    mount.unmount();
}
