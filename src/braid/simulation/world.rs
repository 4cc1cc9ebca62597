//! The working copies, what happens to them, and what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::Dice;
use crate::braid::{AppendError, Braid, Clock, Committed, OpenConflict, OpenOptions, ReconcileOptions, Resolution};
use crate::disk::Disk;
use crate::disk::twin::Twin;
use crate::epoch::Epoch;
use crate::format::draft::{DraftKind, parse_draft};
use crate::index::Index;
use crate::index::feed::Slot;
use crate::model::{ConflictState, Draft, Errno, EventId, FindingKind, Severity};
use crate::view::Node;

const STREAMS: usize = 5;
/// So far apart two clocks may be.
const SKEW_NS_MAX: usize = 86_400_000_000_000;
/// A crash comes before one of so many changes of the disk.
const CRASH_OPS: usize = 40;
/// What every working copy shows alike.
const CANONICAL: [&str; 7] = ["log.jsonl", "graph.txt", "streams", "types", "categories", "transactions", "forks"];

/// One working copy.
struct Clone {
    dir: PathBuf,
    /// Stays open over several steps, until chance or a crash ends it.
    braid: Option<Braid>,
    clock: Clock,
    /// The events by their numbers, as far as these were ever shown here.
    shown: Vec<EventId>,
    /// What was shown below `forks/` the last time since it was opened, and under which number.
    forks: Option<(u64, BTreeMap<String, String>)>,
}

/// All working copies, and what git has of them.
pub(super) struct World {
    home: tempfile::TempDir,
    clones: Vec<Clone>,
    dice: Dice,
    now_ns: Arc<AtomicU64>,
    step: usize,
    /// What was done, for whoever reads of a failure.
    story: Vec<String>,
}

impl World {
    pub(super) fn new(count: usize, mut dice: Dice) -> Self {
        let home = tempfile::tempdir().unwrap();
        let now_ns = Arc::new(AtomicU64::new(1_790_000_000_000_000_000));
        let clones = (0..count).map(|n| {
            let dir = home.path().join(format!("clone-{n}"));
            Braid::init(&dir).unwrap();
            let (skew, now_ns) = (dice.below(SKEW_NS_MAX) as u64, Arc::clone(&now_ns));
            let clock = Clock::new(move || UNIX_EPOCH + Duration::from_nanos(now_ns.load(Ordering::Relaxed) + skew));
            Clone { dir, braid: None, clock, shown: Vec::new(), forks: None }
        });
        let clones = clones.collect();
        fs::create_dir_all(home.path().join("git/events")).unwrap();
        Self { home, clones, dice, now_ns, step: 0, story: Vec::new() }
    }

    /// Does something, and looks whether everything holds.
    pub(super) fn step(&mut self, step: usize) {
        self.step = step;
        // Now and then two write in the same nanosecond.
        let tick = self.dice.below(3) as u64 * 500_000_000;
        self.now_ns.fetch_add(tick, Ordering::Relaxed);
        let clone = self.dice.below(self.clones.len());
        match self.dice.below(20) {
            0..=6 => self.append(clone),
            7..=10 => self.union(clone),
            11 | 12 => self.reconcile(clone),
            13 => self.reconcile_at_once(),
            14 | 15 => self.crash(clone),
            16 => self.switch_branch(clone),
            17 => self.lose_index(clone),
            18 => self.close(clone),
            _ => self.copy(clone),
        }
        self.check_numbers(clone);
    }

    fn tell(&mut self, what: String) {
        self.story.push(format!("{}: {what}", self.step));
    }

    fn options(&self, clone: usize, disk: Disk) -> OpenOptions {
        OpenOptions { threads: 1, disk, clock: self.clones[clone].clock.clone(), ..OpenOptions::default() }
    }

    fn open(&mut self, clone: usize) -> Braid {
        if self.clones[clone].braid.is_none() {
            let braid = Braid::open(&self.clones[clone].dir, &self.options(clone, Disk::real())).unwrap();
            braid.wait_ready().unwrap();
            self.clones[clone].braid = Some(braid);
            self.clones[clone].forks = None;
        }
        let braid = self.clones[clone].braid.clone().unwrap();
        braid.refresh().unwrap();
        braid
    }

    fn draft(&mut self, epoch: &Epoch, knowing: bool) -> Draft {
        let streams: BTreeSet<usize> = (0..=self.dice.below(3)).map(|_| self.dice.below(STREAMS)).collect();
        let version = |stream: usize| epoch.index.stream_version(&format!("s-{stream}"));
        let mut expect: Vec<String> = Vec::new();
        if knowing {
            expect.extend(streams.iter().filter(|&&stream| version(stream) > 0).map(|&s| format!("\"s-{s}\":{}", version(s))));
        }
        let read = self.dice.below(STREAMS);
        if self.dice.once_in(4) && !streams.contains(&read) {
            expect.push(format!("\"s-{read}\":{}", version(read)));
        }
        let mut text = if expect.is_empty() { String::new() } else { format!("{{\"expect\":{{{}}}}}\n", expect.join(",")) };
        for stream in streams {
            for _ in 0..=self.dice.below(2) {
                let n = self.dice.below(1_000_000);
                text += &format!("{{\"stream_id\":\"s-{stream}\",\"event_type\":\"T-{}\",\"event_data\":{n}}}\n", n % 3);
            }
        }
        parse_draft(text.as_bytes(), DraftKind::Lines).unwrap()
    }

    fn append(&mut self, clone: usize) {
        let braid = self.open(clone);
        let draft = self.draft(&braid.epoch(), false);
        self.tell(format!("{clone} appends"));
        match braid.append(draft) {
            Ok(_) => {}
            Err(AppendError::Rejected(rejection)) if rejection.errno() == Errno::ESTALE => {
                let knowing = self.draft(&braid.epoch(), true);
                braid.append(knowing).unwrap_or_else(|error| panic!("{error}: {:#?}", self.story));
            }
            Err(error) => panic!("{error}: {:#?}", self.story),
        }
    }

    fn git(&self) -> PathBuf {
        self.home.path().join("git")
    }

    fn pull(&self, from: &Path, to: &Path) {
        for entry in fs::read_dir(from.join("events")).unwrap() {
            let entry = entry.unwrap();
            let path = to.join("events").join(entry.file_name());
            if !path.exists() {
                fs::copy(entry.path(), path).unwrap();
            }
        }
    }

    fn union(&mut self, clone: usize) {
        let other = self.dice.below(self.clones.len() + 1);
        self.tell(format!("{clone} pulls from {other}"));
        let from = self.clones.get(other).map_or_else(|| self.git(), |other| other.dir.clone());
        self.pull(&from, &self.clones[clone].dir);
    }

    /// What `braidfs sync` does with resolutions that met; gives whether there were any.
    fn join(&mut self, clone: usize) -> bool {
        let braid = self.open(clone);
        if braid.join_resolutions().unwrap_or_else(|error| panic!("{error}: {:#?}", self.story)).is_none() {
            return false;
        }
        self.tell(format!("{clone} joins resolutions"));
        assert_eq!(braid.epoch().index.transactions.heads().len(), 1, "{:#?}", self.story);
        assert_eq!(braid.forks(), [], "{:#?}", self.story);
        true
    }

    /// One pass on one working copy; every conflict but those that chance declines must be closed by it.
    fn reconcile(&mut self, clone: usize) {
        let braid = self.open(clone);
        let force = self.dice.once_in(2);
        let declined: BTreeSet<String> = if self.dice.once_in(3) {
            let open = braid.forks().into_iter().map(|report| report.conflict);
            self.dice.some(open).into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let with_events = self.dice.once_in(2);
        self.tell(format!("{clone} reconciles, force {force}, declines {declined:?}, events {with_events}"));
        let resolver = |conflict: &OpenConflict| {
            if declined.contains(&conflict.conflict) {
                return Resolution::Unresolvable("chance said so".to_owned());
            }
            let streams = conflict.streams.iter().filter(|_| with_events);
            let line = |stream: &str| format!("{{\"stream_id\":\"{stream}\",\"event_type\":\"Settled\",\"event_data\":0}}\n");
            let event = |stream: &str| parse_draft(line(stream).as_bytes(), DraftKind::Lines).unwrap().events.remove(0);
            Resolution::Events(streams.map(|fork| event(&fork.stream_id)).collect())
        };
        let pass =
            braid.reconcile(resolver, &ReconcileOptions { force, only: None }).unwrap_or_else(|error| panic!("{error}: {:#?}", self.story));
        let left = braid.forks();
        assert_eq!(left.len(), pass.declined.len(), "{left:#?} {pass:#?} {:#?}", self.story);
        for report in &left {
            assert!(declined.contains(&report.conflict) || report.state == ConflictState::Provisional, "{report:#?} {:#?}", self.story);
        }
        if pass.committed.is_some() {
            assert_eq!(braid.epoch().index.transactions.heads().len(), 1, "{:#?}", self.story);
        }
    }

    fn reconcile_at_once(&mut self) {
        for clone in self.dice.some(0..self.clones.len()) {
            self.reconcile(clone);
            self.check_numbers(clone);
        }
    }

    /// The process is killed, or the machine loses power, somewhere in a commit.
    fn crash(&mut self, clone: usize) {
        self.clones[clone].braid = None;
        let dir = self.clones[clone].dir.clone();
        let (disk, twin) = Disk::faulty(&dir).unwrap();
        let braid = Braid::open(&dir, &self.options(clone, disk)).unwrap();
        braid.wait_ready().unwrap();
        let draft = self.draft(&braid.epoch(), true);
        twin.crash_after(self.dice.below(CRASH_OPS));
        let answered = braid.append(draft).ok();
        // Also these may be the last that is done.
        let more = self.draft(&braid.epoch(), true);
        let answered: Vec<Committed> = answered.into_iter().chain(braid.append(more).ok()).collect();
        self.note_shown(clone, &braid.epoch());
        drop(braid);
        let loses_power = self.dice.once_in(2);
        let lost = loses_power.then(|| self.lose_power(&dir, &twin));
        self.tell(format!("{clone} crashes, {} answered, lost {lost:?}", answered.len()));
        drop(twin);
        let epoch = self.open(clone).epoch();
        for committed in answered {
            assert!(epoch.index.transactions.find_valid(committed.transaction_id).is_some(), "{committed:?} {:#?}", self.story);
        }
        assert_eq!(*epoch.quarantined, [], "{:#?}", self.story);
    }

    /// Leaves below the directory what a loss of power leaves; directories stay what they are, as on a disk.
    fn lose_power(&mut self, dir: &Path, twin: &Twin) -> String {
        let mut losses = twin.losses();
        let loss = losses.swap_remove(self.dice.below(losses.len()));
        let after = tempfile::tempdir().unwrap();
        twin.rebuild(after.path(), loss).unwrap();
        mirror(after.path(), dir);
        format!("{loss:?}")
    }

    /// Files go, as on a branch that does not have them; git keeps them.
    fn switch_branch(&mut self, clone: usize) {
        let dir = self.clones[clone].dir.clone();
        self.pull(&dir, &self.git());
        let all = self.dice.once_in(8);
        let mut names: Vec<_> = fs::read_dir(dir.join("events")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        // Ids of version 7 sort by time: mostly what is new goes, now and then anything.
        let from = if self.dice.once_in(3) { 0 } else { names.len() - names.len().min(self.dice.below(6)) };
        let gone = if all { names } else { self.dice.some(names.into_iter().skip(from)) };
        self.tell(format!("{clone} loses {} files", gone.len()));
        for name in gone {
            fs::remove_file(dir.join("events").join(name)).unwrap();
        }
    }

    fn close(&mut self, clone: usize) {
        self.tell(format!("{clone} closes"));
        self.clones[clone].braid = None;
    }

    fn lose_index(&mut self, clone: usize) {
        self.tell(format!("{clone} loses its index"));
        self.clones[clone].braid = None;
        for entry in fs::read_dir(self.clones[clone].dir.join("index")).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else if !path.ends_with("ingestion.log") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// Another working copy becomes a copy of this one, down to the last byte.
    fn copy(&mut self, clone: usize) {
        let other = self.dice.below(self.clones.len());
        if other == clone {
            return;
        }
        self.tell(format!("{other} becomes a copy of {clone}"));
        let (from, to) = (self.clones[clone].dir.clone(), self.clones[other].dir.clone());
        self.pull(&to, &self.git());
        self.clones[clone].braid = None;
        self.clones[other].braid = None;
        fs::remove_dir_all(&to).unwrap();
        fs::create_dir(&to).unwrap();
        mirror(&from, &to);
        self.clones[other].shown = self.clones[clone].shown.clone();
    }

    /// Numbers that were shown stand for what they stood for.
    fn check_numbers(&mut self, clone: usize) {
        let epoch = self.open(clone).epoch();
        self.note_shown(clone, &epoch);
        self.check_told(clone);
        self.check_forks(clone);
    }

    /// What is below `forks/` is as it was while its number is, but for the heads in the reports.
    fn check_forks(&mut self, clone: usize) {
        let braid = self.open(clone);
        let (tree, mut now) = (braid.tree(), files(&braid, &["forks"], |path| !path.ends_with("/report.json")));
        for (path, text) in &mut now {
            let file = tree.find(path).and_then(Node::into_file).unwrap();
            *text = format!("{} {text}", file.mtime_ns());
        }
        let number = braid.epoch().forks_number;
        if let Some((before, shown)) = &self.clones[clone].forks {
            assert!(*before != number || *shown == now, "{clone}: {shown:#?} then {now:#?} {:#?}", self.story);
        }
        self.clones[clone].forks = Some((number, now));
    }

    fn note_shown(&mut self, clone: usize, epoch: &Epoch) {
        let index = &epoch.index;
        let slots = index.feed.items.iter_from(0).map(|item| index.feed.slot(item));
        let now = slots.take(usize::try_from(epoch.feed_shown).unwrap()).map(|slot| match slot {
            Slot::Event(event) => index.events.id(event, &index.pack),
            Slot::Gone(id) => id,
        });
        let now: Vec<EventId> = now.collect();
        let before = &self.clones[clone].shown;
        assert!(now.starts_with(before), "{clone}: {before:?} then {now:?} {:#?}", self.story);
        self.clones[clone].shown = now;
        self.check_absent(clone, index);
    }

    /// What has a number and is in no view is what a look at every number finds.
    fn check_absent(&self, clone: usize, index: &Index) {
        let is_absent = |(_, id): &(u64, EventId)| index.find_event(*id).is_none();
        let found: BTreeMap<EventId, u64> = index.feed.gone_events().filter(is_absent).map(|(seq, id)| (id, seq)).collect();
        let held: BTreeMap<EventId, u64> = index.feed.absent().iter().collect();
        assert_eq!(held, found, "{clone} {:#?}", self.story);
        assert_eq!(index.feed.absent().last_seq_nr(), found.into_values().max().unwrap_or(0));
    }

    /// What is told is what is told by who puts it together anew.
    fn check_told(&mut self, clone: usize) {
        let braid = self.open(clone);
        let told = braid.at_keeper(|keeper, _| {
            let told = keeper.findings();
            keeper.mark_dirty();
            (told, keeper.findings())
        });
        let (told, anew) = told.unwrap();
        assert_eq!(told, anew, "{clone} {:#?}", self.story);
    }

    /// Everybody has met everybody.
    fn meet(&mut self) {
        let git = self.git();
        for clone in &self.clones {
            self.pull(&clone.dir, &git);
        }
        for clone in &self.clones {
            self.pull(&git, &clone.dir);
        }
    }

    fn assert_equal(&mut self) {
        let fresh = tempfile::tempdir().unwrap();
        Braid::init(fresh.path()).unwrap();
        self.pull(&self.git(), fresh.path());
        let fresh = Braid::open(fresh.path(), &OpenOptions { from_scratch: true, ..OpenOptions::default() }).unwrap();
        fresh.wait_ready().unwrap();
        let expected = canonical(&fresh);
        for clone in 0..self.clones.len() {
            let braid = self.open(clone);
            for (path, text) in canonical(&braid) {
                assert_eq!(Some(&text), expected.get(&path), "{path} of {clone} {:#?}", self.story);
            }
            assert_eq!(canonical(&braid).len(), expected.len());
            self.check_numbers(clone);
        }
        let findings = fresh.survey().unwrap().findings.clone();
        let is_wrong = |kind: FindingKind| matches!(kind, FindingKind::IdentityCollision | FindingKind::Dangling);
        let wrong: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error || is_wrong(finding.kind)).collect();
        assert!(wrong.is_empty(), "{wrong:#?} {:#?}", self.story);
    }

    /// Everybody meets, and one pass closes what is open.
    pub(super) fn rest(&mut self) {
        self.step += 1;
        self.meet();
        for clone in &self.clones {
            // Why one working copy declined is nothing that others know.
            drop(fs::remove_file(clone.dir.join(".eventcore/braidfs/declined.json")));
        }
        self.assert_equal();
        let settle = |_: &OpenConflict| Resolution::Events(Vec::new());
        // Without events several may do it at once.
        let others = self.dice.some(1..self.clones.len());
        let mut settled = 0;
        for clone in others.into_iter().chain([0]) {
            let braid = self.open(clone);
            let pass = braid.reconcile(settle, &ReconcileOptions::default()).unwrap();
            self.tell(format!("{clone} settles {:?}", pass.resolved));
            assert!(braid.forks().is_empty(), "{:#?} {:#?}", braid.forks(), self.story);
            assert!(pass.committed.is_none() || braid.epoch().index.transactions.heads().len() == 1, "{:#?}", self.story);
            settled += usize::from(pass.committed.is_some());
        }
        self.meet();
        self.assert_equal();
        assert!((0..self.clones.len()).all(|clone| self.open(clone).forks().is_empty()), "{:#?}", self.story);
        // What several settled, the first who pushes after all have met makes one.
        let joined = self.join(0);
        // Where nothing was left to settle, the heads may be resolutions of before.
        assert!(settled == 0 || joined == (settled > 1), "{joined} {settled} {:#?}", self.story);
        self.meet();
        self.assert_equal();
        let heads = |world: &mut Self, clone: usize| world.open(clone).epoch().index.transactions.heads().len();
        assert!(settled == 0 || (0..self.clones.len()).all(|clone| heads(self, clone) == 1), "{:#?}", self.story);
    }
}

/// Every canonical view by its path.
fn canonical(braid: &Braid) -> BTreeMap<String, String> {
    files(braid, &CANONICAL, |_| true)
}

/// What is at some paths, and below them, as far as `counts` says.
fn files(braid: &Braid, paths: &[&str], counts: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let tree = braid.tree();
    let mut waiting: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
    let mut files = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        match tree.find(&path) {
            Some(Node::Directory { .. }) => {
                waiting.extend(tree.list(&path).unwrap().into_iter().map(|entry| format!("{path}/{}", entry.name)))
            }
            Some(Node::File(_)) if !counts(&path) => {}
            Some(Node::File(file)) => drop(files.insert(path, String::from_utf8(file.read_all().unwrap()).unwrap())),
            None => panic!("{path} is listed and not there"),
        }
    }
    files
}

/// Makes one directory's content that of another; directories that are there stay.
fn mirror(from: &Path, to: &Path) {
    let names = |dir: &Path| -> BTreeSet<_> { fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    for name in names(to).difference(&names(from)) {
        let path = to.join(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            if !to.is_dir() {
                fs::create_dir(&to).unwrap();
            }
            mirror(&from, &to);
        } else if fs::read(&to).ok() != fs::read(&from).ok() {
            fs::copy(from, to).unwrap();
        }
    }
}
