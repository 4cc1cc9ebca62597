//! Where the daemon's log goes: a file, the terminal, or the system's log.

use std::ffi::CString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::mount::Error;

/// The variable that says what is logged, as `tracing` filters are written.
pub const VARIABLE: &str = "BRAIDFS_LOG";

/// Begins to log. A process that logs already goes on as it does.
pub fn begin(file: Option<&Path>, foreground: bool) -> Result<(), Error> {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let begun = match file {
        Some(path) => builder.with_writer(File::append(path)?).try_init(),
        None if foreground && io::stderr().is_terminal() => builder.with_ansi(true).with_writer(io::stderr).try_init(),
        None if foreground => builder.with_writer(io::stderr).try_init(),
        None => builder.without_time().with_writer(|| SystemLog).try_init(),
    };
    drop(begun);
    // A daemon has no terminal to which the place of a bug could be printed.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

/// A log file; each line is one write at its end.
#[derive(Clone)]
struct File(Arc<OwnedFd>);

impl File {
    fn append(path: &Path) -> Result<Self, Error> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::open(path, flags, Mode::from_bits_truncate(0o644));
        let failed = |errno: nix::errno::Errno| {
            Error::new(format!("log file '{}' cannot be written: {}", path.display(), errno.desc()), "name another with --log-file")
        };
        opened.map(|fd| Self(Arc::new(fd))).map_err(failed)
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
