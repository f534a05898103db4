//! The cgroups in which resources run: one per service, in it one per resource for what its start leaves behind,
//! and one for all other runs of its agents.
//!
//! Used by `agents` to place a run and by `notice` to see the death of a process. Without a writable cgroup v2
//! everything runs where the daemon runs, and the log says so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use shared::ids::{ResourceName, ServiceName};

/// The cgroup for the runs of one service that leave nothing behind: checks and stops. Kept apart, so that the
/// resource's own cgroup is empty exactly when nothing of the resource lives.
const RUNS: &str = "runs";

/// Below which the cgroups of services are made.
#[derive(Debug, Clone)]
pub struct Cgroups {
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    root: PathBuf,
}

impl Cgroups {
    /// Takes `root` into use if cgroups can be made there.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        // Not a cgroup file system: a directory can be made there, but it stays empty.
        if !root.join("cgroup.procs").exists() {
            std::fs::remove_dir(&root)?;
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} is not in cgroup v2", root.display())));
        }
        let mount = std::fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self { mount: mount_point(&mount).unwrap_or_default(), root })
    }

    /// Where services belong unless told otherwise: below the daemon's own cgroup, which its unit delegates. The unit
    /// kills the daemon alone (`KillMode=process`), so that a restart of it leaves the services alive.
    pub fn default_root() -> Option<PathBuf> {
        let mount = mount_point(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        let own = own_path(&std::fs::read_to_string("/proc/self/cgroup").ok()?)?;
        Some(mount.join(own).join("cluster-services"))
    }

    /// The cgroup of one run, made if it is missing. `stays`: what the run starts is meant to go on living.
    pub fn of_run(&self, service: &ServiceName, resource: &ResourceName, stays: bool) -> io::Result<PathBuf> {
        let path =
            if stays { self.of_resource(service, resource) } else { self.of_service(service).join(file_name(RUNS)) };
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Where the processes of a resource live.
    pub fn of_resource(&self, service: &ServiceName, resource: &ResourceName) -> PathBuf {
        self.of_service(service).join(file_name(resource.as_str()))
    }

    /// The processes of a resource that live now, with their names.
    pub fn living(&self, service: &ServiceName, resource: &ResourceName) -> BTreeMap<u32, String> {
        let path = self.of_resource(service, resource).join("cgroup.procs");
        let numbers = std::fs::read_to_string(path).unwrap_or_default();
        let named = numbers.lines().filter_map(|line| {
            let name = std::fs::read_to_string(format!("/proc/{line}/comm")).ok()?;
            Some((line.parse().ok()?, name.trim_end().to_owned()))
        });
        named.collect()
    }

    /// Where systemd keeps the processes of a unit.
    pub fn of_unit(&self, unit: &str) -> PathBuf {
        self.mount.join("system.slice").join(unit)
    }

    fn of_service(&self, service: &ServiceName) -> PathBuf {
        self.root.join(file_name(service.as_str()))
    }

    /// Removes the empty cgroups of services that are no longer configured.
    pub fn tidy<'a>(&self, configured: impl Iterator<Item = &'a ServiceName>) {
        let known: std::collections::BTreeSet<OsString> =
            configured.map(|service| file_name(service.as_str()).into()).collect();
        for service in
            subdirectories(&self.root).filter(|path| path.file_name().is_some_and(|name| !known.contains(name)))
        {
            for resource in subdirectories(&service) {
                // Fails while something lives in it, which is as it must be.
                let _ = std::fs::remove_dir(resource);
            }
            let _ = std::fs::remove_dir(service);
        }
    }
}

fn subdirectories(path: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// A name of cluster.conf as a directory name: a slash must not lead out of the cgroup, and names of the kernel's
/// own files (`cgroup.procs`) must not be met.
pub(super) fn file_name(text: &str) -> String {
    let safe = text.replace('%', "%25").replace('/', "%2f");
    if safe.contains(':') { safe } else { format!(":{safe}") }
}

fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2").then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The cgroup of this process in the one hierarchy of version 2, relative; `None` outside of what is visible here.
fn own_path(cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.split('/').any(|part| part == "..")).then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_among_the_others() {
        let mountinfo = "25 1 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         26 1 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mountinfo), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("25 1 0:23 / /proc rw - proc proc rw"), None);
    }

    #[test]
    fn services_go_below_the_daemons_own_cgroup() {
        assert_eq!(
            own_path("1:cpu:/x\n0::/system.slice/rgmanager.service\n"),
            Some("system.slice/rgmanager.service".into())
        );
        assert_eq!(own_path("0::/"), Some("".into()));
        assert_eq!(own_path("0::/../other"), None);
        assert_eq!(own_path("1:cpu:/x"), None);
    }

    #[test]
    fn a_name_with_a_slash_stays_inside_its_cgroup() {
        assert_eq!(file_name("ip:10.0.0.1/24"), "ip:10.0.0.1%2f24");
        assert_eq!(file_name("cgroup.procs"), ":cgroup.procs");
        assert_eq!(file_name(".."), ":..");
    }
}
