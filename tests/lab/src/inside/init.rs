//! pid 1 of a host: builds the host's root from overlays of the machine's folders, moves into it, runs /etc/lab/rc, reaps.
//!
//! Started by the maker of the host in fresh namespaces. What is written below /usr /etc /var /root /home /opt /srv goes to the host's
//! disk and survives a power cut; /run, /tmp, /dev and /mnt do not. It never returns; the host ends by a signal.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, makedev};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Signal, WaitOptions};

use super::stage::BOOTED;
use crate::options::LabOptions;
use crate::plan;
use crate::run::HOST_PATH;

/// Top folders of the machine that a host sees through an overlay. Not / itself: the disks lie below it, and an overlay
/// refuses an upper folder inside its lower one.
pub(crate) const KEPT: [&str; 7] = ["usr", "etc", "var", "root", "home", "opt", "srv"];

/// Where a host keeps the boot id that it shows as the kernel's.
pub(crate) const BOOT_ID: &str = "/run/.boot_id";

/// Where our programs are seen in a host.
const BINARIES: &str = "opt/cluster/bin";

/// With no child to wait for there is no event either; an orphan waits this long for its reaper.
const REAP_EVERY: Duration = Duration::from_millis(20);

/// Runs as pid 1.
pub(super) fn main(folder: &Path, host: usize) -> Result<i32> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let name = plan::host_name(host);
    let options: LabOptions = serde_json::from_slice(&fs::read(folder.join("lab.json"))?)?;
    let base = folder.join("hosts").join(&name);
    let root = base.join("root");
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::system::sethostname(name.as_bytes())?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("root", &root, "tmpfs", MountFlags::empty(), "mode=755,size=64m")?;
    mount_disk(&base, &root)?;
    mount_volatile(&root)?;
    make_devices(&root)?;
    mount_kernel(&root)?;
    bind_given(&options, &root)?;
    pivot(&root)?;
    fs::write("/etc/hostname", format!("{name}\n"))?;
    start(options.boot_delay)?;
    reap()
}

fn mount(what: &str, at: &Path, kind: &str, flags: MountFlags, data: &str) -> Result<()> {
    let data = std::ffi::CString::new(data)?;
    rustix::mount::mount(what, at, kind, flags, Some(data.as_c_str()))
        .with_context(|| format!("cannot mount {kind} at {} with {data:?}", at.display()))
}

fn bind(from: &Path, at: &Path, read_only: bool) -> Result<()> {
    let text = || format!("cannot show {} at {}", from.display(), at.display());
    rustix::mount::mount_bind(from, at).with_context(text)?;
    if read_only {
        rustix::mount::mount_remount(at, MountFlags::BIND | MountFlags::RDONLY, c"").with_context(text)?;
    }
    Ok(())
}

/// The part that is kept over a power cut: one overlay per top folder, its upper side in the lab's folder.
fn mount_disk(base: &Path, root: &Path) -> Result<()> {
    for top in KEPT {
        let (upper, work, lower) = (base.join("disk").join(top), base.join("work").join(top), Path::new("/").join(top));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        fs::create_dir(root.join(top))?;
        fs::create_dir_all(&lower)?;
        fs::set_permissions(&upper, fs::metadata(&lower)?.permissions())?;
        let data = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount("overlay", &root.join(top), "overlay", MountFlags::empty(), &data)?;
    }
    for link in ["bin", "sbin", "lib", "lib64", "lib32", "libx32"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(link)) {
            symlink(target, root.join(link))?;
        }
    }
    Ok(())
}

fn mount_volatile(root: &Path) -> Result<()> {
    for (top, mode) in [("run", "755"), ("tmp", "1777"), ("dev", "755"), ("mnt", "755"), ("media", "755")] {
        fs::create_dir(root.join(top))?;
        mount(top, &root.join(top), "tmpfs", MountFlags::empty(), &format!("mode={mode}"))?;
    }
    fs::create_dir(root.join("run/lock"))?;
    fs::set_permissions(root.join("run/lock"), Permissions::from_mode(0o1777))?;
    Ok(())
}

/// A /dev of its own: no disks, no watchdog, no kvm; own terminals, shared memory and message queues.
fn make_devices(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let node = dev.join(name);
        rustix::fs::mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))
            .with_context(|| format!("cannot make the device {}", node.display()))?;
        fs::set_permissions(&node, Permissions::from_mode(0o666))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name))?;
    }
    mount("devpts", &dev.join("pts"), "devpts", MountFlags::empty(), "newinstance,ptmxmode=666,mode=620")?;
    mount("shm", &dev.join("shm"), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777")?;
    mount("mqueue", &dev.join("mqueue"), "mqueue", MountFlags::empty(), "")?;
    symlink("pts/ptmx", dev.join("ptmx"))?;
    symlink("/proc/self/fd", dev.join("fd"))?;
    for (number, name) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
        symlink(format!("/proc/self/fd/{number}"), dev.join(name))?;
    }
    Ok(())
}

/// /proc and /sys, with what belongs to the whole machine read-only or masked, and a boot id of this power-on.
fn mount_kernel(root: &Path) -> Result<()> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let (proc, sys) = (root.join("proc"), root.join("sys"));
    fs::create_dir(&proc)?;
    fs::create_dir(&sys)?;
    mount("proc", &proc, "proc", safe, "")?;
    mount("sysfs", &sys, "sysfs", safe | MountFlags::RDONLY, "")?;
    mount("cgroup2", &sys.join("fs/cgroup"), "cgroup2", safe, "")?;
    for folder in ["sys/kernel", "sys/vm", "sys/fs"] {
        bind(&proc.join(folder), &proc.join(folder), true)?;
    }
    // A write there would reset the whole machine.
    if proc.join("sysrq-trigger").exists() {
        bind(&root.join("dev/null"), &proc.join("sysrq-trigger"), false)?;
    }
    // The kernel has one boot id for the machine; a host shows a new one after each power-on, as real hosts do.
    let boot_id = root.join(BOOT_ID.trim_start_matches('/'));
    fs::write(&boot_id, fs::read("/proc/sys/kernel/random/uuid")?)?;
    bind(&boot_id, &proc.join("sys/kernel/random/boot_id"), true)
}

fn bind_given(options: &LabOptions, root: &Path) -> Result<()> {
    let binaries = options.binaries.iter().map(|from| (from.clone(), PathBuf::from("/").join(BINARIES)));
    for (from, to) in binaries.chain(options.binds.iter().cloned()) {
        let at = root.join(to.strip_prefix("/").unwrap_or(&to));
        if from.is_dir() {
            fs::create_dir_all(&at)?;
        } else {
            fs::create_dir_all(at.parent().context("a file to show needs a folder")?)?;
            OpenOptions::new().create(true).append(true).open(&at)?;
        }
        bind(&from, &at, true)?;
    }
    Ok(())
}

fn pivot(root: &Path) -> Result<()> {
    let old = root.join(".old");
    fs::create_dir(&old)?;
    rustix::process::pivot_root(root, &old).context("cannot move into the host's root")?;
    std::env::set_current_dir("/")?;
    rustix::mount::unmount("/.old", UnmountFlags::DETACH)?;
    fs::remove_dir("/.old")?;
    Ok(())
}

/// Starts /etc/lab/rc with the console log as its output, and tells the keeper that the host is up.
fn start(boot_delay: Duration) -> Result<()> {
    fs::create_dir_all("/var/log/lab")?;
    let console = OpenOptions::new().create(true).append(true).open("/var/log/lab/console.log")?;
    rustix::stdio::dup2_stderr(&console)?;
    if Path::new("/etc/lab/rc").exists() {
        let delay = boot_delay.as_secs_f64();
        Command::new("/proc/1/exe")
            .args(["__run", "--", "/bin/sh", "-c", &format!("sleep {delay}; exec sh /etc/lab/rc")])
            .env_clear()
            .envs([("PATH", HOST_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")])
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console.try_clone()?)
            .spawn()
            .context("cannot start /etc/lab/rc")?;
    }
    rustix::io::write(std::io::stdout(), format!("{BOOTED}\n").as_bytes())?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(&console)?;
    Ok(())
}

fn reap() -> Result<i32> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => std::thread::sleep(REAP_EVERY),
            Err(e) => return Err(e).context("pid 1 cannot wait for children"),
        }
    }
}
