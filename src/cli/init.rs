//! `braidfs init`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failure::Result;
use super::harmless::harmless;
use super::{Session, locate};
use crate::braid::git::Program;
use crate::disk::Disk;
use crate::format::text::quoted_path;
use crate::store::{Mode, Store};

/// Make a store: a directory with `events/` and what git should know about it
///
/// A store that is there already stays as it is, and so does everything else in the directory: what git was not told there, `braidfs git setup`
/// tells it.
#[derive(Args)]
pub(super) struct Arguments {
    /// The directory; made if it does not exist. Without it, the one that --store or $BRAIDFS_STORE names, else the current one
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let disk = Disk::real();
    let directory = locate::argument_or_option(arguments.directory.as_deref(), session)?.unwrap_or_else(|| PathBuf::from("."));
    let existed = Store::open(&directory, &disk, Mode::ReadOnly).is_ok();
    let store = Store::init(&directory, &disk)?;
    let shown = store.dir().display().to_string();
    // Outside of a repository nothing is to be told yet.
    let lacks = Program::new(store.dir()).lacks().unwrap_or_default();
    let mut lacking = lacks.sentences().peekable();
    while let Some(sentence) = lacking.next() {
        let is_last = lacking.peek().is_none();
        let cure = is_last.then(|| format!("braidfs git setup --store {}", quoted_path(store.dir())));
        session.out.note(&sentence, cure.as_slice());
    }
    session.out.either(&json!({"store": shown, "created": !existed}), |_| {
        let state = if existed { "was a store already" } else { "is a store now" };
        format!("'{}' {state}", harmless(&shown))
    })
}
