//! Proving that a node can be fenced: begins the test ladder, and says of each fence method what is known of its working.

use shared::ids::NodeName;
use shared::status::{FenceVerdict, Membership};

use super::{App, AppError, Who};
use crate::clock;
use crate::repo::clusters::Cluster;
use crate::repo::fencing::{ProofCard, ProofVerdict};
use crate::repo::tasks::TaskKind;
use crate::tasks::fencing::is_current;
use crate::tasks::{Input, Plan};

/// How long a proof is believed.
pub const PROOF_LIFE_MS: i64 = shared::status::FENCE_PROOF_LIFE_MS.cast_signed();

/// What is known of a fence method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The node went down and came back freshly booted, not too long ago.
    Proven,
    /// It did, but too long ago.
    Expired,
    /// It did, but the method was changed since.
    Changed,
    /// An agent said so, and nobody saw it.
    Claimed,
    /// An agent said so, and it was not true.
    Disproved,
    Failed,
    Untried,
}

impl Standing {
    pub fn is_proven(self) -> bool {
        self == Self::Proven
    }

    /// As pages say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Expired => "proof expired",
            Self::Changed => "changed since its proof",
            Self::Claimed => "claimed, not seen",
            Self::Disproved => "disproved: the agent lied",
            Self::Failed => "failed",
            Self::Untried => "never tried",
        }
    }

    /// The word in the API.
    pub fn key(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Expired => "expired",
            Self::Changed => "changed",
            Self::Claimed => "claimed",
            Self::Disproved => "disproved",
            Self::Failed => "failed",
            Self::Untried => "untried",
        }
    }
}

/// A method of a node, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodStanding {
    pub node: NodeName,
    pub method: String,
    pub devices: Vec<String>,
    pub standing: Standing,
    pub at: Option<i64>,
    pub by: Option<String>,
}

/// What the members know (also from fencing in earnest), what luci's cards know, and what the configuration says now.
fn standing(
    members: Option<(FenceVerdict, Option<i64>)>,
    card: Option<&ProofCard>,
    current: bool,
    now: i64,
) -> (Standing, Option<i64>) {
    let expires = |at: i64| if now - at > PROOF_LIFE_MS { Standing::Expired } else { Standing::Proven };
    let of_card = card.and_then(|card| {
        let at = card.back_at.or(card.fenced_at).unwrap_or(card.asked_at);
        let standing = match card.verdict {
            ProofVerdict::UnderWay => return None,
            ProofVerdict::Proven if !current => Standing::Changed,
            ProofVerdict::Proven => expires(at),
            ProofVerdict::Disproved => Standing::Disproved,
            ProofVerdict::Failed => Standing::Failed,
        };
        Some((standing, at))
    });
    let of_members = members.and_then(|(verdict, at)| {
        let at = at?;
        let standing = match verdict {
            FenceVerdict::Untried => return None,
            FenceVerdict::Failed => Standing::Failed,
            FenceVerdict::Claimed => Standing::Claimed,
            FenceVerdict::Disproved => Standing::Disproved,
            FenceVerdict::Proven => expires(at),
        };
        Some((standing, at))
    });
    match (of_members, of_card) {
        // The configuration was changed after luci's proof: what the members know by the method's name is about the old one, unless
        // it is newer.
        (Some((_, at)), Some((Standing::Changed, proven))) if at <= proven + STEP_APART_MS => {
            (Standing::Changed, Some(proven))
        }
        (Some((standing, at)), Some((_, other))) if at + STEP_APART_MS >= other => (standing, Some(at)),
        (_, Some((standing, at))) | (Some((standing, at)), None) => (standing, Some(at)),
        (None, None) => (Standing::Untried, None),
    }
}

/// The members and luci tell the same event at times that differ by this much at most: clocks, and the way of the status.
const STEP_APART_MS: i64 = 60_000;

impl App {
    /// Every fence method of every node, or of one.
    pub async fn method_standings(
        &self,
        cluster: &Cluster,
        only: Option<&NodeName>,
    ) -> Result<Vec<MethodStanding>, AppError> {
        let Some(conf) = self.known_conf(cluster.id).await? else { return Ok(Vec::new()) };
        let cards = self.repo.newest_proofs(cluster.id).await?;
        let snapshot = self.watchers.snapshot(cluster.id);
        let status = snapshot.as_ref().and_then(|snapshot| snapshot.status.as_deref());
        let now = clock::now_ms();
        let mut standings = Vec::new();
        for node in conf.nodes.iter().filter(|node| only.is_none_or(|only| *only == node.name)) {
            let card = cards.iter().find(|card| card.node == node.name.as_str());
            let current = card.is_some_and(|card| is_current(&card.methods, node));
            let proofs = status.and_then(|status| status.node(&node.name)).map(|own| own.fence_proofs.as_slice());
            for method in &node.methods {
                let proof = proofs.unwrap_or_default().iter().find(|proof| proof.method == method.name);
                let members = proof.map(|proof| (proof.verdict, proof.at.and_then(|at| i64::try_from(at.0).ok())));
                // A card without a method is of an attempt that came to none: it concerns the first.
                let own_card = card.filter(|card| match &card.method {
                    Some(used) => *used == method.name,
                    None => node.methods.first().is_some_and(|first| first.name == method.name),
                });
                let (standing, at) = standing(members, own_card, current, now);
                let by = proof.and_then(|proof| proof.by.as_ref()).map(ToString::to_string);
                standings.push(MethodStanding {
                    node: node.name.clone(),
                    method: method.name.clone(),
                    devices: method.devices.iter().map(|device| device.device.clone()).collect(),
                    standing,
                    at,
                    by: by.or_else(|| own_card.and_then(|card| card.fencer.clone())),
                });
            }
        }
        Ok(standings)
    }

    /// Begins the test ladder of a node; the id of the task.
    pub async fn prove_fencing(
        &self,
        who: &Who,
        cluster: &Cluster,
        name: &str,
        power: bool,
    ) -> Result<String, AppError> {
        let node = self.node(cluster, name).await?;
        let conf = self.known_conf(cluster.id).await?;
        let configured = conf.as_ref().and_then(|conf| conf.node(&node.name));
        if configured.is_none_or(|configured| configured.methods.is_empty()) {
            return Err(AppError::Conflict(format!("{name} has no fence method to be tested; add one first")));
        }
        let snapshot = self.watchers.snapshot(cluster.id);
        let live = snapshot.as_ref().and_then(|snapshot| snapshot.live());
        let nodes = self.repo.nodes_of(cluster.id).await?;
        // Whoever is a member may have to fence it; if nobody knows who is, all are asked.
        let may_fence = |other: &crate::repo::nodes::Node| {
            let member = live.and_then(|status| status.node(&other.name)).map(|own| own.member == Membership::Member);
            other.paired_at.is_some() && other.name != node.name && member.unwrap_or(live.is_none())
        };
        let testers: Vec<_> = nodes.iter().filter(|other| may_fence(other)).map(|other| other.id).collect();
        if testers.is_empty() {
            return Err(AppError::Conflict(format!("no other paired member of the cluster could fence {name}")));
        }
        let input = Input::ProveFencing { node: node.id, name: node.name.clone(), testers, power };
        let plan = Plan { kind: TaskKind::ProveFencing, cluster: Some(cluster.id), input };
        let task = self.begin(who, plan, Vec::new()).await?;
        let detail = if power { "with a power cycle" } else { "harmless tests only" };
        self.audit(who, Some(&cluster.name), "prove-fencing", name, detail, "begun").await?;
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;

    const NOW: i64 = 1_000 * 24 * 3600 * 1000;
    const DAY: i64 = 24 * 3600 * 1000;

    fn card(verdict: ProofVerdict, at: i64) -> ProofCard {
        ProofCard {
            task_id: "t".into(),
            cluster_id: ClusterId(1),
            node: "n1".into(),
            user_name: "alice".into(),
            methods: "m".into(),
            standby: false,
            boot_before: "a".into(),
            fenced_before: None,
            asked_at: at,
            lost_at: None,
            method: Some("power".into()),
            fencer: None,
            answer: String::new(),
            fenced_at: Some(at),
            boot_after: None,
            back_at: Some(at),
            verdict,
        }
    }

    #[test]
    fn a_proof_is_believed_until_it_is_old_or_the_method_is_another_one() {
        use Standing::{Changed, Claimed, Disproved, Expired, Proven, Untried};
        let proven = card(ProofVerdict::Proven, NOW - DAY);
        let old = card(ProofVerdict::Proven, NOW - 91 * DAY);
        let lie = card(ProofVerdict::Disproved, NOW - DAY);
        let known = |verdict, at| Some((verdict, Some(at)));
        for (members, card, current, expected) in [
            (None, None, true, Untried),
            (Some((FenceVerdict::Untried, None)), None, true, Untried),
            (None, Some(&proven), true, Proven),
            (None, Some(&proven), false, Changed),
            (None, Some(&old), true, Expired),
            (None, Some(&lie), true, Disproved),
            (known(FenceVerdict::Proven, NOW - DAY), None, true, Proven),
            (known(FenceVerdict::Proven, NOW - 91 * DAY), None, true, Expired),
            // The members' word about the same event, and the method was changed afterwards.
            (known(FenceVerdict::Proven, NOW - DAY + 5), Some(&proven), false, Changed),
            // Fenced in earnest with the new method since then.
            (known(FenceVerdict::Proven, NOW - DAY / 2), Some(&proven), false, Proven),
            (known(FenceVerdict::Claimed, NOW), Some(&proven), true, Claimed),
            (known(FenceVerdict::Proven, NOW - 2 * DAY), Some(&lie), true, Disproved),
        ] {
            assert_eq!(standing(members, card, current, NOW).0, expected, "{members:?} {current}");
        }
    }
}
