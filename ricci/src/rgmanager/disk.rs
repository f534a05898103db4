//! The one thread that writes: configurations and intents, so that no fsync stands between an event and what the
//! engine wants done.
//!
//! The driver hands it jobs over a bounded queue and gets results over a channel. Intents have no queue: only the
//! newest count, and a write that failed is tried again until it succeeds or newer ones come.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use engine::ConfText;
use shared::ids::{ConfDigest, ConfVersion};
use tokio::sync::mpsc;

use super::files::Files;

/// Jobs on their way. The engine asks for one per new configuration.
const JOBS_MAX: usize = 64;

/// Before intents that could not be written are written again: a full disk does not empty itself sooner.
const INTENTS_RETRY: Duration = Duration::from_secs(5);

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    Stored {
        version: ConfVersion,
        digest: ConfDigest,
        stored: Result<(), String>,
    },
    /// `reload_corosync` as it was asked for, and only if there is something to reload.
    Switched {
        version: ConfVersion,
        reload_corosync: bool,
    },
    /// The version is in force and is not the cluster.conf here: it stands in the log only.
    NotSwitched {
        version: ConfVersion,
        why: String,
    },
}

enum Job {
    Store(ConfText),
    Switch {
        conf: ConfText,
        corosync_conf: String,
        reload_corosync: bool,
    },
    /// Look at the newest intents.
    Intents,
}

/// The thread, seen from the driver.
#[derive(Debug)]
pub(super) struct Disk {
    jobs: Option<SyncSender<Job>>,
    intents: Arc<Mutex<Option<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread.
    pub(super) fn start(files: Files, done: mpsc::Sender<Done>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let intents = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&intents);
        let work = move || work(&files, &queue, &slot, &done);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), intents, thread: Some(thread) })
    }

    /// Keeps a version that is not in force yet; `Err` if the disk is too far behind.
    pub(super) fn store(&self, conf: ConfText) -> Result<(), String> {
        self.send(Job::Store(conf))
    }

    /// Makes a version the cluster.conf of this node.
    pub(super) fn switch(&self, conf: ConfText, corosync_conf: String, reload_corosync: bool) -> Result<(), String> {
        self.send(Job::Switch { conf, corosync_conf, reload_corosync })
    }

    /// Keeps the intents, soon.
    pub(super) fn save_intents(&self, content: Vec<u8>) {
        // Intents that still wait have had their job sent; it takes what is newest then.
        if lock(&self.intents).replace(content).is_none() {
            // A full queue gets to the newest intents anyway.
            let _ = self.send(Job::Intents);
        }
    }

    fn send(&self, job: Job) -> Result<(), String> {
        let Some(jobs) = &self.jobs else { return Err("the daemon is ending".into()) };
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => "the disk is too slow: too many writes are waiting".into(),
            TrySendError::Disconnected(_) => "the thread that writes has ended".into(),
        })
    }

    /// Finishes what was asked for and ends the thread.
    pub(super) fn finish(mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes files broke");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while holding it, and an old value would be replaced by the next one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(files: &Files, queue: &Receiver<Job>, intents: &Mutex<Option<Vec<u8>>>, done: &mpsc::Sender<Done>) {
    loop {
        let job = queue.recv_timeout(INTENTS_RETRY);
        let told = match job {
            Ok(Job::Store(conf)) => Some(store(files, conf)),
            Ok(Job::Switch { conf, corosync_conf, reload_corosync }) => {
                Some(switch(files, &conf, &corosync_conf, reload_corosync))
            }
            Ok(Job::Intents) | Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                save(files, intents);
                return;
            }
        };
        save(files, intents);
        if let Some(told) = told {
            // The driver is gone when nobody takes it; the file is written all the same.
            let _ = done.blocking_send(told);
        }
    }
}

fn store(files: &Files, conf: ConfText) -> Done {
    let stored =
        files.store_conf(conf.version, &conf.digest, conf.text.as_bytes()).map_err(|error| shared::chain(&error));
    Done::Stored { version: conf.version, digest: conf.digest, stored }
}

fn switch(files: &Files, conf: &ConfText, corosync_conf: &str, reload_corosync: bool) -> Done {
    match files.switch_conf(conf.version, &conf.digest, conf.text.as_bytes(), corosync_conf) {
        Ok(switched) => {
            Done::Switched { version: conf.version, reload_corosync: reload_corosync && switched.corosync_conf_changed }
        }
        Err(error) => Done::NotSwitched { version: conf.version, why: shared::chain(&error) },
    }
}

fn save(files: &Files, intents: &Mutex<Option<Vec<u8>>>) {
    let Some(content) = lock(intents).take() else { return };
    if let Err(error) = files.save_intents(&content) {
        tracing::error!("{}; tried again in {} s", shared::chain(&error), INTENTS_RETRY.as_secs());
        lock(intents).get_or_insert(content);
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{Paths, digest};
    use super::*;

    #[test]
    fn what_was_asked_for_is_on_disk_when_the_thread_has_ended() {
        let root = tempfile::tempdir().unwrap();
        let files = Files::open(Paths::below(root.path()));
        let (give, mut done) = mpsc::channel(8);
        let disk = Disk::start(files.clone(), give).unwrap();
        let text = "<cluster/>".to_owned();
        let conf = ConfText { version: ConfVersion(2), digest: digest(text.as_bytes()), text };
        disk.store(conf.clone()).unwrap();
        for number in 0..1_000 {
            disk.save_intents(format!("{number}").into_bytes());
        }
        disk.switch(conf.clone(), "totem {}\n".into(), true).unwrap();
        disk.finish();
        assert!(matches!(done.blocking_recv(), Some(Done::Stored { stored: Ok(()), .. })));
        assert_eq!(done.blocking_recv(), Some(Done::Switched { version: ConfVersion(2), reload_corosync: true }));
        assert_eq!(files.intents().unwrap().as_deref(), Some(&b"999"[..]));
        assert_eq!(files.cluster_conf().unwrap().as_deref(), Some(conf.text.as_bytes()));
    }

    #[test]
    fn a_conf_that_cannot_be_written_is_told_with_its_cause() {
        let root = tempfile::tempdir().unwrap();
        // A file where the directory should be.
        std::fs::create_dir_all(root.path().join("var/lib/cluster")).unwrap();
        std::fs::write(root.path().join("var/lib/cluster/conf"), "").unwrap();
        let (give, mut done) = mpsc::channel(8);
        let disk = Disk::start(Files::open(Paths::below(root.path())), give).unwrap();
        let text = "<cluster/>".to_owned();
        disk.store(ConfText { version: ConfVersion(2), digest: digest(text.as_bytes()), text }).unwrap();
        disk.finish();
        let Some(Done::Stored { stored: Err(why), .. }) = done.blocking_recv() else { panic!() };
        assert!(why.contains("var/lib/cluster/conf"), "{why}");
    }
}
