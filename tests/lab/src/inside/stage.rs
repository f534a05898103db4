//! The process between keeper and host: makes the host's namespaces, waits for its cables, starts its pid 1, waits for its end.
//!
//! Started by the keeper's power thread and killed with it. Its own end is the host's: a signal that ended pid 1 (which is
//! how the kernel tells of reboot(2)) is carried on as exit code 128 + signal.

use std::io::{BufRead, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::SELF;
use crate::plan::{self, Nic};
use crate::{cgroup, netns};

/// What the maker of a host tells the keeper when its network namespace exists.
pub(super) const NAMESPACES_MADE: &str = "namespaces";
/// What the keeper answers when the cables are plugged in.
pub(super) const PLUGGED: &str = "plugged";
/// What pid 1 says when the host has booted.
pub(super) const BOOTED: &str = "up";

/// Runs as the maker of a host.
pub(super) fn main(folder: &Path, host: usize) -> Result<i32> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let group = std::fs::read_to_string(folder.join("cgroup"))?;
    cgroup::join(&Path::new(group.trim()).join(plan::host_name(host)))?;
    netns::unshare(
        UnshareFlags::NEWNS
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWCGROUP,
    )?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{NAMESPACES_MADE}")?;
    stdout.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim() != PLUGGED {
        bail!("the keeper did not plug the host in");
    }
    set_addresses(host)?;
    // The clock, kernel modules and I/O ports belong to the whole machine: nothing in a host may touch them.
    for capability in [CapabilitySet::SYS_TIME, CapabilitySet::SYS_MODULE, CapabilitySet::SYS_RAWIO] {
        rustix::thread::remove_capability_from_bounding_set(capability)?;
    }
    // Last, since the first process started after this becomes pid 1.
    netns::unshare(UnshareFlags::NEWPID)?;
    let mut init = Command::new(SELF)
        .arg("__init")
        .arg(folder)
        .arg(host.to_string())
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start pid 1")?;
    writeln!(stdout, "{}", init.id())?;
    stdout.flush()?;
    let status = init.wait()?;
    Ok(status.signal().map_or_else(|| status.code().unwrap_or(0), |signal| 128 + signal))
}

fn set_addresses(host: usize) -> Result<()> {
    let mut lines = vec!["link set lo up".to_owned()];
    for nic in Nic::ALL {
        let device = nic.device();
        lines.push(format!("addr add {}/24 brd + dev {device}", nic.address(host)));
        lines.push(format!("link set {device} up"));
    }
    netns::ip_here(&lines)
}
