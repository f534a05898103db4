//! The watchdog: a device that resets the machine unless somebody writes to it again and again.
//!
//! Held by the driver, which feeds it from its own loop and from nowhere else: a loop that stands still (a stuck engine, a
//! stopped process) is what the device is there for. Nothing in here starts a thread or a timer. A daemon that dies leaves the
//! device armed; its successor takes it over. Only a clean end disarms it (the kernel's "magic close").

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the device is fed. The shortest timeout that drivers offer in practice is some seconds.
const FEED_INTERVAL: Duration = Duration::from_secs(1);

/// Written before the device is closed, it says that the end is meant (Documentation/watchdog/watchdog-api.rst).
const MAGIC_CLOSE: &[u8] = b"V";

/// Any other byte feeds it.
const FOOD: &[u8] = b".";

/// Why the device is not armed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the watchdog {} that cluster.conf asks for cannot be armed; load its driver (or softdog), see that nothing else holds it, or take watchdog= out of <rm>",
    path.display()
)]
pub struct WatchdogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// An armed device, or none.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    path: PathBuf,
    device: File,
    fed: Instant,
}

impl Watchdog {
    /// Arms the device at `path`, or disarms what is armed if there shall be none.
    pub(super) fn follow(&mut self, path: Option<&Path>, now: Instant) -> Result<(), WatchdogError> {
        if self.armed.as_ref().map(|armed| armed.path.as_path()) == path {
            return Ok(());
        }
        self.disarm();
        let Some(path) = path else { return Ok(()) };
        let failed = |source| WatchdogError { path: path.to_owned(), source };
        // Opening arms it. Never created: a plain file at /dev/watchdog would keep nobody safe.
        let mut device = OpenOptions::new().append(true).open(path).map_err(failed)?;
        device.write_all(FOOD).map_err(failed)?;
        tracing::info!("the watchdog {} is armed: if rgmanager stands still, this node is reset", path.display());
        self.armed = Some(Armed { path: path.to_owned(), device, fed: now });
        Ok(())
    }

    /// Feeds it if that is due.
    pub(super) fn feed(&mut self, now: Instant) {
        let Some(armed) = self.armed.as_mut().filter(|armed| now >= armed.fed + FEED_INTERVAL) else { return };
        armed.fed = now;
        if let Err(error) = armed.device.write_all(FOOD) {
            tracing::error!("the watchdog {} takes nothing: {error}; this node may be reset", armed.path.display());
        }
    }

    /// When it must be fed next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.armed.as_ref().map(|armed| armed.fed + FEED_INTERVAL)
    }

    /// The end is meant, nothing runs here any more: the device must not reset the machine.
    pub(super) fn disarm(&mut self) {
        let Some(mut armed) = self.armed.take() else { return };
        match armed.device.write_all(MAGIC_CLOSE) {
            Ok(()) => tracing::info!("the watchdog {} is disarmed", armed.path.display()),
            Err(error) => tracing::error!("the watchdog {} cannot be disarmed: {error}", armed.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn written(path: &Path) -> String {
        let mut text = String::new();
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn it_is_fed_at_its_interval_and_only_a_meant_end_writes_the_magic() {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("watchdog");
        File::create(&device).unwrap();
        let begin = Instant::now();
        let mut watchdog = Watchdog::default();
        watchdog.follow(Some(&device), begin).unwrap();
        assert_eq!(written(&device), ".");
        watchdog.feed(begin + FEED_INTERVAL / 2);
        assert_eq!(written(&device), ".", "fed before it was due");
        watchdog.feed(begin + FEED_INTERVAL);
        assert_eq!(written(&device), "..");
        assert_eq!(watchdog.due(), Some(begin + FEED_INTERVAL * 2));
        drop(watchdog);
        assert_eq!(written(&device), "..", "a daemon that dies leaves the device armed");
    }

    #[test]
    fn a_configuration_without_it_disarms_it() {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("watchdog");
        File::create(&device).unwrap();
        let mut watchdog = Watchdog::default();
        watchdog.follow(Some(&device), Instant::now()).unwrap();
        watchdog.follow(None, Instant::now()).unwrap();
        assert_eq!(written(&device), ".V");
        assert_eq!(watchdog.due(), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_no_device() {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("watchdog");
        let error = Watchdog::default().follow(Some(&device), Instant::now()).unwrap_err();
        assert!(error.to_string().contains("load its driver"), "{error}");
        assert!(!device.exists(), "it must not be made");
    }
}
