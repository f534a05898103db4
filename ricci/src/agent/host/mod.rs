//! The node's daemons as its init sees them: systemd where it runs, else ricci starts them itself. Two true sides, one
//! closed list of what can be asked. Called by `operations` and by the node report.

mod direct;
mod systemd;

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::api::DaemonState;

use super::files::{FileError, FileIdentity};
use super::options::{InitChoice, Options};
use super::process::{ProcessError, Run};
use direct::Direct;
use systemd::Systemd;

/// What the cluster on a node consists of, in start order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Daemon {
    Corosync,
    Rgmanager,
}

impl Daemon {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Corosync => "corosync",
            Self::Rgmanager => "rgmanager",
        }
    }

    /// rgmanager stops its services first, and those may take long; corosync only says goodbye.
    fn stop_wait(self) -> Duration {
        match self {
            Self::Corosync => Duration::from_secs(30),
            Self::Rgmanager => Duration::from_secs(15 * 60),
        }
    }
}

/// Why a daemon did not start or stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostError {
    #[error("{name} is not installed at {path}; install it on this node and try again", path = path.display())]
    NotInstalled { name: &'static str, path: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("{command} ended with {code}: {said}; see the log of this node")]
    Failed { command: String, code: String, said: String },
    #[error("{name} ended right after its start; its last words: {said}")]
    Died { name: &'static str, said: String },
    #[error("{name} was started but is not ready after {seconds} seconds; see the log of this node")]
    NotReady { name: &'static str, seconds: u64 },
    #[error("{name} still runs {seconds} seconds after it was asked to stop; see the log of this node")]
    StillRuns { name: &'static str, seconds: u64 },
    #[error("cannot signal {name}")]
    Signal {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the kernel refuses to reboot")]
    Reboot(#[source] std::io::Error),
}

/// The node's init.
#[derive(Debug)]
pub(super) enum Host {
    Systemd(Systemd),
    Direct(Box<Direct>),
}

impl Host {
    pub(super) fn new(options: &Options) -> Self {
        let systemd = match options.init {
            InitChoice::Systemd => true,
            InitChoice::Direct => false,
            InitChoice::Auto => Path::new("/run/systemd/system").is_dir(),
        };
        if systemd { Self::Systemd(Systemd) } else { Self::Direct(Box::new(Direct::new(options))) }
    }

    /// Starts a daemon and waits until it is ready; one that runs already is left alone.
    pub(super) async fn start(&self, daemon: Daemon) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.start(daemon).await,
            Self::Direct(direct) => direct.start(daemon).await,
        }
    }

    /// Asks a daemon to stop and waits for its end. Never kills: a killed rgmanager would leave services running.
    pub(super) async fn stop(&self, daemon: Daemon) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.stop(daemon).await,
            Self::Direct(direct) => direct.stop(daemon).await,
        }
    }

    /// Whether the cluster starts here at boot.
    pub(super) async fn set_enabled(&self, enabled: bool) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.set_enabled(enabled).await,
            Self::Direct(direct) => direct.set_enabled(enabled).await,
        }
    }

    /// The daemon as it is now, without its version.
    pub(super) async fn state(&self, daemon: Daemon) -> Result<DaemonState, HostError> {
        match self {
            Self::Systemd(systemd) => systemd.state(daemon).await,
            Self::Direct(direct) => direct.state(daemon).await,
        }
    }

    /// Reboots the node. Returns when that is under way.
    pub(super) async fn reboot(&self) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.reboot().await,
            Self::Direct(direct) => direct.reboot().await,
        }
    }

    /// Whether ricci itself must start the cluster after a boot.
    pub(super) fn starts_at_boot(&self) -> bool {
        match self {
            Self::Systemd(_) => false,
            Self::Direct(direct) => direct.enabled(),
        }
    }

    /// Starts corosync-qdevice beside corosync; it ends with it. Without it the quorum device of the configuration never
    /// votes.
    pub(super) async fn start_qdevice(&self) -> Result<(), HostError> {
        match self {
            Self::Systemd(systemd) => systemd.start_qdevice().await,
            Self::Direct(direct) => direct.start_qdevice().await,
        }
    }

    /// Log files of the daemons; `None` where the journal has them.
    pub(super) fn log_files(&self) -> Option<Vec<(&'static str, PathBuf)>> {
        match self {
            Self::Systemd(_) => None,
            Self::Direct(direct) => {
                Some([Daemon::Corosync, Daemon::Rgmanager].map(|each| (each.name(), direct.log_file(each))).to_vec())
            }
        }
    }
}

/// A program that does not print its version at once does not print it at all.
const VERSION_WAIT: Duration = Duration::from_secs(2);

/// What programs say of their version; asked once per file.
#[derive(Debug, Default)]
pub(super) struct Versions {
    known: tokio::sync::Mutex<std::collections::HashMap<PathBuf, (FileIdentity, Option<String>)>>,
}

impl Versions {
    /// The version that `program flag` prints, if it does so quickly.
    pub(super) async fn of(&self, program: &Path, flag: &str) -> Option<String> {
        let identity = FileIdentity::of(program)?;
        if let Some((of, version)) = self.known.lock().await.get(program)
            && *of == identity
        {
            return version.clone();
        }
        let run = Run { program, arguments: &[flag], environment: &[], stdin: b"", wait: VERSION_WAIT };
        let version = run.end().await.ok().and_then(|ended| find_version(&ended.stdout));
        self.known.lock().await.insert(program.to_owned(), (identity, version.clone()));
        version
    }
}

/// The first word of the first line that begins with a digit: `… version '3.1.7'`, `rgmanager 0.1.0`.
fn find_version(text: &str) -> Option<String> {
    let words = text.lines().next()?.split(|c: char| c.is_whitespace() || c == '\'' || c == '"');
    words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_programs_print() {
        assert_eq!(
            find_version("Corosync Cluster Engine, version '3.1.7'\nCopyright (c) 2006").as_deref(),
            Some("3.1.7")
        );
        assert_eq!(find_version("rgmanager 0.1.0\n").as_deref(), Some("0.1.0"));
        assert_eq!(find_version("error\n"), None);
    }
}
