//! Daemons without systemd: ricci starts them detached, knows them again by their pid files and stops them by SIGTERM.
//! "Enabled at boot" is a marker file that `ricci serve` honours when it starts after a boot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::api::DaemonState;
use tokio::time::{Instant, sleep, timeout};

use super::{Daemon, HostError};
use crate::agent::detach::Start;
use crate::agent::log::last_lines;
use crate::agent::options::Options;
use crate::agent::process::Run;
use crate::agent::{detach, files, reboot};

/// corosync answers its tool a second or so after its start.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long a reboot waits for services to move away.
const STOP_BEFORE_REBOOT: Duration = Duration::from_secs(120);
/// It reads its configuration from corosync and goes into the background.
const QDEVICE: &str = "/usr/sbin/corosync-qdevice";
const QDEVICE_WAIT: Duration = Duration::from_secs(10);
/// corosync tells nobody when it is ready, so it is asked this often.
const READY_POLL: Duration = Duration::from_millis(50);

/// ricci as init.
#[derive(Debug)]
pub(in crate::agent) struct Direct {
    corosync: PathBuf,
    corosync_cfgtool: PathBuf,
    rgmanager: PathBuf,
    conf: PathBuf,
    socket: PathBuf,
    run_dir: PathBuf,
    log_dir: PathBuf,
    marker: PathBuf,
    reboot_program: Option<PathBuf>,
}

impl Direct {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            corosync: options.corosync_program.clone(),
            corosync_cfgtool: options.corosync_cfgtool.clone(),
            rgmanager: options.rgmanager(),
            conf: options.corosync_dir.join("corosync.conf"),
            socket: options.socket.clone(),
            run_dir: options.run_dir.clone(),
            log_dir: options.log_dir.clone(),
            marker: options.state_dir.join("start-at-boot"),
            reboot_program: options.reboot_program.clone(),
        }
    }

    pub(super) async fn start(&self, daemon: Daemon) -> Result<(), HostError> {
        let pid_file = self.pid_file(daemon);
        if detach::find(&pid_file).is_none() {
            let program = self.program(daemon);
            if !program.is_file() {
                return Err(HostError::NotInstalled { name: daemon.name(), path: program.to_owned() });
            }
            let conf = self.conf.display().to_string();
            // corosync stamps its log in local time without saying which; `/v1/log` must be able to tell.
            let socket = self.socket.display().to_string();
            let (arguments, environment): (&[&str], &[(&str, &str)]) = match daemon {
                Daemon::Corosync => (&["-f", "-c", &conf], &[("TZ", "UTC")]),
                Daemon::Rgmanager => (&["--socket", &socket], &[]),
            };
            let log_file = self.log_file(daemon);
            let what = Start { program, arguments, environment, pid_file: &pid_file, log_file: &log_file };
            detach::start(&what)?;
        }
        match daemon {
            Daemon::Corosync => self.wait_for_corosync().await,
            Daemon::Rgmanager => Ok(()),
        }
    }

    pub(super) async fn start_qdevice(&self) -> Result<(), HostError> {
        let (name, program) = ("corosync-qdevice", Path::new(QDEVICE));
        if !program.is_file() {
            return Err(HostError::NotInstalled { name, path: program.to_owned() });
        }
        let run = Run { program, arguments: &[], environment: &[], stdin: b"", wait: QDEVICE_WAIT };
        let ended = run.end().await?;
        if ended.code == Some(0) { Ok(()) } else { Err(HostError::Died { name, said: ended.stderr.trim().to_owned() }) }
    }

    async fn wait_for_corosync(&self) -> Result<(), HostError> {
        let name = Daemon::Corosync.name();
        let until = Instant::now() + READY_WAIT;
        while Instant::now() < until {
            let run = Run {
                program: &self.corosync_cfgtool,
                arguments: &["-s"],
                environment: &[],
                stdin: b"",
                wait: Duration::from_secs(5),
            };
            if run.end().await.is_ok_and(|ended| ended.code == Some(0)) {
                return Ok(());
            }
            if detach::find(&self.pid_file(Daemon::Corosync)).is_none() {
                let said = last_lines(&self.log_file(Daemon::Corosync), 5).join(" | ");
                return Err(HostError::Died { name, said });
            }
            sleep(READY_POLL).await;
        }
        Err(HostError::NotReady { name, seconds: READY_WAIT.as_secs() })
    }

    pub(super) async fn stop(&self, daemon: Daemon) -> Result<(), HostError> {
        let (name, pid_file, wait) = (daemon.name(), self.pid_file(daemon), daemon.stop_wait());
        if let Some(running) = detach::find(&pid_file) {
            let ended = running.terminate(wait).await.map_err(|source| HostError::Signal { name, source })?;
            if !ended {
                return Err(HostError::StillRuns { name, seconds: wait.as_secs() });
            }
        }
        files::remove(&pid_file).map(|_| ()).or_else(|error| {
            // Without /run/cluster there is no pid file either.
            if error.source.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error.into()) }
        })
    }

    pub(super) async fn set_enabled(&self, enabled: bool) -> Result<(), HostError> {
        let marker = self.marker.clone();
        files::off_loop(move || {
            if enabled { files::write_atomic(&marker, b"", 0o600) } else { files::remove(&marker).map(|_| ()) }
        })
        .await?;
        Ok(())
    }

    pub(super) async fn state(&self, daemon: Daemon) -> Result<DaemonState, HostError> {
        Ok(DaemonState {
            installed: self.program(daemon).is_file(),
            running: detach::find(&self.pid_file(daemon)).is_some(),
            enabled_at_boot: self.enabled(),
            version: None,
        })
    }

    pub(super) async fn reboot(&self) -> Result<(), HostError> {
        // What systemd would do: services move away first. If that fails the others fence this node, which is safe.
        let stop_all = async {
            self.stop(Daemon::Rgmanager).await?;
            self.stop(Daemon::Corosync).await
        };
        match timeout(STOP_BEFORE_REBOOT, stop_all).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %shared::chain(&error), "rebooting all the same"),
            Err(_) => tracing::warn!("the cluster did not stop in time; rebooting all the same"),
        }
        reboot::reboot(self.reboot_program.as_deref()).await
    }

    pub(super) fn enabled(&self) -> bool {
        self.marker.exists()
    }

    pub(super) fn log_file(&self, daemon: Daemon) -> PathBuf {
        // corosync writes corosync.log itself, and the same to its standard error.
        self.log_dir.join(match daemon {
            Daemon::Corosync => "corosync-stderr.log",
            Daemon::Rgmanager => "rgmanager.log",
        })
    }

    fn pid_file(&self, daemon: Daemon) -> PathBuf {
        self.run_dir.join(format!("{}.pid", daemon.name()))
    }

    fn program(&self, daemon: Daemon) -> &Path {
        match daemon {
            Daemon::Corosync => &self.corosync,
            Daemon::Rgmanager => &self.rgmanager,
        }
    }
}
