//! Running commands in hosts and places: a prepared `Command`, a run with a deadline, a long-running process.
//!
//! A run ends when its command ends, not when its output does: agents leave helpers behind that keep the output open.
//! Hence output goes to unnamed files, never to pipes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::handle::Lab;
use crate::inside::TIMED_OUT;
use crate::plan::Place;

/// PATH of the machine's own tools.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// PATH inside a host: our programs come first.
pub(crate) const HOST_PATH: &str = "/opt/cluster/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Limit of a run whose caller gives none.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The process in the host enforces the limit; if it is frozen, the caller does, this much later.
const FROZEN_GRACE: Duration = Duration::from_secs(1);

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; 128 + signal when a signal ended it, 124 when its time was over, 127 when it could not be started.
    pub code: i32,
    /// What it wrote until it ended.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
    /// Wall time.
    pub took: Duration,
}

impl Finished {
    /// Exit code 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// The command was stopped because its time was over.
    pub fn timed_out(&self) -> bool {
        self.code == TIMED_OUT
    }
}

/// A long-running command; ended when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Process id on the machine. In a host this is the process outside that the command dies with.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        if !ended_within(&self.child, limit)? {
            bail!("process {} did not end within {limit:?}", self.child.id());
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Lab {
    /// A command prepared to run in a host or place; the caller adds arguments, environment and files.
    ///
    /// In a host the environment is the host's plus what the caller sets; elsewhere it is the caller's own.
    pub fn command(&self, place: Place, program: impl AsRef<OsStr>) -> Result<Command> {
        self.limited_command(place, program, Duration::ZERO)
    }

    fn limited_command(&self, place: Place, program: impl AsRef<OsStr>, limit: Duration) -> Result<Command> {
        let mut command = Command::new(self.program());
        command.arg("__enter");
        let group = self.group().join(place.name());
        match place {
            Place::Host(host) => {
                let init = self.init(host).with_context(|| format!("{} has no power", place.name()))?;
                command.arg("host").arg(group).arg(init.to_string()).arg(limit.as_millis().to_string());
                command.env_clear();
                command.envs([("PATH", HOST_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")]);
            }
            Place::Client | Place::Luci => {
                let (net, hosts) = (self.folder().join("net").join(place.name()), self.folder().join("places.hosts"));
                command.arg("place").arg(group).arg(net).arg(hosts).arg(place.name());
            }
        }
        command.arg("--").arg(program).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command to its end, for at most a minute.
    pub fn exec<S: AsRef<OsStr>>(&self, place: Place, words: &[S]) -> Result<Finished> {
        self.exec_within(RUN_LIMIT, place, words)
    }

    /// Runs a shell script to its end, for at most a minute.
    pub fn sh(&self, place: Place, script: &str) -> Result<Finished> {
        self.exec(place, &["sh", "-c", script])
    }

    /// Runs a shell script; a failure is an error that holds what it wrote.
    pub fn sh_ok(&self, place: Place, script: &str) -> Result<String> {
        let done = self.sh(place, script)?;
        if !done.ok() {
            bail!("{}: `{script}` ended with {}: {}{}", place.name(), done.code, done.stdout, done.stderr);
        }
        Ok(done.stdout)
    }

    /// Runs a command for at most `limit`; then it is killed with all of its process group.
    pub fn exec_within<S: AsRef<OsStr>>(&self, limit: Duration, place: Place, words: &[S]) -> Result<Finished> {
        let (program, args) = words.split_first().context("no command given")?;
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let start = Instant::now();
        let mut child = self
            .limited_command(place, program, limit)?
            .args(args)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()
            .context("cannot start a process in the lab")?;
        let code = if ended_within(&child, limit + FROZEN_GRACE)? {
            exit_code(child.wait()?)
        } else {
            child.kill()?;
            child.wait()?;
            TIMED_OUT
        };
        Ok(Finished { code, stdout: text(&mut stdout)?, stderr: text(&mut stderr)?, took: start.elapsed() })
    }

    /// Starts a command that runs on, its output appended to `log`.
    pub fn spawn<S: AsRef<OsStr>>(&self, place: Place, words: &[S], log: &Path) -> Result<Running> {
        let (program, args) = words.split_first().context("no command given")?;
        let log = File::options().create(true).append(true).open(log)?;
        let child = self
            .command(place, program)?
            .args(args)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start it")?;
        Ok(Running { child })
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.signal().map_or_else(|| status.code().unwrap_or(0), |signal| 128 + signal)
}

fn text(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the end of a child for at most `limit`.
pub(crate) fn ended_within(child: &Child, limit: Duration) -> Result<bool> {
    let pid = Pid::from_raw(child.id().try_into()?).context("a process id is not 0")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    Ok(rustix::event::poll(&mut watched, Some(&Timespec::try_from(limit)?))? > 0)
}
