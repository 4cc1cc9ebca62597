//! `braidfs watch`.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::checkpoint::take_lead;
use super::failure::{Failure, Kind, Result};
use super::filter::Filter;
use super::signals::Ending;
use super::{Session, locate};
use crate::braid::{Braid, OpenOptions};
use crate::disk::{Disk, LockGuard, NO_THREAD_CURE};
use crate::store::{CheckpointError, Mode, Store};
use crate::view::{FeedEvent, FeedPage};

/// How soon a signal is noticed while nothing happens; events are noticed at once.
const NOTICE: Duration = Duration::from_millis(100);

/// Follow the feed for a subscription, from its checkpoint, as JSON lines
///
/// One process leads a subscription at a time; a second one is refused. Printing moves no checkpoint, unless --save: whoever
/// reads the lines saves what it has dealt with, by `braidfs checkpoint set`. With --exec a program gets each batch on its
/// standard input, and the checkpoint moves when it exits with 0. When it does not, watch ends with 1, and the next one
/// begins with the same events. SIGINT and SIGTERM end it cleanly. Works on the store: mounts may come and go.
#[derive(Args)]
pub(super) struct Arguments {
    /// The subscription: any name of up to 123 bytes
    #[arg(value_name = "SUBSCRIPTION")]
    subscription: String,
    #[command(flatten)]
    filter: Filter,
    /// At most so many events a batch
    #[arg(long, visible_alias = "limit", value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// End when there is nothing more to read
    #[arg(long)]
    once: bool,
    /// Save the checkpoint after each batch that was printed
    #[arg(long, conflicts_with = "exec")]
    save: bool,
    /// Run this program for each batch, with the events on its standard input
    #[arg(long, value_name = "PROGRAM")]
    exec: Option<OsString>,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGUMENT", requires = "exec")]
    arguments: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let ending = Ending::catch()?;
    let disk = Disk::real();
    let directory = locate::named_or_found(session, &disk)?;
    let directory = disk.canonical(&directory).unwrap_or(directory);
    locate::leave_mount(&disk, &directory);
    Store::open(&directory, &disk, Mode::ReadOnly)?;
    let name = &arguments.subscription;
    let braid = Braid::open(&directory, &OpenOptions { follow: true, ..OpenOptions::default() })?;
    let leadership = take_lead(braid.store(), name)?;
    while braid.wait(|epoch| epoch.progress.ready || epoch.progress.failed, NOTICE).is_none() {
        if ending.has_come() {
            return Ok(());
        }
    }
    braid.wait_ready()?;
    follow(&braid, &leadership, arguments, ending, session)
}

fn follow(braid: &Braid, leadership: &LockGuard, arguments: &Arguments, ending: Ending, session: &mut Session) -> Result {
    let name = &arguments.subscription;
    let filter = arguments.filter.to_feed(arguments.batch);
    let mut cursor = braid.cursor(name)?;
    if cursor > braid.latest_seq_nr() {
        // Others gave numbers which this process cannot make certain, or the log went.
        braid.refresh()?;
    }
    let mut numbering = None;
    while !ending.has_come() {
        let page = braid.feed_after(cursor, &filter);
        if *numbering.get_or_insert(page.numbering) != page.numbering {
            // The same numbers stand for other events by now.
            return Err(CheckpointError::Orphaned { name: name.clone(), saved: cursor }.into());
        }
        if page.next_seq == cursor {
            if arguments.once {
                return Ok(());
            }
            braid.wait(|epoch| epoch.feed_shown > cursor || ending.has_come(), NOTICE);
            continue;
        }
        if !deliver(&page, leadership, arguments, ending, session)? {
            return Ok(());
        }
        cursor = page.next_seq;
        if arguments.save || arguments.exec.is_some() {
            braid.save_page(name, &page)?;
        }
    }
    Ok(())
}

/// Hands a batch over; false if that was given up for a signal.
fn deliver(page: &FeedPage, leadership: &LockGuard, arguments: &Arguments, ending: Ending, session: &mut Session) -> Result<bool> {
    if page.events.is_empty() {
        return Ok(true);
    }
    let Some(program) = &arguments.exec else {
        page.events.iter().try_for_each(|event| session.out.bytes(&event.line))?;
        session.out.finish()?;
        return Ok(true);
    };
    let shown = program.to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command.args(&arguments.arguments).stdin(Stdio::piped());
    // Should this process be killed, nobody else gets these events while the program is at them.
    let child = leadership.hand_on(&mut command).and_then(|()| command.spawn());
    let mut child = child.map_err(|error| Failure::new(Kind::Refused, format!("program '{shown}' cannot be started")).because(&error))?;
    let input = child.stdin.take();
    let status = std::thread::scope(|scope| {
        // A program that reads nothing must not hold us up.
        let feeding = std::thread::Builder::new().spawn_scoped(scope, || input.map(|input| feed(input, &page.events)));
        if let Err(error) = feeding {
            // It must not take no events for all of them.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::new(Kind::Failed, format!("program '{shown}' cannot be fed")).because(&error).hint(NO_THREAD_CURE));
        }
        ending.wait_for(&mut child)
    })?;
    if status.success() {
        return Ok(true);
    }
    if ending.has_come() {
        return Ok(false);
    }
    let (first, last) = (page.events.first().map_or(0, |event| event.seq_nr), page.events.last().map_or(0, |event| event.seq_nr));
    Err(Failure::new(Kind::Refused, format!("program '{shown}' ended with {status} on the events {first} to {last}"))
        .hint("the checkpoint stays before them: mend the program, and watch again"))
}

fn feed(mut input: impl Write, events: &[FeedEvent]) {
    for event in events {
        // A program that has read enough says so by closing; whether it succeeded its exit code tells.
        if input.write_all(&event.line).is_err() {
            return;
        }
    }
}
