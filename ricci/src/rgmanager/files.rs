//! What the daemon keeps on disk: cluster.conf with its past versions, corosync.conf rendered from it, the
//! administrators' intents, and the boot id it reads.
//!
//! Called by the driver, the slow parts on a thread of their own. A file is whole or as it was before, whatever
//! kills the daemon or the power. Understands no content: what the bytes mean is for `shared` to say.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use shared::ids::{BootId, ConfDigest, ConfVersion};

/// Versions of cluster.conf kept beside the one in force, to be compared with and brought back.
const VERSIONS_KEPT: usize = 20;

/// cluster.conf may hold the passwords of fence devices.
const SECRET_MODE: u32 = 0o600;
/// corosync.conf holds none; corosync's own commands read it as any user.
const PUBLIC_MODE: u32 = 0o644;

/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".unfinished";

/// Why a file could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} does not have the content that its name promises; it was damaged", path.display())]
    Damaged { path: PathBuf },
}

/// Where the files lie.
#[derive(Debug, Clone)]
pub struct Paths {
    pub cluster_conf: PathBuf,
    pub corosync_conf: PathBuf,
    /// Stored versions of cluster.conf.
    pub versions: PathBuf,
    pub intents: PathBuf,
    pub boot_id: PathBuf,
}

impl Paths {
    /// The usual places, below `root` (`/` but in tests).
    pub fn below(root: &Path) -> Self {
        Self {
            cluster_conf: root.join("etc/cluster/cluster.conf"),
            corosync_conf: root.join("etc/corosync/corosync.conf"),
            versions: root.join("var/lib/cluster/conf"),
            intents: root.join("var/lib/cluster/intents.json"),
            boot_id: root.join("proc/sys/kernel/random/boot_id"),
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

/// Replaces `path` by `content` in one step that survives a power cut: temporary file, fsync, rename, fsync of the
/// directory. The directory is made if it is missing.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    replace(path, content, mode).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    make_directory(directory)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unfinished = directory.join(format!(".{}.{}.{number}{UNFINISHED}", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        // The disk may be full: leave nothing of ours on it.
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;
    sync_directory(directory)
}

fn make_directory(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    directory.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}

/// Removes what writes that were cut short have left in a directory. At start only: nobody else writes then.
fn remove_unfinished(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(UNFINISHED) {
            // Harmless if it stays: no one reads it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// SHA-256 of a cluster.conf, as its versions are named.
pub fn digest(content: &[u8]) -> ConfDigest {
    let sum = Sha256::digest(content);
    ConfDigest(sum.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The files.
#[derive(Debug, Clone)]
pub struct Files {
    paths: Paths,
}

impl Files {
    /// Also clears away what an earlier life could not finish.
    pub fn open(paths: Paths) -> Self {
        let files = [&paths.cluster_conf, &paths.corosync_conf, &paths.intents];
        for directory in files.into_iter().filter_map(|file| file.parent()).chain([paths.versions.as_path()]) {
            remove_unfinished(directory);
        }
        Self { paths }
    }

    /// Where they lie.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The cluster.conf in force on this node; `None` if there is none.
    pub fn cluster_conf(&self) -> Result<Option<Vec<u8>>, FileError> {
        read(&self.paths.cluster_conf)
    }

    /// Keeps a version that is not in force yet. Returns when it is safe on disk; the same again does nothing.
    pub fn store_conf(&self, version: ConfVersion, digest: &ConfDigest, content: &[u8]) -> Result<(), FileError> {
        let path = self.version_path(version, digest);
        if self::digest(content) != *digest {
            return Err(FileError::Damaged { path });
        }
        if read(&path)?.as_deref() == Some(content) {
            return Ok(());
        }
        write_atomic(&path, content, SECRET_MODE)
    }

    /// Makes a version the cluster.conf of this node, with the corosync.conf that follows from it; keeps it among
    /// the versions and forgets the oldest ones. Says whether corosync.conf has other settings now.
    pub fn switch_conf(
        &self,
        version: ConfVersion,
        digest: &ConfDigest,
        content: &[u8],
        corosync_conf: &str,
    ) -> Result<Switched, FileError> {
        self.store_conf(version, digest, content)?;
        // corosync.conf first: after a crash between the two, the next switch or start writes the pair again from
        // a cluster.conf that is still the old one, and nothing is lost but the time.
        let before = read(&self.paths.corosync_conf)?.unwrap_or_default();
        self.write_if_changed(&self.paths.corosync_conf, corosync_conf.as_bytes(), PUBLIC_MODE)?;
        let corosync = !settings(&String::from_utf8_lossy(&before)).eq(settings(corosync_conf));
        self.write_if_changed(&self.paths.cluster_conf, content, SECRET_MODE)?;
        self.forget_old_versions(version);
        Ok(Switched { corosync_conf_changed: corosync })
    }

    fn write_if_changed(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
        if read(path)?.as_deref() == Some(content) { Ok(()) } else { write_atomic(path, content, mode) }
    }

    /// Versions on disk, oldest first.
    pub fn versions(&self) -> Vec<(ConfVersion, ConfDigest)> {
        let Ok(entries) = std::fs::read_dir(&self.paths.versions) else { return Vec::new() };
        let mut versions: Vec<_> =
            entries.flatten().filter_map(|entry| parse_version_name(&entry.file_name().to_string_lossy())).collect();
        versions.sort();
        versions
    }

    /// One stored version.
    pub fn version(&self, version: ConfVersion, digest: &ConfDigest) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.version_path(version, digest);
        match read(&path)? {
            Some(content) if self::digest(&content) != *digest => Err(FileError::Damaged { path }),
            other => Ok(other),
        }
    }

    fn forget_old_versions(&self, in_force: ConfVersion) {
        let mut old = self.versions();
        // What is newer than the version in force may be about to become it.
        old.retain(|(version, _)| *version < in_force);
        let surplus = old.len().saturating_sub(VERSIONS_KEPT);
        for (version, digest) in &old[..surplus] {
            // A file too many does no harm.
            let _ = std::fs::remove_file(self.version_path(*version, digest));
        }
    }

    fn version_path(&self, version: ConfVersion, digest: &ConfDigest) -> PathBuf {
        self.paths.versions.join(format!("{version}-{digest}.conf"))
    }

    /// The administrators' intents as they were saved; `None` if there are none yet.
    pub fn intents(&self) -> Result<Option<Vec<u8>>, FileError> {
        read(&self.paths.intents)
    }

    /// Keeps the intents.
    pub fn save_intents(&self, content: &[u8]) -> Result<(), FileError> {
        write_atomic(&self.paths.intents, content, SECRET_MODE)
    }

    /// Of this boot of the node.
    pub fn boot_id(&self) -> Result<BootId, FileError> {
        let path = &self.paths.boot_id;
        std::fs::read_to_string(path)
            .map(|text| BootId(text.trim().to_owned()))
            .map_err(|source| FileError::Read { path: path.clone(), source })
    }
}

/// What a switch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switched {
    pub corosync_conf_changed: bool,
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// A corosync.conf without what corosync passes over: comments name the version and differ every time.
fn settings(corosync_conf: &str) -> impl Iterator<Item = &str> {
    corosync_conf.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn parse_version_name(name: &str) -> Option<(ConfVersion, ConfDigest)> {
    let (version, digest) = name.strip_suffix(".conf")?.split_once('-')?;
    Some((ConfVersion(version.parse().ok()?), ConfDigest(digest.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let root = tempfile::tempdir().unwrap();
        let files = Files::open(Paths::below(root.path()));
        (root, files)
    }

    #[test]
    fn a_stored_version_is_not_in_force_until_the_switch() {
        let (_root, files) = files();
        let content = b"<cluster name=\"a\" config_version=\"2\"/>";
        let digest = digest(content);
        files.store_conf(ConfVersion(2), &digest, content).unwrap();
        assert_eq!(files.cluster_conf().unwrap(), None);
        assert_eq!(files.version(ConfVersion(2), &digest).unwrap().as_deref(), Some(&content[..]));
        let first = files.switch_conf(ConfVersion(2), &digest, content, "totem {}\n").unwrap();
        assert!(first.corosync_conf_changed);
        assert_eq!(files.cluster_conf().unwrap().as_deref(), Some(&content[..]));
        let again = files.switch_conf(ConfVersion(2), &digest, content, "# version 3\ntotem {}\n").unwrap();
        assert!(!again.corosync_conf_changed);
    }

    #[test]
    fn a_content_that_is_not_what_its_digest_says_is_refused() {
        let (_root, files) = files();
        let digest = digest(b"one");
        assert!(matches!(files.store_conf(ConfVersion(1), &digest, b"two"), Err(FileError::Damaged { .. })));
        files.store_conf(ConfVersion(1), &digest, b"one").unwrap();
        std::fs::write(files.version_path(ConfVersion(1), &digest), b"on").unwrap();
        assert!(matches!(files.version(ConfVersion(1), &digest), Err(FileError::Damaged { .. })));
        // Stored again, it is whole again.
        files.store_conf(ConfVersion(1), &digest, b"one").unwrap();
        assert!(files.version(ConfVersion(1), &digest).unwrap().is_some());
    }

    #[test]
    fn the_last_twenty_versions_before_the_one_in_force_are_kept() {
        let (_root, files) = files();
        for number in 1..=30 {
            let content = format!("version {number}");
            files.switch_conf(ConfVersion(number), &digest(content.as_bytes()), content.as_bytes(), "").unwrap();
        }
        let kept: Vec<u64> = files.versions().iter().map(|(version, _)| version.0).collect();
        assert_eq!(kept, (10..=30).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_killed_writer_left_is_cleared_at_the_next_start() {
        let (root, files) = files();
        files.save_intents(b"{}").unwrap();
        let left = files.paths.intents.with_file_name(".intents.json.1.0.unfinished");
        std::fs::write(&left, b"{\"half").unwrap();
        let files = Files::open(Paths::below(root.path()));
        assert!(!left.exists());
        assert_eq!(files.intents().unwrap().as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn cluster_conf_is_not_readable_by_everybody() {
        use std::os::unix::fs::PermissionsExt;
        let (_root, files) = files();
        files.switch_conf(ConfVersion(1), &digest(b"x"), b"x", "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.paths.cluster_conf) & 0o007, 0);
        assert_eq!(mode(&files.version_path(ConfVersion(1), &digest(b"x"))) & 0o007, 0);
    }
}
