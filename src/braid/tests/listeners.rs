//! Who is called after a publication, and what a listener may do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// Longer than a busy machine takes, and not for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener that counts its calls.
fn counter(braid: &Braid) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    braid.on_publish(Box::new(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    calls
}

/// Story: the commit was made, and its author was told that a bug in braidfs ended it.
#[test]
fn a_listener_that_panics_fails_no_commit_and_keeps_nobody_from_hearing_of_it() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    braid.on_publish(Box::new(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("a bug of the listener's");
    }));
    let behind = counter(&braid);
    for n in 1..=3 {
        assert_eq!(append(&braid, &event("s", n)).events[0].stream_version, u64::from(n));
    }
    assert_eq!(braid.refresh().unwrap().index.stream_version("s"), 3);
    assert!(panics.load(Ordering::SeqCst) >= 3);
    assert_eq!(behind.load(Ordering::SeqCst), panics.load(Ordering::SeqCst));
}

#[test]
fn a_listener_may_listen_to_more() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let (more, later) = (braid.clone(), Arc::new(Mutex::new(None)));
    let kept = Arc::clone(&later);
    braid.on_publish(Box::new(move |_, _| {
        kept.lock().unwrap().get_or_insert_with(|| counter(&more));
    }));
    let (done, answer) = channel();
    std::thread::spawn(move || {
        (1..=2).for_each(|n| drop(append(&braid, &event("s", n))));
        done.send(()).unwrap();
    });
    answer.recv_timeout(PATIENCE).expect("the commits end");
    let later = later.lock().unwrap().take().unwrap();
    assert!(later.load(Ordering::SeqCst) >= 1, "it is called after the next one");
}

#[test]
fn a_listener_on_the_keepers_thread_may_drop_the_last_clone() {
    let (_temp, dir) = store();
    let braid = open(&dir, false);
    let ((hand_over, last), (done, answer)) = (channel::<Braid>(), channel());
    let last = Mutex::new(last);
    braid.on_publish(Box::new(move |_, _| {
        let Ok(braid) = last.lock().unwrap().recv() else { return };
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(braid))).is_ok();
        let _ = done.send((dropped, std::thread::current().name().map(str::to_owned)));
    }));
    let store = Arc::downgrade(braid.store());
    // The keeper's thread publishes it.
    braid.report_drafts(vec![crate::model::Finding {
        kind: FindingKind::IdleDraft,
        severity: crate::model::Severity::Info,
        file: None,
        transaction_id: None,
        message: "draft \"x\" waits".to_owned(),
        hint: String::new(),
    }]);
    hand_over.send(braid).unwrap();
    drop(hand_over);
    assert_eq!(answer.recv_timeout(PATIENCE).unwrap(), (true, Some("keeper".to_owned())));
    let begun = std::time::Instant::now();
    while store.upgrade().is_some() {
        assert!(begun.elapsed() < PATIENCE, "the keeper's thread ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    append(&open(&dir, false), &event("s", 1));
}
