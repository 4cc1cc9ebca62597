//! The feed where its numbers are lost.

use super::*;

/// The events of the feed that are here, in its order.
fn order(braid: &Braid) -> Vec<String> {
    let feed = text(&braid.tree(), "feed.jsonl");
    let id = |line: &str| Some(line.split_once("\"event_id\":\"")?.1.get(..36)?.to_owned());
    feed.lines().filter(|line| !line.contains("\"gone\":true")).map(|line| id(line).unwrap()).collect()
}

/// Story: the own events got the first numbers, the end of a stream before its beginning that another working copy wrote.
#[test]
fn a_lost_log_is_numbered_anew_in_the_order_of_the_old_feed() {
    for is_open in [true, false] {
        let (_other_temp, other_dir) = store();
        let other = open(&other_dir, false);
        let ids: Vec<String> = (0..6).map(|n| append(&other, &event("s", n)).transaction_id.to_string()).collect();
        drop(other);
        let (_temp, dir) = store();
        let copy = |id: &String| fs::copy(other_dir.join(format!("events/{id}.jsonl")), dir.join(format!("events/{id}.jsonl"))).map(drop);
        let mut braid = open(&dir, true);
        // The end before the beginning, ours in between, and one that left and returned.
        for id in ids.iter().skip(3) {
            copy(id).unwrap();
        }
        braid.refresh().unwrap();
        append(&braid, &format!("{{\"expect\":{{\"s\":3}}}}\n{}{}", event("s", 10), event("s", 11)));
        for id in ids.iter().take(3) {
            copy(id).unwrap();
        }
        braid.refresh().unwrap();
        append(&braid, &event("t", 12));
        fs::remove_file(dir.join(format!("events/{}.jsonl", ids[4]))).unwrap();
        braid.refresh().unwrap();
        copy(&ids[4]).unwrap();
        braid.refresh().unwrap();
        let before = order(&braid);
        assert_eq!((before.len(), braid.epoch().feed_shown), (9, 10));
        if is_open {
            fs::remove_file(dir.join("index/ingestion.log")).unwrap();
        } else {
            drop(braid);
            // A base has the feed.
            drop(Braid::open(&dir, &OpenOptions { save_after: 0, ..OpenOptions::default() }).unwrap().wait_ready().unwrap());
            fs::remove_file(dir.join("index/ingestion.log")).unwrap();
            braid = open(&dir, true);
        }
        braid.refresh().unwrap();
        assert_eq!(order(&braid), before, "open: {is_open}");
        assert_eq!(braid.epoch().feed_shown, 9);
        append(&braid, &event("t", 13));
        assert_eq!(order(&braid)[..9], before);
        drop(braid);
        assert_eq!(order(&open(&dir, false))[..9], before);
    }
}
