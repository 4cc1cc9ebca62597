//! The command line: one file a subcommand, output for people and for programs, exit codes.

mod append;
mod checkpoint;
mod completions;
mod convert;
mod diff;
mod doctor;
mod draft;
mod events;
mod export;
mod failure;
mod feed;
mod filter;
mod fold;
mod forks;
mod git;
mod given;
mod glob;
mod graph;
mod harmless;
mod import;
mod init;
mod locate;
mod log;
mod man;
mod mount;
mod near;
mod output;
mod progress;
mod projection;
mod reader;
mod reconcile;
mod restore;
mod show;
mod signals;
mod snapshot;
mod status;
mod stream;
mod streams;
mod sync;
mod verify;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::disk::Disk;
use failure::{Failure, Kind, Result};
use output::{Format, Output};

const EXIT_CODES: [&str; 5] = [
    "done",
    "the answer is no: refused, not found, or something should be mended",
    "the command line makes no sense",
    "busy: another program has the store or uses the mount; try again",
    "failed: the machine or the store",
];

/// Which store a command works on.
const WHICH_STORE: &str = "\
The store is the one that --store or $BRAIDFS_STORE names, else the one that the current directory lies in;
a mount of a store counts as that store.";

/// What stands below the commands in the help.
fn after_help() -> String {
    let codes: String = EXIT_CODES.iter().enumerate().map(|(code, meaning)| format!("  {code}  {meaning}\n")).collect();
    format!("Exit codes:\n{codes}\n{WHICH_STORE}")
}

/// An event store that is a directory of files in git, and a file system over it.
#[derive(Parser)]
#[command(name = "braidfs", version, after_help = after_help(), arg_required_else_help = true)]
struct Cli {
    /// The store's directory [env: BRAIDFS_STORE]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Whom the output is for
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Append(append::Arguments),
    Draft(draft::Arguments),
    Log(log::Arguments),
    Stream(stream::Arguments),
    Streams(streams::Arguments),
    Feed(feed::Arguments),
    Watch(watch::Arguments),
    Checkpoint(checkpoint::Arguments),
    Snapshot(snapshot::Arguments),
    Show(show::Arguments),
    Status(status::Arguments),
    Verify(verify::Arguments),
    Forks(forks::Arguments),
    Reconcile(reconcile::Arguments),
    Graph(graph::Arguments),
    Doctor(doctor::Arguments),
    Diff(diff::Arguments),
    Restore(restore::Arguments),
    Sync(sync::Arguments),
    Git(git::Arguments),
    Import(import::Arguments),
    Mount(mount::Arguments),
    Umount(mount::UmountArguments),
    Export(export::Arguments),
    Projection(projection::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// What every subcommand gets: where to print, and which store was named.
struct Session {
    out: Output,
    format: Format,
    store: Option<PathBuf>,
    /// Whether `--store` named it, not the environment.
    is_store_typed: bool,
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    signals::outlive_large_writes();
    signals::wait_for_children();
    // Before anything is parsed or set up: the worker of a fold has little memory and one reader, its parent; a guard is there as long as a mount.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(command) if command == "fold" => return fold::run(),
        Some(command) if command == crate::mount::GUARD_COMMAND => return crate::mount::run_guard(arguments),
        _ => {}
    }
    run_with(std::env::args_os())
}

fn run_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && asks_for_json(&arguments) => return report(&usage_failure(&error), Format::Json),
        Err(error) => {
            // Help and version go to standard output and are success; a reader that has gone is nobody's fault.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 });
        }
    };
    let format = cli.format;
    let is_store_typed = cli.store.is_some();
    let store = cli.store.or_else(store_of_environment);
    let mut session = Session { out: Output::stdout(format), format, store, is_store_typed };
    let done = dispatch(cli.command, &mut session);
    let flushed = session.out.finish();
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&with_way(failure, &session), format),
    }
}

/// Whether a command line that makes no sense asks for JSON all the same.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let is = |at: usize, text: &str| arguments.get(at).is_some_and(|argument| argument == text);
    (0..arguments.len()).any(|at| is(at, "--format=json") || (is(at, "--format") && is(at + 1, "json")))
}

/// What clap says, in its paragraphs: what is wrong, and then what helps.
fn usage_failure(error: &clap::Error) -> Failure {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::new(Kind::Usage, "no command is named").hint("braidfs --help");
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let failure = Failure::new(Kind::Usage, message.strip_prefix("error: ").unwrap_or(&message));
    paragraphs.fold(failure, Failure::hint)
}

/// The store that the environment names; an empty name is none.
fn store_of_environment() -> Option<PathBuf> {
    std::env::var_os("BRAIDFS_STORE").filter(|name| !name.is_empty()).map(PathBuf::from)
}

fn dispatch(command: Command, session: &mut Session) -> Result {
    match command {
        Command::Init(arguments) => init::run(&arguments, session),
        Command::Append(arguments) => append::run(&arguments, session),
        Command::Draft(arguments) => draft::run(&arguments, session),
        Command::Log(arguments) => log::run(&arguments, session),
        Command::Stream(arguments) => stream::run(&arguments, session),
        Command::Streams(arguments) => streams::run(&arguments, session),
        Command::Feed(arguments) => feed::run(&arguments, session),
        Command::Watch(arguments) => watch::run(&arguments, session),
        Command::Checkpoint(arguments) => checkpoint::run(&arguments, session),
        Command::Snapshot(arguments) => snapshot::run(&arguments, session),
        Command::Show(arguments) => show::run(&arguments, session),
        Command::Status(arguments) => status::run(&arguments, session),
        Command::Verify(arguments) => verify::run(&arguments, session),
        Command::Forks(arguments) => forks::run(&arguments, session),
        Command::Reconcile(arguments) => reconcile::run(&arguments, session),
        Command::Graph(arguments) => graph::run(&arguments, session),
        Command::Doctor(arguments) => doctor::run(&arguments, session),
        Command::Diff(arguments) => diff::run(&arguments, session),
        Command::Restore(arguments) => restore::run(&arguments, session),
        Command::Sync(arguments) => sync::run(&arguments, session),
        Command::Git(arguments) => git::run(&arguments, session),
        Command::Import(arguments) => import::run(&arguments, session),
        Command::Mount(arguments) => mount::run(&arguments, session),
        Command::Umount(arguments) => mount::run_umount(&arguments, session),
        Command::Export(arguments) => export::run(&arguments, session),
        Command::Projection(arguments) => projection::run(&arguments, session),
        Command::Completions(arguments) => completions::run(&arguments, session),
        Command::Man(arguments) => man::run(&arguments, session),
    }
}

/// With the way to the store that was named, where hints name commands that must be run in it.
fn with_way(mut failure: Failure, session: &Session) -> Failure {
    let is_of_none = |hint: &str| hint.contains("braidfs init ") || hint.contains("braidfs umount ");
    let is_of_store = |hint: &String| (hint.contains("braidfs ") || hint.contains("git ")) && !is_of_none(hint);
    if session.store.is_some()
        && failure.hints.iter().any(is_of_store)
        && let Ok(store) = locate::named_or_found(session, &Disk::real())
        && let Some(way) = locate::way(&store)
    {
        failure.hints.insert(0, format!("{way}   # where the store is"));
    }
    failure
}

fn report(failure: &Failure, format: Format) -> ExitCode {
    if !failure.message.is_empty() {
        match format {
            Format::Human => output::complain(failure),
            Format::Json => output::complain(failure.to_json()),
        }
    }
    ExitCode::from(failure.kind.exit_code())
}

/// The whole command line as clap knows it, for completions and manual pages.
fn command_line() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }

    /// Every command that is not hidden, with its name as it is typed.
    fn commands(of: &clap::Command, before: &str) -> Vec<(String, clap::Command)> {
        let visible = of.get_subcommands().filter(|command| !command.is_hide_set());
        let named = visible.flat_map(|command| {
            let name = format!("{before}{}", command.get_name());
            match command.has_subcommands() {
                true => commands(command, &format!("{name} ")),
                false => vec![(name, command.clone())],
            }
        });
        named.collect()
    }

    #[test]
    fn the_page_of_the_command_line_lists_every_command_and_option() {
        let page = include_str!("../docs/CLI.md");
        let all = commands(&super::command_line(), "");
        assert!(all.len() > 30);
        for (name, command) in all {
            let typed = format!("`{name}`");
            let row = page.lines().find(|line| line.starts_with("| `") && line.contains(&typed));
            let row = row.unwrap_or_else(|| panic!("docs/CLI.md has no row for {name}"));
            for option in command.get_arguments().filter(|option| !option.is_hide_set()).filter_map(clap::Arg::get_long) {
                let given_to_all = ["store", "format", "help", "version"].contains(&option);
                assert!(given_to_all || row.contains(&format!("--{option}")), "docs/CLI.md does not say that {name} takes --{option}");
            }
        }
    }
}
