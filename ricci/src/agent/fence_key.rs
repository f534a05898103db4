//! The key that `fence_xvm` shows to the host of the virtual machines: made once on one node, handed on to the others by the
//! manager, like corosync's key. Only its fingerprint is told otherwise.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use shared::api::{FenceKey, MakeFenceKey, ProblemCode};

use super::app::App;
use super::files;
use super::problem::ApiError;
use super::tls;

/// What fence_virtd reads at most.
const BYTES_MAX: usize = 4096;
/// Shorter ones can be guessed.
const BYTES_MIN: usize = 32;

/// Where fence_xvm looks for it (rhcs: /etc/cluster/fence_xvm.key), beside cluster.conf.
fn path(app: &App) -> PathBuf {
    app.options.conf.with_file_name("fence_xvm.key")
}

async fn bytes(app: &App) -> Result<Option<Vec<u8>>, ApiError> {
    let path = path(app);
    Ok(files::off_loop(move || files::read(&path)).await?)
}

/// SHA-256 of the file, as `sha256sum` prints it; `None` if there is no key.
pub(super) async fn fingerprint(app: &App) -> Result<Option<String>, ApiError> {
    let bytes = bytes(app).await?;
    Ok(bytes.map(|bytes| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()))
}

pub(super) async fn read(app: &App, who: &str) -> Result<FenceKey, ApiError> {
    let bytes = bytes(app).await?;
    let bytes = bytes.ok_or_else(|| ApiError::new(ProblemCode::NotFound, "this node has no key for fence_xvm yet"))?;
    tracing::info!(who, "key of fence_xvm handed to a manager, for another node");
    Ok(FenceKey { key_base64: STANDARD.encode(bytes) })
}

/// Makes one if there is none, or a new one if that is wanted.
pub(super) async fn make(app: &App, who: &str, make: &MakeFenceKey) -> Result<FenceKey, ApiError> {
    let _one_at_a_time = app.changing_files.lock().await;
    if let Some(present) = bytes(app).await?.filter(|_| !make.replace) {
        return Ok(FenceKey { key_base64: STANDARD.encode(present) });
    }
    let mut bytes = vec![0; BYTES_MAX];
    if !tls::fill_random(&mut bytes) {
        return Err(ApiError::new(ProblemCode::Internal, "the system has no random bytes for a key; nothing was made"));
    }
    let key_base64 = STANDARD.encode(&bytes);
    write(app, bytes).await?;
    tracing::info!(who, replace = make.replace, "key of fence_xvm made");
    Ok(FenceKey { key_base64 })
}

/// Stores the key that another node made; fence_xvm reads it at each call, so nothing has to be stopped.
pub(super) async fn put(app: &App, who: &str, key: &FenceKey) -> Result<(), ApiError> {
    let bytes = STANDARD.decode(key.key_base64.trim()).ok();
    let bytes = bytes.filter(|bytes| (BYTES_MIN..=BYTES_MAX).contains(&bytes.len())).ok_or_else(|| {
        ApiError::bad_request(format!(
            "a key of fence_xvm is {BYTES_MIN} to {BYTES_MAX} bytes in base64; nothing was stored"
        ))
    })?;
    let _one_at_a_time = app.changing_files.lock().await;
    write(app, bytes).await?;
    tracing::info!(who, "key of fence_xvm stored");
    Ok(())
}

async fn write(app: &App, bytes: Vec<u8>) -> Result<(), ApiError> {
    let path = path(app);
    files::off_loop(move || {
        files::create_folder(path.parent().unwrap_or(std::path::Path::new("/")), 0o755)?;
        files::write_atomic(&path, &bytes, 0o600)
    })
    .await?;
    Ok(())
}
