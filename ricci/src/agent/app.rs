//! Everything a handler can reach, made once at start.

use std::path::Path;
use std::sync::Arc;

use shared::ids::BootId;
use tokio::sync::{Mutex, Semaphore, watch};

use super::attempts::Attempts;
use super::catalogue::Catalogue;
use super::files::FileError;
use super::host::{Host, Versions};
use super::legacy::Legacy;
use super::log::{Log, OwnLines};
use super::operations::Operations;
use super::options::Options;
use super::pam::{self, PasswordChecks};
use super::pins::{PinError, Pins};
use super::socket::Rgmanager;
use super::tokens::Tokens;
use crate::secrets::Secrets;

/// Status streams at the same time; each holds a connection to rgmanager.
const STREAMS_MAX: usize = 32;
/// Fence tests at the same time; some devices accept one session only.
const FENCE_TESTS_MAX: usize = 4;

/// The parts of a running ricci.
#[derive(Debug)]
pub(super) struct App {
    pub(super) options: Options,
    pub(super) hostname: String,
    pub(super) boot_id: BootId,
    pub(super) pins: Pins,
    pub(super) tokens: Arc<Tokens>,
    pub(super) attempts: Attempts,
    pub(super) passwords: PasswordChecks,
    pub(super) rgmanager: Rgmanager,
    pub(super) host: Host,
    pub(super) operations: Operations,
    pub(super) catalogue: Catalogue,
    pub(super) versions: Versions,
    pub(super) log: Log,
    pub(super) secrets: Secrets,
    pub(super) legacy: Legacy,
    pub(super) streams: Arc<Semaphore>,
    pub(super) fence_tests: Semaphore,
    /// Held while cluster.conf, corosync.conf or the key is replaced.
    pub(super) changing_files: Mutex<()>,
    /// Becomes true when ricci stops.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Why ricci cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error("cannot read the boot id from {path}")]
    BootId {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl App {
    /// Reads what earlier runs left in the state folder.
    pub(super) fn open(options: Options, own: OwnLines, stopping: watch::Receiver<bool>) -> Result<Self, OpenError> {
        let boot_id = std::fs::read_to_string(&options.boot_id_file)
            .map_err(|source| OpenError::BootId { path: options.boot_id_file.display().to_string(), source })?;
        let host = Host::new(&options);
        Ok(Self {
            hostname: hostname(),
            boot_id: BootId(boot_id.trim().to_owned()),
            pins: Pins::open(options.state_dir.join("managers.json"))?,
            tokens: Arc::new(tokens(&options.state_dir)),
            attempts: Attempts::default(),
            passwords: pam::checks(),
            rgmanager: Rgmanager::at(options.socket.clone()),
            log: Log::new(&host, own),
            legacy: Legacy::new(&options.state_dir),
            secrets: Secrets::beside(&options.conf),
            host,
            operations: Operations::open(&options.state_dir)?,
            catalogue: Catalogue::new(
                options.ocf_root.clone(),
                options.fence_dir.clone(),
                options.state_dir.join("agents.json"),
                Secrets::beside(&options.conf),
            ),
            versions: Versions::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            fence_tests: Semaphore::new(FENCE_TESTS_MAX),
            changing_files: Mutex::new(()),
            stopping,
            options,
        })
    }
}

/// The folder of one-time tokens; `ricci token` opens it without the rest.
pub(super) fn tokens(state_dir: &Path) -> Tokens {
    Tokens::new(state_dir.join("tokens"))
}

/// The node's own name.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
