//! The incremental index against a definition that recomputes everything, in any order of arrival and departure.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use crate::format::lines::digits;
use crate::index::feed::Slot;
use crate::index::{Arrival, ArrivalEvent, Index, List};
use crate::model::{EventId, Header, ReplicaId, TransactionId};

#[derive(Clone, Debug)]
struct Made {
    header: Header,
    /// Stream, type and event id.
    events: Vec<(String, String, EventId)>,
}

fn id(n: usize) -> Uuid {
    Uuid::from_u128(n as u128 + 1)
}

fn made(n: usize, parents: &[usize], second: u8, replica: u8, events: &[(u8, u8)]) -> Made {
    let streams = ["a", "a-1", "a-2", "b/c", "b/d/e", "long:x"];
    let header = Header {
        format_version: 2,
        transaction_id: TransactionId(id(n)),
        replica_id: ReplicaId(Uuid::from_u128(u128::from(replica))),
        parents: parents.iter().map(|&parent| TransactionId(id(parent))).collect(),
        created_at: format!("2026-01-01T00:00:{:02}+00:00", second % 60),
        stream_bases: Vec::new(),
        content_hash: None,
        resolves: Vec::new(),
        key: None,
    };
    let named = |&(stream, kind): &(u8, u8)| (streams[stream as usize % streams.len()].to_owned(), format!("T{}", kind % 3));
    let events = events.iter().map(named).enumerate();
    Made { header, events: events.map(|(at, (stream, kind))| (stream, kind, EventId(id(n * 100 + at)))).collect() }
}

fn enter(index: &mut Index, made: &Made) -> u32 {
    let mut lines = Vec::new();
    let mut events = Vec::new();
    for (stream, kind, event_id) in &made.events {
        let line = format!("\"event_id\":\"{event_id}\",\"stream_id\":\"{stream}\"}}\n");
        lines.extend_from_slice(line.as_bytes());
        events.push(ArrivalEvent { event_id: *event_id, stream_id: stream, event_type: kind, line_len: line.len() });
    }
    index.enter(&Arrival { header: &made.header, odd_name: None, inode: 1, stamp: 0, header_sum: 0, events }, &lines)
}

/// Transactions in canonical order, recomputed from nothing; what stands in or behind a cycle is left out.
fn expected_order(here: &BTreeMap<usize, Made>) -> Vec<usize> {
    let ids: BTreeMap<TransactionId, usize> = here.iter().map(|(&n, made)| (made.header.transaction_id, n)).collect();
    let mut depths: BTreeMap<usize, u32> = BTreeMap::new();
    loop {
        let before = depths.len();
        for (&n, made) in here {
            let parents: Vec<usize> = made.header.parents.iter().filter_map(|parent| ids.get(parent).copied()).collect();
            if !depths.contains_key(&n) && parents.iter().all(|parent| depths.contains_key(parent)) {
                depths.insert(n, parents.iter().map(|parent| depths[parent] + 1).max().unwrap_or(0));
            }
        }
        if depths.len() == before {
            break;
        }
    }
    let mut order: Vec<usize> = depths.keys().copied().collect();
    order.sort_by_key(|n| {
        let header = &here[n].header;
        (depths[n], header.created_at.clone(), header.replica_id, header.transaction_id)
    });
    order
}

fn check_list(index: &Index, list: Option<&List>, expected: &[EventId]) -> Result<(), TestCaseError> {
    let events: Vec<u32> = list.map(|list| list.events.iter_from(0).collect()).unwrap_or_default();
    let ids: Vec<EventId> = events.iter().map(|&event| index.events.id(event, &index.pack)).collect();
    prop_assert_eq!(&ids[..], expected);
    let bytes: u64 =
        events.iter().map(|&event| index.events.tail(event, &index.pack).len() as u64 + digits(index.events.version(event).into())).sum();
    prop_assert_eq!(list.map_or(0, |list| list.events.bytes()), bytes);
    Ok(())
}

fn check(index: &Index, here: &BTreeMap<usize, Made>) -> Result<(), TestCaseError> {
    let order = expected_order(here);
    let ids: Vec<TransactionId> = index.order.iter_from(0).map(|tx| index.transactions.id(tx)).collect();
    prop_assert_eq!(ids, order.iter().map(|&n| here[&n].header.transaction_id).collect::<Vec<_>>());
    let all: Vec<&(String, String, EventId)> = order.iter().flat_map(|n| &here[n].events).collect();
    check_list(index, Some(&index.log), &all.iter().map(|event| event.2).collect::<Vec<_>>())?;
    let mut versions: BTreeMap<&str, u32> = BTreeMap::new();
    for (position, (stream, _, event_id)) in (1..).zip(&all) {
        let version = versions.entry(stream).or_default();
        *version += 1;
        let event = index.find_event(*event_id).expect("an event in the views is found by its id");
        prop_assert_eq!(index.events.version(event), *version);
        prop_assert_eq!(index.position(event), position);
    }
    for number in 0..index.streams.len() {
        let name = index.streams.text(number);
        let of = |event: &&&(String, String, EventId)| event.0 == name;
        check_list(index, index.stream_list(number), &all.iter().filter(of).map(|event| event.2).collect::<Vec<_>>())?;
    }
    for number in 0..index.types.len() {
        let name = index.types.text(number);
        check_list(index, index.type_list(number), &all.iter().filter(|event| event.1 == name).map(|event| event.2).collect::<Vec<_>>())?;
    }
    for number in 0..index.categories.len() {
        let name = index.categories.text(number);
        let of = |event: &&&(String, String, EventId)| event.0.split_once(['-', ':', '/']).is_some_and(|(category, _)| category == name);
        check_list(index, index.category_list(number), &all.iter().filter(of).map(|event| event.2).collect::<Vec<_>>())?;
    }
    let parents: BTreeSet<TransactionId> = order.iter().flat_map(|n| here[n].header.parents.clone()).collect();
    let mut heads: Vec<TransactionId> = order.iter().map(|n| here[n].header.transaction_id).filter(|id| !parents.contains(id)).collect();
    heads.sort_unstable();
    prop_assert_eq!(index.transactions.heads(), heads);
    let live: BTreeSet<&str> = all.iter().map(|event| event.0.as_str()).collect();
    prop_assert_eq!(index.directories.live(), live.len() as u64);
    let valid: BTreeSet<TransactionId> = order.iter().map(|n| here[n].header.transaction_id).collect();
    let missing: BTreeSet<TransactionId> = parents.difference(&valid).copied().collect();
    let noted: BTreeSet<TransactionId> = index.transactions.missing().keys().map(|&tx| index.transactions.id(tx)).collect();
    prop_assert_eq!(noted, missing);
    Ok(())
}

/// The incarnation and the lines (event and version) of each view.
type Shown = BTreeMap<String, (u32, Vec<(u32, u32)>)>;

/// Lines of every view, to see that an incarnation stands for bytes that only grow.
fn shown(index: &Index) -> Shown {
    let lines = |list: &List| (list.incarnation, list.events.iter_from(0).map(|event| (event, index.events.version(event))).collect());
    let mut shown = BTreeMap::from([("log".to_owned(), lines(&index.log))]);
    for number in 0..index.streams.len() {
        shown.extend(index.stream_list(number).map(|list| (format!("stream {number}"), lines(list))));
    }
    for number in 0..index.types.len() {
        shown.extend(index.type_list(number).map(|list| (format!("type {number}"), lines(list))));
    }
    for number in 0..index.categories.len() {
        shown.extend(index.category_list(number).map(|list| (format!("category {number}"), lines(list))));
    }
    shown
}

fn check_growth(before: &Shown, index: &Index) -> Result<(), TestCaseError> {
    for (name, (incarnation, lines)) in shown(index) {
        if let Some((old, old_lines)) = before.get(&name)
            && *old == incarnation
        {
            prop_assert!(lines.starts_with(old_lines), "{} changed under one incarnation", name);
        }
    }
    Ok(())
}

type Shape = (Vec<usize>, u8, u8, Vec<(u8, u8)>);

fn shapes(cycles: bool) -> impl Strategy<Value = Vec<Shape>> {
    let one = (prop::collection::vec(0usize..40, 0..3), 0u8..5, 0u8..3, prop::collection::vec((0u8..6, 0u8..3), 0..3));
    prop::collection::vec(one, 1..30).prop_map(move |mut shapes: Vec<Shape>| {
        for (n, shape) in shapes.iter_mut().enumerate() {
            // Mostly parents that come before; one in 37 and up stands for a file that is nowhere.
            let keep_cycle = cycles && n % 7 == 3;
            shape.0.iter_mut().for_each(|parent| {
                if !keep_cycle && *parent < 38 {
                    *parent = if n == 0 { 39 } else { *parent % n };
                }
            });
        }
        shapes
    })
}

fn run(shapes: &[Shape], steps: &[(usize, bool)]) -> Result<(), TestCaseError> {
    let all: Vec<Made> =
        shapes.iter().enumerate().map(|(n, (parents, second, replica, events))| made(n, parents, *second, *replica, events)).collect();
    let mut index = Index::default();
    let mut here: BTreeMap<usize, Made> = BTreeMap::new();
    for chunk in steps.chunks(3) {
        let before = shown(&index);
        let (mut entered, mut gone) = (Vec::new(), Vec::new());
        for &(pick, come) in chunk {
            let n = pick % all.len();
            if come && !here.contains_key(&n) && !gone.contains(&n) {
                here.insert(n, all[n].clone());
                entered.push(n);
            } else if !come && here.contains_key(&n) && !entered.contains(&n) {
                here.remove(&n);
                gone.push(n);
            }
        }
        let gone: Vec<u32> = gone.iter().map(|&n| index.transactions.find(TransactionId(id(n))).expect("it was entered")).collect();
        let entered: Vec<u32> = entered.iter().map(|&n| enter(&mut index, &all[n])).collect();
        index.link(&entered, &gone);
        check(&index, &here)?;
        check_growth(&before, &index)?;
    }
    Ok(())
}

/// What is cut off where it comes weighed less than it weighs behind: its last versions have a digit more.
#[test]
fn an_arrival_that_gives_versions_another_digit_is_weighed() {
    for len in [9, 99, 999] {
        let mut here: BTreeMap<usize, Made> = BTreeMap::new();
        let mut index = Index::default();
        let mut come = |n: usize, parents: &[usize]| {
            let made = made(n, parents, 0, 1, &[(1, 0)]);
            let number = enter(&mut index, &made);
            index.link(&[number], &[]);
            here.insert(n, made);
            if n + 1 >= len {
                check(&index, &here).unwrap();
            }
        };
        (0..len).for_each(|n| come(n, &n.checked_sub(1).into_iter().collect::<Vec<_>>()));
        come(len, &[len - 3]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn incremental_equals_from_scratch(shapes in shapes(false), steps in prop::collection::vec((0usize..60, prop::bool::weighted(0.8)), 1..60)) {
        run(&shapes, &steps)?;
    }

    #[test]
    fn cycles_are_left_out_and_come_back_when_they_open(shapes in shapes(true), steps in prop::collection::vec((0usize..60, prop::bool::weighted(0.7)), 1..60)) {
        run(&shapes, &steps)?;
    }
}

#[test]
fn a_long_chain_is_linked_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let done = small.spawn(|| {
        let mut index = Index::default();
        // Backwards, so that every arrival but the last lacks its parent.
        let entered: Vec<u32> = (0..200_000usize)
            .rev()
            .map(|n| {
                let parents: Vec<usize> = n.checked_sub(1).into_iter().collect();
                enter(&mut index, &made(n, &parents, 0, 0, &[]))
            })
            .collect();
        index.link(&entered, &[]);
        let last = index.order.len().checked_sub(1).and_then(|last| index.order.get(last));
        assert_eq!(last.map(|tx| index.transactions.depth(tx)), Some(199_999));
    });
    done.expect("a thread starts").join().expect("no stack overflows");
}

/// Each base was looked for among all events, and each parent among all others: half a minute for the largest draft.
#[test]
fn a_transaction_of_many_streams_and_parents_is_no_matter_of_pairs() {
    const MANY: usize = 100_000;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut made = made(0, &(1..MANY).collect::<Vec<_>>(), 0, 0, &[]);
        made.events = (0..MANY).map(|n| (format!("s-{n}"), "T".to_owned(), EventId(id(n)))).collect();
        made.header.stream_bases = (0..=MANY).map(|n| (format!("s-{n}"), 0)).collect();
        let mut index = Index::default();
        let entered = enter(&mut index, &made);
        index.link(&[entered], &[]);
        tell.send((index.transactions.listed(entered).count(), index.log.events.len())).unwrap();
    });
    // Linear work takes a second or two.
    let done = told.recv_timeout(std::time::Duration::from_secs(100));
    assert_eq!(done, Ok((MANY - 1, MANY as u64)));
}

#[test]
fn the_feed_keeps_its_numbers_when_an_event_goes_and_comes_back() {
    let mut index = Index::default();
    let made = made(1, &[], 0, 0, &[(0, 0), (1, 1)]);
    let tx = enter(&mut index, &made);
    index.link(&[tx], &[]);
    let slots: Vec<Slot> = index.transactions.events(tx).map(Slot::Event).collect();
    let Index { feed, events, .. } = &mut index;
    feed.append(&slots, events);
    let gone: Vec<(u32, EventId)> =
        index.transactions.events(tx).map(|event| (index.events.seq_nr(event), index.events.id(event, &index.pack))).collect();
    assert_eq!(gone.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2]);
    let Index { feed, events, .. } = &mut index;
    feed.mark_gone(&gone, events);
    index.link(&[], &[tx]);
    assert_eq!(
        index.feed.items.iter_from(0).map(|item| index.feed.slot(item)).collect::<Vec<_>>(),
        made.events.iter().map(|event| Slot::Gone(event.2)).collect::<Vec<_>>()
    );
    assert_eq!(index.feed.incarnation, 1);
}

/// A working copy that switches branches takes the same files away and brings them back, as often as it likes.
#[test]
fn what_went_and_returned_a_hundred_times_is_found_at_the_first_look() {
    let mut index = Index::default();
    let mut made = made(1, &[], 0, 0, &[(0, 0), (1, 1)]);
    made.header.key = Some("k".to_owned());
    for _ in 0..100 {
        let tx = enter(&mut index, &made);
        index.link(&[tx], &[]);
        assert_eq!(index.transactions.find_key("k"), Some(tx));
        let first = index.feed.latest();
        let slots: Vec<Slot> = index.transactions.events(tx).map(Slot::Event).collect();
        let Index { feed, events, .. } = &mut index;
        feed.append(&slots, events);
        assert!(index.feed.absent().is_empty());
        for (_, _, id) in &made.events {
            let mut looks = 0;
            index.events.find(*id, &index.pack, |_| {
                looks += 1;
                false
            });
            assert_eq!(looks, 1);
            assert!(index.find_event(*id).is_some());
        }
        index.link(&[], &[tx]);
        let gone: Vec<(u32, EventId)> = (first as u32 + 1..).zip(made.events.iter().map(|event| event.2)).collect();
        let Index { feed, events, .. } = &mut index;
        feed.mark_gone(&gone, events);
        index.note_absent(gone.clone());
        // Each counts once, with its last number.
        let mut absent: Vec<(u64, EventId)> = index.feed.absent().iter().map(|(id, seq)| (seq, id)).collect();
        absent.sort_unstable();
        assert_eq!(absent, gone.iter().map(|&(seq, id)| (u64::from(seq), id)).collect::<Vec<_>>());
    }
    assert_eq!(index.events.found_by_id(), 2);
    assert_eq!(index.transactions.keys_and_details(), (1, 1));
    assert_eq!(index.events.shared_count(), 0);
    assert_eq!(index.feed.gone_count(), 200);
}
