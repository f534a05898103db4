//! Start, stop and reboot of this node's cluster software. Each is written to disk before it is accepted, carried out
//! by one task, and taken up again if ricci was killed meanwhile; how it ended stands in the node report. One at a time,
//! except that a reboot ends whatever else is under way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::api::{HostOperation, HostOperationKind};
use shared::ids::BootId;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::app::App;
use super::clock::now_ms;
use super::conf;
use super::files::{self, FileError};
use super::host::Daemon;
use super::problem::ApiError;

/// The answer to the one who asked for a reboot gets out first.
const REBOOT_PAUSE: Duration = Duration::from_millis(500);
/// rgmanager listens as soon as it has read its configuration.
const LISTEN_WAIT: Duration = Duration::from_secs(30);
/// It tells nobody when it listens, so its socket is tried this often.
pub(super) const LISTEN_POLL: Duration = Duration::from_millis(50);

/// One operation as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    operation: HostOperation,
    /// Also change whether the cluster starts at boot.
    at_boot: bool,
    boot_id: BootId,
}

/// The operation under way, or the last one.
#[derive(Debug)]
pub(super) struct Operations {
    path: PathBuf,
    boot_id_path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Record>,
    task: Option<JoinHandle<()>>,
}

impl Operations {
    /// Reads what was under way when ricci ended. A damaged record is dropped: it only says what was asked last.
    pub(super) fn open(state_dir: &std::path::Path) -> Result<Self, FileError> {
        let path = state_dir.join("operation.json");
        let last = files::read(&path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let boot_id_path = state_dir.join("boot_id");
        Ok(Self { path, boot_id_path, state: Mutex::new(State { last, task: None }) })
    }

    /// The last operation, for the node report.
    pub(super) async fn last(&self) -> Option<HostOperation> {
        self.state.lock().await.last.as_ref().map(|record| record.operation.clone())
    }

    /// Accepts an operation. Asking again for the one under way is accepted and changes nothing.
    pub(super) async fn begin(
        &self,
        app: &Arc<App>,
        kind: HostOperationKind,
        at_boot: bool,
        origin: &str,
    ) -> Result<(), ApiError> {
        let mut state = self.state.lock().await;
        if let Some(running) = state.running() {
            if running.operation.kind == kind && running.at_boot == at_boot {
                return Ok(());
            }
            if kind != HostOperationKind::Reboot {
                return Err(ApiError::refused(format!(
                    "this node is still busy with the {} that {} asked for; wait until it has ended",
                    name(running.operation.kind),
                    running.operation.origin,
                )));
            }
        }
        let operation =
            HostOperation { kind, origin: origin.to_owned(), since_ms: now_ms(), ended_ms: None, failure: None };
        let record = Record { operation, at_boot, boot_id: app.boot_id.clone() };
        self.store(&record).await?;
        tracing::info!(origin, at_boot, "{} of this node accepted", name(kind));
        if let Some(task) = state.task.take() {
            task.abort();
        }
        self.launch(&mut state, app, record);
        Ok(())
    }

    /// At start: takes up what was accepted, then starts the cluster if this is a new boot and it is enabled.
    pub(super) async fn resume(&self, app: &Arc<App>) -> Result<(), ApiError> {
        let mut state = self.state.lock().await;
        if let Some(mut record) = state.last.clone().filter(|record| record.operation.ended_ms.is_none()) {
            if record.boot_id == app.boot_id {
                tracing::info!(origin = record.operation.origin, "{} taken up again", name(record.operation.kind));
                self.launch(&mut state, app, record);
            } else {
                record.operation.ended_ms = Some(now_ms());
                record.operation.failure = (record.operation.kind != HostOperationKind::Reboot)
                    .then(|| "the node was rebooted before this ended; ask again if it is still wanted".to_owned());
                self.store(&record).await?;
                state.last = Some(record);
            }
        }
        let busy = state.running().is_some();
        drop(state);
        let seen = files::read(&self.boot_id_path)?;
        let new_boot = seen.is_none_or(|seen| seen != app.boot_id.0.as_bytes());
        if new_boot && !busy && app.host.starts_at_boot() {
            self.begin(app, HostOperationKind::Start, false, "start at boot").await?;
        }
        // After the start was accepted, not before: a crash in between must not lose it.
        files::write_atomic(&self.boot_id_path, app.boot_id.0.as_bytes(), 0o600)?;
        Ok(())
    }

    fn launch(&self, state: &mut State, app: &Arc<App>, record: Record) {
        state.last = Some(record.clone());
        let app = Arc::clone(app);
        state.task = Some(tokio::spawn(async move {
            let outcome = carry_out(&app, &record).await;
            app.operations.end(record, outcome).await;
        }));
    }

    async fn end(&self, mut record: Record, outcome: Result<(), String>) {
        match &outcome {
            Ok(()) => tracing::info!("{} of this node done", name(record.operation.kind)),
            Err(why) => tracing::error!(error = why, "{} of this node failed", name(record.operation.kind)),
        }
        // A reboot has ended when the node has booted again.
        if record.operation.kind == HostOperationKind::Reboot && outcome.is_ok() {
            return;
        }
        record.operation.ended_ms = Some(now_ms());
        record.operation.failure = outcome.err();
        let mut state = self.state.lock().await;
        if let Err(error) = self.store(&record).await {
            tracing::error!(error = %shared::chain(&error), "how it ended is not on disk; it will be taken up again");
        }
        state.last = Some(record);
    }

    async fn store(&self, record: &Record) -> Result<(), FileError> {
        let bytes = serde_json::to_vec_pretty(record).map_err(|error| FileError {
            doing: "encode",
            path: self.path.clone(),
            source: error.into(),
        })?;
        let path = self.path.clone();
        files::off_loop(move || files::write_atomic(&path, &bytes, 0o600)).await
    }
}

impl State {
    fn running(&self) -> Option<&Record> {
        self.last.as_ref().filter(|record| record.operation.ended_ms.is_none())
    }
}

fn name(kind: HostOperationKind) -> &'static str {
    match kind {
        HostOperationKind::Start => "start of the cluster",
        HostOperationKind::Stop => "stop of the cluster",
        HostOperationKind::Reboot => "reboot",
    }
}

/// The error is what an administrator reads.
async fn carry_out(app: &App, record: &Record) -> Result<(), String> {
    let host = &app.host;
    let told = |error: &dyn std::error::Error| shared::chain(error);
    match record.operation.kind {
        HostOperationKind::Start => {
            let prepared = conf::prepare_start(app).await?;
            if record.at_boot {
                host.set_enabled(true).await.map_err(|error| told(&error))?;
            }
            host.start(Daemon::Corosync).await.map_err(|error| told(&error))?;
            if prepared.has_qdevice {
                host.start_qdevice().await.map_err(|error| told(&error))?;
            }
            host.start(Daemon::Rgmanager).await.map_err(|error| told(&error))?;
            wait_for_rgmanager(app).await
        }
        HostOperationKind::Stop => {
            if record.at_boot {
                host.set_enabled(false).await.map_err(|error| told(&error))?;
            }
            host.stop(Daemon::Rgmanager).await.map_err(|error| told(&error))?;
            host.stop(Daemon::Corosync).await.map_err(|error| told(&error))
        }
        HostOperationKind::Reboot => {
            sleep(REBOOT_PAUSE).await;
            host.reboot().await.map_err(|error| told(&error))
        }
    }
}

async fn wait_for_rgmanager(app: &App) -> Result<(), String> {
    let until = Instant::now() + LISTEN_WAIT;
    while Instant::now() < until {
        if app.rgmanager.listens(LISTEN_POLL).await {
            return Ok(());
        }
        let state = app.host.state(Daemon::Rgmanager).await.map_err(|error| shared::chain(&error))?;
        if !state.running {
            let said = app.log.last_words(Daemon::Rgmanager.name()).await;
            return Err(format!("rgmanager ended right after its start; its last words: {said}"));
        }
        sleep(LISTEN_POLL).await;
    }
    Err(format!(
        "rgmanager was started but does not listen at {} after {} seconds; see its log",
        app.options.socket.display(),
        LISTEN_WAIT.as_secs()
    ))
}
