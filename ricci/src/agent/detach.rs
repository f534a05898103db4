//! Daemons that ricci starts itself, where no systemd does: a session of their own, output to a log file, process id and
//! start time in a pid file, so that a restarted ricci knows them again and never signals a stranger that got the same
//! id.
//!
//! `ricci detach` is the child's half: it runs between fork and exec, in a program of its own because only a fresh
//! single-threaded process may make a session.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::files::{self, FileError};

/// A log of this size is set aside when the daemon starts anew; one older log is kept.
const LOG_MAX_BYTES: u64 = 10 * 1024 * 1024;

/// What to start and where it leaves its traces.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [&'a str],
    /// Beside what ricci itself was started with.
    pub(super) environment: &'a [(&'a str, &'a str)],
    pub(super) pid_file: &'a Path,
    pub(super) log_file: &'a Path,
}

/// Starts a program as a daemon and writes its pid file.
pub(super) fn start(what: &Start<'_>) -> Result<(), FileError> {
    let Start { program, arguments, environment, pid_file, log_file } = *what;
    let error = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| FileError { doing, path, source }
    };
    for file in [pid_file, log_file] {
        files::create_folder(file.parent().unwrap_or(Path::new("/")), 0o755)?;
    }
    if fs::metadata(log_file).is_ok_and(|log| log.len() > LOG_MAX_BYTES) {
        fs::rename(log_file, log_file.with_extension("log.1")).map_err(error("set aside", log_file))?;
    }
    let log = OpenOptions::new().create(true).append(true).mode(0o640).open(log_file);
    let log = log.map_err(error("open", log_file))?;
    let log_again = log.try_clone().map_err(error("open", log_file))?;
    // The running program itself, also when its file has been replaced by an upgrade.
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.arg("detach").arg("--pid-file").arg(pid_file).arg("--").arg(program).args(arguments);
    // The child outlives its handle on purpose; tokio reaps it if it ends while ricci lives.
    let child = command
        .envs(environment.iter().copied())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_again)
        .kill_on_drop(false)
        .spawn()
        .map_err(error("start", program))?;
    // The child writes the same; whoever comes first, the file is there when this returns.
    child.id().map_or(Ok(()), |id| write_pid_file(pid_file, id))
}

/// The child's half: never returns if all goes well.
pub(super) fn become_daemon(pid_file: &Path, program: &OsString, arguments: &[OsString]) -> io::Error {
    if let Err(error) = write_pid_file(pid_file, std::process::id()) {
        return io::Error::other(shared::chain(&error));
    }
    if let Err(error) = rustix::process::setsid() {
        return error.into();
    }
    Command::new(program).args(arguments).exec()
}

fn write_pid_file(path: &Path, pid: u32) -> Result<(), FileError> {
    let started = start_time(pid).unwrap_or_default();
    files::write_atomic(path, format!("{pid} {started}\n").as_bytes(), 0o644)
}

/// The daemon of a pid file, if it still lives.
pub(super) fn find(pid_file: &Path) -> Option<Daemon> {
    let text = fs::read_to_string(pid_file).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let (pid, started) = (pid.parse::<u32>().ok()?, started.parse::<u64>().ok()?);
    let handle = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    // Compared after the handle is held: from here on the id cannot pass to another process unnoticed.
    (start_time(pid) == Some(started)).then_some(Daemon { handle })
}

/// Field 22 of `/proc/<pid>/stat`; `None` if the process is gone or has ended.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// A running daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    handle: OwnedFd,
}

impl Daemon {
    /// Asks it to end and waits; false if it still runs after `wait`.
    pub(super) async fn terminate(self, wait: Duration) -> io::Result<bool> {
        match pidfd_send_signal(&self.handle, Signal::TERM) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        #[expect(deprecated, reason = "sound with a handle that owns its descriptor; the replacement is an unsafe fn")]
        let ended = AsyncFd::with_interest(self.handle, Interest::READABLE)?;
        match timeout(wait, ended.readable()).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_of_a_process_that_got_the_same_id_finds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("x.pid");
        let me = std::process::id();
        write_pid_file(&pid_file, me).unwrap();
        assert!(find(&pid_file).is_some());
        let other_start = start_time(me).unwrap() - 1;
        fs::write(&pid_file, format!("{me} {other_start}\n")).unwrap();
        assert!(find(&pid_file).is_none());
    }

    #[tokio::test]
    async fn terminating_waits_for_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("x.pid");
        let mut child = tokio::process::Command::new("/bin/sleep").arg("600").spawn().unwrap();
        write_pid_file(&pid_file, child.id().unwrap()).unwrap();
        assert!(find(&pid_file).unwrap().terminate(Duration::from_secs(10)).await.unwrap());
        child.wait().await.unwrap();
        assert!(find(&pid_file).is_none());
    }
}
