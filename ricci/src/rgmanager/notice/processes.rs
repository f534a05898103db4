//! The deaths of the processes of resources: a pidfd for each topmost process of a resource's cgroup, and the
//! cgroup's own word when it has become empty.
//!
//! Used by the notice thread. Children of a watched process are their parent's business: a web server replaces its
//! workers all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Notice;

/// Processes watched for one resource. A daemon has few that are nobody's children.
const PROCESSES_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Processes {
    inotify: Option<OwnedFd>,
    /// inotify's watch of a `cgroup.events`, with the file.
    groups: BTreeMap<i32, (Notice, PathBuf)>,
    leaders: Vec<Leader>,
}

struct Leader {
    name: Notice,
    pid: Pid,
    fd: OwnedFd,
}

impl Processes {
    pub(super) fn open() -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        Ok(Self { inotify: Some(inotify), ..Self::default() })
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.inotify.iter().map(AsFd::as_fd).chain(self.leaders.iter().map(|leader| leader.fd.as_fd()))
    }

    /// Watches what lives in a cgroup now; what is watched already stays so.
    pub(super) fn watch(&mut self, name: &Notice, cgroup: &Path) {
        let events = cgroup.join("cgroup.events");
        // A resource without processes (an address) or without cgroup (a unit that is gone) has nothing to watch.
        if let Some(inotify) = &self.inotify
            && let Ok(watch) = inotify::add_watch(inotify, &events, inotify::WatchFlags::MODIFY)
        {
            self.groups.insert(watch, (name.clone(), events));
        }
        for pid in leaders(cgroup).into_iter().take(PROCESSES_MAX) {
            if self.leaders.iter().any(|leader| leader.pid == pid && leader.name == *name) {
                continue;
            }
            // It may have ended just now; then the cgroup tells.
            if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) {
                self.leaders.push(Leader { name: name.clone(), pid, fd });
            }
        }
    }

    pub(super) fn forget(&mut self, name: &Notice) {
        self.leaders.retain(|leader| leader.name != *name);
        let watches: Vec<i32> =
            self.groups.iter().filter(|(_, (known, _))| known == name).map(|(watch, _)| *watch).collect();
        for watch in watches {
            self.groups.remove(&watch);
            if let Some(inotify) = &self.inotify {
                // Gone already if the cgroup is.
                let _ = inotify::remove_watch(inotify, watch);
            }
        }
    }

    /// Resources of which a process has died or nothing lives any more.
    pub(super) fn take(&mut self) -> BTreeSet<Notice> {
        let mut concerned: BTreeSet<Notice> = self.emptied().into_iter().collect();
        self.leaders.retain(|leader| {
            let ended = has_ended(&leader.fd);
            if ended {
                concerned.insert(leader.name.clone());
            }
            !ended
        });
        concerned
    }

    fn emptied(&self) -> Vec<Notice> {
        let Some(inotify) = &self.inotify else { return Vec::new() };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut touched = BTreeSet::new();
        while let Ok(event) = reader.next() {
            touched.insert(event.wd());
        }
        let groups = touched.iter().filter_map(|watch| self.groups.get(watch));
        groups.filter(|(_, events)| is_empty(events)).map(|(name, _)| name.clone()).collect()
    }
}

/// Whether the kernel hands out pidfds and lets them be waited for.
pub(super) fn pidfd_works() -> Result<(), String> {
    let own = rustix::process::getpid();
    pidfd_open(own, PidfdFlags::empty()).map(drop).map_err(|error| error.to_string())
}

fn is_empty(events: &Path) -> bool {
    std::fs::read_to_string(events).is_ok_and(|text| text.lines().any(|line| line == "populated 0"))
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
}

/// The processes of a cgroup whose parent is not in it.
fn leaders(cgroup: &Path) -> Vec<Pid> {
    let Ok(text) = std::fs::read_to_string(cgroup.join("cgroup.procs")) else { return Vec::new() };
    let all: BTreeSet<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    all.iter()
        .filter(|pid| parent(**pid).is_some_and(|parent| !all.contains(&parent)))
        .filter_map(|pid| Pid::from_raw(*pid))
        .collect()
}

/// The fourth field of `/proc/PID/stat`; the second is a name in brackets that may hold anything.
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
