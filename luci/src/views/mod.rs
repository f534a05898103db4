//! What pages show: one struct per template, made of luci's own copy of things. Called by `http`, for whole pages and for
//! the same parts pushed over the event stream. Nothing here asks a node or the database.

pub mod accounts;
pub mod badge;
pub mod cluster;
pub mod conf;
pub mod drafts;
pub mod error;
pub mod events;
pub mod factors;
pub mod fence_form;
pub mod fence_key;
pub mod fencing;
pub mod fields;
pub mod foresight;
pub mod guide;
pub mod manage;
pub mod matrix;
pub mod named;
pub mod node;
pub mod offers;
pub mod resource_form;
pub mod resource_state;
pub mod resources;
pub mod schema_form;
pub mod search;
pub mod service;
pub mod settings;
pub mod tasks;
pub mod timeline;

use crate::app::Who;
use crate::language::{self, filters};
use crate::repo::users::Role;
use crate::watcher::Snapshot;

/// What every page has around its content.
#[derive(Debug, Clone)]
pub struct Shell {
    pub title: String,
    pub who: Who,
    pub side: SidePanel,
    /// The tab of a cluster's pages to mark.
    pub tab: &'static str,
    pub flash: Option<Flash>,
    /// The reader's draft for the cluster whose page this is.
    pub draft: Option<drafts::DraftLine>,
    /// Where the page's parts are pushed from.
    pub live: Option<String>,
}

impl Shell {
    /// Tag of the language that the page speaks.
    pub fn language(&self) -> &'static str {
        language::spoken().tag()
    }

    pub fn operator(&self) -> bool {
        self.who.may(Role::Operator)
    }

    pub fn administrator(&self) -> bool {
        self.who.may(Role::Administrator)
    }
}

/// The menu: clusters with their states, and how many tasks are open.
#[derive(Debug, Clone, Default, askama::Template)]
#[template(path = "panels/side.html")]
pub struct SidePanel {
    pub clusters: Vec<NavCluster>,
    /// The cluster whose page this is.
    pub here: Option<String>,
    /// The menu entry to mark.
    pub tab: String,
    pub open_tasks: usize,
    /// Whether the reader manages accounts.
    pub manages: bool,
    /// Whether there is nothing to go to yet.
    pub closed: bool,
}

impl SidePanel {
    pub fn is_here(&self, name: &str) -> bool {
        self.here.as_deref() == Some(name)
    }
}

/// A cluster in the menu.
#[derive(Debug, Clone)]
pub struct NavCluster {
    pub name: String,
    pub badge: badge::Badge,
}

/// A message left by the action before.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Flash {
    /// `ok`, `warn`, `bad`.
    pub kind: String,
    pub text: String,
}

/// A time for people, with the machine's number for the script that shows ages.
pub fn time(ms: i64) -> String {
    crate::clock::text(ms)
}

/// The worst thing to be said of a cluster in the menu.
pub fn nav_badge(snapshot: Option<&Snapshot>) -> badge::Badge {
    match snapshot {
        Some(snapshot) => cluster::health(snapshot).badge,
        None => badge::UNKNOWN,
    }
}
