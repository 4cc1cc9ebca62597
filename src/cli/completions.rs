//! `braidfs completions`.

use clap::Args;
use clap_complete::Shell;

use super::failure::Result;
use super::{Session, command_line};

/// Print a shell's completions
///
/// For bash: `braidfs completions bash > ~/.local/share/bash-completion/completions/braidfs`
#[derive(Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, session: &mut Session) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command_line(), "braidfs", &mut script);
    session.out.bytes(&script)
}
