//! The cgroups in which resources run: one per service, in it one per resource for what its start leaves behind,
//! and one for all other runs of its agents.
//!
//! Used by `agents` to place a run and by `notice` to see the death of a process. A process must enter its cgroup
//! before it forks; that needs a step between fork and exec, which is the hidden mode `rgmanager run-in-cgroup` of
//! the daemon's own program. Without a writable cgroup v2 everything runs where the daemon runs, and the status
//! says so.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use shared::ids::{ResourceName, ServiceName};

/// The hidden first argument.
pub const RUN_IN_CGROUP: &str = "run-in-cgroup";

/// The cgroup for the runs of one service that leave nothing behind: checks and stops. Kept apart, so that the
/// resource's own cgroup is empty exactly when nothing of the resource lives.
const RUNS: &str = "runs";

/// Below which the cgroups of services are made.
#[derive(Debug, Clone)]
pub struct Cgroups {
    root: PathBuf,
    /// The program that has the mode `run-in-cgroup`.
    launcher: PathBuf,
}

impl Cgroups {
    /// Takes `root` into use if cgroups can be made there.
    pub fn open(root: PathBuf, launcher: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        // Not a cgroup file system: a directory can be made there, but it stays empty.
        if !root.join("cgroup.procs").exists() {
            std::fs::remove_dir(&root)?;
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} is not in cgroup v2", root.display())));
        }
        Ok(Self { root, launcher })
    }

    /// Where the daemon's services belong unless told otherwise: beside the daemon's own cgroup, not in it, so that
    /// stopping the daemon's unit kills no service.
    pub fn default_root() -> Option<PathBuf> {
        let mount = mount_point(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        Some(mount.join("cluster.slice"))
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

    fn of_service(&self, service: &ServiceName) -> PathBuf {
        self.root.join(file_name(service.as_str()))
    }

    /// Removes the empty cgroups of a service that is no longer configured.
    pub fn remove(&self, service: &ServiceName) {
        let path = self.of_service(service);
        let Ok(entries) = std::fs::read_dir(&path) else { return };
        for entry in entries.flatten() {
            // Fails while something lives in it, which is as it must be.
            let _ = std::fs::remove_dir(entry.path());
        }
        let _ = std::fs::remove_dir(path);
    }

    /// Program and arguments that run `program` in the cgroup at `path`.
    pub fn wrap(&self, path: &Path, program: PathBuf, arguments: Vec<OsString>) -> (PathBuf, Vec<OsString>) {
        let mut all = vec![RUN_IN_CGROUP.into(), path.into(), "--".into(), program.into_os_string()];
        all.extend(arguments);
        (self.launcher.clone(), all)
    }
}

/// A name of cluster.conf as a directory name: a slash must not lead out of the cgroup, and names of the kernel's
/// own files (`cgroup.procs`) must not be met.
fn file_name(text: &str) -> String {
    let safe = text.replace('%', "%25").replace('/', "%2f");
    if safe.contains(':') { safe } else { format!(":{safe}") }
}

fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2").then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The mode `run-in-cgroup PATH -- PROGRAM ARGUMENT…`: enters the cgroup and becomes the program. Returns only if
/// that failed, with the exit code an agent would give. Called by `main` before anything else, so that it costs
/// as little as possible.
pub fn run_in_cgroup(mut arguments: impl Iterator<Item = OsString>) -> (i32, String) {
    let (Some(path), Some(_), Some(program)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return (2, format!("{RUN_IN_CGROUP}: needs a cgroup, -- and a program"));
    };
    // Not entering it costs the notice of a death, not the service.
    if let Err(error) = std::fs::write(Path::new(&path).join("cgroup.procs"), "0") {
        eprint_line(&format!("cannot enter cgroup {}: {error}", Path::new(&path).display()));
    }
    let error = std::process::Command::new(&program).args(arguments).exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => 5,
        io::ErrorKind::PermissionDenied => 4,
        _ => 1,
    };
    (code, format!("cannot run {}: {error}", Path::new(&program).display()))
}

#[expect(clippy::print_stderr, reason = "this process is about to become an agent; its stderr is the run's output")]
fn eprint_line(text: &str) {
    eprintln!("{text}");
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
    fn a_name_with_a_slash_stays_inside_its_cgroup() {
        assert_eq!(file_name("ip:10.0.0.1/24"), "ip:10.0.0.1%2f24");
        assert_eq!(file_name("cgroup.procs"), ":cgroup.procs");
        assert_eq!(file_name(".."), ":..");
    }
}
