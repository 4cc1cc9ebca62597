//! What an operator sees: metrics in the format of Prometheus, a span for every operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use braidfs::braid::{Braid, OpenOptions, ReconcileOptions, Resolution};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::model::{Draft, SnapshotRequest};
use braidfs::view::Node;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::store::TestStore;

fn draft(text: &str) -> Draft {
    parse_draft(text.as_bytes(), DraftKind::Lines).unwrap()
}

fn open(store: &TestStore) -> Braid {
    let options = OpenOptions { worker: Some(env!("CARGO_BIN_EXE_braidfs").into()), ..OpenOptions::default() };
    let braid = Braid::open(&store.path(), &options).unwrap();
    braid.wait_ready().unwrap();
    braid
}

fn metrics(braid: &Braid) -> BTreeMap<String, f64> {
    let file = braid.tree().find("metrics").and_then(Node::into_file).unwrap();
    parse(&String::from_utf8(file.read_all().unwrap()).unwrap())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads the text format strictly: each family's help, its type, its samples, in this order and together; gives every sample.
fn parse(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'));
    let (mut families, mut samples) = (BTreeSet::new(), BTreeMap::new());
    let mut family: Option<(String, String)> = None;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
            assert!(families.insert(name.to_owned()), "family {name} stands there twice");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(["gauge", "counter", "summary"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            family = Some((name.to_owned(), kind.to_owned()));
            assert!(lines.peek().is_some_and(|next| !next.starts_with('#')), "{name} has no sample");
            continue;
        }
        let (name, kind) = family.as_ref().expect("a sample belongs to a family");
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (base, labels) = series.split_once('{').map_or((series, None), |(base, labels)| (base, Some(labels)));
        if let Some(labels) = labels {
            for label in labels.strip_suffix('}').unwrap().split(',') {
                let (key, quoted) = label.split_once('=').unwrap();
                assert!(is_name(key) && quoted.len() > 2 && quoted.starts_with('"') && quoted.ends_with('"'), "{line}");
            }
        }
        let suffixes: &[&str] = if kind == "summary" { &["_sum", "_count"] } else { &[""] };
        assert!(suffixes.iter().any(|suffix| *base == format!("{name}{suffix}")), "{line} is none of {name}");
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} stands there twice");
    }
    samples
}

#[test]
fn metrics_are_read_by_prometheus_and_count_what_was_done() {
    let store = TestStore::new();
    let braid = open(&store);
    let event = "{\"stream_id\":\"a\",\"event_type\":\"T\",\"event_data\":1}\n";
    braid.append(draft(&event.repeat(2))).unwrap();
    braid.append(draft(&format!("{{\"expect\":{{\"a\":7}}}}\n{event}"))).unwrap_err();
    braid.append(draft(&format!("{{\"key\":\"k\"}}\n{event}"))).unwrap();
    braid.append(draft(&format!("{{\"key\":\"k\"}}\n{event}"))).unwrap();
    braid
        .save_snapshot(SnapshotRequest { name: "s".to_owned(), seq_nr: Some(2), versions: Vec::new(), state: "{}".parse().unwrap() })
        .unwrap();
    let (files, mut other) = (std::fs::read_dir(store.events_dir()).unwrap().count(), TestStore::new());
    let id = other.transaction().replica(9).event("b", "U", serde_json::json!(1)).write();
    std::fs::copy(other.events_dir().join(format!("{id}.jsonl")), store.events_dir().join(format!("{id}.jsonl"))).unwrap();
    braid.refresh().unwrap();
    let seen = metrics(&braid);
    for (name, value) in [
        ("braidfs_transactions", 3),
        ("braidfs_events", 4),
        ("braidfs_streams", 2),
        ("braidfs_heads", 2),
        ("braidfs_ready", 1),
        ("braidfs_writable", 1),
        ("braidfs_committed_transactions_total", files),
        ("braidfs_committed_events_total", 3),
        ("braidfs_refused_drafts_total", 1),
        ("braidfs_failed_drafts_total", 0),
        ("braidfs_taken_in_files_total", 1),
        ("braidfs_vanished_files_total", 0),
        ("braidfs_append_duration_seconds_count", 4),
        ("braidfs_snapshot_duration_seconds_count", 1),
        ("braidfs_load_duration_seconds_count", 1),
        ("braidfs_findings_by_severity{severity=\"error\"}", 0),
    ] {
        assert_eq!(seen.get(name), Some(&(value as f64)), "{name}");
    }
    assert!(seen["braidfs_append_duration_seconds_sum"] > 0.0);
    std::fs::remove_file(store.events_dir().join(format!("{id}.jsonl"))).unwrap();
    braid.refresh().unwrap();
    assert_eq!(metrics(&braid)["braidfs_vanished_files_total"], 1.0);
}

/// Every span that was closed: its name and its fields.
type Closed = Arc<Mutex<Vec<(&'static str, BTreeMap<&'static str, String>)>>>;

struct Collect(Closed);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collect {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(extensions.get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions_mut().remove::<Fields>().unwrap_or_default();
        self.0.lock().unwrap().push((span.name(), fields.0));
    }
}

#[test]
fn every_operation_is_a_span_with_counts_and_its_duration() {
    let closed = Closed::default();
    // For all threads: the work is done on one of the library's own. No other test here sets one.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Collect(Arc::clone(&closed)))).unwrap();
    let (store, _) = TestStore::forked();
    std::fs::create_dir(store.path().join("projections")).unwrap();
    std::fs::write(store.path().join("projections/count.jq"), "#: init: 0\n. + 1\n").unwrap();
    let braid = open(&store);
    braid.append(draft("{\"stream_id\":\"a\",\"event_type\":\"T\",\"event_data\":1}\n")).unwrap();
    braid
        .save_snapshot(SnapshotRequest { name: "s".to_owned(), seq_nr: Some(2), versions: Vec::new(), state: "{}".parse().unwrap() })
        .unwrap();
    assert_eq!(braid.fold_state("count", "").unwrap().unwrap(), b"8");
    braid.reconcile(|_: &_| Resolution::Events(Vec::new()), &ReconcileOptions::default()).unwrap();
    drop(braid);
    let closed = closed.lock().unwrap();
    for (name, field, value) in [
        ("load", "events", "7"),
        ("take_in", "came", "4"),
        ("append", "committed", "1"),
        ("snapshot", "bytes", "2"),
        ("fold", "events", "8"),
        ("reconcile", "resolved", "1"),
    ] {
        let mut spans = closed.iter().filter(|(span, _)| *span == name);
        let found = spans.any(|(_, fields)| fields.get(field).is_some_and(|v| v == value) && fields.contains_key("duration_us"));
        assert!(found, "{name} {field}={value} in {closed:?}");
    }
}
