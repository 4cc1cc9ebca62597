//! Working copies that write, meet, forget and crash at random: at rest all are equal, and every conflict can be closed.
//!
//! What a seed plays is drawn from it alone; only ids are new each time. `BRAIDFS_SEED=n` plays one seed,
//! `BRAIDFS_SIMULATION_MINUTES=n` as many as there is time for, after the few that always run: from the seed given on, or from another
//! one each day.

#[cfg(test)]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use world::World;

use crate::format::text::counted_as;

/// The seeds that always run.
const SEEDS: std::ops::Range<u64> = 0..8;

/// Chance that a seed decides.
pub(super) struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Near seeds must not begin alike.
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            dice.below(2);
        }
        dice
    }

    /// A number below `below`.
    pub(super) fn below(&mut self, below: usize) -> usize {
        // Knuth's multiplier; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Each of these with an even chance.
    pub(super) fn some<T>(&mut self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        all.into_iter().filter(|_| self.below(2) == 0).collect()
    }
}

fn play(seed: u64) {
    let mut dice = Dice::new(seed);
    let clones = 2 + dice.below(3);
    let steps = 20 + dice.below(60);
    let mut world = World::new(clones, dice);
    for step in 0..steps {
        world.step(step);
    }
    world.rest();
}

fn play_and_tell(seed: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
        println!("to play it again: BRAIDFS_SEED={seed}");
        resume_unwind(panic);
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn working_copies_at_rest_are_equal_and_every_conflict_can_be_closed() {
    let (seed, minutes) = (variable("BRAIDFS_SEED"), variable("BRAIDFS_SIMULATION_MINUTES"));
    let end = Instant::now() + Duration::from_secs(minutes.unwrap_or(0) * 60);
    let first = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400 * 1_000_000);
    let always = if seed.is_none() { SEEDS } else { first..first + u64::from(minutes.is_none()) };
    always.clone().for_each(play_and_tell);
    let played = (first..).take_while(|_| minutes.is_some() && Instant::now() < end).inspect(|&seed| play_and_tell(seed)).count() as u64;
    let fixed = always.end - always.start;
    let histories = counted_as(fixed + played, "history", "histories");
    println!("{histories} played: {fixed} of the seeds from {} on, {played} of those from {first} on", always.start);
}
