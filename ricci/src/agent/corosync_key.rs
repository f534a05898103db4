//! The key that corosync encrypts with: made once per cluster on one node, handed on to the others by the manager over
//! pinned channels. Never logged, never world-readable. A running corosync keeps the key it started with, so the file is
//! not replaced under it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared::api::{CorosyncKey, ProblemCode};

use super::app::App;
use super::files;
use super::host::Daemon;
use super::problem::ApiError;
use super::tls;

/// What `corosync-keygen` makes by default.
const MADE_BYTES: usize = 256;
/// What corosync accepts (1024 bits to its buffer).
const BYTES: std::ops::RangeInclusive<usize> = 128..=4096;

pub(super) fn path(app: &App) -> PathBuf {
    app.options.corosync_dir.join("authkey")
}

/// The key of this node.
pub(super) async fn read(app: &App) -> Result<Option<CorosyncKey>, ApiError> {
    let path = path(app);
    let bytes = files::off_loop(move || files::read(&path)).await?;
    Ok(bytes.map(|bytes| CorosyncKey { key_base64: STANDARD.encode(bytes) }))
}

/// The key of this node, made if there is none.
pub(super) async fn make(app: &App, who: &str) -> Result<CorosyncKey, ApiError> {
    let _one_at_a_time = app.changing_files.lock().await;
    if let Some(key) = read(app).await? {
        return Ok(key);
    }
    let mut bytes = vec![0; MADE_BYTES];
    if !tls::fill_random(&mut bytes) {
        return Err(ApiError::new(ProblemCode::Internal, "the system has no random bytes for a key; nothing was made"));
    }
    let key_base64 = STANDARD.encode(&bytes);
    write(app, bytes).await?;
    tracing::info!(who, "corosync key made");
    Ok(CorosyncKey { key_base64 })
}

/// Stores the key that another node of the cluster made.
pub(super) async fn put(app: &App, who: &str, key: &CorosyncKey) -> Result<(), ApiError> {
    let bytes =
        STANDARD.decode(key.key_base64.trim()).ok().filter(|bytes| BYTES.contains(&bytes.len())).ok_or_else(|| {
            ApiError::bad_request("a corosync key is 128 to 4096 bytes in base64; nothing was stored")
        })?;
    let _one_at_a_time = app.changing_files.lock().await;
    let path = path(app);
    let present = files::off_loop(move || files::read(&path)).await?;
    if present.as_ref() == Some(&bytes) {
        return Ok(());
    }
    let state = app.host.state(Daemon::Corosync).await.map_err(|error| ApiError::internal(&error))?;
    if state.running {
        return Err(ApiError::new(
            ProblemCode::ClusterRunning,
            "corosync runs on this node with another key; stop the cluster here first",
        ));
    }
    write(app, bytes).await?;
    tracing::info!(who, replaced = present.is_some(), "corosync key stored");
    Ok(())
}

async fn write(app: &App, bytes: Vec<u8>) -> Result<(), ApiError> {
    let (folder, path) = (app.options.corosync_dir.clone(), path(app));
    files::off_loop(move || {
        files::create_folder(&folder, 0o755)?;
        files::write_atomic(&path, &bytes, 0o400)
    })
    .await?;
    Ok(())
}
