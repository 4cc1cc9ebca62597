//! The pieces by themselves, each many times: what a change to one of them gains or costs (`scripts/bench --only pieces`).

#[path = "../src/data.rs"]
mod data;

use std::hint::black_box;

use braidfs::braid::{Braid, OpenOptions};
use braidfs::format::binary::{Binary as _, Input};
use braidfs::format::names::{decode_stream_path, stream_path};
use braidfs::format::transaction::{normalize, parse_events};
use braidfs::index::{Arrival, ArrivalEvent, Index};
use braidfs::model::EventId;
use braidfs::view::Node;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use data::{Shape, chain, file, header, id};

/// Transactions of the index that grows, is asked and is saved.
const TRANSACTIONS: usize = 100_000;
/// How many arrive at once far back, and how far.
const LATE: usize = 1_000;
const BACK: usize = 10_000;
/// What the kernel asks for at once.
const PAGE: usize = 128 << 10;

fn enter(index: &mut Index, n: usize, parents: &[usize]) -> u32 {
    let (header, event_id) = (header(n, parents), EventId(id(n + 500_000_000)));
    let stream = format!("account-{}", n % 1_000);
    let line = format!("\"event_id\":\"{event_id}\",\"stream_id\":\"{stream}\"}}\n");
    let event = ArrivalEvent { event_id, stream_id: &stream, event_type: "Paid", line_len: line.len() };
    index.enter(&Arrival { header: &header, odd_name: None, inode: 1, stamp: 0, header_sum: 0, events: vec![event] }, line.as_bytes())
}

/// A history of which every tenth transaction is a merge.
fn index() -> Index {
    let mut index = Index::default();
    let parents = |n: usize| match n {
        0 => vec![],
        n if n % 10 == 0 => vec![n - 1, n - 3],
        n => vec![n - 1],
    };
    let numbers: Vec<u32> = (0..TRANSACTIONS).map(|n| enter(&mut index, n, &parents(n))).collect();
    index.link(&numbers, &[]);
    index
}

fn texts(criterion: &mut Criterion) {
    let (_, bytes) = file(7, &[6], 1_000);
    let mut group = criterion.benchmark_group("transaction file");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    // As a start does it: the hash is computed and compared.
    let read = |bytes: &[u8]| {
        let normal = normalize(bytes).expect("a transaction");
        parse_events(normal.payload()).expect("its events").0.len()
    };
    group.bench_function("parse", |bencher| bencher.iter(|| read(black_box(&bytes))));
    group.finish();

    let mut group = criterion.benchmark_group("name of a stream");
    for (what, stream) in [("plain", "account-17/orders/2026"), ("with escapes", "Kunde: Müller & Söhne/…/a\\b")] {
        let path = stream_path(stream);
        group.bench_function(format!("encode, {what}"), |bencher| bencher.iter(|| stream_path(black_box(stream))));
        group.bench_function(format!("decode, {what}"), |bencher| bencher.iter(|| decode_stream_path(black_box(&path)).is_some()));
    }
    group.finish();
}

fn views(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = chain(dir.path(), Shape { transactions: 10_000, streams: 100 });
    let braid = Braid::open(&store, &OpenOptions::default()).expect("a store");
    braid.wait_ready().expect("it opens");
    let mut group = criterion.benchmark_group("page of a view");
    group.throughput(Throughput::Bytes(PAGE as u64));
    for path in ["log.jsonl", "types/Paid.jsonl", "feed.jsonl"] {
        let view = braid.tree().find(path).and_then(Node::into_file).expect("a view");
        let offset = view.size() / 2;
        group.bench_function(format!("render, {path}"), |bencher| bencher.iter(|| view.read(offset, PAGE).expect("bytes").len()));
    }
    group.finish();
}

fn indexes(criterion: &mut Criterion) {
    let index = index();
    let mut group = criterion.benchmark_group(format!("index of {TRANSACTIONS}"));
    group.sample_size(20);
    // Every state is held by a reader, as an epoch is.
    let append = |index: &mut Index| {
        let number = enter(index, TRANSACTIONS, &[TRANSACTIONS - 1]);
        index.link(&[number], &[]);
    };
    group.bench_function("append", |bencher| bencher.iter_batched_ref(|| index.clone(), append, BatchSize::SmallInput));
    let late = |index: &mut Index| {
        let parent = |n: usize| if n == TRANSACTIONS { n - BACK } else { n - 1 };
        let numbers: Vec<u32> = (TRANSACTIONS..TRANSACTIONS + LATE).map(|n| enter(index, n, &[parent(n)])).collect();
        index.link(&numbers, &[]);
    };
    group.bench_function(format!("{LATE} arrive {BACK} back"), |bencher| {
        bencher.iter_batched_ref(|| index.clone(), late, BatchSize::PerIteration);
    });
    let (near, far, last) = (TRANSACTIONS as u32 - 50, 17, TRANSACTIONS as u32 - 1);
    for (what, ancestor) in [("near", near), ("far", far)] {
        group.bench_function(format!("is it an ancestor, {what}"), |bencher| {
            bencher.iter(|| index.is_ancestor(black_box(ancestor), black_box(last)));
        });
    }
    let mut saved = Vec::new();
    index.put(&mut saved);
    group.throughput(Throughput::Bytes(saved.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::with_capacity(saved.len());
            index.put(&mut out);
            out.len()
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Index::take(&mut Input(black_box(&saved))).expect("an index").transactions.len())
    });
    group.finish();
}

criterion_group!(pieces, texts, views, indexes);
criterion_main!(pieces);
