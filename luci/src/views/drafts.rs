//! The review of a draft, and how far a version is on each node.

use askama::Template;
use shared::ids::ConfVersion;
use shared::status::Membership;

use super::badge::{Badge, Kind};
use super::cluster::HeadPanel;
use super::conf::{DiffRow, FindingLine};
use super::foresight::DraftForesight;
use super::manage::FormErrors;
use super::{Shell, time};
use crate::app::drafts::Moved;
use crate::language::filters;
use crate::watcher::Snapshot;

/// The draft of the one who reads, in the frame of every page of the cluster.
#[derive(Debug, Clone)]
pub struct DraftLine {
    pub base: String,
    pub steps: usize,
}

#[derive(Debug, Template)]
#[template(path = "review.html")]
pub struct ReviewPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub base: String,
    pub steps: Vec<String>,
    pub words: Vec<String>,
    pub rows: Vec<DiffRow>,
    pub findings: Vec<FindingLine>,
    /// Errors that keep it from being applied.
    pub blocked: usize,
    pub moved: Option<Moved>,
    /// What applying it would do.
    pub foresight: DraftForesight,
    pub errors: FormErrors,
}

/// How far a version is on one node.
#[derive(Debug)]
pub struct RolloutLine {
    pub node: String,
    pub stored: Badge,
    pub stored_note: String,
    pub in_force: Badge,
}

/// How far a version is: stored and in force, per node.
#[derive(Debug, Template)]
#[template(path = "panels/rollout.html")]
pub struct RolloutPanel {
    pub version: String,
    pub lines: Vec<RolloutLine>,
}

const YES: Badge = Badge { kind: Kind::Ok, word: "yes" };
const NOT_YET: Badge = Badge { kind: Kind::Busy, word: "not yet" };
const NEWER: Badge = Badge { kind: Kind::Off, word: "a newer one" };
const NOT_RUNNING: Badge = Badge { kind: Kind::Off, word: "not a member" };

/// Whether a version is reached.
fn reached(at: Option<ConfVersion>, version: ConfVersion) -> Badge {
    match at {
        None => super::badge::UNKNOWN,
        Some(at) if at == version => YES,
        Some(at) if at > version => NEWER,
        Some(_) => NOT_YET,
    }
}

impl RolloutPanel {
    pub fn new(version: ConfVersion, snapshot: &Snapshot) -> Self {
        let live = snapshot.live();
        let lines = snapshot.nodes.iter().map(|(name, seen)| {
            let on_disk = seen.report.as_ref().and_then(|report| report.conf.as_ref()).map(|conf| conf.version);
            let member = live.and_then(|status| status.node(name));
            let in_force = match member {
                Some(node) if node.member == Membership::Member => reached(node.conf_version, version),
                Some(_) => NOT_RUNNING,
                None if live.is_some() => NOT_RUNNING,
                None => super::badge::UNKNOWN,
            };
            // Who has it in force has stored it; the node's own report comes a little later.
            let stored = if in_force == YES { YES } else { reached(on_disk, version) };
            RolloutLine {
                node: name.to_string(),
                stored,
                stored_note: match (on_disk, seen.report_at) {
                    (Some(at), Some(when)) if stored != YES => format!("version {at} at {}", time(when)),
                    _ => String::new(),
                },
                in_force,
            }
        });
        Self { version: version.to_string(), lines: lines.collect() }
    }
}
