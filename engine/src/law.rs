//! What no decision may break (design §3.3): seven small rules over the shared state, asked by every member at delivery.
//! An unlawful decision is ignored by all alike. Policy may be wrong or from another release; these rules keep it from
//! doing harm.
//!
//! Rule 2 to 5 and 1 guard `Start` (and what would free a service); 3 guards the goodbye; 6 which history a decision may
//! belong to; 7 the configuration.

use shared::ids::NodeId;
use shared::status::Command;
use shared::text::ServiceState;

use crate::message::{AfterStop, Decide, Decision};
use crate::record::Record;
use crate::replicated::Replicated;

/// What the law is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Proposal<'a> {
    /// A decision, and who sent it.
    Decide(NodeId, &'a Decide),
    /// A member wants to go without being fenced.
    Goodbye(NodeId),
}

/// The rule that a proposal would break, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("law {rule}: {why}")]
pub struct Unlawful {
    pub rule: u8,
    pub why: String,
}

/// Asks all rules. The product uses `check`; the simulator may put a weaker one in its place to see that it is caught.
pub type LawCheck = fn(&Replicated, Proposal<'_>) -> Result<(), Unlawful>;

/// The whole law.
pub fn check(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    RULES.iter().try_for_each(|rule| rule(state, proposal))
}

/// The rules, rule N at index N-1.
pub const RULES: [LawCheck; 7] = [
    one_holder,
    lost_members_first,
    goodbye_holds_nothing,
    failed_stays,
    joiner_holds_no_truth,
    one_history,
    one_configuration,
];

fn unlawful(rule: u8, why: impl Into<String>) -> Result<(), Unlawful> {
    Err(Unlawful { rule, why: why.into() })
}

fn started<'a>(state: &'a Replicated, proposal: Proposal<'a>) -> Option<(&'a Record, NodeId, &'a str)> {
    let Proposal::Decide(_, Decide { decision, .. }) = proposal else { return None };
    let (Decision::Start { service, on, .. } | Decision::Migrate { service, to: on, .. }) = decision else {
        return None;
    };
    state.services.get(service).map(|record| (record, *on, service.as_str()))
}

/// Law 1: a service has at most one holder; it is started, or called stopped, only if it has none, and stopped only by the one it has.
fn one_holder(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    if let Proposal::Decide(_, Decide { decision: Decision::Migrate { service, .. }, .. }) = proposal {
        let started = state.services.get(service).is_some_and(|record| record.state == ServiceState::Started);
        return if started { Ok(()) } else { unlawful(1, "only what is started can migrate") };
    }
    if let Proposal::Decide(_, Decide { decision: Decision::Stop { service, .. }, .. }) = proposal {
        let held = state.services.get(service).is_some_and(|record| record.holder.is_some());
        return if held { Ok(()) } else { unlawful(1, "nobody holds the service who could stop it") };
    }
    if let Proposal::Decide(_, Decide { decision: Decision::Settle { state, .. }, .. }) = proposal
        && !matches!(state, ServiceState::Stopped | ServiceState::Disabled)
    {
        return unlawful(1, format!("what nobody holds is not {}", state.name()));
    }
    let held = match proposal {
        Proposal::Decide(_, Decide { decision: Decision::Settle { service, .. }, .. })
        | Proposal::Decide(_, Decide { decision: Decision::Start { service, .. }, .. }) => {
            state.services.get(service).filter(|record| record.state != ServiceState::Failed)
        }
        _ => None,
    };
    match held.and_then(|record| record.holder) {
        Some(holder) => unlawful(1, format!("node id {holder} holds the service")),
        None => Ok(()),
    }
}

/// Law 2: nothing starts while the fate of a lost node is unknown; and only fencing a known lost node decides its fate.
fn lost_members_first(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    // What migrates is held by a live member all the time.
    let migrates = matches!(proposal, Proposal::Decide(_, Decide { decision: Decision::Migrate { .. }, .. }));
    if !migrates
        && started(state, proposal).is_some()
        && let Some(lost) = state.lost.keys().next()
    {
        return unlawful(2, format!("node id {lost} is lost and not accounted for"));
    }
    Ok(())
}

/// Law 3: a member that says goodbye holds nothing.
fn goodbye_holds_nothing(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    let Proposal::Goodbye(node) = proposal else { return Ok(()) };
    if let Some(service) = state.owes(node) {
        return unlawful(3, format!("node id {node} still holds {service}, or is about to"));
    }
    match state.members.get(&node).and_then(|member| member.claims.keys().next()) {
        Some(service) => unlawful(3, format!("node id {node} still runs {service}")),
        None => Ok(()),
    }
}

/// Law 4: a service that failed to stop stays with its node until that node is fenced or an operator disables it.
fn failed_stays(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    let Proposal::Decide(_, decide) = proposal else { return Ok(()) };
    let (service, frees) = match &decide.decision {
        Decision::Start { service, .. } | Decision::Settle { service, .. } => (service, true),
        Decision::Stop { service, after, .. } => (service, *after != AfterStop::Disabled),
        _ => return Ok(()),
    };
    let Some(record) = state.services.get(service).filter(|record| record.state == ServiceState::Failed) else {
        return Ok(());
    };
    let disabled = matches!(&record.order, Some(order) if matches!(order.request.command, Command::Disable { .. }));
    if frees || !disabled {
        return unlawful(4, "the service is failed and nobody has disabled it");
    }
    Ok(())
}

/// Law 5: a joiner holds no truth: it is given nothing before it has said that it runs nothing ungranted, and nothing starts that a
/// joiner still runs.
fn joiner_holds_no_truth(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    let Some((_, on, service)) = started(state, proposal) else { return Ok(()) };
    if !state.members.get(&on).is_some_and(|member| member.clean && !member.goodbye) {
        return unlawful(5, format!("node id {on} is not a member that may be given services"));
    }
    let claimant = state.members.iter().find(|(_, member)| member.claims.keys().any(|name| name.as_str() == service));
    match claimant {
        Some((node, _)) => unlawful(5, format!("node id {node} still runs it without a grant")),
        None => Ok(()),
    }
}

/// Law 6: a decision belongs to the history it was made in, and only that history's coordinator makes any.
fn one_history(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    let Proposal::Decide(from, decide) = proposal else { return Ok(()) };
    if decide.branch != state.branch {
        return unlawful(6, "it was decided before the membership changed, or by the other side of a partition");
    }
    if !state.members.get(&from).is_some_and(|member| member.has_state) {
        return unlawful(6, format!("node id {from} does not hold the state"));
    }
    Ok(())
}

/// Law 7: a configuration takes effect when every member has stored it; a version never goes down and has one content.
fn one_configuration(state: &Replicated, proposal: Proposal<'_>) -> Result<(), Unlawful> {
    let Proposal::Decide(_, Decide { decision: Decision::Switch { version, digest }, .. }) = proposal else {
        return Ok(());
    };
    let Some(offer) = &state.offer else { return unlawful(7, "no configuration is on offer") };
    if offer.conf.version != *version || offer.conf.digest != *digest {
        return unlawful(7, "another configuration is on offer");
    }
    if *version <= state.conf.version {
        return unlawful(7, format!("version {version} does not follow {}", state.conf.version));
    }
    match state.members.keys().find(|node| !offer.stored_by.contains(node)) {
        Some(node) => unlawful(7, format!("node id {node} has not stored it")),
        None => Ok(()),
    }
}
