//! Daemons under systemd, asked through `systemctl`: it reports more clearly than D-Bus and needs no library.

use std::path::Path;
use std::time::Duration;

use shared::api::DaemonState;

use super::{Daemon, HostError};
use crate::agent::process::{Ended, Run};

const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// For questions; systemd answers at once or hangs.
const ASK_WAIT: Duration = Duration::from_secs(5);
/// `TimeoutStartSec` of the units is 90 s.
const START_WAIT: Duration = Duration::from_secs(120);

/// systemd.
#[derive(Debug)]
pub(in crate::agent) struct Systemd;

impl Systemd {
    pub(super) async fn start(&self, daemon: Daemon) -> Result<(), HostError> {
        succeed(&["start", unit(daemon)], START_WAIT).await
    }

    pub(super) async fn start_qdevice(&self) -> Result<(), HostError> {
        succeed(&["start", "corosync-qdevice.service"], START_WAIT).await
    }

    pub(super) async fn stop(&self, daemon: Daemon) -> Result<(), HostError> {
        succeed(&["stop", unit(daemon)], daemon.stop_wait()).await
    }

    pub(super) async fn set_enabled(&self, enabled: bool) -> Result<(), HostError> {
        let verb = if enabled { "enable" } else { "disable" };
        succeed(&[verb, unit(Daemon::Corosync), unit(Daemon::Rgmanager)], START_WAIT).await
    }

    pub(super) async fn state(&self, daemon: Daemon) -> Result<DaemonState, HostError> {
        let shown = ask(
            &["show", "--property=LoadState", "--property=ActiveState", "--property=UnitFileState", unit(daemon)],
            ASK_WAIT,
        )
        .await?;
        let has = |line: &str| shown.stdout.lines().any(|each| each == line);
        Ok(DaemonState {
            installed: has("LoadState=loaded"),
            running: has("ActiveState=active") || has("ActiveState=deactivating") || has("ActiveState=reloading"),
            enabled_at_boot: has("UnitFileState=enabled") || has("UnitFileState=enabled-runtime"),
            version: None,
        })
    }

    pub(super) async fn reboot(&self) -> Result<(), HostError> {
        succeed(&["reboot"], START_WAIT).await
    }
}

fn unit(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Corosync => "corosync.service",
        Daemon::Rgmanager => "rgmanager.service",
    }
}

async fn ask(arguments: &[&str], wait: Duration) -> Result<Ended, HostError> {
    let run = Run { program: Path::new(SYSTEMCTL), arguments, environment: &[], stdin: b"", wait };
    Ok(run.end().await?)
}

async fn succeed(arguments: &[&str], wait: Duration) -> Result<(), HostError> {
    let ended = ask(arguments, wait).await?;
    if ended.code == Some(0) {
        return Ok(());
    }
    Err(HostError::Failed {
        command: format!("systemctl {}", arguments.join(" ")),
        code: ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("status {code}")),
        said: ended.stderr.trim().to_owned(),
    })
}
