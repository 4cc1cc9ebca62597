//! A directory of any files, each of which comes, is replaced or goes: what is shown is what a look at the files that are left shows.

use std::fs;

use braidfs::format::transaction::normalize;

use super::stores;

/// What parts the steps in the input.
const PART: u8 = 0;
const STEPS_MAX: usize = 12;
/// How many names there are besides those that headers ask for.
const ODD_NAMES: u8 = 3;

/// A step is a byte that says which name it is about, and the bytes of that file: none, and it goes. An even one asks for the name that the
/// header asks for, or the last that did.
pub fn holds(data: &[u8]) {
    let place = stores::place();
    stores::store(place.path(), []);
    let (events, aside) = (place.path().join("events"), place.path().join("aside"));
    let braid = stores::open(place.path());
    let mut proper = "none.jsonl".to_owned();
    for step in data.split(|&byte| byte == PART).take(STEPS_MAX) {
        let [name, bytes @ ..] = step else { continue };
        if let Ok(normal) = normalize(bytes) {
            proper = format!("{}.jsonl", normal.header.transaction_id);
        }
        let path = events.join(if name % 2 == 0 { proper.clone() } else { format!("odd-{}.jsonl", name / 2 % ODD_NAMES) });
        if bytes.is_empty() {
            let _ = fs::remove_file(path);
        } else {
            // In one move: what is rewritten in place within a tick of the disk's clock is the same file to who is not told.
            fs::write(&aside, bytes).expect("a file");
            fs::rename(&aside, path).expect("a move");
        }
        braid.refresh().expect("it is taken in");
    }
    let shown = stores::views(&braid.tree());
    drop(braid);
    stores::alike(&stores::views(&stores::open(place.path()).tree()), &shown, "as saved, and one by one");
    let files = stores::files_below(&events);
    let anew = stores::place();
    let name = |path: &std::path::Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let files: Vec<(String, Vec<u8>)> = files.into_iter().map(|(path, bytes)| (name(&path), bytes)).collect();
    stores::store(anew.path(), files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    stores::alike(&stores::views(&stores::open(anew.path()).tree()), &shown, "all at once, and one by one");
}

/// Histories in either direction; files that come twice, are damaged, mended and replaced.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts: Vec<String> = stores::history(STEPS_MAX).into_values().collect();
    let (first, second) = (texts[0].as_str(), texts[1].as_str());
    let other = first.replacen("Noted", "noted", 1);
    let joined = |steps: &[(u8, &str)]| {
        let steps: Vec<Vec<u8>> = steps.iter().map(|(name, text)| [&[*name], text.as_bytes()].concat()).collect();
        steps.join(&PART)
    };
    let in_order: Vec<(u8, &str)> = texts.iter().map(|text| (2, text.as_str())).collect();
    let back: Vec<(u8, &str)> = in_order.iter().rev().copied().collect();
    vec![
        joined(&in_order),
        joined(&back),
        joined(&[(2, first), (1, first), (2, second), (1, ""), (1, first)]),
        // The file of a transaction becomes that of another one, while a second name has its bytes.
        joined(&[(1, first), (3, first), (1, second), (3, "")]),
        // What was refused is mended, while a second name has its bytes.
        joined(&[(2, first), (1, first), (2, "damaged"), (2, first)]),
        joined(&[(1, &other), (3, first), (1, first), (3, &other)]),
        joined(&[(2, first), (1, &other), (3, second), (1, "x"), (3, "")]),
    ]
}
