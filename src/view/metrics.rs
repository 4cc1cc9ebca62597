//! `metrics`: the state and what was done, in the text format of Prometheus (version 0.0.4).

use std::fmt::Write;

use crate::epoch::{Epoch, Timed, WriterState};
use crate::model::Severity;

/// The state for Prometheus, as of the epoch; what was done counts from the opening of the store.
#[must_use]
pub fn metrics(epoch: &Epoch) -> String {
    let mut text = String::new();
    let index = &epoch.index;
    let (open, provisional) = index.forks().counts();
    let is_writable = epoch.writer == WriterState::Ready;
    for (name, help, value) in [
        ("epoch", "The number of the set of transactions in the views.", epoch.name),
        ("transactions", "Transactions in the views.", u64::from(index.transactions.valid_count())),
        ("events", "Events in the views.", index.log.events.len()),
        ("streams", "Streams with events.", index.directories.live()),
        ("heads", "Transactions without a child.", index.transactions.head_numbers().len() as u64),
        ("latest_seq_nr", "The largest sequence number shown.", epoch.feed_shown),
        ("quarantined_files", "Files that the store refused.", epoch.quarantined.len() as u64),
        ("forked_streams", "Streams with an open fork that is not provisional.", open),
        ("provisional_streams", "Streams with a fork in whose past a parent is missing.", provisional),
        ("findings", "Things worth a report.", epoch.findings.len() as u64),
        ("ready", "Whether every file that was there at the start is in the views.", u64::from(epoch.progress.ready)),
        ("writable", "Whether this process can commit.", u64::from(is_writable)),
    ] {
        family(&mut text, name, "gauge", help);
        sample(&mut text, name, value);
    }
    family(&mut text, "findings_by_severity", "gauge", "Things worth a report, by how grave they are.");
    for severity in [Severity::Info, Severity::Warning, Severity::Error] {
        let count = epoch.findings.iter().filter(|finding| finding.severity == severity).count() as u64;
        sample(&mut text, &format!("findings_by_severity{{severity=\"{}\"}}", severity.name()), count);
    }
    done(&mut text, epoch);
    text
}

fn done(text: &mut String, epoch: &Epoch) {
    let counters = &epoch.counters;
    for (name, help, value) in [
        ("committed_transactions_total", "Transactions that this process committed.", counters.committed),
        ("committed_events_total", "Events in the transactions that this process committed.", counters.committed_events),
        ("refused_drafts_total", "Drafts that were refused.", counters.refused),
        ("failed_drafts_total", "Drafts that could not be decided: the store was busy, or the disk failed.", counters.failed),
        ("taken_in_files_total", "Files that were taken in after they came.", counters.came),
        ("vanished_files_total", "Files that went.", counters.went),
        ("published_epochs_total", "States that were published.", epoch.number),
        ("folded_events_total", "Events that user-defined folds were given.", counters.folded),
    ] {
        family(text, name, "counter", help);
        sample(text, name, value);
    }
    for (name, help, timed) in [
        ("append_duration_seconds", "How long groups of drafts took to be decided and made durable.", counters.append),
        ("take_in_duration_seconds", "How long files took to be taken in.", counters.take_in),
        ("snapshot_duration_seconds", "How long states took to be saved.", counters.snapshot),
        ("load_duration_seconds", "How long the store took to be opened.", counters.load),
    ] {
        summary(text, name, help, timed);
    }
}

fn summary(text: &mut String, name: &str, help: &str, timed: Timed) {
    family(text, name, "summary", help);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "braidfs_{name}_sum {}.{:09}", timed.time.as_secs(), timed.time.subsec_nanos());
    sample(text, &format!("{name}_count"), timed.count);
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP braidfs_{name} {help}\n# TYPE braidfs_{name} {kind}\n");
}

fn sample(text: &mut String, name: &str, value: u64) {
    let _ = writeln!(text, "braidfs_{name} {value}");
}
