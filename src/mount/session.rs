//! One mounted session: attach, serve, and end so that every answered commit is on disk.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuser::{Config, SessionACL};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::disk::{Disk, NO_FILES_CURE, NO_THREAD_CURE, ask_by_child};
use crate::fs::{Fs, Unfinished};
use crate::mount::alone::Alone;
use crate::mount::arrivals::Arrivals;
use crate::mount::attach::{Attachment, Undetached, detach};
use crate::mount::cut::Control;
use crate::mount::guard::Guard;
use crate::mount::home::Home;
use crate::mount::notify::Queue;
use crate::mount::park::Parking;
use crate::mount::shell::{Shell, settle};
use crate::mount::signals::Signals;
use crate::mount::tend::Tending;
use crate::mount::verdicts::Verdicts;
use crate::mount::waits::Waits;
use crate::mount::{Error, table};

/// Threads that take requests from the kernel.
const THREADS: usize = 4;
/// How long those who still use a mount are waited for after a signal, before their connection is cut.
const GRACE: Duration = Duration::from_secs(5);
/// An unmount takes the kernel no longer from the last request to its end.
const UNMOUNT_MAX: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);
/// The kernel's first question is answered within so long, or it comes when it comes.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A file system that the kernel knows.
pub struct Session {
    point: PathBuf,
    source: PathBuf,
    fs: Arc<Fs>,
    queue: Arc<Queue>,
    parking: Arc<Parking>,
    waiting: Arc<Parking>,
    verdicts: Arc<Verdicts>,
    working: Arc<Parking>,
    folding: Arc<Parking>,
    travelling: Arc<Parking>,
    tending: Arc<Tending>,
    threads: Vec<JoinHandle<()>>,
    /// What tells whether the kernel still has the connection.
    control: Option<Control>,
    /// Cuts the connection should this process be killed and not end.
    guard: Option<Guard>,
    /// What lets each of them begin; without it, it ends.
    gates: Vec<Sender<()>>,
    /// Hangs up when the last request has been served.
    alive: OwnedFd,
}

impl Session {
    /// Attaches a file system to its mount point and begins to serve.
    pub fn begin(
        fs: &Arc<Fs>,
        queue: &Arc<Queue>,
        attachment: &Attachment<'_>,
        writing: Option<(Unfinished, Arc<Alone>)>,
    ) -> Result<Self, Error> {
        // Not for children: one that outlives the mount (a fold at work) would keep the daemon waiting.
        let (alive, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| {
            let error = std::io::Error::from(errno);
            Error::new(format!("a pipe cannot be made: {error}"), hint_of(&error))
        })?;
        let [parking, waiting, working, folding, travelling] = std::array::from_fn(|_| Arc::new(Parking::default()));
        let verdicts = Arc::new(Verdicts::default());
        let shell = Shell {
            fs: Arc::clone(fs),
            queue: Arc::clone(queue),
            parking: Arc::clone(&parking),
            waiting: Arc::clone(&waiting),
            verdicts: Arc::clone(&verdicts),
            working: Arc::clone(&working),
            waits: Waits::default(),
            folding: Arc::clone(&folding),
            travelling: Arc::clone(&travelling),
            store: attachment.source.to_path_buf(),
            home: Home::of(attachment.source).map_err(|error| Error::new(error.to_string(), error.hint()))?,
            arrivals: Arrivals::default(),
            _alive: held,
        };
        let mut session = Self {
            point: attachment.point.to_path_buf(),
            source: attachment.source.to_path_buf(),
            fs: Arc::clone(fs),
            queue: Arc::clone(queue),
            parking,
            waiting,
            verdicts,
            working,
            folding,
            travelling,
            tending: Arc::default(),
            threads: Vec::new(),
            control: None,
            guard: None,
            gates: Vec::new(),
            alive,
        };
        // Who may have no more threads learns it before anything is attached, which the helper's own process could not be had to take back.
        let begun = session.prepare(writing).and_then(|()| attachment.attach());
        let device = begun.inspect_err(|_| session.give_up())?;
        if let Err(error) = Self::serve(shell, device) {
            session.give_up();
            // Nobody serves it: what was attached must not stay.
            let _ = detach(attachment.point, true);
            return Err(Error::new(format!("the kernel cannot be served: {error}"), hint_of(&error)));
        }
        let mounted = table::find(&table::read_or_none(&Disk::real()), &session.point);
        session.control = mounted.and_then(|mounted| Control::of(mounted.minor));
        session.guard = session.control.as_ref().and_then(|control| Guard::start(control, &session.point));
        // Whoever does not wait has ended.
        session.gates.drain(..).for_each(|gate| gate.send(()).unwrap_or_default());
        // The kernel asks once for what the library does not know (statx), which leaves a gap in the numbers of its requests.
        if let Err(error) = ask_by_child(&session.point, ANSWER_MAX) {
            tracing::debug!(%error, "the mount point cannot be looked at");
        }
        Ok(session)
    }

    /// Makes the threads that work beside those of the kernel's requests.
    fn prepare(&mut self, writing: Option<(Unfinished, Arc<Alone>)>) -> Result<(), Error> {
        let (told, shown) = (Arc::clone(&self.queue), Arc::clone(&self.fs));
        self.spawn("braidfs-notify", move || told.run(&shown))?;
        let (parking, shown) = (Arc::clone(&self.parking), Arc::clone(&self.fs));
        self.spawn("braidfs-parked", move || parking.serve(&shown))?;
        if let Some((unfinished, alone)) = writing {
            let (verdicts, shown, waiting) = (Arc::clone(&self.verdicts), Arc::clone(&self.fs), Arc::clone(&self.waiting));
            self.spawn("braidfs-verdict", move || verdicts.serve(&shown, |job| waiting.run(job)))?;
            let (tending, tended, told) = (Arc::clone(&self.tending), Arc::clone(&self.fs), Arc::clone(&self.queue));
            self.spawn("braidfs-tend", move || {
                tended.finish(unfinished, &|| settle(&told));
                tending.run(&tended, || alone.keep());
            })?;
        }
        Ok(())
    }

    /// Ends the threads that were not let begin.
    fn give_up(&mut self) {
        self.gates.clear();
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }

    fn serve(shell: Shell, device: OwnedFd) -> std::io::Result<()> {
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        // Who may enter is for the kernel to say, by the mount's options.
        let queue = Arc::clone(&shell.queue);
        let session = fuser::Session::from_fd(shell, device, SessionACL::All, config)?;
        queue.attach(session.notifier());
        // Its end is seen by the pipe that the shell holds.
        drop(session.spawn()?);
        Ok(())
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let (gate, opened) = channel();
        self.gates.push(gate);
        let gated = move || opened.recv().map_or((), |()| work());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(gated);
        let thread = thread.map_err(|error| Error::new(format!("a thread cannot be started: {error}"), NO_THREAD_CURE));
        self.threads.push(thread?);
        Ok(())
    }

    /// Waits until the mount has ended: by an unmount, or by a signal, after which it is detached. False if somebody still uses it.
    pub fn wait(&self, signals: &Signals) -> bool {
        if self.ends_within(None, Some(signals)) {
            return !self.was_cut();
        }
        tracing::info!("ending on a signal");
        self.drain();
        self.let_go();
        let ended = self.ends_within(Some(GRACE), Some(signals));
        if !ended {
            tracing::warn!("still in use: the connection is cut");
        }
        ended && !self.was_cut()
    }

    /// Whether the connection has ended before its last user: then the kernel still has it. After an unmount it has not, within a moment. Where
    /// its control cannot be had, a mount that is still there tells.
    fn was_cut(&self) -> bool {
        let (disk, begun) = (Disk::real(), Instant::now());
        let is_mounted = || table::find(&table::read_or_none(&disk), &self.point).is_some_and(|mounted| mounted.source == self.source);
        while self.control.as_ref().map_or_else(is_mounted, Control::is_there) {
            if begun.elapsed() > UNMOUNT_MAX {
                tracing::warn!("the connection was cut while it was in use");
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// Waits until every close and every commit that has come in is done.
    fn drain(&self) {
        self.working.drain();
        self.parking.drain();
    }

    fn let_go(&self) {
        if let Err(why) = detach(&self.point, true)
            && !matches!(why, Undetached::Errno(Errno::EINVAL))
        {
            tracing::error!(point = %self.point.display(), %why, "the mount point cannot be detached");
        }
    }

    /// Whether the session ends within a time; false as soon as a signal comes.
    fn ends_within(&self, limit: Option<Duration>, signals: Option<&Signals>) -> bool {
        let mut watched = vec![PollFd::new(self.alive.as_fd(), PollFlags::POLLIN)];
        if let Some(signals) = signals {
            watched.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        }
        let timeout = limit.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        loop {
            match poll(&mut watched, timeout) {
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return false,
                Ok(_) => break,
            }
        }
        let ready = |at: usize| watched.get(at).and_then(PollFd::any).unwrap_or(false);
        let signalled = ready(1) && signals.is_some_and(Signals::take);
        ready(0) && !signalled
    }

    /// Finishes the commits that have come in and ends the threads. If nobody uses it any more, what was closed is committed too.
    pub fn end(mut self, unused: bool) {
        self.drain();
        if unused {
            self.fs.finish_closed();
        }
        self.parking.end();
        self.verdicts.end(&self.fs);
        self.waiting.end();
        self.working.end();
        self.folding.end();
        self.travelling.end();
        self.tending.end();
        self.queue.end();
        self.join();
    }
}

/// What helps where the system gives no more of something.
fn hint_of(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => NO_FILES_CURE,
        Some(libc::EAGAIN) => NO_THREAD_CURE,
        _ => "",
    }
}
