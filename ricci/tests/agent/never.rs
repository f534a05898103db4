//! A pipe that nobody writes: what reads it hangs until the test is over.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The pipe. Whoever still waits for it when this is dropped reads its end.
pub(crate) struct Never(PathBuf);

impl Never {
    pub(crate) fn at(path: PathBuf) -> Self {
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self(path)
    }
}

impl Drop for Never {
    fn drop(&mut self) {
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        // Refused where nobody reads.
        drop(OpenOptions::new().write(true).custom_flags(nonblock).open(&self.0));
    }
}
