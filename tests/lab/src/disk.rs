//! The disks of hosts: laying out a new one, putting files on it and reading them, with the host on or off.
//!
//! The disk of a host is the upper side of its overlays. While the host has power, files go through the host's own root,
//! as changes below a mounted overlay are undefined; paths are always resolved inside that root, never on the machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::inside::KEPT;
use crate::options::LabOptions;
use crate::plan;

/// Makes a fresh disk for a host.
pub(crate) fn lay_out(folder: &Path, host: usize) -> Result<()> {
    let options: LabOptions = serde_json::from_slice(&fs::read(folder.join("lab.json"))?)?;
    let name = plan::host_name(host);
    let place = folder.join("hosts").join(&name);
    for part in ["disk/etc/lab", "work", "root"] {
        fs::create_dir_all(place.join(part))?;
    }
    let disk = place.join("disk");
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    put_off(&disk, Path::new("/etc/hosts"), plan::hosts_file(options.hosts).as_bytes(), 0o644)?;
    put_off(&disk, Path::new("/etc/hostname"), format!("{name}\n").as_bytes(), 0o644)?;
    put_off(&disk, Path::new("/etc/machine-id"), uuid.replace('-', "").as_bytes(), 0o444)?;
    if let Some(rc) = &options.rc {
        put_off(&disk, Path::new("/etc/lab/rc"), rc.as_bytes(), 0o755)?;
    }
    for (path, content, mode) in &options.files {
        put_off(&disk, path, content.as_bytes(), *mode)?;
    }
    Ok(())
}

/// Writes a file on the disk of a host without power.
pub(crate) fn put_off(disk: &Path, path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let inner = inner(path)?;
    let top = inner.components().next().map(|top| top.as_os_str().to_owned()).unwrap_or_default();
    if !KEPT.iter().any(|kept| top == *kept) {
        bail!("{} is not on a host's disk (/{} are)", path.display(), KEPT.join(" /"));
    }
    let mut at = disk.to_owned();
    let mut machine = PathBuf::from("/");
    for part in inner.parent().unwrap_or(Path::new("")).components() {
        at.push(part);
        machine.push(part);
        if machine.is_symlink() {
            bail!("{} leads through the symbolic link {}; use its target", path.display(), machine.display());
        }
        if !at.is_dir() {
            fs::create_dir(&at).with_context(|| format!("cannot make {}", at.display()))?;
            if let Ok(like) = fs::metadata(&machine) {
                fs::set_permissions(&at, like.permissions())?;
            }
        }
    }
    let target = disk.join(inner);
    // An overlay marks a removed file by a device node in its place.
    let _ = fs::remove_file(&target);
    fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(fs::set_permissions(&target, fs::Permissions::from_mode(mode))?)
}

/// Writes a file in the root of a running host, whose pid 1 is `init`.
pub(crate) fn put_on(init: u32, path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let root = root_of(init)?;
    let inner = inner(path)?;
    let mut at = PathBuf::new();
    for part in inner.parent().unwrap_or(Path::new("")).components() {
        let parent = if at.as_os_str().is_empty() { root.try_clone()? } else { open_folder(&root, &at)? };
        at.push(part);
        if open_folder(&root, &at).is_err() {
            rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755))
                .with_context(|| format!("cannot make /{} in the host", at.display()))?;
        }
    }
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat2(&root, inner, flags, Mode::from_raw_mode(mode), ResolveFlags::IN_ROOT)
        .with_context(|| format!("cannot write {} in the host", path.display()))?;
    let mut file = File::from(fd);
    file.write_all(content)?;
    Ok(file.set_permissions(fs::Permissions::from_mode(mode))?)
}

/// Reads a file in the root of a running host.
pub(crate) fn get_on(init: u32, path: &Path) -> Result<Vec<u8>> {
    let root = root_of(init)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat2(&root, inner(path)?, flags, Mode::empty(), ResolveFlags::IN_ROOT)
        .with_context(|| format!("cannot read {} in the host", path.display()))?;
    let mut content = Vec::new();
    File::from(fd).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads a file as the disk of a host without power shows it.
pub(crate) fn get_off(disk: &Path, path: &Path) -> Result<Vec<u8>> {
    let upper = disk.join(inner(path)?);
    match fs::symlink_metadata(&upper) {
        Ok(found) if found.file_type().is_char_device() => bail!("{} was removed from the host", path.display()),
        Ok(_) => fs::read(&upper),
        Err(_) => fs::read(path),
    }
    .with_context(|| format!("cannot read {} from the host's disk", path.display()))
}

fn inner(path: &Path) -> Result<&Path> {
    path.strip_prefix("/").with_context(|| format!("{} must begin with /", path.display()))
}

fn root_of(init: u32) -> Result<OwnedFd> {
    Ok(File::open(format!("/proc/{init}/root")).context("the host lost power")?.into())
}

fn open_folder(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}
