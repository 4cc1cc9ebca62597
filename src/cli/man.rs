//! `braidfs man`.

use clap::Args;
use clap_mangen::Man;

use super::failure::{Failure, Kind, Result};
use super::{EXIT_CODES, Session, WHICH_STORE, command_line};

/// Print a manual page: of braidfs, or of one of its commands
///
/// To read it at once: `braidfs man mount | man -l -`
#[derive(Args)]
pub(super) struct Arguments {
    /// The command, such as `mount` or `import git`
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let mut root = command_line();
    root.build();
    let (mut page, mut title) = (root, "braidfs".to_owned());
    for name in &arguments.command {
        let Some(found) = page.find_subcommand(name).cloned() else {
            let known: Vec<_> = page.get_subcommands().map(clap::Command::get_name).collect();
            let hint = if known.is_empty() { String::new() } else { format!("known are: {}", known.join(", ")) };
            return Err(Failure::new(Kind::Usage, format!("command '{name}' does not exist in '{title}'")).hint(hint));
        };
        page = found;
        title = format!("{title}-{name}");
    }
    let mut text = Vec::new();
    let source = concat!("braidfs ", env!("CARGO_PKG_VERSION"));
    // What it ends with has sections of its own.
    let page = page.after_help(None::<&'static str>);
    Man::new(page).title(&title).source(source).manual("braidfs").render(&mut text)?;
    text.extend_from_slice(b".SH \"EXIT STATUS\"\n");
    for (code, meaning) in EXIT_CODES.iter().enumerate() {
        text.extend_from_slice(format!(".TP\n{code}\n{meaning}\n").as_bytes());
    }
    text.extend_from_slice(format!(".SH \"WHICH STORE\"\n{}\n", WHICH_STORE.replace('-', "\\-")).as_bytes());
    session.out.bytes(&text)
}
