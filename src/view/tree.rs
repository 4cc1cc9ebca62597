//! The tree of one epoch: which paths there are and what each is.

use std::cell::Cell;
use std::sync::Arc;

use crate::disk::Stat;
use crate::epoch::{Epoch, Place};
use crate::format::names::{Decoded, ENDING, SEPARATORS, decode_file_name, decode_stream_path, file_name, find_prefix, stream_path};
use crate::format::time::parse_rfc3339;
use crate::index::List;
use crate::index::names::Names;
use crate::index::sequence::Sequence;
use crate::view::early::{self, Early};
use crate::view::file::File;
use crate::view::folded::States;
use crate::view::lines::{Lines, Numbers};
use crate::view::made::Made;
use crate::view::{graph, metrics, status, texts};

/// What a path of the tree is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory {
        /// When its newest event was written, in nanoseconds since 1970.
        mtime_ns: i128,
    },
    /// A file.
    File(File),
}

impl Node {
    /// The file, if it is one.
    #[must_use]
    pub fn into_file(self) -> Option<File> {
        match self {
            Self::File(file) => Some(file),
            Self::Directory { .. } => None,
        }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, encoded.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
}

impl Entry {
    pub(super) fn file(name: impl Into<String>) -> Self {
        Self { name: name.into(), directory: false }
    }

    pub(super) fn directory(name: impl Into<String>) -> Self {
        Self { name: name.into(), directory: true }
    }
}

/// Where trees of the past come from.
pub trait Past: Send + Sync + std::fmt::Debug {
    /// The tree as of a moment, named as SEMANTICS.md says; none if there is no such moment.
    ///
    /// A name that can move is resolved anew at each call.
    fn resolve(&self, when: &str) -> Option<Tree>;

    /// The first file that `find` gives of a past that is at hand; that past is the one read last then.
    fn find_kept(&self, find: &dyn Fn(&Tree) -> Option<File>) -> Option<File>;

    /// The name of the same moment that never moves; none if there is no such moment, or it has no such name.
    fn settled(&self, when: &str) -> Option<String>;
}

/// The read-only tree as of one epoch; paths have no leading `/`, the root is `""`.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) states: Option<Arc<dyn States>>,
    pub(super) epoch: Arc<Epoch>,
    past: Option<Arc<dyn Past>>,
    early: Arc<Early>,
    pub(super) made: Arc<Made>,
}

/// The files of the root, in the order in which `ls -U` shows them.
const ROOT_FILES: [&str; 7] = ["README.md", ".ignore", "status.json", "metrics", "log.jsonl", "feed.jsonl", "graph.txt"];
/// The directories of the root; see [`Tree::root_directories`].
const ROOT_DIRECTORIES: [&str; 9] =
    ["feed", "streams", "types", "categories", "transactions", "quarantine", "forks", "snapshots", "checkpoints"];

impl Tree {
    /// The tree of an epoch.
    #[must_use]
    pub fn of(epoch: Arc<Epoch>) -> Self {
        Self { epoch, past: None, states: None, early: Arc::default(), made: Arc::default() }
    }

    /// The same tree with the past below `at/`.
    #[must_use]
    pub fn with_past(self, past: Arc<dyn Past>) -> Self {
        Self { past: Some(past), ..self }
    }

    /// The tree of the moment that a name in `at/` stands for now; it has no `at/` of its own.
    ///
    /// Whoever looks up many paths below one name resolves it once and keeps the tree.
    #[must_use]
    pub fn past(&self, name: &str) -> Option<Self> {
        self.past.as_ref()?.resolve(&decode_moment(name)?)
    }

    /// The file of an incarnation that a path below `at/` named before its moment came to mean something else, if that past is still at
    /// hand.
    #[must_use]
    pub fn find_former(&self, path: &str, incarnation: u64) -> Option<File> {
        let (_, rest) = past_part(path)??;
        self.past.as_ref()?.find_kept(&|past| past.find(rest)?.into_file().filter(|file| file.incarnation() == incarnation))
    }

    /// The epoch that it shows.
    #[must_use]
    pub fn epoch(&self) -> &Arc<Epoch> {
        &self.epoch
    }

    /// The path that stands for ever for what this one stands for now: the commit instead of a branch, say.
    ///
    /// None where the path itself is to be used.
    #[must_use]
    pub fn settled(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix("at/")?;
        let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let settled = self.past.as_ref()?.settled(&decode_moment(name)?)?;
        (settled != name).then(|| format!("at/{settled}{rest}"))
    }

    /// What a path is; none if there is nothing.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Node> {
        if let Some(moment) = past_part(path) {
            return moment.map_or_else(|| self.past.as_ref().map(|_| self.directory()), |(name, rest)| self.past(name)?.find(rest));
        }
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        match (first, rest) {
            ("", None) => Some(self.directory()),
            (name, None) if self.root_directories().any(|directory| directory == name) => Some(self.directory()),
            ("README.md", None) => self.text(path, || texts::readme(&self.epoch)),
            (".ignore", None) => Some(self.bytes(texts::IGNORE.to_owned())),
            ("status.json", None) => self.text(path, || status::status_json(&self.epoch)),
            ("metrics", None) => self.text(path, || metrics::metrics(&self.epoch)),
            ("log.jsonl", None) => Some(Node::File(self.log())),
            ("feed.jsonl", None) => Some(Node::File(self.feed(0))),
            ("graph.txt", None) => self.text(path, || graph::graph_text(&self.epoch.index)),
            ("forks", Some(rest)) => self.find_fork(rest),
            ("feed", Some(rest)) => self.find_feed(rest),
            ("streams", Some(rest)) => self.find_stream_path(rest),
            ("types", Some(rest)) => self.find_type(rest),
            ("categories", Some(rest)) => self.find_category(rest),
            ("transactions", Some(rest)) => self.find_transaction(rest),
            ("quarantine", Some(rest)) => self.find_quarantined(rest),
            ("checkpoints", Some(rest)) => self.find_checkpoint(rest),
            ("views", None) => self.states.is_some().then(|| self.directory()),
            ("views", Some(rest)) => self.find_view(rest),
            ("snapshots", Some(rest)) => self.find_snapshot(rest),
            _ => None,
        }
    }

    /// Every name in a directory, each once; none if the path is no directory.
    #[must_use]
    pub fn list(&self, path: &str) -> Option<Vec<Entry>> {
        if let Some(moment) = past_part(path) {
            // Moments are reached by name.
            return moment.map_or_else(|| self.past.as_ref().map(|_| Vec::new()), |(name, rest)| self.past(name)?.list(rest));
        }
        let (first, rest) = path.split_once('/').map_or((path, ""), |(first, rest)| (first, rest));
        match (first, rest) {
            ("", "") => Some(self.list_root()),
            ("feed", "") => Some(vec![Entry::directory("after")]),
            ("feed", "after") => Some(Vec::new()),
            ("streams", directory) => self.list_streams(directory),
            ("types", "") => Some(self.list_names(&self.epoch.index.types, |number| self.epoch.index.type_list(number).is_some())),
            ("categories", "") => {
                Some(self.list_names(&self.epoch.index.categories, |number| self.epoch.index.category_list(number).is_some()))
            }
            ("transactions", "") => Some(self.list_transactions()),
            ("quarantine", "") => Some(self.list_quarantined()),
            ("checkpoints", "") if self.epoch.past.is_none() => Some(self.list_checkpoints()),
            ("views", directory) => self.list_views(directory),
            ("snapshots", directory) => self.list_snapshots(directory),
            ("forks", rest) => self.list_forks(rest),
            _ => None,
        }
    }

    fn list_root(&self) -> Vec<Entry> {
        let views = self.states.iter().map(|_| Entry::directory("views"));
        let files = ROOT_FILES.iter().map(|&name| Entry::file(name));
        let directories = self.root_directories().chain(self.past.as_ref().map(|_| "at"));
        files.chain(directories.map(Entry::directory)).chain(views).collect()
    }

    /// The past has no checkpoints: they say where readers of the present are.
    fn root_directories(&self) -> impl Iterator<Item = &'static str> {
        let is_past = self.epoch.past.is_some();
        ROOT_DIRECTORIES.into_iter().filter(move |&name| !is_past || name != "checkpoints")
    }

    pub(super) fn directory(&self) -> Node {
        Node::Directory { mtime_ns: self.mtime_of(None) }
    }

    pub(super) fn bytes(&self, text: String) -> Node {
        Node::File(File::of_bytes(text.into_bytes(), self.mtime_of(None)))
    }

    /// A text of the epoch, made once.
    pub(super) fn text(&self, path: &str, make: impl FnOnce() -> String) -> Option<Node> {
        self.made.file(path, || self.bytes(make()).into_file()).map(Node::File)
    }

    /// Whether the index does not know all transactions yet.
    fn is_early(&self) -> bool {
        !self.epoch.progress.ready && self.epoch.past.is_none()
    }

    /// When an event was written, in nanoseconds since 1970; without one, when the last of all was. Where there is none either, or its
    /// time is odd, it is the store's own time: some programs take no time of 1970.
    pub(super) fn mtime_of(&self, event: Option<u32>) -> i128 {
        let log = &self.epoch.index.log.events;
        let last = || log.get(log.len().checked_sub(1)?);
        self.dated(event.or_else(last).and_then(|event| self.written(self.epoch.index.events.transaction(event))))
    }

    /// The same of a transaction.
    pub(super) fn mtime_of_transaction(&self, transaction: Option<u32>) -> i128 {
        self.dated(transaction.and_then(|transaction| self.written(transaction)))
    }

    /// When a transaction was written, as its header says.
    fn written(&self, transaction: u32) -> Option<i128> {
        parse_rfc3339(&self.epoch.index.transactions.created_at(transaction))
    }

    /// What has no time of its own has the store's.
    fn dated(&self, written: Option<i128>) -> i128 {
        written.unwrap_or_else(|| self.epoch.store.opened_ns())
    }

    pub(super) fn lines(&self, items: Sequence, incarnation: u64, numbers: Numbers, xattrs: Vec<(String, Vec<u8>)>) -> File {
        let lines = Lines::new(Arc::clone(&self.epoch), items, numbers);
        let mtime_ns = self.mtime_of(lines.last_event());
        File::of_lines(lines, self.incarnation(incarnation), mtime_ns, xattrs)
    }

    /// Which file a name stands for: in the past one for each set of files, whatever the present went through.
    fn incarnation(&self, present: u64) -> u64 {
        self.epoch.past.as_ref().map_or(present, |past| past.incarnation)
    }

    fn list_file(&self, list: &List, xattrs: Vec<(String, Vec<u8>)>) -> Node {
        Node::File(self.lines(list.events.clone(), u64::from(list.incarnation), Numbers::Version, xattrs))
    }

    /// The canonical log.
    #[must_use]
    pub fn log(&self) -> File {
        let log = &self.epoch.index.log;
        self.lines(log.events.clone(), u64::from(log.incarnation), Numbers::Position, Vec::new())
    }

    /// Ingestion order behind a number.
    #[must_use]
    pub fn feed(&self, after: u64) -> File {
        let feed = &self.epoch.index.feed;
        let mut items = feed.items.clone();
        if self.epoch.feed_shown < items.len() {
            let index = &self.epoch.index;
            items.splice(self.epoch.feed_shown, &[], |item| index.feed_weight(item));
        }
        let lines = Lines::new(Arc::clone(&self.epoch), items, Numbers::SeqNr).after(after);
        let mtime_ns = self.mtime_of(lines.last_event());
        let latest = self.epoch.feed_shown.to_string().into_bytes();
        let incarnation = self.incarnation(u64::from(feed.incarnation));
        File::of_lines(lines, incarnation, mtime_ns, vec![("user.braidfs.latest_seq_nr".to_owned(), latest)])
    }

    fn find_feed(&self, rest: &str) -> Option<Node> {
        match rest.split_once('/') {
            None => (rest == "after").then(|| self.directory()),
            Some(("after", name)) => {
                let number = name.strip_suffix(ENDING)?;
                let after: u64 = number.parse().ok()?;
                // Only the canonical name is found: no sign, no leading zero.
                (after.to_string() == number).then(|| Node::File(self.feed(after)))
            }
            Some(_) => None,
        }
    }

    /// A stream's file.
    #[must_use]
    pub fn stream(&self, stream_id: &str) -> Option<File> {
        self.stream_file(self.epoch.index.find_stream(stream_id)?)
    }

    fn stream_file(&self, number: u32) -> Option<File> {
        let index = &self.epoch.index;
        let list = index.stream_list(number)?;
        let last = list.events.get(list.events.len().checked_sub(1)?)?;
        let transaction = index.transactions.id(index.events.transaction(last));
        let xattrs = vec![
            ("user.braidfs.stream_id".to_owned(), index.streams.text(number).as_bytes().to_vec()),
            ("user.braidfs.stream_version".to_owned(), list.events.len().to_string().into_bytes()),
            ("user.braidfs.transaction_id".to_owned(), transaction.to_string().into_bytes()),
        ];
        self.list_file(list, xattrs).into_file()
    }

    fn find_stream_path(&self, path: &str) -> Option<Node> {
        let index = &self.epoch.index;
        if index.directories.find(path).is_some() {
            return Some(self.directory());
        }
        let number = match decode_stream_path(path)? {
            Decoded::Exact(stream) => index.find_stream(&stream)?,
            Decoded::Cut => {
                let directory = index.directories.find(path.rsplit_once('/').map_or("", |(directory, _)| directory))?;
                let cut = || index.directories.streams(directory).find(|&stream| stream_path(index.streams.text(stream)) == path);
                return self.made.file(&format!("streams/{path}"), || self.stream_file(cut()?)).map(Node::File);
            }
        };
        self.stream_file(number).map(Node::File)
    }

    fn list_streams(&self, path: &str) -> Option<Vec<Entry>> {
        let index = &self.epoch.index;
        let directory = index.directories.find(path)?;
        let mut entries: Vec<Entry> = index.directories.directories(directory).map(Entry::directory).collect();
        for stream in index.directories.streams(directory).filter(|&stream| index.stream_list(stream).is_some()) {
            let path = stream_path(index.streams.text(stream));
            entries.push(Entry::file(path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name)));
        }
        Some(entries)
    }

    fn find_type(&self, name: &str) -> Option<Node> {
        let index = &self.epoch.index;
        let file = |number: u32| {
            let xattrs = vec![("user.braidfs.event_type".to_owned(), index.types.text(number).as_bytes().to_vec())];
            Some(self.list_file(index.type_list(number)?, xattrs))
        };
        match decode_file_name(name, ENDING)? {
            Decoded::Exact(raw) => file(index.types.find(&raw)?),
            Decoded::Cut => {
                let cut = || (0..index.types.len()).find(|&number| file_name(index.types.text(number), ENDING) == name);
                self.made.file(&format!("types/{name}"), || file(cut()?)?.into_file()).map(Node::File)
            }
        }
    }

    fn find_category(&self, name: &str) -> Option<Node> {
        let index = &self.epoch.index;
        let made = |make: &dyn Fn() -> Option<File>| self.made.file(&format!("categories/{name}"), make).map(Node::File);
        match decode_file_name(name, ENDING)? {
            Decoded::Exact(raw) => self.category(&raw).or_else(|| made(&|| self.longer_category(&raw))),
            Decoded::Cut => made(&|| {
                let prefix = |stream| find_prefix(index.streams.text(stream), &SEPARATORS, name, ENDING);
                let raw = (0..index.streams.len()).find_map(prefix)?;
                self.category(raw).and_then(Node::into_file).or_else(|| self.longer_category(raw))
            }),
        }
    }

    fn category(&self, raw: &str) -> Option<Node> {
        let list = self.epoch.index.category_list(self.epoch.index.categories.find(raw).filter(|_| !raw.contains(SEPARATORS))?)?;
        Some(self.list_file(list, category_xattrs(raw)))
    }

    /// A longer prefix: the streams that begin with it and a separator.
    fn longer_category(&self, raw: &str) -> Option<File> {
        let index = &self.epoch.index;
        let belongs = |stream: u32| index.streams.text(stream).strip_prefix(raw).is_some_and(|rest| rest.starts_with(SEPARATORS));
        let streams: std::collections::HashSet<u32> = (0..index.streams.len()).filter(|&stream| belongs(stream)).collect();
        if !streams.iter().any(|&stream| index.stream_list(stream).is_some()) {
            return None;
        }
        let events: Vec<u32> = index.log.events.iter_from(0).filter(|&event| streams.contains(&index.events.stream(event))).collect();
        let mut items = Sequence::default();
        items.splice(0, &events, |event| index.weight(event));
        // Any change of order makes it a new file: always right, since lines are only added otherwise.
        Some(self.lines(items, u64::from(index.log.incarnation), Numbers::Version, category_xattrs(raw)))
    }

    fn list_names(&self, names: &Names, is_live: impl Fn(u32) -> bool) -> Vec<Entry> {
        (0..names.len()).filter(|&number| is_live(number)).map(|number| Entry::file(file_name(names.text(number), ENDING))).collect()
    }

    fn find_transaction(&self, name: &str) -> Option<Node> {
        let id = early::id_of(name)?;
        let transactions = &self.epoch.index.transactions;
        if self.is_early() {
            let (stat, written) = self.early.find(&self.epoch.store, id)?;
            return Some(Node::File(self.stored(name, stat, self.dated(written))));
        }
        let number = transactions.find_valid(id)?;
        let (name, mtime_ns) = (transactions.file_name(number), self.dated(self.written(number)));
        let stored = || Some(self.stored(&name, self.epoch.store.stat(&name).ok()?, mtime_ns));
        let Some(past) = self.epoch.past.as_ref().filter(|past| past.elsewhere.is_some()) else { return stored().map(Node::File) };
        // Here it may still leave; what git has stays what it is.
        let known = Cell::new(None);
        let elsewhere = || match past.find(&name) {
            Place::Elsewhere(bytes) => Some(File::of_bytes(bytes, mtime_ns)),
            place => {
                known.set(Some(place));
                None
            }
        };
        let file = match self.made.file(&format!("transactions/{name}"), elsewhere) {
            Some(file) => file,
            None if known.take().unwrap_or_else(|| past.find(&name)) == Place::Events => stored()?,
            None => return None,
        };
        // It is the same one whether it lies in `events/` or only in git, unless a filter of git's gives it another size there.
        let incarnation = past.incarnation.wrapping_add(file.size());
        Some(Node::File(file.known_as(incarnation)))
    }

    /// A transaction's file. What the disk says of it tells which one it is; when it was written its header does, on every clone alike.
    fn stored(&self, name: &str, stat: Stat, mtime_ns: i128) -> File {
        let file = File::of_stored(Arc::clone(&self.epoch.store), name.to_owned(), stat.size, stat.mtime_ns);
        file.written_at(mtime_ns)
    }

    fn list_transactions(&self) -> Vec<Entry> {
        let index = &self.epoch.index;
        if self.is_early() {
            return early::named(&self.epoch.store).into_iter().map(|id| Entry::file(early::own_name(id))).collect();
        }
        index.order.iter_from(0).map(|tx| Entry::file(early::own_name(index.transactions.id(tx)))).collect()
    }
}

fn category_xattrs(raw: &str) -> Vec<(String, Vec<u8>)> {
    vec![("user.braidfs.category".to_owned(), raw.as_bytes().to_vec())]
}

/// For `at` nothing, for a path below it the moment's name and the rest.
fn past_part(path: &str) -> Option<Option<(&str, &str)>> {
    let rest = path.strip_prefix("at")?;
    if rest.is_empty() {
        return Some(None);
    }
    let rest = rest.strip_prefix('/')?;
    Some(Some(rest.split_once('/').unwrap_or((rest, ""))))
}

/// The moment that a name in `at/` stands for: `%2F` is `/`, `%25` is `%`, and no other escape is known.
fn decode_moment(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut moment = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = part.split_at_checked(2)?;
        moment.push(match escaped {
            "2F" => '/',
            "25" => '%',
            _ => return None,
        });
        moment.push_str(rest);
    }
    Some(moment)
}
