//! The process behind a worker: started under limits, watched while it answers, killed and reaped.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::fold::error::{FoldError, FoldErrorKind};
use crate::fold::limits::Limits;

/// How often the time of a worker that has not answered is looked at, in milliseconds.
const TICK_MS: u8 = 10;

/// Seconds of processor time beyond the limit after which the kernel ends a worker that no parent watches any more.
const ORPHAN_CPU_S: u64 = 2;

/// How much of what a dead worker said is read, in bytes.
const LAST_WORDS_BYTES_MAX: u64 = 64 << 10;

/// Why a worker gave no answer.
#[derive(Debug)]
pub(super) enum Ended {
    /// It used the processor for too long.
    Cpu,
    /// It took too long by the clock.
    Wall,
    /// Its answer is longer than a state may be.
    State,
    /// It ended by itself, or was killed by somebody else.
    Died,
    /// Talking to it failed.
    Io(io::Error),
}

pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    words: ChildStderr,
}

impl Process {
    pub(super) fn start(exe: &Path, limits: &Limits) -> Result<Self, FoldError> {
        let failed = |error: io::Error| machine(format!("the worker \"{}\" cannot be started: {error}", exe.display()));
        // A group of its own: a terminal's interrupt is for the parent to decide about.
        let mut command = Command::new(exe);
        command.arg("fold").env("RUST_BACKTRACE", "0").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(output), Some(words)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(machine("the worker has no pipes".to_owned()));
        };
        let process = Self { child, input, output, words };
        // It waits for its first request meanwhile, so nothing of a program runs without limits.
        process.limit(limits).map_err(failed)?;
        Ok(process)
    }

    fn limit(&self, limits: &Limits) -> io::Result<()> {
        for fd in [self.input.as_fd(), self.output.as_fd(), self.words.as_fd()] {
            set_nonblocking(fd)?;
        }
        let (_, memory_hard) = getrlimit(Resource::RLIMIT_AS)?;
        let memory = limits.memory_bytes_max.min(memory_hard);
        set_limit(&self.child, Resource::RLIMIT_AS, memory, memory)?;
        set_limit(&self.child, Resource::RLIMIT_CORE, 0, 0)
    }

    /// Writes a request and reads the line that answers it.
    pub(super) fn exchange(&mut self, message: &[u8], limits: &Limits) -> Result<Vec<u8>, Ended> {
        let cpu_before = self.cpu();
        self.limit_orphan(cpu_before, limits);
        let (begun, mut unsent, mut answer) = (Instant::now(), message, Vec::new());
        loop {
            self.wait(!unsent.is_empty()).map_err(Ended::Io)?;
            unsent = self.write_some(unsent)?;
            if self.read_some(&mut answer)? {
                self.drain_words();
                return Ok(answer);
            }
            if answer.len() > limits.state_bytes_max {
                return Err(Ended::State);
            }
            if self.cpu().saturating_sub(cpu_before) > Duration::from_millis(limits.cpu_ms) {
                return Err(Ended::Cpu);
            }
            if begun.elapsed() > Duration::from_millis(limits.wall_ms) {
                return Err(Ended::Wall);
            }
        }
    }

    /// Waits until there is something to read or room to write, at most for one tick.
    fn wait(&self, writing: bool) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        if writing {
            fds.push(PollFd::new(self.input.as_fd(), PollFlags::POLLOUT));
        }
        match poll(&mut fds, PollTimeout::from(TICK_MS)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_some<'m>(&mut self, unsent: &'m [u8]) -> Result<&'m [u8], Ended> {
        if unsent.is_empty() {
            return Ok(unsent);
        }
        match self.input.write(unsent) {
            Ok(written) => Ok(unsent.get(written..).unwrap_or_default()),
            Err(error) if is_not_now(&error) => Ok(unsent),
            // Its last words are still to be read, and say more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ended::Died),
            Err(error) => Err(Ended::Io(error)),
        }
    }

    /// Reads what is there; says whether the answer is whole.
    fn read_some(&mut self, answer: &mut Vec<u8>) -> Result<bool, Ended> {
        let mut buffer = [0; 64 << 10];
        match self.output.read(&mut buffer) {
            Ok(0) => Err(Ended::Died),
            Ok(read) => {
                answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
                Ok(answer.pop_if(|byte| *byte == b'\n').is_some())
            }
            Err(error) if is_not_now(&error) => Ok(false),
            Err(error) => Err(Ended::Io(error)),
        }
    }

    /// Takes the indexes of the events that are done, so that the pipe never fills and the next ones begin afresh.
    fn drain_words(&mut self) {
        let mut buffer = [0; 4 << 10];
        while self.words.read(&mut buffer).is_ok_and(|read| read > 0) {}
    }

    /// Processor time that the worker has used.
    fn cpu(&self) -> Duration {
        // A process that is gone has no clock; reading from it says so.
        let clock = ClockId::pid_cpu_clock_id(pid(&self.child));
        clock.and_then(clock_gettime).map(Duration::from).unwrap_or_default()
    }

    fn limit_orphan(&self, cpu: Duration, limits: &Limits) {
        let soft = cpu.as_secs() + limits.cpu_ms.div_ceil(1000) + ORPHAN_CPU_S;
        // Only a second line behind the parent's own clock: without it a worker whose parent is gone would go on.
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CPU) {
            let _ = set_limit(&self.child, Resource::RLIMIT_CPU, soft.min(hard), hard);
        }
    }

    /// Kills and reaps the worker; gives the error and the index of the event that it was at.
    pub(super) fn end(mut self, ended: Ended, limits: &Limits) -> (FoldError, Option<usize>) {
        let _ = self.child.kill();
        let status = self.child.wait();
        let mut words = Vec::new();
        let _ = (&mut self.words).take(LAST_WORDS_BYTES_MAX).read_to_end(&mut words);
        let words = String::from_utf8_lossy(&words);
        let index = words.lines().rev().find_map(|line| line.parse().ok());
        let error = match ended {
            Ended::Cpu => limit(format!("the step took more than {} ms of processor time", limits.cpu_ms)),
            Ended::Wall => limit(format!("the step took more than {} ms", limits.wall_ms)),
            Ended::State => FoldError::too_long(limits.state_bytes_max),
            Ended::Io(error) => machine(format!("the worker cannot be talked to: {error}")),
            Ended::Died => status.map_or_else(|error| machine(error.to_string()), |status| died(status, &words, limits)),
        };
        (error, index)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a worker died of, by its last words and its status.
fn died(status: ExitStatus, words: &str, limits: &Limits) -> FoldError {
    let memory = || limit(format!("the step needs more memory than {} bytes", limits.memory_bytes_max));
    if words.contains("memory allocation of") {
        return memory();
    }
    if words.contains("overflowed its stack") {
        return limit("the step recurses deeper than the stack of its process".to_owned());
    }
    match status.signal() {
        // A stack that the limit of memory does not let grow.
        Some(libc::SIGSEGV | libc::SIGBUS) => memory(),
        Some(libc::SIGXCPU) => limit(format!("the step took more than {} ms of processor time", limits.cpu_ms)),
        None if words.contains("panicked at") => FoldError::step("the step made the interpreter fail"),
        _ => machine(format!("the worker ended: {status}")),
    }
}

fn limit(message: String) -> FoldError {
    FoldError::new(FoldErrorKind::Limit, message)
}

fn machine(message: String) -> FoldError {
    FoldError::new(FoldErrorKind::Machine, message)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[allow(unsafe_code)]
fn set_limit(child: &Child, resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is valid for the call and the old limit is not asked for; the child is not reaped while `child`
    // is borrowed, so its id means no other process.
    let answer = unsafe { libc::prlimit(pid(child).as_raw(), resource as _, &raw const limit, std::ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
