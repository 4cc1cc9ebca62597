//! What people would take instead.

use braidfs::braid::{Braid, OpenOptions};
use braidfs::format::draft::{DraftKind, parse_draft};
use rusqlite::Connection;

use crate::Plan;
use crate::measure::{paired, seconds};
use crate::report::{Report, Row};

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
    drop(braid);
    status(plan, report);
}

/// The fork report: ours is kept up, the crate's is computed.
fn status(plan: &Plan, report: &mut Report) {
    let dir = crate::data::chain(&plan.scratch.join("status"), crate::data::Shape { transactions: 300, streams: 20 });
    let braid = Braid::open(&dir, &OpenOptions::default()).expect("a store");
    braid.wait_ready().expect("it opens");
    let ours = seconds(|| {
        let _ = braid.tree().find("status.json");
    });
    drop(braid);
    let peer = eventcore_fs::FileEventStore::open(&dir).expect("the peer opens it");
    let theirs = seconds(|| {
        let _ = peer.status();
    });
    report.add(Row::faster("status of 300 transactions", "eventcore-fs", theirs / ours, None, ours));
}
