//! `views/` on a mount: whoever looks at a state waits for its fold, and nobody else does.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::support::mount::Mount;
use crate::support::run::{bash, run};
use crate::support::store::TestStore;
use crate::support::wait::{eventually, eventually_some};

/// A store with two events and these folds.
fn store(folds: &[(&str, &str)]) -> TestStore {
    let mut store = TestStore::new();
    store.transaction().event("a", "T", 2.into()).event("a", "T", 3.into()).write();
    fs::create_dir_all(store.path().join("projections")).unwrap();
    for (name, text) in folds {
        fs::write(store.path().join(format!("projections/{name}.jq")), text).unwrap();
    }
    store
}

/// Story: a read-only mount lets the kernel keep the names, and told it of none that came or went.
#[test]
fn views_are_listed_as_their_definitions_come_and_go() {
    let store = store(&[("a", "#: init: 0\n. + 1\n")]);
    for read_only in [true, false] {
        let options = Mount::options(&store.path());
        let mount = if read_only { options.arg("--read-only") } else { options }.start();
        let definition = store.path().join("projections/b.jq");
        for past in ["", "at/position:1/"] {
            let views = || mount.list(&format!("{past}views"));
            assert_eq!(views(), ["a.json"]);
            fs::write(&definition, "#: init: 0\n#: per: stream\n. + 1\n").unwrap();
            eventually("it is listed", || views() == ["a.json", "b"]);
            assert_eq!(mount.list(&format!("{past}views/b")), ["a.json"]);
            fs::write(&definition, "#: init: 0\n#: per: stream\n#: streams: c*\n. + 1\n").unwrap();
            eventually("its keys are others", || mount.list(&format!("{past}views/b")).is_empty());
            fs::remove_file(&definition).unwrap();
            eventually("it is not listed any more", || views() == ["a.json"]);
        }
        mount.unmount();
    }
}

/// Story: a read-only mount is told of no open, and kept a state only once an epoch came: replaced before, its definition took the state away.
#[test]
fn a_state_that_is_open_stays_whole_while_its_definition_is_replaced() {
    let store = store(&[("a", "#: init: 0\n. + 1\n"), ("b", "#: init: 0\n#: per: stream\n. + 1\n")]);
    for read_only in [true, false] {
        let options = Mount::options(&store.path());
        let mount = if read_only { options.arg("--read-only") } else { options }.start();
        // From then on the kernel of a read-only mount opens by itself.
        mount.read("log.jsonl");
        let names = ["views/a.json", "views/b/a.json"];
        let open = names.map(|name| fs::File::open(mount.join(name)).unwrap());
        for (name, per) in [("a", ""), ("b", "#: per: stream\n")] {
            fs::write(store.path().join(format!("projections/{name}.jq")), format!("#: init: 7\n{per}. + 1\n")).unwrap();
        }
        eventually("the names have the next states", || names.iter().all(|name| mount.read(name).trim() == "9"));
        for (mut file, name) in open.into_iter().zip(names) {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut file, &mut text).unwrap_or_else(|error| panic!("{name}, read-only {read_only}: {error}"));
            assert_eq!(text.trim(), "2", "{name}");
        }
        for (name, per) in [("a", ""), ("b", "#: per: stream\n")] {
            fs::write(store.path().join(format!("projections/{name}.jq")), format!("#: init: 0\n{per}. + 1\n")).unwrap();
        }
        mount.unmount();
    }
}

/// A process that begins to read a file.
fn reader(mount: &Mount, name: &str) -> Child {
    Command::new("cat").arg(mount.join(name)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The daemon's process that folds.
fn worker(mount: &Mount) -> Option<u32> {
    let parent = format!("PPid:\t{}", mount.pid());
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    let says = |pid: u32, what: &str, is_so: &dyn Fn(&str) -> bool| {
        fs::read_to_string(format!("/proc/{pid}/{what}")).is_ok_and(|said| is_so(&said))
    };
    // The daemon has other children for a moment.
    let is_worker = |&pid: &u32| {
        says(pid, "status", &|status| status.lines().any(|line| line == parent))
            && says(pid, "cmdline", &|words| words.ends_with("\0fold\0"))
    };
    processes.into_iter().find(is_worker)
}

/// The fold stands still instead of being at work, so that it is at it for as long as the test takes, however slow the machine is.
#[test]
fn a_fold_that_does_not_end_delays_nothing_else() {
    let store = store(&[("stuck", "#: init: 0\n. as $n | until(false; .) | $n\n"), ("sum", "#: init: 0\n. + $event.event_data\n")]);
    let mount = Mount::start(&store.path());
    // More than there are threads that serve the kernel.
    let mut readers: Vec<Child> = (0..8).map(|_| reader(&mount, "views/stuck.json")).collect();
    let folding = eventually_some("the fold begins", || worker(&mount)).to_string();
    run("kill", ["-STOP", &folding]).ok();
    let mut lister = Command::new("ls").arg("-l").arg(mount.join("views")).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(mount.read("views/sum.json"), "5\n", "nor another fold");
    for number in 3..=5u64 {
        fs::write(mount.join("append"), "{\"stream\":\"a\",\"type\":\"T\",\"data\":7}\n").unwrap();
        assert_eq!(mount.read_lines("streams/a.jsonl").len() as u64, number);
        assert_eq!(mount.read_json("status.json")["events"], number);
        assert_eq!(mount.read_lines("at/seq:2/log.jsonl").len(), 2);
    }
    fs::write(mount.join("staging/x.jsonl"), "{\"stream\":\"b\",\"type\":\"T\",\"data\":7}\n").unwrap();
    assert_eq!(mount.read_json("receipts/x.jsonl.json")["state"], "committed");
    assert_eq!(mount.read_lines("feed.jsonl").len(), 6);
    for waiting in readers.iter_mut().chain([&mut lister]) {
        assert!(waiting.try_wait().unwrap().is_none(), "nobody knows the state yet");
    }
    run("kill", ["-CONT", &folding]).ok();
    // It is killed by its limit and the state is what went wrong.
    eventually("the readers are answered", || readers.iter_mut().chain([&mut lister]).all(|waiting| waiting.try_wait().unwrap().is_some()));
    assert_eq!(mount.read_json("views/stuck.json")["error"]["kind"], "limit");
    assert!(mount.unmount().success());
}

#[test]
fn a_state_that_is_open_stays_whole_while_its_name_comes_to_stand_for_the_next() {
    let store =
        store(&[("sum", "#: init: 0\n. + $event.event_data\n"), ("list", "#: init: []\n#: per: stream\n. + [$event.event_data]\n")]);
    for read_only in [false, true] {
        let options = Mount::options(&store.path());
        let mount = if read_only { options.arg("--read-only").start() } else { options.start() };
        let before = [mount.read("views/sum.json"), mount.read("views/list/a.json")];
        let script = format!(
            "exec 3<views/sum.json 4<views/list/a.json; braidfs=$1; printf '%s\\n' '{{\"stream\":\"a\",\"type\":\"T\",\"data\":1}}' | \"$braidfs\" --store \"$2\" append >/dev/null;
             for _ in {{1..600}}; do [ \"$(wc -l <streams/a.jsonl)\" = {} ] && break; sleep 0.1; done; cat <&3; cat <&4; cat views/sum.json views/list/a.json",
            if read_only { 4 } else { 3 }
        );
        let ran = run(
            "bash",
            [
                "-c",
                &format!("cd '{}'; {script}", mount.path().display()),
                "bash",
                env!("CARGO_BIN_EXE_braidfs"),
                store.path().to_str().unwrap(),
            ],
        );
        let lines: Vec<String> = ran.ok().lines().iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(lines[..2], before, "read-only: {read_only}");
        assert_ne!(lines[2..], before);
        let sum: u64 = lines[2].trim().parse().unwrap();
        assert_eq!(sum, before[0].trim().parse::<u64>().unwrap() + 1);
        assert!(mount.unmount().success());
    }
}

/// How many findings tell of broken projections, and what the first of them says.
fn broken(mount: &Mount) -> (usize, String) {
    let status = mount.read_json("status.json");
    let broken = status["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "broken-projection");
    (broken.clone().count(), broken.map(|finding| finding["message"].as_str().unwrap()).next().unwrap_or_default().to_owned())
}

#[test]
fn what_is_told_of_a_definition_comes_and_goes_in_an_idle_store_whose_views_nobody_reads() {
    let store = store(&[]);
    for read_only in [false, true] {
        let options = Mount::options(&store.path());
        let mount = if read_only { options.arg("--read-only").start() } else { options.start() };
        let definition = store.path().join("projections/sum.jq");
        fs::write(&definition, ". + 1\n").unwrap();
        eventually("a text without settings is told", || broken(&mount).1.contains("no initial state"));
        fs::write(&definition, "#: init: 0\n. + (\n").unwrap();
        eventually("another fault takes its place", || broken(&mount).1.contains("is no jq"));
        assert_eq!(broken(&mount).0, 1);
        fs::write(&definition, "#: init: 0\n. + 1\n").unwrap();
        eventually("it is mended", || broken(&mount).0 == 0);
        fs::write(&definition, "#: init: 0\nerror(\"no\")\n").unwrap();
        eventually("the view shows its fault", || mount.read("views/sum.json").contains("the step failed"));
        eventually("what a reader met is told", || broken(&mount).1.contains("the step failed"));
        fs::write(&definition, "#: init: 0\n. + 2\n").unwrap();
        eventually("that is mended, and nobody has looked", || broken(&mount).0 == 0);
        fs::write(&definition, "nonsense (\n").unwrap();
        eventually("broken once more", || broken(&mount).0 == 1);
        fs::remove_file(&definition).unwrap();
        eventually("a definition that is gone is not told of", || broken(&mount).0 == 0);
        assert!(mount.unmount().success());
    }
}

/// Story: a pipe was opened and waited for, by the daemon with all who append, and by every command that looks at the definitions.
#[test]
fn what_is_no_file_among_the_definitions_is_told_and_never_waited_for() {
    let store = store(&[("sum", "#: init: 0\n. + $event.event_data\n")]);
    let mount = Mount::start(&store.path());
    bash(&store.path(), "mkfifo projections/pipe.jq && ln -s pipe.jq projections/link.jq").ok();
    eventually("both are told", || broken(&mount).0 == 2);
    assert!(broken(&mount).1.contains("it is no regular file"));
    bash(
        mount.path(),
        "timeout 20 ls views && timeout 20 cat views/pipe.json && echo '{\"stream\":\"a\",\"type\":\"T\",\"data\":1}' > append",
    )
    .ok();
    eventually("the other goes on", || mount.read("views/sum.json") == "6\n");
    for command in ["projection list", "doctor", "verify"] {
        let script = format!("timeout 20 {} --store . {command}", env!("CARGO_BIN_EXE_braidfs"));
        assert_ne!(bash(&store.path(), &script).code, 124, "{command}");
    }
    mount.unmount();
}

#[test]
fn the_past_shows_the_folds_of_now_over_the_events_of_then() {
    let store =
        store(&[("sum", "#: init: 0\n. + $event.event_data\n"), ("list", "#: init: []\n#: per: stream\n. + [$event.event_data]\n")]);
    let mount = Mount::start(&store.path());
    for data in [10, 20] {
        fs::write(mount.join("append"), format!("{{\"stream\":\"b\",\"type\":\"T\",\"data\":{data}}}\n")).unwrap();
    }
    assert_eq!(mount.read("views/sum.json"), "35\n");
    for (position, sum, streams) in [(2, "5\n", &["a.json"][..]), (3, "15\n", &["a.json", "b.json"]), (4, "35\n", &["a.json", "b.json"])] {
        let then = format!("at/position:{position}/views");
        assert_eq!(mount.list(&then), ["list", "sum.json"]);
        assert_eq!(mount.read(&format!("{then}/sum.json")), sum);
        assert_eq!(mount.list(&format!("{then}/list")), streams);
        assert_eq!(mount.read(&format!("{then}/list/a.json")), "[2,3]\n");
    }
    // What breaks only later is whole in a past before it, and no past makes a finding of the present.
    fs::write(store.path().join("projections/sum.jq"), "#: init: 0\nif $event.event_data == 20 then error(\"twenty\") else . + 1 end\n")
        .unwrap();
    assert_eq!(mount.read_json("at/position:4/views/sum.json")["error"]["kind"], "step");
    assert_eq!(mount.read("at/position:3/views/sum.json"), "3\n");
    assert_eq!(broken(&mount).0, 0);
    assert_eq!(mount.read_json("views/sum.json")["event"]["event_data"], 20);
    eventually("the finding is shown", || broken(&mount).0 == 1);
    fs::write(store.path().join("projections/sum.jq"), "#: init: 0\n. + 1\n").unwrap();
    assert_eq!(mount.read("views/sum.json"), "4\n");
    eventually("the finding is gone", || broken(&mount).0 == 0);
    assert!(mount.unmount().success());
}
