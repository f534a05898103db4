//! What the menus of all open pages have in common, read once for every change and not once for every page: clusters with their states,
//! and the tasks that are open. Each reader's menu is cut out of it by what the reader may see.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::app::{App, Who};
use crate::ids::ClusterId;
use crate::repo::RepoError;
use crate::repo::users::Role;
use crate::views::badge::Badge;
use crate::views::{NavCluster, SidePanel, nav_badge};

/// The menu of somebody who may see everything.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Side {
    clusters: Vec<(ClusterId, String, Badge)>,
    /// The cluster of each open task, if it has one.
    tasks: Vec<Option<ClusterId>>,
}

impl Side {
    /// As it is now.
    pub(super) async fn read(app: &App) -> Result<Self, RepoError> {
        let clusters = app.repo.clusters().await?.into_iter();
        let clusters = clusters.map(|cluster| {
            let badge = nav_badge(app.watchers.snapshot(cluster.id).as_ref());
            (cluster.id, cluster.name, badge)
        });
        let tasks = app.repo.open_tasks().await?;
        Ok(Self { clusters: clusters.collect(), tasks: tasks.into_iter().map(|task| task.cluster_id).collect() })
    }

    /// The menu as this reader sees it.
    pub(super) fn panel(&self, who: &Who, tab: &str, here: Option<&str>) -> SidePanel {
        let seen = self.clusters.iter().filter(|(id, _, _)| who.access.on(*id).is_some());
        let tasks = self.tasks.iter().filter(|cluster| who.access.on_cluster_or_luci(**cluster).is_some());
        SidePanel {
            clusters: seen.map(|(_, name, badge)| NavCluster { name: name.clone(), badge: *badge }).collect(),
            here: here.map(str::to_owned),
            tab: tab.to_owned(),
            open_tasks: tasks.count(),
            manages: who.access.everywhere() == Some(Role::Administrator),
            closed: false,
        }
    }
}

/// After which change a menu was read, and the menu.
type Read = (u64, Arc<Side>);

/// The newest common menu.
#[derive(Debug, Clone, Default)]
pub(super) struct Sides(Arc<Mutex<Option<Read>>>);

impl Sides {
    /// The menu after at least this change; the very same one as before if nothing in it is different.
    pub(super) async fn after(&self, app: &App, change: u64) -> Result<Arc<Side>, RepoError> {
        // Held while it is read: the other pages wait for this reading instead of making their own.
        let mut known = self.0.lock().await;
        if let Some((of, side)) = &*known
            && *of >= change
        {
            return Ok(Arc::clone(side));
        }
        let read = Side::read(app).await?;
        let side = match known.take() {
            Some((_, before)) if *before == read => before,
            _ => Arc::new(read),
        };
        *known = Some((change, Arc::clone(&side)));
        Ok(side)
    }
}
