//! The saved index after any damage: the views show what `events/` says.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use braidfs::braid::{Braid, OpenOptions};
use tempfile::TempDir;

use super::stores;

const FILES: usize = 12;
/// How many files come after the base was saved, so that there are records beside it.
const LATER: usize = 3;
const DAMAGES_MAX: usize = 16;

/// A store as a process left it: where it lies, what is in `index/`, and what is shown.
struct Left {
    place: TempDir,
    index: BTreeMap<PathBuf, Vec<u8>>,
    views: BTreeMap<String, Vec<u8>>,
}

thread_local! {
    // The files stay where they are: of others, what was saved would not be believed.
    static LEFT: Left = leave();
}

fn leave() -> Left {
    let place = stores::place();
    let history = stores::history(FILES);
    stores::store_of(place.path(), &history.clone().into_iter().take(FILES - LATER).collect());
    let braid = Braid::open(place.path(), &OpenOptions { save_after: 1, ..OpenOptions::default() }).expect("it opens");
    braid.wait_ready().expect("it gets ready");
    drop(braid);
    for (name, text) in history.iter().skip(FILES - LATER) {
        fs::write(place.path().join("events").join(name), text).expect("a file");
    }
    let views = stores::views(&stores::open(place.path()).tree());
    let index = stores::files_below(&place.path().join("index"));
    Left { place, index, views }
}

/// Five bytes are one damage: of which file, where (two bytes), what is done, with which byte.
pub fn holds(data: &[u8]) {
    LEFT.with(|left| {
        let mut index = left.index.clone();
        for damage in data.chunks_exact(5).take(DAMAGES_MAX) {
            let Some(bytes) = index.values_mut().nth(usize::from(damage[0]) % left.index.len()) else { continue };
            let at = usize::from(u16::from_be_bytes([damage[1], damage[2]])) % (bytes.len() + 1);
            match damage[3] % 4 {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, damage[4]),
                2 => drop(bytes.drain(at..(at + usize::from(damage[4])).min(bytes.len()))),
                _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= damage[4]),
            }
        }
        let dir = left.place.path();
        fs::remove_dir_all(dir.join("index")).expect("a directory");
        for (path, bytes) in &index {
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, bytes).expect("a file");
        }
        stores::alike(&stores::views(&stores::open(dir).tree()), &left.views, "with a damaged index");
        stores::alike(&stores::views(&stores::open(dir).tree()), &left.views, "opened once more");
    });
}

/// No damage, and some to each file.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for file in 0..8 {
        for what in 0..4 {
            seeds.push(vec![file, 0, 40, what, 1]);
            seeds.push(vec![file, 3, 200, what, 128, file + 1, 0, 9, what, 5]);
        }
    }
    seeds
}
