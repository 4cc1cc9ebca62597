//! `checkpoints/` and `snapshots/` with a shell's tools.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::mount::Mount;
use crate::support::run::{bash, braidfs, run, run_with};
use crate::support::store::TestStore;
use crate::support::wait::eventually;

fn desk() -> (TestStore, Mount) {
    let mut store = TestStore::new();
    for n in 0..4 {
        store.transaction().event("s", "T", json!(n)).write();
    }
    let mount = Mount::start(&store.path());
    (store, mount)
}

#[test]
fn a_checkpoint_is_a_file_with_a_number() {
    let (store, mount) = desk();
    let sh = |script: &str| bash(mount.path(), script);
    assert_eq!(sh("ls checkpoints").ok().out, "");
    sh("cat checkpoints/mail").code(1);
    sh("echo 2 > checkpoints/mail && printf 3 > checkpoints/mail && echo 1 > checkpoints/a%2Fb").ok();
    assert_eq!(sh("cat checkpoints/mail; wc -c < checkpoints/mail; ls checkpoints").ok().out, "3\n2\na%2Fb\nmail\n");
    for wrong in ["echo x", "echo 5", "echo 2", "echo -1", "printf 2"] {
        // Each is told by write(2): a shell does not listen to close(2).
        let ran = sh(&format!("{wrong} > checkpoints/mail"));
        assert!(ran.code == 1 && ran.err.contains("Invalid argument"), "{wrong}: {ran:?}");
    }
    let position = fs::read_to_string(store.path().join("checkpoints/6d61696c.json")).unwrap();
    assert!(position.starts_with("00000000-0000-0003-"), "{position}");
    let dir = store.path();
    let get = ["--store", dir.to_str().unwrap(), "checkpoint", "get", "mail"];
    assert_eq!(braidfs(get).ok().out, "3\n");
    braidfs(["--store", dir.to_str().unwrap(), "checkpoint", "set", "mail", "4"]).ok();
    assert_eq!(sh("cat checkpoints/mail && rm checkpoints/mail && ls checkpoints").ok().out, "4\na%2Fb\n");
    sh("rm checkpoints/mail").code(1);
    sh("mkdir checkpoints/d").code(1);
    sh("touch checkpoints/empty && test ! -e checkpoints/empty").ok();
    mount.unmount();
    assert_eq!(braidfs(["--store", dir.to_str().unwrap(), "checkpoint", "get", "a/b"]).ok().out, "1\n");
}

#[test]
fn flock_on_a_checkpoint_is_its_leadership() {
    let (store, mount) = desk();
    let dir = store.path();
    let lead = || braidfs(["--store", dir.to_str().unwrap(), "checkpoint", "lead", "mail", "--", "true"]).code;
    let sh = |script: &str| bash(mount.path(), script);
    assert_eq!(lead(), 0);
    // Held by a shell that waits for a line; it waits for the lock too, which the question who leads takes for a moment.
    let script = "exec 9> checkpoints/mail; flock 9 && echo got; read -r line; echo 4 >&9; cat checkpoints/mail";
    let mut holder = Command::new("bash");
    holder.args(["-c", script]).current_dir(mount.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    eventually("the shell leads", || lead() == 3);
    sh("flock -n -E 7 checkpoints/mail true").code(7);
    sh("flock -n -E 7 checkpoints/other true").ok();
    let mut waiter = Command::new("flock");
    let mut waiter =
        waiter.args(["checkpoints/mail", "cat", "checkpoints/mail"]).current_dir(mount.path()).stdout(Stdio::piped()).spawn().unwrap();
    // A signal that it handles, or holds back, is no end of its wait.
    let script = "import fcntl, signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: print('handled', flush=True))\n\
                  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\nprint('waits', flush=True)\n\
                  with open('checkpoints/mail') as file:\n    fcntl.flock(file, fcntl.LOCK_EX)\n    print('leads')\n";
    let mut signalled = Command::new("python3");
    let signalled = signalled.args(["-c", script]).current_dir(mount.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let call = format!("/proc/{}/syscall", signalled.id());
    let waits = format!("{} ", libc::SYS_flock);
    eventually("it waits", || fs::read_to_string(&call).is_ok_and(|call| call.starts_with(&waits)));
    for signal in ["-USR2", "-USR1"] {
        run("kill", [signal, &signalled.id().to_string()]).ok();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(waiter.try_wait().unwrap().is_none(), "it waits as long as it takes");
    holder.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    assert_eq!(String::from_utf8(holder.wait_with_output().unwrap().stdout).unwrap(), "got\n4\n");
    assert!(waiter.wait().unwrap().success());
    let signalled = signalled.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&signalled.stderr), "");
    assert_eq!(String::from_utf8_lossy(&signalled.stdout), "waits\nhandled\nleads\n");
    eventually("the lead is free", || lead() == 0);
    // A dead holder loses it; one outside the mount keeps those inside out.
    let mut killed = Command::new("flock");
    let mut killed = killed.args(["--no-fork", "checkpoints/mail", "sleep", "60"]).current_dir(mount.path()).spawn().unwrap();
    eventually("the killed one leads", || lead() == 3);
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually("the dead one leads no more", || lead() == 0);
    let outside = fs::File::create(dir.join("locks/6d61696c.lock")).unwrap();
    outside.try_lock().unwrap();
    sh("flock -n -E 7 checkpoints/mail true").code(7);
    drop(outside);
    sh("flock checkpoints/mail true").ok();
    mount.unmount();
}

/// Who opens it, waits for the lock and reads would handle once more what the leader before has handled.
#[test]
fn who_opened_a_checkpoint_before_he_led_reads_what_was_saved_meanwhile() {
    let (_store, mount) = desk();
    let script = "echo 1 > checkpoints/m; exec 9<>checkpoints/m; echo 3 > checkpoints/m; flock -n 9; read -r n <&9; echo $n; \
                  printf '99\\n' >&9; cat checkpoints/m; python3 -c 'import os; print(os.pread(9, 9, 0))'";
    let ran = bash(mount.path(), script);
    assert_eq!(ran.out, "3\n3\nb'3\\n'\n", "{ran:?}");
    mount.unmount();
}

#[test]
fn a_read_only_mount_shows_checkpoints_and_refuses_locks() {
    let (store, mount) = desk();
    bash(mount.path(), "echo 2 > checkpoints/mail").ok();
    mount.unmount();
    let mount = Mount::options(&store.path()).arg("--read-only").start();
    assert_eq!(bash(mount.path(), "ls checkpoints; cat checkpoints/mail").ok().out, "mail\n2\n");
    let ran = bash(mount.path(), "flock -n checkpoints/mail true");
    assert!(ran.code != 0 && ran.err.contains("No locks available"), "{ran:?}");
    bash(mount.path(), "flock -n log.jsonl true").ok();
    // Story: of fcntl(2) the kernel granted any.
    let script = "import errno, fcntl, struct\nfor name in 'checkpoints/mail', 'log.jsonl':\n  with open(name) as file:\n    \
                  for command in fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_OFD_SETLK:\n      for kind in fcntl.F_RDLCK, fcntl.F_UNLCK:\n        \
                  try:\n          fcntl.fcntl(file, command, struct.pack('hhqqi4x', kind, 0, 0, 0, 0))\n          print('ok')\n        \
                  except OSError as error:\n          print(errno.errorcode[error.errno])\n";
    let ran = run_with(Command::new("python3").args(["-c", script]).current_dir(mount.path()), b"").ok();
    assert_eq!(ran.out.split_whitespace().collect::<Vec<_>>(), [["ENOLCK", "ok"].repeat(3), ["ok", "ok"].repeat(3)].concat());
    bash(mount.path(), "echo 3 > checkpoints/mail").code(1);
    mount.unmount();
}

/// Story: `cat latest.json after.jsonl` lacked events in one of ten reads, for a newer state was saved in between.
#[test]
fn recovery_has_no_gap_while_somebody_saves() {
    let (_store, mount) = desk();
    let save = |seq_nr: u64, name: &str| {
        let draft = format!("{{\"snapshot\":{{\"name\":\"race\",\"seq_nr\":{seq_nr}}},\"state\":{{\n\"n\":{seq_nr}}}}}");
        fs::write(mount.join(format!("staging/{name}.json")), draft).unwrap();
    };
    save(1, "first");
    eventually("the state is shown", || mount.join("snapshots/race/recovery.jsonl").exists());
    let (done, reads) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let text = mount.read("snapshots/race/recovery.jsonl");
                let mut lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                let state = lines.next().unwrap();
                let covered = state["snapshot"]["seq_nr"].as_u64().unwrap();
                assert_eq!(state["state"]["n"], covered);
                for (seq_nr, line) in (covered + 1..).zip(lines) {
                    assert_eq!(line["seq_nr"], seq_nr, "{text}");
                }
                reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        for n in 5..80 {
            fs::write(mount.join("append"), "{\"stream\":\"s\",\"type\":\"T\",\"data\":1}\n").unwrap();
            save(n - 2, &format!("n{n}"));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(reads.into_inner() > 10);
    eventually("the last state is shown", || mount.read("snapshots/race/recovery.jsonl").lines().count() == 3);
    mount.unmount();
}

#[test]
fn a_state_is_saved_by_dropping_it_and_recovered_by_cat() {
    let (_store, mount) = desk();
    let sh = |script: &str| bash(mount.path(), script);
    assert_eq!(sh("ls snapshots").ok().out, "");
    let draft = r#"{"snapshot":{"name":"sum","seq_nr":2},"state":{"total": 1.50}}"#;
    sh(&format!("echo '{draft}' > staging/state.jsonl")).ok();
    let receipt: serde_json::Value = serde_json::from_str(&sh("cat receipts/state.jsonl.json").ok().out).unwrap();
    assert_eq!(
        (&receipt["state"], &receipt["transaction_id"], &receipt["snapshot"]["seq_nr"]),
        (&json!("committed"), &json!(null), &json!(2))
    );
    assert_eq!((&receipt["snapshot"]["name"], &receipt["snapshot"]["versions"]), (&json!("sum"), &json!(null)));
    let of_streams = r#"{"snapshot":{"name":"one","versions":{"s":1}},"state":1}"#;
    fs::write(mount.join("staging/t.json"), of_streams).unwrap();
    let saved = &mount.read_json("receipts/t.json.json")["snapshot"];
    assert_eq!((&saved["versions"]["s"], &saved["seq_nr"], &saved["name"]), (&json!(1), &json!(null), &json!("one")));
    eventually("the state is shown", || sh("test -e snapshots/sum/latest.json").code == 0);
    assert!(sh("cat snapshots/sum/latest.json").ok().out.ends_with("\"state\":{\"total\": 1.50}}\n"));
    assert_eq!(sh("cat snapshots/sum/latest.json snapshots/sum/after.jsonl").ok().lines().len(), 3);
    sh("cat snapshots/sum/latest.json snapshots/sum/after.jsonl | cmp - snapshots/sum/recovery.jsonl").ok();
    assert_eq!(sh("ls snapshots/sum").ok().out, "2.json\nafter.jsonl\nlatest.json\nrecovery.jsonl\n");
    let older = draft.replace("\"seq_nr\":2", "\"seq_nr\":1");
    sh(&format!("echo '{older}' > staging/.older && mv staging/.older staging/older.jsonl")).code(1);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&sh("cat receipts/older.jsonl.json").ok().out).unwrap()["reasons"][0]["errno"],
        "ESTALE"
    );
    mount.unmount();
}
