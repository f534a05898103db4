//! The test ladder of a node's fence methods: what is known, rung by rung and node by node, and the card of the last power
//! cycle.

use askama::Template;

use super::badge::{Badge, Kind};
use super::cluster::HeadPanel;
use super::manage::FormErrors;
use super::{Shell, time};
use crate::app::fencing::{MethodStanding, PROOF_LIFE_MS, Standing};
use crate::clock::duration_text;
use crate::language::filters;
use crate::repo::fencing::{ProofCard, ProofVerdict, Rung, RungResult, RungVerdict};

/// The badge of what is known of a method.
pub fn standing_badge(standing: Standing) -> Badge {
    let kind = match standing {
        Standing::Proven => Kind::Ok,
        Standing::Untried | Standing::Expired | Standing::Changed | Standing::Claimed => Kind::Warn,
        Standing::Disproved | Standing::Failed => Kind::Bad,
    };
    Badge { kind, word: standing.word() }
}

/// A method in a list.
#[derive(Debug)]
pub struct MethodLine {
    pub node: String,
    pub method: String,
    pub devices: String,
    pub badge: Badge,
    pub at: String,
    pub by: String,
    /// Until when a proof is believed.
    pub until: String,
}

impl MethodLine {
    pub fn new(standing: &MethodStanding) -> Self {
        let until = standing.at.filter(|_| standing.standing.is_proven()).map(|at| time(at + PROOF_LIFE_MS));
        Self {
            node: standing.node.to_string(),
            method: standing.method.clone(),
            devices: standing.devices.join(", "),
            badge: standing_badge(standing.standing),
            at: standing.at.map(time).unwrap_or_default(),
            by: standing.by.clone().unwrap_or_default(),
            until: until.unwrap_or_default(),
        }
    }
}

/// One rung from one node.
#[derive(Debug)]
pub struct RungLine {
    pub method: String,
    pub device: String,
    pub rung: &'static str,
    pub tester: String,
    pub badge: Badge,
    pub code: String,
    pub output: String,
    pub took: String,
    pub at: String,
    /// The methods were changed since.
    pub outdated: bool,
}

impl RungLine {
    /// `methods`: as they are now.
    pub fn new(result: &RungResult, methods: &str) -> Self {
        let rung = match result.rung {
            Rung::Validate => "arguments",
            Rung::Status => "status",
            Rung::List => "list",
            Rung::WrongPlug => "wrong plug must fail",
        };
        let badge = match result.verdict {
            RungVerdict::Passed => Badge { kind: Kind::Ok, word: "passed" },
            RungVerdict::Failed => Badge { kind: Kind::Bad, word: "failed" },
            RungVerdict::Doubtful => Badge { kind: Kind::Warn, word: "proves nothing" },
            RungVerdict::NotApplicable => Badge { kind: Kind::Off, word: "not applicable" },
        };
        let applies = result.verdict != RungVerdict::NotApplicable;
        Self {
            method: result.method.clone(),
            device: result.device.clone(),
            rung,
            tester: result.tester.clone(),
            badge,
            code: result.code.map_or_else(String::new, |code| code.to_string()),
            output: result.output.trim().to_owned(),
            took: if applies { format!("{} ms", result.duration_ms) } else { String::new() },
            at: time(result.at),
            outdated: result.methods != methods,
        }
    }
}

/// What was seen of a power cycle.
#[derive(Debug)]
pub struct CardView {
    pub badge: Badge,
    pub facts: Vec<(&'static str, String)>,
}

impl CardView {
    pub fn new(card: &ProofCard) -> Self {
        let badge = match card.verdict {
            ProofVerdict::UnderWay => Badge { kind: Kind::Busy, word: "under way" },
            ProofVerdict::Proven => Badge { kind: Kind::Ok, word: "proven" },
            ProofVerdict::Disproved => {
                Badge { kind: Kind::Bad, word: "agent claims success but the node never went down" }
            }
            ProofVerdict::Failed => Badge { kind: Kind::Bad, word: "failed" },
        };
        let after = |at: Option<i64>, not: &str| match at {
            Some(at) => format!("{} (+{})", time(at), duration_text(at - card.asked_at)),
            None => not.to_owned(),
        };
        let answer = if card.answer.is_empty() { "none yet" } else { &card.answer };
        let facts = vec![
            ("Asked for", format!("{}, {}", time(card.asked_at), card.user_name)),
            ("Agent", answer.to_owned()),
            ("Membership lost", after(card.lost_at, "not seen")),
            ("Called fenced", after(card.fenced_at, "not yet")),
            ("Boot id before", card.boot_before.clone()),
            ("Boot id after", card.boot_after.clone().unwrap_or_else(|| "not seen yet".into())),
            ("Seen again", after(card.back_at, "not yet")),
        ];
        Self { badge, facts }
    }
}

#[derive(Debug, Template)]
#[template(path = "fence_test.html")]
pub struct FenceTestPage {
    pub shell: Shell,
    pub head: HeadPanel,
    pub cluster: String,
    pub node: String,
    /// Address of the node's page.
    pub back: String,
    pub methods: Vec<MethodLine>,
    pub rungs: Vec<RungLine>,
    pub card: Option<CardView>,
    /// Services that a power cycle would move away first.
    pub services: Vec<String>,
    pub errors: FormErrors,
}
