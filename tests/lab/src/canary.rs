//! Looks for a secret everywhere: in the files of a folder, in the output of commands, in the arguments and environments of
//! all processes of the machine (the hosts' are among them).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at all processes. Agents live for tens of milliseconds at least.
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Files below a folder that hold the secret; sockets and what vanishes meanwhile are passed over, links not followed.
pub fn files_with(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() && fs::read(entry.path()).is_ok_and(|bytes| contains(&bytes, needle)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Where a process had the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// In its arguments, which everybody on the machine can read: the program's name.
    Arguments(String),
    /// In its environment, which root can read: the program's name.
    Environment(String),
}

fn look(needle: &str, seen: &mut BTreeSet<Seen>) {
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let read = |name: &str| fs::read(path.join(name)).unwrap_or_default();
        let name = || String::from_utf8_lossy(&read("comm")).trim().to_owned();
        if contains(&read("cmdline"), needle) {
            seen.insert(Seen::Arguments(name()));
        }
        if contains(&read("environ"), needle) {
            seen.insert(Seen::Environment(name()));
        }
    }
}

/// Looks at all processes again and again, until it is finished.
pub struct ProcessWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Seen>>,
}

impl ProcessWatch {
    /// Begins.
    pub fn start(needle: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (needle, stopped) = (needle.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                look(&needle, &mut seen);
                std::thread::sleep(LOOK_EVERY);
            }
            seen
        });
        Self { stop, thread }
    }

    /// What was seen since.
    pub fn finish(self) -> BTreeSet<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
