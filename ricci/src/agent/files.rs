//! Files that must never be half written: temporary file beside the target, fsync, rename, fsync of the folder.
//! Called by everything that stores; the functions block and are short, callers in async code use `off_loop`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file operation that failed, with the file it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}", path = path.display())]
pub(super) struct FileError {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

impl FileError {
    fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { doing, path, source }
    }
}

/// Replaces `path` by `bytes` in one step. The file never exists with another mode than `mode`.
pub(super) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
    let written = write_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|source| {
        // The error that is told is the first one; a temporary file that cannot be removed either changes nothing.
        let _ = fs::remove_file(&temporary);
        FileError { doing: "write", path: path.to_owned(), source }
    })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    // The umask may have taken bits away.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.sync_all()
}

/// The whole file, `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at("read", path)(error)),
    }
}

/// Removes a file and makes that last; says whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::at("remove", path))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::at("remove", path)(error)),
    }
}

/// Removes a file, or a folder with all that is in it; none is as good.
pub(super) fn remove_all(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return fs::remove_dir_all(path).map_err(FileError::at("remove", path));
    }
    if path.exists() { remove(path).map(|_| ()) } else { Ok(()) }
}

/// Makes a folder and its parents; an existing one keeps its mode.
pub(super) fn create_folder(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(FileError::at("make the folder", path))
}

/// Tells one version of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileIdentity {
    /// `None` if there is no such file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let changed = (about.ctime(), about.ctime_nsec());
        Some(Self { device: about.dev(), inode: about.ino(), size: about.size(), changed })
    }
}

/// Runs blocking file work away from the event loop.
pub(super) async fn off_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Only a panic in `work` comes here (nothing aborts it): let it go on where it was asked for.
        Err(join) => std::panic::resume_unwind(join.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_written_file_has_its_mode_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.conf");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        // A folder cannot be replaced by a file.
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"two", 0o600).unwrap_err();
        assert!(error.to_string().contains("taken"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
