//! Control groups (version 2) of a lab: one per host and place, to freeze and to kill all of it at once.
//!
//! No resource controllers are used. A host sees its own group as the root of its hierarchy and may make groups below.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Tasks leave a group within milliseconds of SIGKILL; one stuck in the kernel may take longer.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// Name of the group of a lab; the process id keeps labs of different folders apart.
pub(crate) fn lab_group(name: &str) -> Result<PathBuf> {
    Ok(mount_point()?.join(format!("cluster-lab-{name}-{}", std::process::id())))
}

/// Where the machine has its version 2 hierarchy.
fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let path = words.nth(1)?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(path))
        })
        .next()
        .context("no cgroup2 is mounted on this machine; mount one: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified")
}

/// Moves the calling process into a group.
pub(crate) fn join(group: &Path) -> Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter the control group {}", group.display()))
}

/// Stops or continues every task of a group; returns when it is so.
pub(crate) fn freeze(group: &Path, frozen: bool) -> Result<()> {
    fs::write(group.join("cgroup.freeze"), if frozen { "1" } else { "0" })
        .with_context(|| format!("cannot freeze {}", group.display()))?;
    settle(group, if frozen { "frozen 1" } else { "frozen 0" })
}

/// Kills every task of a group and waits until the last one is gone. A group that does not exist is empty.
pub(crate) fn kill(group: &Path) -> Result<()> {
    match fs::write(group.join("cgroup.kill"), "1") {
        Ok(()) => settle(group, "populated 0"),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).with_context(|| format!("cannot kill {}", group.display())),
    }
}

fn settle(group: &Path, want: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let events = fs::read_to_string(group.join("cgroup.events"))?;
        if events.lines().any(|line| line == want) {
            return Ok(());
        }
        if start.elapsed() > SETTLE_LIMIT {
            bail!("{}: waited {SETTLE_LIMIT:?} for \"{want}\", it is: {}", group.display(), events.replace('\n', ", "));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Removes an empty group with all groups below it. A group that does not exist is removed.
pub(crate) fn remove(group: &Path) -> Result<()> {
    remove_below(group)?;
    match fs::remove_dir(group) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", group.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the groups that a host made below its own.
pub(crate) fn remove_below(group: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(group) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
