//! Starts the work that runs beside requests, and ends it: everything started here is named, counted and stopped
//! when luci stops.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owner of all background work.
#[derive(Debug, Clone, Default)]
pub struct Background {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    /// Runs `work` until it ends or luci stops. It may be dropped at any await: whatever must survive is in the database.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(name, &self.stop, work);
    }

    /// As `spawn`, and also ends when `until` is cancelled.
    pub fn spawn_until(
        &self,
        name: &'static str,
        until: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, until) = (self.stop.clone(), until.clone());
        self.tracker.spawn(
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = until.cancelled() => {}
                    () = work => {}
                }
            }
            .instrument(tracing::info_span!("background", name)),
        );
    }

    /// Ends with luci.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops everything and waits for it.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
