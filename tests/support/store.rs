//! Stores written by hand: any parents, times and replicas, without the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// SHA-256 of the canonical order of [`TestStore::real_history`], its event ids one a line (`tests/data/README.md`).
pub const REAL_HISTORY_ORDER_SHA256: &str = "87829f37187a2a38231d89515002f5f54baeb409ad5cb032e4b51b0e886c8544";
/// Transactions of [`TestStore::real_history`].
pub const REAL_HISTORY_TRANSACTIONS: usize = 300;
/// Events of [`TestStore::real_history`].
pub const REAL_HISTORY_EVENTS: usize = 849;

const REAL_HISTORY: &str = include_str!("../data/history-300.jsonl");

/// A store in a directory of its own that goes with it.
pub struct TestStore {
    home: tempfile::TempDir,
    next: u64,
    events: BTreeMap<Uuid, Vec<String>>,
    parents: BTreeMap<Uuid, Vec<Uuid>>,
}

/// One transaction that [`TestStore::transaction`] is about to write.
pub struct TransactionBuilder<'a> {
    store: &'a mut TestStore,
    id: Uuid,
    replica: Uuid,
    parents: Option<Vec<Uuid>>,
    created_at: Option<String>,
    bases: BTreeMap<String, u64>,
    extra: Vec<(String, Value)>,
    events: Vec<(Uuid, String, String, Value)>,
}

/// The replica with that small number.
pub fn replica(number: u64) -> Uuid {
    uuid::Builder::from_random_bytes(spread(0xa5, number)).into_uuid()
}

/// Sixteen bytes that differ for every pair, and look random to who sorts them.
fn spread(kind: u8, number: u64) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update([kind]);
    hash.update(number.to_be_bytes());
    std::array::from_fn(|n| hash.clone().finalize()[n])
}

fn uuid7(millis: u64, kind: u8, number: u64) -> Uuid {
    let tail = spread(kind, number);
    uuid::Builder::from_unix_timestamp_millis(millis, tail[..10].try_into().unwrap()).into_uuid()
}

/// Where something is mounted now; of the tests beside this one too, some under names that are no text.
pub fn mount_points() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap();
    let point = |line: &[u8]| line.split(|&byte| byte == b' ').nth(4).map(|at| PathBuf::from(OsStr::from_bytes(at)));
    table.split(|&byte| byte == b'\n').filter_map(point).collect()
}

/// It goes after its mounts: what a daemon is at is not removed under it, and nothing is left.
impl Drop for TestStore {
    fn drop(&mut self) {
        let home = self.home.path();
        let mounted = mount_points().into_iter().find(|at| at.starts_with(home));
        if !std::thread::panicking() {
            assert_eq!(mounted, None, "the store goes before its mount");
        }
    }
}

impl Default for TestStore {
    fn default() -> Self {
        Self::new()
    }
}

impl TestStore {
    /// A directory with an empty `events/` and nothing else.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("braidfs-test-").tempdir().unwrap();
        fs::create_dir_all(home.path().join("store/events")).unwrap();
        Self { home, next: 0, events: BTreeMap::new(), parents: BTreeMap::new() }
    }

    /// The store's directory.
    pub fn path(&self) -> PathBuf {
        self.home.path().join("store")
    }

    /// The directory that holds the store and may hold a mount point beside it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The store's `events/`.
    pub fn events_dir(&self) -> PathBuf {
        self.path().join("events")
    }

    /// Begins a transaction: replica 1, all heads as parents, one second after the one before.
    pub fn transaction(&mut self) -> TransactionBuilder<'_> {
        let id = uuid7(1_790_000_000_000 + self.next * 1000, 1, self.next);
        TransactionBuilder {
            store: self,
            id,
            replica: replica(1),
            parents: None,
            created_at: None,
            bases: BTreeMap::new(),
            extra: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The transactions written so far that have no child, sorted.
    pub fn heads(&self) -> Vec<Uuid> {
        let inner: BTreeSet<_> = self.parents.values().flatten().copied().collect();
        self.parents.keys().copied().filter(|id| !inner.contains(id)).collect()
    }

    /// Puts a file into `events/` as it is.
    pub fn write_raw(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.events_dir().join(name), bytes).unwrap();
    }

    fn past(&self, parents: &[Uuid]) -> BTreeSet<Uuid> {
        let (mut past, mut open) = (BTreeSet::new(), parents.to_vec());
        while let Some(id) = open.pop() {
            if past.insert(id) {
                open.extend(self.parents.get(&id).into_iter().flatten());
            }
        }
        past
    }

    /// A history in which two replicas write `account-0` without knowing of each other, so that it is forked, and leave the rest whole.
    ///
    /// Replica 1 opens both accounts (`root`), then deposits (`ours`); replica 2 withdraws twice after `root` (`theirs`) and
    /// opens `account/2`. Seven events in four streams; heads: `ours` and the last of `theirs`.
    pub fn forked() -> (Self, Forked) {
        let mut store = Self::new();
        let root = store
            .transaction()
            .event("account-0", "Opened", json!({"owner":"Ada"}))
            .event("account-1", "Opened", json!({"owner":"Bo"}))
            .write();
        let ours = store.transaction().event("account-0", "Deposited", json!({"amount":50})).write();
        let first = store.transaction().replica(2).parents([root]).event("account-0", "Withdrawn", json!({"amount":5})).write();
        let second = store
            .transaction()
            .replica(2)
            .parents([first])
            .event("account-0", "Withdrawn", json!({"amount":7}))
            .event("account/2", "Opened", json!({"owner":"Cy"}))
            .event("audit", "Checked", json!({"ok":true}))
            .write();
        (store, Forked { root, ours, theirs: [first, second] })
    }

    /// The first 300 transactions of a real history: 849 events, 23 merges, 10 replicas.
    pub fn real_history() -> Self {
        let store = Self::new();
        for (name, bytes) in real_history_files() {
            store.write_raw(&name, bytes);
        }
        store
    }
}

/// The transactions of [`TestStore::forked`].
#[derive(Clone, Copy, Debug)]
pub struct Forked {
    /// Before the fork.
    pub root: Uuid,
    /// The one of replica 1 after it.
    pub ours: Uuid,
    /// The two of replica 2 after it, in their order.
    pub theirs: [Uuid; 2],
}

/// The files of the real history: name in `events/` and bytes.
pub fn real_history_files() -> Vec<(String, &'static str)> {
    split_files(REAL_HISTORY)
}

/// Transaction files that lie end to end in one text, each with its name in `events/`.
pub fn split_files(text: &str) -> Vec<(String, &str)> {
    let mark = "{\"record\":\"header\"";
    let mut starts: Vec<usize> = text.match_indices(mark).map(|(at, _)| at).collect();
    starts.push(text.len());
    let files = starts.windows(2).map(|ends| {
        let bytes = &text[ends[0]..ends[1]];
        let header: Value = serde_json::from_str(bytes.lines().next().unwrap()).unwrap();
        (format!("{}.jsonl", header["transaction_id"].as_str().unwrap()), bytes)
    });
    files.collect()
}

impl TransactionBuilder<'_> {
    /// Written by the replica with that number.
    pub fn replica(mut self, number: u64) -> Self {
        self.replica = replica(number);
        self
    }

    /// With exactly these parents instead of all heads.
    pub fn parents(mut self, parents: impl IntoIterator<Item = Uuid>) -> Self {
        self.parents = Some(parents.into_iter().collect());
        self
    }

    /// With exactly this `created_at`, however odd.
    pub fn created_at(mut self, text: &str) -> Self {
        self.created_at = Some(text.to_owned());
        self
    }

    /// With this id instead of the next one.
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// With this base of a stream, written or only read, instead of what the parents hold.
    pub fn base(mut self, stream: &str, events: u64) -> Self {
        self.bases.insert(stream.to_owned(), events);
        self
    }

    /// With one more key in the header.
    pub fn header(mut self, key: &str, value: Value) -> Self {
        self.extra.push((key.to_owned(), value));
        self
    }

    /// With one more event.
    pub fn event(self, stream: &str, event_type: &str, data: Value) -> Self {
        let id = uuid7(1_790_000_000_000 + self.store.next * 1000, 2, (self.store.next << 20) + self.events.len() as u64);
        self.event_with_id(id, stream, event_type, data)
    }

    /// With one more event of this id, whoever else has it.
    pub fn event_with_id(mut self, id: Uuid, stream: &str, event_type: &str, data: Value) -> Self {
        self.events.push((id, stream.to_owned(), event_type.to_owned(), data));
        self
    }

    /// The file's bytes as they would be written.
    pub fn bytes(&self) -> String {
        let (parents, mut bases) = (self.resolved_parents(), self.bases.clone());
        let past = self.store.past(&parents);
        let mut payload = String::new();
        let mut written: BTreeMap<&str, u64> = BTreeMap::new();
        for (id, stream, event_type, data) in &self.events {
            let seen = past.iter().filter_map(|t| self.store.events.get(t)).flatten().filter(|s| *s == stream).count() as u64;
            let base = *bases.entry(stream.clone()).or_insert(seen);
            let count = written.entry(stream).or_default();
            *count += 1;
            let version = base + *count;
            let [stream, event_type] = [stream, event_type].map(|text| Value::from(text.as_str()));
            payload += &format!(
                "{{\"record\":\"event\",\"event_id\":\"{id}\",\"stream_id\":{stream},\"stream_version\":{version},\"event_type\":{event_type},\"event_data\":{data},\"metadata\":{{}}}}\n"
            );
        }
        if payload.is_empty() {
            payload.push('\n');
        }
        let hash: String = Sha256::digest(payload.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let parents: Vec<String> = parents.iter().map(Uuid::to_string).collect();
        let created_at = self.created_at.clone().unwrap_or_else(|| self.default_time());
        let extra: String = self.extra.iter().map(|(key, value)| format!(",{}:{value}", Value::from(key.as_str()))).collect();
        format!(
            "{{\"record\":\"header\",\"format_version\":2,\"transaction_id\":\"{}\",\"replica_id\":\"{}\",\"parent_transaction_ids\":{},\"created_at\":{},\"stream_bases\":{},\"content_hash\":\"{hash}\"{extra}}}\n{payload}",
            self.id,
            self.replica,
            json!(parents),
            json!(created_at),
            json!(bases),
        )
    }

    fn default_time(&self) -> String {
        let n = self.store.next;
        format!("2026-09-{:02}T{:02}:{:02}:{:02}.000000001+00:00", 1 + n / 86_400, n / 3600 % 24, n / 60 % 60, n % 60)
    }

    fn resolved_parents(&self) -> Vec<Uuid> {
        self.parents.clone().unwrap_or_else(|| self.store.heads())
    }

    /// Writes the file under its own name; returns the transaction's id.
    pub fn write(self) -> Uuid {
        let bytes = self.bytes();
        self.store.write_raw(&format!("{}.jsonl", self.id), bytes);
        let parents = self.resolved_parents();
        self.store.parents.insert(self.id, parents);
        self.store.events.insert(self.id, self.events.into_iter().map(|(_, stream, ..)| stream).collect());
        self.store.next += 1;
        self.id
    }
}
