//! Any interleaving of commits, unions, files that go and come back, and restarts, against a consumer and saved states.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::braid::{Braid, OpenOptions};
use crate::format::draft::{DraftKind, parse_draft};
use crate::format::lines::parse_line;
use crate::model::{EventId, SnapshotRequest};
use crate::store::Coverage;
use crate::view::FeedFilter;

/// Runs differ by their seed alone: what fails once fails always.
pub(in crate::braid) struct Dice(pub(in crate::braid) u64);

impl Dice {
    pub(in crate::braid) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

struct World {
    _temp: tempfile::TempDir,
    dice: Dice,
    /// The store with the consumer, and the one from which files are copied.
    dirs: [PathBuf; 2],
    braids: [Braid; 2],
    away: BTreeSet<String>,
    /// Files that were away at some time.
    been_away: BTreeSet<String>,
    delivered: BTreeMap<EventId, u32>,
    states: usize,
    stale: usize,
}

fn open(dir: &Path) -> Braid {
    let braid = Braid::open(dir, &OpenOptions { threads: 1, ..OpenOptions::default() }).unwrap();
    braid.wait_ready().unwrap();
    braid
}

fn all() -> FeedFilter {
    FeedFilter { limit: u64::MAX, ..FeedFilter::default() }
}

/// The events that a replay of the feed behind a number meets.
fn replay(braid: &Braid, after: u64) -> Vec<EventId> {
    braid.feed_after(after, &all()).events.into_iter().filter(|event| !event.gone).map(|event| event.event_id).collect()
}

fn ids(lines: &[u8]) -> Vec<EventId> {
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.ends_with(b"\"gone\":true}\n"))
        .map(|line| parse_line(line).unwrap().event_id)
        .collect()
}

fn state_of(ids: &[EventId]) -> String {
    serde_json::to_string(&ids.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

fn ids_of(state: &[u8]) -> Vec<EventId> {
    serde_json::from_slice::<Vec<String>>(state).unwrap().iter().map(|id| id.parse().unwrap()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

impl World {
    fn new(seed: u64) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dirs = ["here", "there", "away"].map(|name| temp.path().join(name));
        fs::create_dir(&dirs[2]).unwrap();
        let [here, there, _] = dirs;
        for dir in [&here, &there] {
            Braid::init(dir).unwrap();
        }
        let braids = [open(&here), open(&there)];
        Self {
            _temp: temp,
            dice: Dice(seed),
            dirs: [here, there],
            braids,
            away: BTreeSet::new(),
            been_away: BTreeSet::new(),
            delivered: BTreeMap::new(),
            states: 0,
            stale: 0,
        }
    }

    fn away_dir(&self) -> PathBuf {
        self.dirs[0].with_file_name("away")
    }

    fn commit(&mut self, place: usize) {
        let events: String = (0..=self.dice.roll(2))
            .map(|n| format!("{{\"stream_id\":\"s-{}\",\"event_type\":\"T\",\"event_data\":{n}}}\n", self.dice.roll(2)))
            .collect();
        // Whoever states the versions knows both sides of a fork.
        let index = &self.braids[place].refresh().unwrap().index;
        let (first, second) = (index.stream_version("s-0"), index.stream_version("s-1"));
        let draft = format!("{{\"expect\":{{\"s-0\":{first},\"s-1\":{second}}}}}\n{events}");
        self.braids[place].append(parse_draft(draft.as_bytes(), DraftKind::Lines).unwrap()).unwrap();
    }

    /// Copies some files from one store into the other, as a merge does.
    fn unite(&mut self) {
        let from = self.dice.roll(2);
        let (source, target) = (self.dirs[from].join("events"), self.dirs[1 - from].join("events"));
        for name in names(&source) {
            if self.dice.roll(3) > 0 && !target.join(&name).exists() && !self.away.contains(&name) {
                fs::copy(source.join(&name), target.join(&name)).unwrap();
            }
        }
        self.braids[1 - from].refresh().unwrap();
    }

    fn vanish(&mut self, seen: bool) {
        let files = names(&self.dirs[0].join("events"));
        if files.is_empty() {
            return;
        }
        let name = files[self.dice.roll(files.len())].clone();
        fs::rename(self.dirs[0].join("events").join(&name), self.away_dir().join(&name)).unwrap();
        self.been_away.insert(name.clone());
        self.away.insert(name);
        if seen {
            self.braids[0].refresh().unwrap();
        }
    }

    fn come_back(&mut self, seen: bool) {
        if let Some(name) = self.away.pop_first() {
            fs::rename(self.away_dir().join(&name), self.dirs[0].join("events").join(&name)).unwrap();
        }
        if seen {
            self.braids[0].refresh().unwrap();
        }
    }

    fn restart(&mut self) {
        self.braids[0] = open(&self.dirs[0]);
    }

    fn consume(&mut self, limit: u64) {
        let braid = &self.braids[0];
        let page = braid.feed_after(braid.cursor("c").unwrap(), &FeedFilter { limit, ..all() });
        for event in page.events.iter().filter(|event| !event.gone) {
            *self.delivered.entry(event.event_id).or_default() += 1;
        }
        braid.save_checkpoint("c", page.next_seq, false).unwrap();
    }

    fn save(&mut self) {
        let braid = &self.braids[0];
        let feed = SnapshotRequest {
            name: "feed".to_owned(),
            seq_nr: Some(braid.latest_seq_nr()),
            versions: Vec::new(),
            state: state_of(&replay(braid, 0)).parse().unwrap(),
        };
        braid.save_snapshot(feed).unwrap();
        let Some(stream) = braid.tree().stream("s-0") else { return };
        let folded = ids(&stream.read_all().unwrap());
        let stream = SnapshotRequest {
            name: "stream".to_owned(),
            seq_nr: None,
            versions: vec![("s-0".to_owned(), folded.len() as u64)],
            state: state_of(&folded).parse().unwrap(),
        };
        // One that holds may cover more versions.
        drop(braid.save_snapshot(stream));
    }

    /// A state that is served, and what comes after it, are a full replay.
    fn check_states(&mut self) {
        let braid = &self.braids[0];
        self.stale += braid.snapshots().iter().filter(|saved| !saved.valid).count();
        for name in ["feed", "stream"] {
            let Some(snapshot) = braid.snapshot(name).unwrap() else { continue };
            self.states += 1;
            let after = braid.tree().find(&format!("snapshots/{name}/after.jsonl")).unwrap().into_file().unwrap().read_all().unwrap();
            let recovered = [ids_of(&snapshot.state), ids(&after)].concat();
            let whole = match snapshot.meta.coverage {
                Coverage::SeqNr(_) => replay(braid, 0),
                Coverage::Versions(_) => braid.tree().stream("s-0").map_or(Vec::new(), |stream| ids(&stream.read_all().unwrap())),
            };
            assert_eq!(recovered, whole, "{name} {:?}", snapshot.meta);
        }
    }

    fn step(&mut self) {
        match self.dice.roll(14) {
            0..=2 => self.commit(0),
            3 | 4 => self.commit(1),
            5 | 6 => self.unite(),
            7 => self.vanish(true),
            8 => self.come_back(true),
            9 => {
                // Nobody looks meanwhile.
                match self.dice.roll(3) {
                    0 => self.vanish(false),
                    1 => self.come_back(false),
                    _ => {}
                }
                self.restart();
            }
            10 | 11 => self.consume(1 + self.dice.0 % 3),
            12 => self.consume(u64::MAX),
            _ => self.save(),
        }
        self.check_states();
    }

    fn check_delivery(&mut self) {
        while !self.away.is_empty() {
            self.come_back(true);
        }
        self.consume(u64::MAX);
        let epoch = self.braids[0].epoch();
        let index = &epoch.index;
        let mut unseen = 0;
        for event in index.log.events.iter_from(0) {
            let id = index.events.id(event, &index.pack);
            let file = index.transactions.file_name(index.events.transaction(event));
            let times = self.delivered.get(&id).copied().unwrap_or(0);
            assert!(times == 1 || (times > 1 && self.been_away.contains(&file)), "event {id} was delivered {times} times");
            unseen += 1;
        }
        assert_eq!(unseen, replay(&self.braids[0], 0).len(), "the feed has every event once");
    }
}

#[test]
fn a_consumer_meets_every_event_and_a_state_that_is_served_holds() {
    let (mut states, mut stale) = (0, 0);
    for seed in 0..6 {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.step();
        }
        world.check_delivery();
        (states, stale) = (states + world.states, stale + world.stale);
    }
    // Both have been tried.
    assert!(states > 25 && stale > 5, "{states} {stale}");
}

#[test]
fn an_event_that_came_back_unseen_is_met_by_who_passed_it_as_gone() {
    let mut world = World::new(0);
    world.commit(0);
    world.vanish(true);
    world.consume(u64::MAX);
    assert!(world.delivered.is_empty());
    world.come_back(false);
    world.restart();
    world.consume(u64::MAX);
    assert!(!world.delivered.is_empty());
    world.check_delivery();
}
