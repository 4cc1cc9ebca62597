//! A real mount by the real binary, gone when the test is, however it ends.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use super::run::{braidfs_command, run};
use super::store::mount_points;
use super::wait::{eventually, eventually_some};

/// After so long the watchdog ends a mount, whoever still uses it.
const WATCHDOG_SECONDS: u32 = 120;

const NOBODY: u32 = 65534;

/// Who runs the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests; root mounts without `fusermount3`.
    Own,
    /// The user `nobody`, through `fusermount3`; the tests must run as root to become it.
    Nobody,
}

/// How to mount; [`Mount::options`] begins with a writable mount by the own user.
pub struct MountOptions {
    store: PathBuf,
    point: PathBuf,
    user: User,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Which system calls are written to which file.
    trace: Option<(String, PathBuf)>,
    /// What `strace` is told to let fail.
    faults: Vec<String>,
}

/// A running daemon and its mount point.
pub struct Mount {
    store: PathBuf,
    point: PathBuf,
    user: User,
    log: PathBuf,
    daemon: Child,
    watchdog: Option<Child>,
    detached: bool,
}

/// True if a file system is mounted exactly there.
pub fn is_mounted(point: &Path) -> bool {
    mount_points().iter().any(|at| at == point)
}

impl MountOptions {
    /// At this mount point instead of `mnt` beside the store.
    pub fn at(mut self, point: &Path) -> Self {
        self.point = point.to_path_buf();
        self
    }

    /// Run by this user.
    pub fn user(mut self, user: User) -> Self {
        self.user = user;
        self
    }

    /// With one more argument of `braidfs mount`, such as `--read-only`.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With one more variable in the daemon's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Under `strace`, which writes these system calls of all threads to a file, with the paths behind their descriptors.
    ///
    /// Only for root: `fusermount3` has no rights where it is traced.
    pub fn traced(mut self, calls: &str, into: &Path) -> Self {
        self.trace = Some((format!("trace={calls}"), into.to_path_buf()));
        self
    }

    /// Under `strace`, which makes these system calls fail as its option `--inject` says; after [`MountOptions::traced`].
    pub fn injected(mut self, faults: &str) -> Self {
        self.faults = vec!["-e".to_owned(), format!("inject={faults}")];
        self
    }

    /// Starts the daemon and returns once the mount answers; panics with its log if it ends before.
    #[track_caller]
    pub fn start(self) -> Mount {
        let mut mount = self.spawn();
        mount.wait_until_ready();
        mount
    }

    /// Starts the daemon and waits for nothing.
    #[track_caller]
    pub fn spawn(self) -> Mount {
        // A mount point that a crash left dead can neither be made nor resolved.
        let point = if is_mounted(&self.point) {
            self.point.clone()
        } else {
            fs::create_dir_all(&self.point).unwrap();
            fs::canonicalize(&self.point).unwrap()
        };
        let log = point.with_extension("log");
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = match (self.user, &self.trace) {
            (User::Own, None) => braidfs_command(),
            (User::Own, Some((calls, into))) => as_traced(calls, into, &self.faults),
            (User::Nobody, _) => as_nobody(&self.store, &point),
        };
        command.arg("mount").arg(&self.store).arg(&point).arg("--foreground").args(&self.arguments).envs(self.environment);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let daemon = command.spawn().unwrap();
        let watchdog = Some(watchdog(Some(daemon.id()), &point));
        Mount { store: self.store, point, user: self.user, log, daemon, watchdog, detached: false }
    }
}

/// A command as `nobody`, to whom the store and the mount point are given.
fn as_nobody(store: &Path, point: &Path) -> Command {
    run("chown", [Path::new("65534:65534"), point]).ok();
    braidfs_as_nobody(store, point.parent().unwrap())
}

/// The `braidfs` command as `nobody`, to whom the store in that home is given.
pub fn braidfs_as_nobody(store: &Path, home: &Path) -> Command {
    run("chown", [Path::new("-R"), Path::new("65534:65534"), store]).ok();
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    // The build directory may be closed to others; this copy goes with the store.
    let binary = home.join("braidfs");
    fs::copy(env!("CARGO_BIN_EXE_braidfs"), &binary).unwrap();
    let mut command = Command::new(binary);
    command.uid(NOBODY).gid(NOBODY).current_dir("/").env("HOME", "/nonexistent").env_remove("BRAIDFS_STORE").env_remove("BRAIDFS_LOG");
    command
}

/// A command whose system calls are written to a file.
fn as_traced(calls: &str, into: &Path, faults: &[String]) -> Command {
    let braidfs = braidfs_command();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-s", "0", "-e", calls]).args(faults).arg("-o").arg(into).arg(braidfs.get_program());
    command.env_remove("BRAIDFS_STORE").env_remove("BRAIDFS_LOG");
    command
}

/// A shell that outlives this process: unless it hears `done`, it kills the daemon and unmounts when we are gone or time is up.
fn watchdog(daemon: Option<u32>, point: &Path) -> Child {
    let kill = daemon.map(|pid| format!("kill -9 {pid} 2>/dev/null;")).unwrap_or_default();
    let script = format!(
        "read -r -t {WATCHDOG_SECONDS} word; [ \"$word\" = done ] && exit 0
         {kill} umount -l \"$1\" 2>/dev/null || fusermount3 -uz \"$1\" 2>/dev/null"
    );
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg("watchdog").arg(point).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).current_dir("/").spawn().unwrap()
}

fn call_off(watchdog: &mut Child) {
    if let Some(mut pipe) = watchdog.stdin.take() {
        drop(pipe.write_all(b"done\n"));
    }
    drop(watchdog.wait());
}

/// A mount point that a program under test mounts by itself; whatever is mounted there goes with it.
pub struct PointGuard {
    point: PathBuf,
    watchdog: Child,
}

impl PointGuard {
    /// Guards the place, which need not exist yet.
    pub fn new(point: &Path) -> Self {
        Self { point: point.to_path_buf(), watchdog: watchdog(None, point) }
    }
}

impl Drop for PointGuard {
    fn drop(&mut self) {
        while is_mounted(&self.point) && unmount_once(User::Own, &self.point, true) {}
        call_off(&mut self.watchdog);
    }
}

impl Mount {
    /// Mounts a store at `mnt` beside it, writable.
    #[track_caller]
    pub fn start(store: &Path) -> Self {
        Self::options(store).start()
    }

    /// Begins a mount of a store at `mnt` beside it.
    pub fn options(store: &Path) -> MountOptions {
        let point = store.parent().unwrap().join("mnt");
        MountOptions {
            store: store.to_path_buf(),
            point,
            user: User::Own,
            arguments: Vec::new(),
            environment: Vec::new(),
            trace: None,
            faults: Vec::new(),
        }
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// A path in the mount.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.point.join(name)
    }

    /// The store's directory.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// What the daemon has written to its standard output and error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A file's text.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.log()))
    }

    /// A file of JSON Lines, parsed.
    #[track_caller]
    pub fn read_lines(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A file that is one JSON value.
    #[track_caller]
    pub fn read_json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// How many lines a file has.
    #[track_caller]
    pub fn count(&self, name: &str) -> usize {
        self.read(name).lines().count()
    }

    /// Writes to `append`.
    pub fn append(&self, text: &str) -> std::io::Result<()> {
        fs::OpenOptions::new().append(true).open(self.join("append"))?.write_all(text.as_bytes())
    }

    /// The names in a directory, sorted.
    #[track_caller]
    pub fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.log()));
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns once the mount answers; panics with the daemon's log if it ends before.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let point = self.point.clone();
        let user = self.user;
        eventually_some("the mount answers", || {
            if let Some(status) = self.daemon.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", self.log());
            }
            // Another user's mount is closed even to root; there, being mounted must do.
            (is_mounted(&point) && (user == User::Nobody || point.join("README.md").exists())).then_some(())
        });
    }

    /// Kills the daemon at once, as a crash would, and leaves the dead mount point.
    pub fn crash(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    /// Sends the daemon a signal by its name, such as `TERM`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        run("kill", [format!("-{name}"), self.pid().to_string()]).ok();
    }

    /// Waits until the daemon has ended by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        eventually_some("the daemon ends", || self.daemon.try_wait().unwrap())
    }

    /// Unmounts, as a user would; returns how the daemon ended. Panics if the mount point stays.
    #[track_caller]
    pub fn unmount(mut self) -> ExitStatus {
        self.detach();
        let status = self.wait_for_end();
        let point = self.point.clone();
        eventually("the mount point is free", || !is_mounted(&point));
        status
    }

    /// Unmounts as soon as nobody uses it: a process that just ended may still hold a file for a moment.
    fn detach(&mut self) {
        self.detached = true;
        let point = self.point.clone();
        eventually("umount succeeds", || !is_mounted(&point) || unmount_once(self.user, &point, false));
    }
}

fn unmount_once(user: User, point: &Path, lazy: bool) -> bool {
    let mut command = if is_root() && user == User::Own {
        let mut command = Command::new("umount");
        command.args(lazy.then_some("-l"));
        command
    } else {
        let mut command = Command::new("fusermount3");
        command.arg(if lazy { "-uz" } else { "-u" });
        if user == User::Nobody && !lazy {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    command.arg(point).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[allow(clippy::print_stderr)]
impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the daemon on {}\n{}", self.point.display(), self.log());
        }
        let ended = matches!(self.daemon.try_wait(), Ok(Some(_)));
        if !self.detached && !ended && !std::thread::panicking() {
            self.detach();
            self.wait_for_end();
        }
        drop(self.daemon.kill());
        drop(self.daemon.wait());
        while is_mounted(&self.point) && unmount_once(self.user, &self.point, true) {}
        if let Some(mut watchdog) = self.watchdog.take() {
            call_off(&mut watchdog);
        }
        if !std::thread::panicking() {
            assert!(!is_mounted(&self.point), "'{}' is still mounted", self.point.display());
        }
    }
}
