//! Where the daemon's log goes: a file, the terminal, or the system's log.

use std::ffi::CString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::mount::otlp::Exporter;
use crate::mount::{Error, Options};

/// The variable that says what is logged, as `tracing` filters are written.
pub const VARIABLE: &str = "BRAIDFS_LOG";

/// Begins to log, and to export spans if a collector of them is named. A process that logs already goes on as it does.
///
/// What it gives sends the last spans when it is dropped.
pub fn begin(options: &Options, store: &Path) -> Result<Option<Exporter>, Error> {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    // A line that cannot be written is lost, and nothing else is.
    let lines = fmt::layer().with_ansi(false).log_internal_errors(false);
    let mut listening = vec![match options.log_file.as_deref() {
        Some(path) => lines.with_writer(File::append(path)?).boxed(),
        None if options.foreground => lines.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).boxed(),
        None => lines.without_time().with_writer(|| SystemLog).boxed(),
    }];
    let exported = options.collector.as_ref().map(|collector| collector.begin(&store.display().to_string())).transpose()?;
    let exporter = exported.map(|(exporter, layer)| {
        listening.push(layer);
        exporter
    });
    drop(tracing_subscriber::registry().with(filter).with(listening).try_init());
    // A daemon has no terminal to which the place of a bug could be printed.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(exporter)
}

/// The descriptor of this process that a path of a log file names, as the shell's `>(command)` and `/dev/stderr` do.
pub fn descriptor(path: &Path) -> Option<RawFd> {
    let number = path.strip_prefix("/dev/fd").or_else(|_| path.strip_prefix("/proc/self/fd"));
    match (path.to_str()?, number) {
        ("/dev/stdout", _) => Some(1),
        ("/dev/stderr", _) => Some(2),
        (_, number) => number.ok()?.to_str()?.parse().ok(),
    }
}

/// Another descriptor of what one is of, as a socket cannot be opened by a path; no child has either.
fn duplicate(descriptor: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: a number that is no descriptor is an error, and what is given belongs to nobody else.
    #[allow(unsafe_code)]
    unsafe {
        let fd = Errno::result(libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3))?;
        if descriptor > libc::STDERR_FILENO {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A log file; each line is one write at its end.
#[derive(Clone)]
struct File(Arc<OwnedFd>);

impl File {
    fn append(path: &Path) -> Result<Self, Error> {
        let opened = descriptor(path).map_or_else(|| Self::open(path), duplicate);
        let failed = |errno: Errno| {
            let why = if errno == Errno::ENXIO { "it is a pipe that nobody reads" } else { errno.desc() };
            Error::new(format!("log file '{}' cannot be written: {why}", path.display()), "name another with --log-file")
        };
        opened.map(|fd| Self(Arc::new(fd))).map_err(failed)
    }

    fn open(path: &Path) -> nix::Result<OwnedFd> {
        // A pipe that nobody reads is not waited for, neither now nor when it is full.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        nix::fcntl::open(path, flags, Mode::from_bits_truncate(0o644))
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(&*self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for File {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The system's log.
struct SystemLog;

impl Write for SystemLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != 0 && byte != b'\n').collect();
        if let Ok(line) = CString::new(line) {
            // SAFETY: both are C strings that live until the call returns, and the format takes exactly one.
            #[allow(unsafe_code)]
            unsafe {
                libc::syslog(libc::LOG_DAEMON | libc::LOG_INFO, c"braidfs: %s".as_ptr(), line.as_ptr());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
