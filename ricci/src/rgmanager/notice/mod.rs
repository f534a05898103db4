//! Failure noticed when it happens: one thread that listens to what the kernel says of addresses, links, mounts and
//! processes, and names the resource it concerns.
//!
//! The driver tells it which resources are started here and takes its notices to the engine, which has the resource
//! checked at once. A notice claims nothing but "look now": whether the resource has failed is for its agent to say.
//! What the kernel cannot tell, the interval of the check still finds.

mod mounts;
mod netlink;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use shared::agents::mapping::{self, Runner};
use shared::conf::model::Conf;
use shared::ids::{ResourceName, ServiceName, Time};
use shared::status::{ClusterStatus, ResourceState};
use tokio::sync::mpsc;

use mounts::Mounts;
use netlink::{Netlink, Told};
use processes::Processes;

use super::cgroup::Cgroups;

/// Notices that wait for the loop. A burst beyond it loses some; the interval of the check makes up for them.
const NOTICES_MAX: usize = 256;

/// After a process of a resource has died its others are looked up again: a daemon may have replaced it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Something happened to this resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    pub service: ServiceName,
    pub resource: ResourceName,
}

/// What to listen for on behalf of one started resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    address: Option<IpAddr>,
    directory: Option<String>,
    cgroup: Option<PathBuf>,
    /// When it was started; a restarted one has new processes.
    since: Time,
}

type Targets = BTreeMap<Notice, Target>;

/// The driver's side.
#[derive(Debug)]
pub struct Watched {
    cgroups: Option<Cgroups>,
    /// Of every configured resource what there is to listen for.
    configured: Targets,
    started: Targets,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    targets: Mutex<Targets>,
    wake: OwnedFd,
}

/// Starts the thread. Notices come as soon as resources are watched.
pub fn start(cgroups: Option<Cgroups>) -> std::io::Result<(Watched, mpsc::Receiver<Notice>)> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let shared = Arc::new(Shared { targets: Mutex::default(), wake });
    let (give, notices) = mpsc::channel(NOTICES_MAX);
    let listener = Listener::new(Arc::clone(&shared), give);
    std::thread::Builder::new().name("notice".into()).spawn(move || listener.listen())?;
    let watched = Watched { cgroups, configured: Targets::new(), started: Targets::new(), shared };
    Ok((watched, notices))
}

impl Watched {
    /// A configuration is in force.
    pub fn watch(&mut self, conf: &Conf) {
        self.configured.clear();
        for service in &conf.services {
            for resource in shared::tree::start_order(service) {
                let Ok(mapped) = mapping::map(resource) else { continue };
                let parameter = |agents: &[&str], name: &str| match &mapped.runner {
                    Runner::Ocf { agent, .. } if agents.contains(&agent.as_str()) => mapped.parameters.get(name),
                    _ => None,
                };
                let address = parameter(&["IPaddr2", "IPaddr", "IPv6addr"], "ip").and_then(|text| text.parse().ok());
                let directory = parameter(&["Filesystem"], "directory").cloned();
                let cgroup = self.cgroups.as_ref().and_then(|cgroups| match &mapped.runner {
                    Runner::Systemd { unit } => Some(cgroups.of_unit(unit)),
                    Runner::Ocf { .. } | Runner::Lsb { .. } => Some(cgroups.of_resource(&service.name, &resource.name)),
                    Runner::Builtin => None,
                });
                let name = Notice { service: service.name.clone(), resource: resource.name.clone() };
                self.configured.insert(name, Target { address, directory, cgroup, since: Time(0) });
            }
        }
    }

    /// The status is this now: what runs here is listened for, and nothing else.
    pub fn follow(&mut self, status: &ClusterStatus) {
        let local = status.nodes.iter().find(|node| node.local).map(|node| &node.name);
        let here = status.services.iter().filter(|service| service.owner.is_some() && service.owner.as_ref() == local);
        let mut started = Targets::new();
        for service in here {
            for resource in service.resources.iter().filter(|resource| resource.state == ResourceState::Started) {
                let name = Notice { service: service.name.clone(), resource: resource.name.clone() };
                if let Some(target) = self.configured.get(&name) {
                    started.insert(name, Target { since: resource.at, ..target.clone() });
                }
            }
        }
        if started == self.started {
            return;
        }
        self.started.clone_from(&started);
        *self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner) = started;
        self.shared.wake();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The thread finds that nobody takes its notices any more.
        self.shared.wake();
    }
}

impl Shared {
    fn wake(&self) {
        // The counter cannot overflow by ones.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The thread's side.
struct Listener {
    shared: Arc<Shared>,
    notices: mpsc::Sender<Notice>,
    targets: Targets,
    netlink: Option<Netlink>,
    mounts: Option<Mounts>,
    processes: Processes,
    look_again: BTreeMap<Notice, Instant>,
}

impl Listener {
    fn new(shared: Arc<Shared>, notices: mpsc::Sender<Notice>) -> Self {
        let told = |what: &str, error: std::io::Error| {
            tracing::warn!("the kernel does not tell of {what} ({error}); only the checks at their interval find it");
        };
        Self {
            shared,
            notices,
            targets: Targets::new(),
            netlink: Netlink::open().map_err(|error| told("addresses and links", error)).ok(),
            mounts: Mounts::open().map_err(|error| told("mounts", error)).ok(),
            processes: Processes::open().map_err(|error| told("empty cgroups", error)).unwrap_or_default(),
            look_again: BTreeMap::new(),
        }
    }

    fn listen(mut self) {
        while !self.notices.is_closed() {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!("listening to the kernel failed ({error}); checks go on at their interval");
                    return;
                }
            };
            let mut concerned = BTreeSet::new();
            if ready.wake {
                self.take_targets();
            }
            if ready.netlink {
                self.take_netlink(&mut concerned);
            }
            if ready.mounts {
                self.take_mounts(&mut concerned);
            }
            if ready.processes {
                self.take_processes(&mut concerned);
            }
            self.look_again();
            for notice in concerned {
                // Full: see NOTICES_MAX.
                let _ = self.notices.try_send(notice);
            }
        }
    }

    fn wait<'a>(&'a self) -> std::io::Result<Ready> {
        // A source that is not there is one that never tells: the wake-up stands in for it.
        let source = |fd: Option<BorrowedFd<'a>>, flags| match fd {
            Some(fd) => PollFd::from_borrowed_fd(fd, flags),
            None => PollFd::from_borrowed_fd(self.shared.wake.as_fd(), PollFlags::empty()),
        };
        let mut fds = vec![
            source(Some(self.shared.wake.as_fd()), PollFlags::IN),
            source(self.netlink.as_ref().map(Netlink::fd), PollFlags::IN),
            source(self.mounts.as_ref().map(Mounts::fd), PollFlags::PRI),
        ];
        fds.extend(self.processes.fds().map(|fd| source(Some(fd), PollFlags::IN)));
        let timeout = self.look_again.values().min().map(|at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            wake: told(&fds[0]),
            netlink: self.netlink.is_some() && told(&fds[1]),
            mounts: self.mounts.is_some() && told(&fds[2]),
            processes: fds[3..].iter().any(told),
        })
    }

    fn take_targets(&mut self) {
        let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
        let next = self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, target) in &self.targets {
            if next.get(name) != Some(target) {
                self.processes.forget(name);
                self.look_again.remove(name);
            }
        }
        for (name, target) in &next {
            if self.targets.get(name) != Some(target)
                && let Some(cgroup) = &target.cgroup
            {
                self.processes.watch(name, cgroup);
            }
        }
        self.targets = next;
    }

    fn take_netlink(&mut self, concerned: &mut BTreeSet<Notice>) {
        let Some(netlink) = &mut self.netlink else { return };
        for told in netlink.take() {
            let concerns = |address: IpAddr| match told {
                Told::AddressGone(gone) => gone == address,
                // Which addresses a link carried is quicker asked of their agents than kept.
                Told::LinkDown | Told::Missed => true,
            };
            let names = self.targets.iter().filter(|(_, target)| target.address.is_some_and(concerns));
            concerned.extend(names.map(|(name, _)| name.clone()));
        }
    }

    fn take_mounts(&mut self, concerned: &mut BTreeSet<Notice>) {
        let Some(mounts) = &mut self.mounts else { return };
        let changed = mounts.take();
        let names = self.targets.iter().filter(|(_, target)| {
            target.directory.as_deref().is_some_and(|directory| changed.contains(directory.trim_end_matches('/')))
        });
        concerned.extend(names.map(|(name, _)| name.clone()));
    }

    fn take_processes(&mut self, concerned: &mut BTreeSet<Notice>) {
        for name in self.processes.take() {
            self.look_again.insert(name.clone(), Instant::now() + LOOK_AGAIN);
            concerned.insert(name);
        }
    }

    fn look_again(&mut self) {
        let now = Instant::now();
        let due: Vec<Notice> =
            self.look_again.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.look_again.remove(&name);
            if let Some(cgroup) = self.targets.get(&name).and_then(|target| target.cgroup.clone()) {
                self.processes.watch(&name, &cgroup);
            }
        }
    }
}

/// Which sources have something.
struct Ready {
    wake: bool,
    netlink: bool,
    mounts: bool,
    processes: bool,
}
