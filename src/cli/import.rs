//! `braidfs import`.

mod git;
mod history;
mod jsonl;
mod log;
mod names;
mod render;
mod repository;

use clap::{Args, Subcommand};

use super::Session;
use super::failure::Result;

/// Make a store out of something else's history
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand)]
enum Source {
    Git(git::Arguments),
    Jsonl(jsonl::Arguments),
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    match &arguments.source {
        Source::Git(arguments) => git::run(arguments, session),
        Source::Jsonl(arguments) => jsonl::run(arguments, session),
    }
}
