//! The Debian packages the chores need. What is there is left alone; services of the packages are not started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// To build.
pub(crate) const BUILD: &[&[&str]] = &[TOOLCHAIN];

/// To run a cluster of hosts on this machine.
pub(crate) const LAB: &[&[&str]] = &[TOOLCHAIN, HOSTS];

/// All of it, with the browser.
pub(crate) const EVERYTHING: &[&[&str]] = &[TOOLCHAIN, HOSTS, SERVERS, BROWSER, READERS];

const TOOLCHAIN: &[&str] = &[
    "gcc",
    "pkg-config",
    "libc6-dev",
    "libcpg-dev",
    "libcfg-dev",
    "libcmap-dev",
    "libquorum-dev",
    "libvotequorum-dev",
    "libpam0g-dev",
];

const HOSTS: &[&str] = &[
    "corosync",
    "resource-agents",
    "fence-agents",
    "fence-virt",
    "fence-virtd",
    "openipmi",
    "ipmitool",
    // modprobe, without which the agent for file systems does nothing.
    "kmod",
    "e2fsprogs",
    "apache2",
    "iproute2",
    "nftables",
    "util-linux",
    "procps",
    "psmisc",
    "curl",
    // A bus for tests that stand in for systemd.
    "dbus-daemon",
    "passwd",
];

/// Servers that the tests run as services.
const SERVERS: &[&str] = &["mariadb-server", "nginx-light", "postgresql", "redis-server"];

const BROWSER: &[&str] = &["chromium", "chromium-driver", "fonts-dejavu-core", "fonts-noto-cjk"];

/// To fetch axe-core where there is no npm yet.
pub(crate) const NPM: &[&[&str]] = &[&["npm"]];

/// Completion is tried out in each shell, and each formatter reads the manual pages; what is not there is not tried.
const READERS: &[&str] = &["zsh", "fish", "groff-base", "mandoc"];

/// Ends with a clear word if this is not root.
pub(crate) fn need_root(why: &str) -> Result<()> {
    let me = Command::new("id").arg("-u").output().context("id could not be started")?;
    if String::from_utf8_lossy(&me.stdout).trim() != "0" {
        bail!("root is needed: {why}; run it as root, for example with sudo");
    }
    Ok(())
}

/// Installs what is missing.
pub(crate) fn install(wanted: &[&[&str]]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().copied().flatten().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    need_root("Debian packages have to be installed")?;
    let policy = Policy::no_services()?;
    run::program("apt-get", &["update", "-q"])?;
    let mut words = vec!["install", "-q", "-y", "--no-install-recommends"];
    words.extend(&missing);
    let installed = Command::new("apt-get").args(&words).env("DEBIAN_FRONTEND", "noninteractive").status()?;
    drop(policy);
    if !installed.success() {
        bail!("apt-get {} ended with {installed}", words.join(" "));
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

/// While it lives, installed packages do not start their services on this machine.
struct Policy {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl Policy {
    fn no_services() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("{POLICY} could not be written"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("{POLICY} could not be removed: {error}; remove it by hand");
        }
    }
}
