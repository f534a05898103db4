//! The managers that this node obeys: fingerprints of client certificates, pinned by pairing. One JSON file in the
//! state folder, replaced as a whole. A file that cannot be read stops ricci at start: forgetting pins silently would
//! look to managers as if they had been turned away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::clock::now_ms;
use super::files::{self, FileError};
use super::fingerprint::Fingerprint;

/// More managers than anyone runs; keeps the file and every lookup small.
const PINS_MAX: usize = 64;

/// One paired manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pin {
    pub(super) fingerprint: Fingerprint,
    /// What the manager calls itself; for people and logs only.
    pub(super) label: String,
    pub(super) paired_at_ms: u64,
}

/// Why pins cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} is damaged; restore it from a backup, or remove it and pair every manager again", path = path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{PINS_MAX} managers are paired with this node already; unpair one first")]
    Full,
}

/// All paired managers.
#[derive(Debug)]
pub(super) struct Pins {
    path: PathBuf,
    /// Short reads only; never held while waiting.
    known: RwLock<Arc<BTreeMap<Fingerprint, Pin>>>,
    /// Held while the file is replaced.
    changing: Mutex<()>,
}

impl Pins {
    /// Reads the file, if there is one.
    pub(super) fn open(path: PathBuf) -> Result<Self, PinError> {
        let pins: Vec<Pin> = match files::read(&path)? {
            None => Vec::new(),
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| PinError::Damaged { path: path.clone(), source })?
            }
        };
        let known = pins.into_iter().map(|pin| (pin.fingerprint.clone(), pin)).collect();
        Ok(Self { path, known: RwLock::new(Arc::new(known)), changing: Mutex::new(()) })
    }

    /// The manager with this certificate.
    pub(super) fn find(&self, fingerprint: &Fingerprint) -> Option<Pin> {
        self.snapshot().get(fingerprint).cloned()
    }

    /// All, for `ricci status`.
    pub(super) fn all(&self) -> Vec<Pin> {
        self.snapshot().values().cloned().collect()
    }

    /// Pins a certificate; pinning it again renews the label. Stored before it counts.
    pub(super) async fn add(&self, fingerprint: Fingerprint, label: String) -> Result<(), PinError> {
        let _one_at_a_time = self.changing.lock().await;
        let mut next = (*self.snapshot()).clone();
        if next.len() >= PINS_MAX && !next.contains_key(&fingerprint) {
            return Err(PinError::Full);
        }
        next.insert(fingerprint.clone(), Pin { fingerprint, label, paired_at_ms: now_ms() });
        self.store(next).await
    }

    /// Forgets a certificate; from then on even its open connections are refused.
    pub(super) async fn remove(&self, fingerprint: &Fingerprint) -> Result<(), PinError> {
        let _one_at_a_time = self.changing.lock().await;
        let mut next = (*self.snapshot()).clone();
        next.remove(fingerprint);
        self.store(next).await
    }

    async fn store(&self, next: BTreeMap<Fingerprint, Pin>) -> Result<(), PinError> {
        let pins: Vec<&Pin> = next.values().collect();
        let bytes =
            serde_json::to_vec_pretty(&pins).map_err(|source| PinError::Damaged { path: self.path.clone(), source })?;
        let path = self.path.clone();
        files::off_loop(move || files::write_atomic(&path, &bytes, 0o600)).await?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    fn snapshot(&self) -> Arc<BTreeMap<Fingerprint, Pin>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}
