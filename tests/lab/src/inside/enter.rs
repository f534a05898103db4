//! The way into a host or place: a process that joins its control group and namespaces and runs a command there.
//!
//! Started by the handle for every command. It belongs to the host: a power cut kills it and a freeze stops it. The
//! command dies with it, so that killing this process ends the command. Daemons that the command leaves behind live on.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mount::MountPropagationFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use crate::{cgroup, netns};

/// Exit code when the command could not be started, as shells do.
pub(super) const CANNOT_RUN: i32 = 127;
/// Exit code when the time of the command was over, as timeout(1) does.
pub(crate) const TIMED_OUT: i32 = 124;

/// `host GROUP PID LIMIT_MS -- COMMAND…` or `place GROUP NAMESPACE HOSTS_FILE NAME -- COMMAND…`
pub(super) fn main(words: &[String]) -> Result<i32> {
    match words {
        [kind, group, pid, limit_ms, dashes, command @ ..] if kind == "host" && dashes == "--" => {
            cgroup::join(Path::new(group))?;
            run_in_host(pid.parse()?, Duration::from_millis(limit_ms.parse()?), command)
        }
        [kind, group, namespace, hosts, name, dashes, command @ ..] if kind == "place" && dashes == "--" => {
            cgroup::join(Path::new(group))?;
            exec_in_place(Path::new(namespace), Path::new(hosts), name, command)
        }
        _ => bail!("cannot read {words:?}"),
    }
}

fn run_in_host(init: i32, limit: Duration, command: &[String]) -> Result<i32> {
    let pid = Pid::from_raw(init).context("a process id is not 0")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).context("the host lost power")?;
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::CONTROL_GROUP;
    use std::os::fd::AsFd;
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), all).context("cannot enter the host")?;
    std::env::set_current_dir("/")?;
    let mut child = Command::new("/proc/1/exe").args(["__run", "--"]).args(command).spawn()?;
    if !ended_within(&child, limit)? {
        // The command leads a session, hence a process group, of its own.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        child.wait()?;
        return Ok(TIMED_OUT);
    }
    let status = child.wait()?;
    Ok(status.signal().map_or_else(|| status.code().unwrap_or(0), |signal| 128 + signal))
}

fn ended_within(child: &Child, limit: Duration) -> Result<bool> {
    if limit.is_zero() {
        return Ok(true);
    }
    let pid = Pid::from_raw(child.id().try_into()?).context("a process id is not 0")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    Ok(rustix::event::poll(&mut watched, Some(&Timespec::try_from(limit)?))? > 0)
}

fn exec_in_place(namespace: &Path, hosts: &Path, name: &str, command: &[String]) -> Result<i32> {
    netns::enter(File::open(namespace).with_context(|| format!("cannot open {}", namespace.display()))?)?;
    netns::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUTS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::mount_bind(hosts, "/etc/hosts").context("cannot show the lab's /etc/hosts")?;
    rustix::system::sethostname(name.as_bytes())?;
    exec(command)
}

/// Runs inside a host as the first process of a command: leads a session and dies with the process outside.
pub(super) fn run(words: &[String]) -> Result<i32> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setsid()?;
    match words {
        [dashes, command @ ..] if dashes == "--" => exec(command),
        _ => bail!("cannot read {words:?}"),
    }
}

fn exec(command: &[String]) -> Result<i32> {
    let (program, args) = command.split_first().context("no command given")?;
    Err(Command::new(program).args(args).exec()).with_context(|| format!("cannot run {program}"))
}
