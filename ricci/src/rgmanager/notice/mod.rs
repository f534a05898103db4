//! Failure noticed when it happens: one thread that listens to what the kernel says of addresses, links, mounts and
//! processes, and names the resource it concerns; a task does the same for what systemd says of its units.
//!
//! The driver tells it which resources are started here and takes its notices to the engine, which has the resource
//! checked at once. A notice says "look now": whether the resource has failed is for its agent to say, unless the kernel leaves no
//! doubt: the very address or mount is gone. What the kernel cannot tell, the interval of the check still finds.

mod mounts;
pub(in crate::rgmanager) mod netlink;
mod processes;
mod units;

use std::collections::BTreeMap;
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
use shared::watch::{Source, Watch};
use tokio::sync::{mpsc, watch};

use mounts::Mounts;
use netlink::Netlink;
use processes::Processes;

use super::cgroup::Cgroups;
use super::links;

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

/// A resource of which the kernel told, and in which words if they leave no doubt that it has failed.
pub type Noticed = (Notice, Option<String>);

/// What one round of listening has found; a burst about one resource is one notice.
type Concerned = BTreeMap<Notice, Option<String>>;

fn note(concerned: &mut Concerned, name: &Notice, evidence: Option<String>) {
    let known = concerned.entry(name.clone()).or_default();
    *known = known.take().or(evidence);
}

/// What to listen for on behalf of one started resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    address: Option<IpAddr>,
    directory: Option<String>,
    cgroup: Option<PathBuf>,
    /// Where systemd shows the unit on its bus.
    unit: Option<String>,
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
    sources: Vec<Watch>,
    bus: watch::Receiver<units::Missing>,
}

#[derive(Debug)]
struct Shared {
    targets: Mutex<Targets>,
    wake: OwnedFd,
}

/// Starts the thread, and the task that listens to systemd. Notices come as soon as resources are watched.
pub fn start(cgroups: Result<Cgroups, String>) -> std::io::Result<(Watched, mpsc::Receiver<Noticed>)> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let shared = Arc::new(Shared { targets: Mutex::default(), wake });
    let (give, notices) = mpsc::channel(NOTICES_MAX);
    let (say_missing, bus) = watch::channel(Some(units::NOT_YET.to_owned()));
    // Ends by itself when nobody takes its notices any more.
    tokio::spawn(units::listen(None, Arc::clone(&shared), give.clone(), say_missing));
    let (listener, mut sources) = Listener::new(Arc::clone(&shared), give);
    sources.insert(0, Watch::of(Source::Cgroups, &cgroups));
    std::thread::Builder::new().name("notice".into()).spawn(move || listener.listen())?;
    let cgroups = cgroups.ok();
    let watched = Watched { cgroups, configured: Targets::new(), started: Targets::new(), shared, sources, bus };
    Ok((watched, notices))
}

impl Watched {
    /// What can be listened to on this node, and what not.
    pub fn sources(&self) -> Vec<Watch> {
        let units = Watch { source: Source::Units, missing: self.bus.borrow().clone() };
        self.sources.iter().cloned().chain([units]).collect()
    }

    /// Changes when systemd's bus comes or goes.
    pub fn bus(&self) -> watch::Receiver<Option<String>> {
        self.bus.clone()
    }

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
                let unit = match &mapped.runner {
                    Runner::Systemd { unit } => Some(units::path_of(unit)),
                    Runner::Ocf { .. } | Runner::Lsb { .. } | Runner::Builtin => None,
                };
                let name = Notice { service: service.name.clone(), resource: resource.name.clone() };
                self.configured.insert(name, Target { address, directory, cgroup, unit, since: Time(0) });
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
    notices: mpsc::Sender<Noticed>,
    targets: Targets,
    netlink: Option<Netlink>,
    mounts: Option<Mounts>,
    processes: Processes,
    look_again: BTreeMap<Notice, Instant>,
}

impl Listener {
    /// With what of it works here.
    fn new(shared: Arc<Shared>, notices: mpsc::Sender<Noticed>) -> (Self, Vec<Watch>) {
        let (netlink, mounts, processes) = (Netlink::open(), Mounts::open(), Processes::open());
        let pidfd = processes.as_ref().map_err(ToString::to_string).and_then(|_| processes::pidfd_works());
        let sources = vec![
            Watch::of(Source::Processes, &pidfd),
            Watch::of(Source::Addresses, &netlink),
            Watch::of(Source::Mounts, &mounts),
        ];
        for Watch { source, missing } in &sources {
            if let Some(why) = missing {
                tracing::info!("not listened to: {} ({why}); the checks at their interval find it", source.text());
            }
        }
        let listener = Self {
            shared,
            notices,
            targets: Targets::new(),
            netlink: netlink.ok(),
            mounts: mounts.ok(),
            processes: processes.unwrap_or_default(),
            look_again: BTreeMap::new(),
        };
        (listener, sources)
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
            let mut concerned = Concerned::new();
            if ready.wake {
                self.take_targets(&mut concerned);
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
            for told in concerned {
                // Full: see NOTICES_MAX.
                let _ = self.notices.try_send(told);
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

    fn take_targets(&mut self, concerned: &mut Concerned) {
        let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
        let next = self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, target) in &self.targets {
            if next.get(name) != Some(target) {
                self.processes.forget(name);
                self.look_again.remove(name);
            }
        }
        for (name, target) in &next {
            if self.targets.get(name) == Some(target) {
                continue;
            }
            if let Some(cgroup) = &target.cgroup {
                self.processes.watch(name, cgroup);
            }
            // What went between its start and now was told before anybody listened for it.
            if self.is_gone(target) {
                note(concerned, name, None);
            }
        }
        self.targets = next;
    }

    /// Whether the kernel does not know the address or the mount of a resource that has just been started. A directory may be
    /// known by another path: its agent is asked.
    fn is_gone(&self, target: &Target) -> bool {
        let mounted = |directory: &String| self.mounts.is_none() || mounts::is_mounted(directory.trim_end_matches('/'));
        target.address.is_some_and(|address| matches!(links::find(address), Ok(None)))
            || target.directory.as_ref().is_some_and(|directory| !mounted(directory))
    }

    fn take_netlink(&mut self, concerned: &mut Concerned) {
        let Some(netlink) = &mut self.netlink else { return };
        for told in netlink.take() {
            let concerns = |address: IpAddr| match told {
                netlink::Told::AddressGone(gone) => gone == address,
                // Which addresses a link carried is quicker asked of their agents than kept.
                netlink::Told::LinkDown | netlink::Told::Missed => true,
            };
            let evidence = match told {
                // Asked once more: somebody may have put it back at once, or on another link.
                netlink::Told::AddressGone(gone) => matches!(links::find(gone), Ok(None))
                    .then(|| format!("the kernel says that the address {gone} was removed from this node")),
                netlink::Told::LinkDown | netlink::Told::Missed => None,
            };
            for (name, _) in self.targets.iter().filter(|(_, target)| target.address.is_some_and(concerns)) {
                note(concerned, name, evidence.clone());
            }
        }
    }

    fn take_mounts(&mut self, concerned: &mut Concerned) {
        let Some(mounts) = &mut self.mounts else { return };
        let changed = mounts.take();
        for (name, target) in &self.targets {
            let Some(directory) = target.directory.as_deref().map(|it| it.trim_end_matches('/')) else { continue };
            if let Some(gone) = changed.get(directory) {
                let words = || format!("the kernel says that nothing is mounted on {directory} any more");
                note(concerned, name, gone.then(words));
            }
        }
    }

    fn take_processes(&mut self, concerned: &mut Concerned) {
        for name in self.processes.take() {
            self.look_again.insert(name.clone(), Instant::now() + LOOK_AGAIN);
            note(concerned, &name, None);
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
