//! The `braidfs` command.

fn main() -> std::process::ExitCode {
    braidfs::cli::run()
}
