//! What no message may do to a state, whoever sends it: asked of the state before and after. Written without the engine's own law,
//! so that a hole in the law shows.

use engine::{AfterStop, Decide, Decision, Message, Record, Replicated, ReportOutcome};
use shared::ids::{NodeId, ServiceName};
use shared::status::Command;
use shared::text::ServiceState;

/// Holds the state after a message against the state before it. `Err`: what is wrong.
pub(super) fn judge(before: &Replicated, after: &Replicated, from: NodeId, message: &Message) -> Result<(), String> {
    check_whole(after)?;
    if (after.branch, after.history, after.inherited) != (before.branch, before.history, before.inherited) {
        return Err("a message has changed the history".into());
    }
    check_conf(before, after, message)?;
    check_admitted(before, after)?;
    check_decided(before, after, from, message)?;
    for node in before.lost.keys().filter(|node| !after.lost.contains_key(node)) {
        check_accounted(before, *node, from, message)?;
    }
    for (node, member) in &after.members {
        let was = before.members.get(node).is_some_and(|member| member.goodbye);
        if member.goodbye && !was && (from != *node || before.owes(*node).is_some()) {
            return Err(format!("law 3: n{node} counts as having gone in peace"));
        }
    }
    for node in before.members.keys().filter(|node| !after.members.contains_key(node)) {
        if !matches!(message, Message::Request { .. }) || !after.lost.contains_key(node) {
            return Err(format!("n{node} is no member any more"));
        }
    }
    for (name, was) in &before.services {
        match after.services.get(name) {
            Some(is) => check_service(before, after, (name, was, is), (from, message))?,
            None if was.holder.is_none_or(|holder| may_free(before, after, name, holder, from, message)) => {}
            None => return Err(format!("{name} was forgotten while it was held")),
        }
    }
    Ok(())
}

/// What holds of every state by itself.
fn check_whole(state: &Replicated) -> Result<(), String> {
    if let Some(node) = state.members.keys().find(|node| state.lost.contains_key(node)) {
        return Err(format!("n{node} is a member and lost"));
    }
    for (name, record) in &state.services {
        let held = match record.state {
            ServiceState::Stopped | ServiceState::Disabled | ServiceState::Recovering => false,
            ServiceState::Uninitialized | ServiceState::Checking => {
                return Err(format!("{name} is in no state at all"));
            }
            _ => true,
        };
        if held != record.holder.is_some() {
            return Err(format!("{name} is {} and held by {:?}", record.state.name(), record.holder));
        }
        let known = |node: NodeId| state.members.contains_key(&node) || state.lost.contains_key(&node);
        if let Some(holder) = record.holder.filter(|holder| !known(*holder)) {
            return Err(format!("{name} is held by n{holder}, which is neither a member nor lost"));
        }
    }
    Ok(())
}

/// What members are asked to store can be used, and who comes is a node of the cluster.
fn check_admitted(before: &Replicated, after: &Replicated) -> Result<(), String> {
    if let Some(offer) = after.offer.as_ref().filter(|_| after.offer != before.offer) {
        let readable = shared::conf::load(&offer.conf.text).conf.is_some();
        if !readable || shared::conf::digest(&offer.conf.text) != offer.conf.digest {
            return Err(format!("configuration {} is to be stored and cannot be used", offer.conf.version));
        }
    }
    let mut new = after.members.keys().filter(|node| !before.members.contains_key(node)).peekable();
    if new.peek().is_none() {
        return Ok(());
    }
    let Some(conf) = shared::conf::load(&after.conf.text).conf else { return Ok(()) };
    match new.find(|node| conf.node_by_id(**node).is_none()) {
        Some(node) => Err(format!("n{node} is a member, and cluster.conf does not have it")),
        None => Ok(()),
    }
}

/// Law 7.
fn check_conf(before: &Replicated, after: &Replicated, message: &Message) -> Result<(), String> {
    if after.conf == before.conf {
        return Ok(());
    }
    let (Message::Decide(decide), Some(offer)) = (message, &before.offer) else {
        return Err("law 7: another configuration is in force".into());
    };
    let switch = matches!(&decide.decision, Decision::Switch { digest, .. } if *digest == offer.conf.digest);
    let stored = before.members.keys().all(|node| offer.stored_by.contains(node));
    if !switch || !stored || after.conf != offer.conf || after.conf.version <= before.conf.version {
        return Err("law 7: another configuration is in force than was offered and stored by all".into());
    }
    Ok(())
}

/// Law 6.
fn check_decided(before: &Replicated, after: &Replicated, from: NodeId, message: &Message) -> Result<(), String> {
    if after.decided == before.decided {
        return Ok(());
    }
    let Message::Decide(decide) = message else { return Err("something counts as a decision that is none".into()) };
    if decide.branch != before.branch || !before.members.get(&from).is_some_and(|member| member.has_state) {
        return Err(format!("law 6: a decision by n{from} of another history was carried out"));
    }
    Ok(())
}

/// What a lost node held is free only when its fate is known.
fn check_accounted(before: &Replicated, node: NodeId, from: NodeId, message: &Message) -> Result<(), String> {
    let known = match message {
        Message::FenceReport(report) => {
            let running = before.lost.get(&node).and_then(|lost| lost.running);
            report.succeeded && report.victim == node && running.is_some_and(|(by, _)| by == from)
        }
        // It is back and tells what it runs.
        Message::Hello(hello) => from == node && hello.state.is_none(),
        Message::Decide(decide) => matches!(decide.decision, Decision::Assume { node: assumed, .. } if assumed == node),
        Message::Request { request, .. } => matches!(request.command, Command::AcknowledgeFence { .. }),
        _ => false,
    };
    if known { Ok(()) } else { Err(format!("law 2: n{node} is not lost any more")) }
}

fn check_service(
    before: &Replicated,
    after: &Replicated,
    (name, was, is): (&ServiceName, &Record, &Record),
    (from, message): (NodeId, &Message),
) -> Result<(), String> {
    if is.epoch < was.epoch {
        return Err(format!("the epoch of {name} went from {} to {}", was.epoch.0, is.epoch.0));
    }
    match (was.holder, is.holder) {
        (None, Some(holder)) => check_started(before, name, holder, message)?,
        (Some(holder), now) if now != Some(holder) && !may_free(before, after, name, holder, from, message) => {
            return Err(format!("law 1: {name} went from n{holder} to {now:?}"));
        }
        _ => {}
    }
    let disabled = was.order.as_ref().is_some_and(|order| matches!(order.request.command, Command::Disable { .. }));
    let disables = matches!(message, Message::Decide(decide)
        if matches!(decide.decision, Decision::Stop { after: AfterStop::Disabled, .. }));
    // Whoever could free it has been asked about above; what is left is that it goes on as if nothing had failed.
    let freed = is.holder != was.holder;
    let goes_on = is.state != ServiceState::Failed && !freed && !(disabled && disables);
    if was.state == ServiceState::Failed && goes_on {
        return Err(format!("law 4: {name} is failed no more, but {}", is.state.name()));
    }
    Ok(())
}

/// Laws 1, 2 and 5: what is given to a node is held by nobody, nobody is lost, and the node may be given something.
fn check_started(before: &Replicated, name: &ServiceName, on: NodeId, message: &Message) -> Result<(), String> {
    let Message::Decide(decide) = message else { return Err(format!("law 1: {name} was given to n{on} undecided")) };
    let Decide { decision: Decision::Start { service, .. }, .. } = &**decide else {
        return Err(format!("law 1: {name} was given to n{on} by {:?}", decide.decision));
    };
    if let Some(lost) = before.lost.keys().next() {
        return Err(format!("law 2: {service} starts although n{lost} is lost"));
    }
    let clean = before.members.get(&on).is_some_and(|member| member.clean && !member.goodbye);
    let claimed = before.members.values().any(|member| member.claims.contains_key(name));
    if service != name || !clean || claimed {
        return Err(format!("law 5: {name} was given to n{on}"));
    }
    Ok(())
}

/// Whether this message may take the service from its holder: the holder says so itself, or its fate is known now.
fn may_free(
    before: &Replicated,
    after: &Replicated,
    name: &ServiceName,
    holder: NodeId,
    from: NodeId,
    message: &Message,
) -> bool {
    match message {
        Message::Report(report) => {
            let member = before.members.get(&holder);
            let was = before.services.get(name);
            let now = was.is_some_and(|was| was.epoch == report.epoch && was.state != ServiceState::Failed);
            let ends = matches!(
                report.outcome,
                ReportOutcome::Stopped
                    | ReportOutcome::StoppedInquorate
                    | ReportOutcome::StopFailed { .. }
                    | ReportOutcome::Migrated
            );
            let said = from == holder && member.is_some_and(|member| member.incarnation == report.incarnation);
            said && now && ends && report.service == *name
        }
        Message::Hello(_) => from == holder,
        _ => before.lost.contains_key(&holder) && !after.lost.contains_key(&holder),
    }
}
