//! The texts of a mount: its README, the ignore file for searches, the metrics.

use crate::epoch::Epoch;

/// Makes `rg` and `fd` at the root read every event once, through `streams/`.
pub const IGNORE: &str = "\
# Every event stands in several views. A search from here reads each once, in streams/.
/log.jsonl
/feed.jsonl
/feed/
/types/
/categories/
/transactions/
/quarantine/
/forks/
/at/
/snapshots/
/views/
/receipts/
/staging/
/append
/metrics
/graph.txt
";

/// How to use a mount, in one screen.
#[must_use]
pub fn readme(epoch: &Epoch) -> String {
    format!(
        "\
# A braidfs mount

Events, one JSON object a line, read with any tool. Everything here is exact and live.

    tail -f feed.jsonl                    every event once, as it arrives here
    cat log.jsonl                         every event in the order that all replicas share
    cat streams/<stream>.jsonl            one stream; \"/\" in its name makes directories
    ls types categories transactions      the same by type, by category, by file
    jq . status.json                      counts, heads, forks, findings
    ls forks                              streams with two histories, and how to settle them
    ls at/time:2026-01-31T12:00:00Z       the same tree as of then; in a git repository also at/HEAD~1

To write, drop a file of events, or one line to `append`; each becomes one transaction or is refused as a whole:

    echo '{{\"stream_id\":\"todo-1\",\"event_type\":\"Opened\",\"event_data\":{{\"title\":\"try it\"}}}}' > staging/first.jsonl
    cat receipts/first.jsonl.json                 what became of it; a refused one stays, with staging/first.jsonl.error beside it
    echo '{{\"stream_id\":\"todo-1\",\"event_type\":\"Closed\",\"event_data\":{{}}}}' > append

Only names of `A-Z a-z 0-9 . _ -` that begin with a letter or a digit and end in `.json` or `.jsonl` are committed: anything else in `staging/` is a draft,
until it is renamed, and is removed after 24 hours without use. A name is committed once (`File exists`). Of a refused line to `append`
bash says only `Invalid argument`, and dash `I/O error` of any error; dropped into `staging/` it says why
(`mv` calls a refused draft a `subdirectory of itself`: read its `.error`). A read-only mount has none of these.
`at/` of a git revision needs a git repository, which `git init` in the store makes. Also here: `checkpoints/` (a number a reader),
`snapshots/` (saved states; `recovery.jsonl` is the newest and what came after it), `views/` (folds of your own), `quarantine/` (files that do not count).

`tail -f` on an ordered view stops at a merge that re-orders it; `tail -F` starts again; `feed.jsonl` shows each event once, and once more what left and returned.
Programs that watch by inotify see no change that is made elsewhere: use `braidfs watch`, or `tail -f`.
`grep -r` from here reads each event several times; `grep -r … streams/` reads it once.

{}
",
        epoch.store.dir().display()
    )
}
