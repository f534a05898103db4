//! Where labs live on disk, and the removal of what dead ones left.
//!
//! Normally the keeper takes a lab down, also when its owner was killed. Only when the keeper itself was killed do its
//! folder and control groups remain (its processes and namespaces die with it); this module removes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::{cgroup, process};

/// A folder this young without an owner's name is one that is being made.
const NEWBORN: Duration = Duration::from_secs(10);

/// Folder that holds one folder per lab: `$LAB_DIR`, otherwise `cluster-lab` in the folder for temporary files.
pub fn base_folder() -> PathBuf {
    std::env::var_os("LAB_DIR").map_or_else(|| std::env::temp_dir().join("cluster-lab"), PathBuf::from)
}

/// The keeper of the lab in a folder, if it lives.
pub(crate) fn keeper_of(folder: &Path) -> Option<u32> {
    process::read_identity(&folder.join("keeper"))
}

/// Removes what dead labs left; gives the names of those removed.
pub fn sweep() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(base_folder()) else { return Ok(Vec::new()) };
    let mut swept = Vec::new();
    for folder in entries.flatten().map(|entry| entry.path()) {
        if is_dead(&folder) {
            remove(&folder)?;
            swept.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    Ok(swept)
}

fn is_dead(folder: &Path) -> bool {
    if keeper_of(folder).is_some() || process::read_identity(&folder.join("owner")).is_some() {
        return false;
    }
    let named = folder.join("owner").exists();
    let age =
        fs::metadata(folder).and_then(|m| m.modified()).ok().and_then(|t| SystemTime::now().duration_since(t).ok());
    named || age.is_some_and(|age| age > NEWBORN)
}

/// Removes control groups and folder of a lab that has no keeper.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    if let Ok(group) = fs::read_to_string(folder.join("cgroup")) {
        let group = Path::new(group.trim());
        cgroup::kill(group)?;
        cgroup::remove(group)?;
    }
    remove_folder(folder)
}

/// Removes the folder of a lab; two who try at the same time both succeed.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if folder.exists() => Err(e).with_context(|| format!("cannot remove {}", folder.display())),
        _ => {
            // Succeeds for the last lab of the machine only; the folder is made anew with the next one.
            let _ = folder.parent().map(fs::remove_dir);
            Ok(())
        }
    }
}
