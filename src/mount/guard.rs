//! A process beside the daemon that cuts its connection once it was killed.
//!
//! The kernel ends a connection when nobody has its device open any more. A thread that tells it of a name waits for that name's
//! directory, and no signal ends that wait: killed then, the daemon has the device open until whoever holds the directory lets it go, who
//! may wait for the daemon's answer. From outside that looks as if it lived: pipes and locks stay its own. But its other threads end,
//! and whoever was started by one of them may ask for a signal then.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;

use crate::braid::worker_exe;
use crate::disk::{self, Disk};
use crate::mount::background::close_all_but;
use crate::mount::cut::{self, Control};

/// The command by which this program is a guard.
pub const COMMAND: &str = "guard";
/// Its process by name, for who lists processes.
const NAME: &std::ffi::CStr = c"braidfs-guard";
/// What no terminal sends, and no service manager that ends whatever belongs to a service.
const PARENT_DIED: Signal = Signal::SIGUSR1;

/// Within this time it can be seen that a thread has ended.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// A guard that watches the thread that started it. It ends when this is dropped.
pub struct Guard(Child);

impl Guard {
    /// Starts one; none where the machine gives no more processes, and the mount works as well without. To be called by the thread that
    /// waits for the end of the mount.
    pub fn start(control: &Control, point: &Path) -> Option<Self> {
        // A group of its own: a terminal's interrupt is for the daemon to decide about.
        let mut command = Command::new(worker_exe(&Disk::real()));
        command.arg0(env!("CARGO_PKG_NAME")).arg(COMMAND).arg(std::process::id().to_string()).arg(point);
        command.current_dir("/").process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let started = control.try_clone().and_then(|control| command.stdin(control).spawn());
        started.inspect_err(|error| tracing::warn!(%error, "nobody cuts the connection should this process be killed")).ok().map(Self)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Is a guard, of the connection whose control is the standard input: waits until the thread of the process named first that started it has
/// ended, and cuts the connection.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent: Option<u32> = arguments.next().and_then(|parent| parent.to_str()?.parse().ok());
    close_all_but([None, None]);
    let begun = SigSet::all().thread_block().and_then(|()| set_pdeathsig(PARENT_DIED));
    let (Some(parent), Ok(())) = (parent, begun) else { return ExitCode::FAILURE };
    let _ = set_name(NAME);
    let mut awaited = SigSet::empty();
    awaited.add(PARENT_DIED);
    let is_there = || i32::try_from(parent) == Ok(getppid().as_raw()) && !disk::is_dying(parent);
    // It may have ended before the signal was asked for, and anybody may send one.
    while is_there() {
        if awaited.wait().is_err() {
            return ExitCode::FAILURE;
        }
        // The signal comes a moment before it can be seen that the thread has ended.
        let told = Instant::now();
        while is_there() && told.elapsed() < SEEN_WITHIN {
            std::thread::sleep(PAUSE);
        }
    }
    // Of one that has ended nothing is left to cut.
    let _ = cut::cut_by(std::io::stdin());
    ExitCode::SUCCESS
}
