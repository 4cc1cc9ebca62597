//! The number of an epoch names what was shown then, whatever came and went since, over restarts too.

use std::collections::BTreeMap;

use super::*;
use crate::braid::OpenOptions;
use crate::braid::tests::draft;

/// A store whose files come and go in any order, and what was shown under each number.
struct Story {
    dice: Dice,
    _temp: tempfile::TempDir,
    dir: PathBuf,
    braid: Option<Braid>,
    /// Files of another replica that are still to come, and those that went from here.
    elsewhere: Vec<(String, Vec<u8>)>,
    shown: BTreeMap<u64, BTreeSet<String>>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let (temp, dir) = store();
        let other = temp.path().join("other");
        Braid::init(&other).unwrap();
        let theirs = open(&other, false);
        append(&theirs, &event("a", 0));
        let (first, bytes) = files(&other, all_names(&other)).remove(0);
        fs::write(dir.join("events").join(&first), bytes).unwrap();
        for n in 1..32 {
            append(&theirs, &event(["a", "b/c"][n as usize % 2], n));
        }
        let elsewhere = files(&other, all_names(&other).into_iter().filter(|name| *name != first));
        // No saved index remembers what has something to report.
        let odd = |(n, (name, bytes)): (usize, (String, Vec<u8>))| (if n % 4 == 0 { format!("odd-{name}") } else { name }, bytes);
        let elsewhere = elsewhere.into_iter().enumerate().map(odd).collect();
        let mut story = Self { dice: Dice(seed), _temp: temp, dir, braid: None, elsewhere, shown: BTreeMap::new() };
        if seed.is_multiple_of(2) {
            // There from the beginning: no epoch brought it.
            story.come();
        }
        story
    }

    fn open(&mut self) -> &Braid {
        // The first index that is saved as a whole takes a moment, and until then nobody else knows the numbers.
        let save_after = if self.shown.is_empty() || self.dice.roll(2) == 0 { 1_000 } else { 1 };
        let options = OpenOptions { save_after, verify: true, ..OpenOptions::default() };
        let dir = &self.dir;
        self.braid.get_or_insert_with(|| {
            let braid = Braid::open(dir, &options).unwrap();
            braid.wait_ready().unwrap();
            braid
        })
    }

    fn come(&mut self) {
        if !self.elsewhere.is_empty() {
            let (name, bytes) = self.elsewhere.swap_remove(self.dice.roll(self.elsewhere.len()));
            fs::write(self.dir.join("events").join(name), bytes).unwrap();
        }
    }

    fn go(&mut self) {
        let names: Vec<String> = all_names(&self.dir).into_iter().collect();
        if let Some(name) = names.get(self.dice.roll(names.len().max(1))) {
            self.elsewhere.extend(files(&self.dir, [name.clone()]));
            fs::remove_file(self.dir.join("events").join(name)).unwrap();
        }
    }

    fn step(&mut self) {
        match self.dice.roll(6) {
            0 => self.braid = None,
            1 => self.go(),
            2 => {
                let text = format!("{{\"expect\":{{\"d\":\"any\"}}}}\n{}", event(&format!("d-{}", self.dice.roll(3)), 1));
                // A stream that is forked by now takes no draft.
                let _ = self.open().append(draft(&text));
            }
            _ => (0..=self.dice.roll(3)).for_each(|_| self.come()),
        }
        if self.dice.roll(4) > 0 {
            let epoch = self.open().refresh().unwrap();
            let here = all_names(&self.dir);
            assert_eq!(epoch.index.transactions.valid_count() as usize, here.len());
            let before = self.shown.insert(epoch.name, here.clone());
            assert!(before.is_none_or(|before| before == here), "epoch {} stands for two things", epoch.name);
            // Whoever only reads has the same number for it.
            let reader = Braid::open(&self.dir, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
            assert_eq!(reader.wait_ready().unwrap().name, epoch.name);
        }
    }
}

#[test]
fn an_epoch_is_what_was_shown_then_of_what_is_here_now() {
    let mut asked = 0;
    for seed in 0..4 {
        let mut story = Story::new(seed);
        (0..30).for_each(|_| story.step());
        story.open().refresh().unwrap();
        let here = all_names(&story.dir);
        let shown = std::mem::take(&mut story.shown);
        asked += shown.len();
        for (number, then) in shown {
            let expected = fresh(&files(&story.dir, then.intersection(&here).cloned()));
            assert_eq!(past(story.open(), &format!("epoch:{number}")), expected, "seed {seed}, epoch {number}");
        }
    }
    assert!(asked > 40, "{asked}");
}

#[test]
fn a_number_that_is_not_given_or_not_known_says_so() {
    let (_temp, dir, braid) = braided();
    let last = braid.epoch().name;
    assert!(matches!(braid.at(&format!("epoch:{}", last + 1)), Err(TravelError::Beyond { what: "epoch", last: l, .. }) if l == last));
    assert!(matches!(braid.at("epoch:0"), Err(TravelError::Forgotten { oldest: 1, .. })));
    drop(braid);
    // Without its index a store numbers its epochs anew.
    fs::remove_dir_all(dir.join("index")).unwrap();
    let braid = open(&dir, false);
    assert_eq!(braid.epoch().name, 1);
    assert_eq!(past(&braid, "epoch:1"), fresh(&files(&dir, all_names(&dir))));
}

#[test]
fn what_is_no_transaction_makes_no_new_number() {
    let (_temp, dir, braid) = braided();
    let before = braid.epoch();
    fs::write(dir.join("events/broken.jsonl"), "no transaction\n").unwrap();
    let after = braid.refresh().unwrap();
    assert!(after.number > before.number && after.quarantined.len() == 1);
    assert_eq!(after.name, before.name);
}

#[test]
fn a_start_that_fails_at_first_keeps_the_numbers() {
    let (_temp, dir, braid) = braided();
    let (first, files_then) = (braid.epoch().name, files(&dir, all_names(&dir)));
    append(&braid, &event("e", 1));
    let last = braid.epoch().name;
    drop(braid);
    let away = dir.join("away");
    fs::rename(dir.join("events"), &away).unwrap();
    fs::write(dir.join("events"), "").unwrap();
    let braid = Braid::open(&dir, &OpenOptions::default()).unwrap();
    braid.wait_ready().unwrap_err();
    fs::remove_file(dir.join("events")).unwrap();
    fs::rename(&away, dir.join("events")).unwrap();
    assert_eq!(braid.refresh().unwrap().name, last);
    assert_eq!(past(&braid, &format!("epoch:{first}")), fresh(&files_then));
    append(&braid, &event("e", 2));
    assert_eq!(braid.epoch().name, last + 1);
}

/// As after a kill, or where the disk took no number: a copy of the files as they lie there.
#[test]
fn a_number_that_was_shown_and_not_saved_is_never_given_to_something_else() {
    let (temp, dir, braid) = braided();
    let copy = temp.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-r").arg(&dir).arg(&copy).status().unwrap();
    assert!(copied.success());
    let before = braid.epoch().name;
    (0..5).for_each(|n| drop(append(&braid, &event("e", n))));
    let shown = braid.epoch().name;
    let after = open(&copy, false);
    assert!(after.epoch().name > shown, "{} {shown}", after.epoch().name);
    assert_eq!(past(&after, &format!("epoch:{before}")), fresh(&files(&copy, all_names(&copy))));
    append(&after, &event("e", 9));
    let name = after.epoch().name;
    drop(after);
    assert_eq!(open(&copy, false).epoch().name, name, "after a good end nothing is passed over");
}

#[test]
fn who_reads_on_in_a_past_keeps_it_however_often_its_name_comes_to_mean_something_else() {
    let (_temp, _dir, braid) = braided();
    let path = "at/time:2999-01-01T00:00:00Z/log.jsonl";
    let file = |tree: &Tree| tree.find(path).and_then(Node::into_file).unwrap();
    let before = file(&braid.tree());
    for n in 0..12 {
        append(&braid, &event("e", n));
        let now = file(&braid.tree());
        assert_ne!(now.incarnation(), before.incarnation());
        let former = braid.tree().find_former(path, before.incarnation()).expect("it is read all the time");
        assert_eq!(former.read_all().unwrap(), before.read_all().unwrap());
    }
}
