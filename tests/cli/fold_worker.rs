//! The worker of a fold: the same states as a fold in this process, and limits that hold.

use std::path::Path;

use braidfs::fold::{Definition, FoldErrorKind, Folder, Limits, Per, Program, Worker};

const STUCK: &str = "if $event.stream_version == 300 then last(repeat(.)) else . + 1 end";

fn worker(limits: Limits) -> Worker {
    Worker::start(Path::new(env!("CARGO_BIN_EXE_braidfs")), limits).unwrap()
}

fn event(n: usize) -> String {
    format!(r#"{{"stream_version":{n},"event_id":"{}","event_type":"T{}","event_data":{{"n":{n}}}}}"#, event_id(n), n % 3)
}

fn event_id(n: usize) -> String {
    format!("0190a0b0-0000-7000-8000-{n:012}")
}

fn events(count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(event)
}

#[test]
fn a_worker_folds_as_the_library_does_and_goes_on_from_any_state() {
    let step = ".[$event.event_type] //= {} | .[$event.event_type].sum += $event.event_data.n | .last = $event.event_id";
    let mut here = Folder::new(Program::compile(step).unwrap(), b"{}").unwrap();
    events(700).for_each(|event| here.apply(event.as_bytes()).unwrap());
    let mut worker = worker(Limits::default());
    let whole = worker.fold(step, b"{\n}", events(700)).unwrap();
    assert_eq!(whole, here.state().unwrap());
    let saved = worker.fold(step, b"{}", events(431)).unwrap();
    assert_eq!(worker.fold(step, &saved, events(700).skip(431)).unwrap(), whole);
    assert_eq!(worker.fold(step, &saved, std::iter::empty::<&str>()).unwrap(), saved);
}

#[test]
fn a_definition_is_checked_by_the_worker() {
    let mut worker = worker(Limits::default());
    let definition = Definition::compose("n", "{\"n\":0}", Per::All, "*", ".n += 1").unwrap();
    worker.check(&definition.text, definition.init.as_bytes()).unwrap();
    let error = worker.check("#: init: 0\n.n +", b"0").unwrap_err();
    assert_eq!((error.kind, error.line, error.column), (FoldErrorKind::Program, Some(2), Some(5)), "{error}");
    assert_eq!(worker.check(".", b"{").unwrap_err().kind, FoldErrorKind::Program);
    assert_eq!(worker.fold(&definition.text, b"{\"n\":1}", events(2)).unwrap(), b"{\"n\":3}");
}

#[test]
fn a_failing_step_names_its_event_and_the_worker_goes_on() {
    let mut worker = worker(Limits::default());
    let step = "if $event.event_data.n == 300 then error(\"no more\") else . + 1 end";
    let error = worker.fold(step, b"0", events(400)).unwrap_err();
    assert_eq!((error.kind, error.event_id), (FoldErrorKind::Step, Some(event_id(300).parse().unwrap())), "{error}");
    assert!(error.message.contains("no more"), "{error}");
    assert_eq!(worker.fold(step, b"0", events(299)).unwrap(), b"299");
}

#[test]
fn an_endless_step_is_killed_and_its_event_named() {
    let mut worker = worker(Limits { cpu_ms: 300, ..Limits::default() });
    let error = worker.fold(STUCK, b"0", events(400)).unwrap_err();
    assert_eq!((error.kind, error.event_id), (FoldErrorKind::Limit, Some(event_id(300).parse().unwrap())), "{error}");
    assert!(error.message.contains("300 ms of processor time"), "{error}");
    assert_eq!(worker.fold(". + 1", b"0", events(3)).unwrap(), b"3");
}

#[test]
fn a_worker_that_does_not_answer_is_killed_by_the_clock() {
    let mut worker = worker(Limits { cpu_ms: 600_000, wall_ms: 300, ..Limits::default() });
    let error = worker.fold(STUCK, b"0", events(400)).unwrap_err();
    assert_eq!((error.kind, error.event_id), (FoldErrorKind::Limit, Some(event_id(300).parse().unwrap())), "{error}");
}

#[test]
fn a_step_that_eats_memory_is_the_fault_of_its_event() {
    let mut worker = worker(Limits { memory_bytes_max: 256 << 20, cpu_ms: 600_000, ..Limits::default() });
    for bomb in ["[range(1000000000)]", "\"x\" * 1000000000", "reduce range(100) as $n (\"x\"; . + .)"] {
        let step = format!("if $event.stream_version == 7 then {bomb} | length else . + 1 end");
        let error = worker.fold(&step, b"0", events(10)).unwrap_err();
        assert_eq!((error.kind, error.event_id), (FoldErrorKind::Limit, Some(event_id(7).parse().unwrap())), "{bomb}: {error}");
        assert!(error.message.contains("memory"), "{bomb}: {error}");
    }
}

#[test]
fn bottomless_recursion_and_nesting_end_the_worker_only() {
    let mut worker = worker(Limits { cpu_ms: 600_000, ..Limits::default() });
    let error = worker.fold("def f: 1 + f; f", b"0", events(3)).unwrap_err();
    assert_eq!((error.kind, error.event_id), (FoldErrorKind::Limit, Some(event_id(1).parse().unwrap())), "{error}");
    let nested = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let error = worker.fold(".", b"0", [format!(r#"{{"event_id":"{}","event_data":{nested}}}"#, event_id(1))]).unwrap_err();
    assert_eq!((error.kind, error.event_id), (FoldErrorKind::Limit, Some(event_id(1).parse().unwrap())), "{error}");
    let error = worker.check(&"(".repeat(60_000), b"0").unwrap_err();
    assert!(matches!(error.kind, FoldErrorKind::Limit | FoldErrorKind::Program), "{error}");
    assert_eq!(worker.fold(". + 1", b"0", events(3)).unwrap(), b"3");
}

#[test]
fn a_state_over_its_limit_is_refused() {
    let mut worker = worker(Limits { state_bytes_max: 10_000, ..Limits::default() });
    let error = worker.fold(". + [$event]", b"[]", events(1_000)).unwrap_err();
    assert_eq!(error.kind, FoldErrorKind::Limit, "{error}");
    assert!(error.message.contains("10000 bytes"), "{error}");
    // The event that made it too long is the one after which it is, wherever it stands in what is folded together.
    let step = ". + \"x\" * 100";
    for (saved, culprit) in [(0, 100), (5_000, 50), (9_990, 1)] {
        let state = format!("\"{}\"", "x".repeat(saved));
        let error = worker.fold(step, state.as_bytes(), events(400)).unwrap_err();
        assert_eq!((error.kind, error.event_id), (FoldErrorKind::Limit, Some(event_id(culprit).parse().unwrap())), "{error}");
    }
    assert_eq!(worker.fold(step, b"\"\"", events(99)).unwrap().len(), 9_902);
    // What is not too long any more at the end is none of its faults.
    let step = "if $event.event_data.n == 200 then \"\" else . + \"x\" * 100 end";
    assert_eq!(worker.fold(step, b"\"\"", events(256)).unwrap().len(), 5_602);
}

#[test]
fn a_program_that_is_no_worker_is_the_machines_fault() {
    let absent = Worker::start(Path::new("/nonexistent/braidfs"), Limits::default()).err().unwrap();
    assert_eq!(absent.kind, FoldErrorKind::Machine);
    let mut other = Worker::start(Path::new("/bin/true"), Limits::default()).unwrap();
    assert_eq!(other.fold(".", b"0", events(1)).unwrap_err().kind, FoldErrorKind::Machine);
}
