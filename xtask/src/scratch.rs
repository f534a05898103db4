//! A folder in memory for what tests write. Members of a cluster that wait for the disk behind a build are lost to the others,
//! and the browser's profiles and the databases of the tests need not outlive anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::StatVfsMountFlags;

const MEMORY: &str = "/dev/shm";

/// Followed by the number of the process that made it.
const PREFIX: &str = "cluster-tests-";

/// What labs, databases and browsers of the tests take together, with room to spare.
const NEEDED: u64 = 4 << 30;

/// The folder; removed when this is dropped.
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// `None` where the machine has no such memory; what tests write goes to the folder for temporary files then.
    pub(crate) fn new() -> Result<Option<Self>> {
        if !is_fit(Path::new(MEMORY)) {
            return Ok(None);
        }
        sweep();
        let folder = Path::new(MEMORY).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
        let scratch = Self { folder };
        // Servers of the tests run as users of their own.
        fs::set_permissions(&scratch.folder, fs::Permissions::from_mode(0o1777))?;
        Ok(Some(scratch))
    }

    /// The environment of a program that shall write there.
    pub(crate) fn environment(&self) -> (&'static str, &Path) {
        ("TMPDIR", &self.folder)
    }
}

/// Programs are started from there and device files made, as on a disk.
fn is_fit(folder: &Path) -> bool {
    let Ok(found) = rustix::fs::statvfs(folder) else { return false };
    let refused = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
    found.f_bavail.saturating_mul(found.f_frsize) >= NEEDED && !found.f_flag.intersects(refused)
}

/// Removes what killed runs left: it would take memory until the next boot.
fn sweep() {
    for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if maker.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {error}; remove it by hand", self.folder.display());
        }
    }
}
