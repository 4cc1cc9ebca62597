//! What people would take instead.

use braidfs::braid::{Braid, OpenOptions};
use braidfs::format::draft::{DraftKind, parse_draft};
use braidfs::view::Node;
use rusqlite::Connection;

use crate::Plan;
use crate::measure::{middle_of, paired, seconds};
use crate::report::{Report, Row, growth, time};

const EVENTS: usize = 200;

pub fn measure(plan: &Plan, report: &mut Report) {
    let dir = plan.scratch.join("peers");
    Braid::init(&dir).expect("a store");
    let braid = Braid::open(&dir, &OpenOptions::default()).expect("a store");
    braid.wait_ready().expect("it opens");
    let sqlite = Connection::open(plan.scratch.join("peers.sqlite")).expect("a database");
    sqlite
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE events(position INTEGER PRIMARY KEY, stream TEXT, version INTEGER, type TEXT, data TEXT, UNIQUE(stream, version));",
        )
        .expect("a table");
    let mut version = 0;
    let (ours, theirs) = paired(
        plan.runs,
        || {
            seconds(|| {
                for n in 0..EVENTS {
                    let line = format!("{{\"stream_id\":\"s\",\"event_type\":\"Paid\",\"event_data\":{{\"amount\":{n}}}}}\n");
                    braid.append(parse_draft(line.as_bytes(), DraftKind::Lines).expect("a draft")).expect("a commit");
                }
            })
        },
        || {
            seconds(|| {
                for n in 0..EVENTS {
                    version += 1;
                    let data = format!("{{\"amount\":{n}}}");
                    sqlite
                        .execute("INSERT INTO events(stream, version, type, data) VALUES('s', ?1, 'Paid', ?2)", (version, data))
                        .expect("an insert");
                }
            })
        },
    );
    report.add(Row::ratio("one durable append", "SQLite (WAL, FULL): one file, no merge", ours / theirs, None, ours / EVENTS as f64));
    let (ours, theirs) = paired(
        plan.runs,
        || {
            seconds(|| {
                let file = braid.tree().stream("s").expect("the stream");
                assert!(!file.read_all().expect("bytes").is_empty());
            })
        },
        || {
            seconds(|| {
                let mut query =
                    sqlite.prepare("SELECT stream, version, type, data FROM events WHERE stream='s' ORDER BY version").expect("a query");
                let rows = query
                    .query_map([], |row| {
                        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
                    })
                    .expect("rows");
                assert!(rows.count() > 0);
            })
        },
    );
    report.add(Row::ratio("reading one stream (library)", "SQLite", ours / theirs, None, ours));
}

/// The sizes at which the fork report is asked for.
const STATUS_SIZES: [usize; 4] = [100, 200, 400, 800];
/// The largest of a quick run.
const STATUS_QUICK_MAX: usize = 400;
/// Nothing larger is asked of a peer that took so long.
const PATIENCE_S: f64 = 20.0;
/// Ours is too short to be measured alone.
const OURS_AT_ONCE: usize = 100;

/// The fork report and the rest of a status: ours is kept up, the crate's is computed.
pub fn status(plan: &Plan, report: &mut Report) {
    let (mut all_ours, mut all_theirs) = (Vec::new(), Vec::new());
    for size in STATUS_SIZES.into_iter().filter(|&size| !plan.quick || size <= STATUS_QUICK_MAX) {
        if all_theirs.last().is_some_and(|&(_, theirs)| theirs > PATIENCE_S) {
            eprintln!("  status of {size} transactions: not asked of eventcore-fs, which took over {PATIENCE_S} s for less");
            break;
        }
        let shape = crate::data::Shape { transactions: size, streams: 20 };
        let dir = crate::data::chain(&plan.scratch.join(format!("status-{size}")), shape);
        let braid = Braid::open(&dir, &OpenOptions::default()).expect("a store");
        braid.wait_ready().expect("it opens");
        let ours = || {
            let read = |_| {
                let file = braid.tree().find("status.json").and_then(Node::into_file).expect("the status");
                assert!(!file.read_all().expect("bytes").is_empty() && braid.forks().is_empty());
            };
            seconds(|| (0..OURS_AT_ONCE).for_each(read)) / OURS_AT_ONCE as f64
        };
        let ours = middle_of(plan.runs, ours);
        // The crate holds the store for itself.
        drop(braid);
        let peer = eventcore_fs::FileEventStore::open(&dir).expect("the peer opens it");
        let theirs = seconds(|| assert!(peer.status().is_ok()));
        let against = format!("eventcore-fs, which takes {}", time(theirs));
        report.add(Row::faster(&format!("status of {size} transactions"), &against, theirs / ours, None, ours));
        all_ours.push((size, ours));
        all_theirs.push((size, theirs));
    }
    report.add(Row::exponent("status, eventcore-fs: it grows with this power of the size", growth(&all_theirs).0));
    report.add(Row::exponent("status, braidfs: it grows with this power of the size", growth(&all_ours).0));
}
