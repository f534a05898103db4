//! The test ladder of a node's fence methods: from every node that may have to fence, the harmless rungs; then, if asked for, a
//! real power cycle of the drained node. What is seen is written down as it happens, so that the work goes on after luci was
//! killed. Believes the node, not the agent: proven is what came back with another boot id.

use std::time::Duration;

use shared::agents::metadata::AgentClass;
use shared::api::{FenceTest, FenceTestAction, FenceTested};
use shared::conf::model::{FenceInstance, Node as ConfNode};
use shared::conf::secret;
use shared::ids::NodeName;
use shared::status::{Command, FencedHow, Membership, NodeStatus};

use super::Input;
use super::steps::wait_for;
use crate::app::{App, AppError};
use crate::clock;
use crate::repo::clusters::Cluster;
use crate::repo::fencing::{ProofCard, ProofVerdict, Rung, RungResult, RungVerdict};
use crate::repo::nodes::Node;
use crate::repo::tasks::Task;
use crate::ricci_client::Ricci;
use crate::watcher::Snapshot;

/// Services are moved away; a database may take its time.
const DRAIN_WAIT: Duration = Duration::from_secs(600);
/// Methods with devices that hang are given up before this.
const FENCE_WAIT: Duration = Duration::from_secs(900);
/// Servers with much memory test it when they boot.
const RETURN_WAIT: Duration = Duration::from_secs(1800);
/// Some devices answer before the power is off. A node that still answers after this never lost it.
const STILL_UP_MS: i64 = 30_000;
/// How often luci looks at its own copy while nothing changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A plug that no device has.
const WRONG_PLUG: &str = "no-such-plug-7f3a";
/// Words of what fence_xvm says ("Timed out waiting for response") when no host of virtual machines answers; one that does not
/// know its key is silent (heartbeat.md §7).
const NO_HOST: [&str; 2] = ["Timed", "response"];
const NO_HOST_ADVICE: &str = "no fence_virtd was reached, or it has another key than the nodes; compare the host's with the \
                              SHA-256 on the page of the device";
/// Arguments that name the node on the device.
const PLUGS: [&str; 2] = ["plug", "port"];

/// Tells one state of a node's fence methods from another, without holding a secret.
pub fn fingerprint(node: &ConfNode) -> String {
    let mut methods = node.methods.clone();
    for (name, value) in methods.iter_mut().flat_map(|method| &mut method.devices).flat_map(|one| &mut one.arguments) {
        *value = secret::shown(name, value).to_owned();
    }
    shared::conf::digest(&serde_json::to_string(&methods).unwrap_or_default()).to_string()
}

struct Target {
    cluster: Cluster,
    node: ConfNode,
}

async fn target(app: &App, task: &Task) -> Result<Target, AppError> {
    let Input::ProveFencing { name, .. } = super::input(task)? else {
        return Err(AppError::Internal("this task tests no fencing".into()));
    };
    let id = task.cluster_id.ok_or_else(|| AppError::Internal("the task has no cluster".into()))?;
    let cluster = app.repo.cluster(id).await?;
    let cluster = cluster.ok_or_else(|| AppError::Conflict("luci does not manage this cluster any more".into()))?;
    let conf = app.known_conf(id).await?;
    let node = conf.as_ref().and_then(|conf| conf.node(&name)).cloned();
    let node = node.ok_or_else(|| AppError::Conflict(format!("the configuration does not name {name}")))?;
    if node.methods.is_empty() {
        return Err(AppError::Conflict(format!("{name} has no fence method; add one on its page")));
    }
    Ok(Target { cluster, node })
}

/// The harmless rungs, from one node.
pub(super) async fn test_from(app: &App, task: &Task, tester: &Node) -> Result<String, AppError> {
    let target = target(app, task).await?;
    // Devices that accept one session only would make tests from two nodes fail each other.
    let _one_at_a_time = app.fence_tests.lock().await;
    let ricci = app.clients.paired(tester)?;
    let mut failures = Vec::new();
    let (mut passed, mut doubtful) = (0, 0);
    for method in &target.node.methods {
        for device in &method.devices {
            for mut result in climb(app, &target, &ricci, device).await? {
                result.tester = tester.name.to_string();
                result.method.clone_from(&method.name);
                match result.verdict {
                    RungVerdict::Passed => passed += 1,
                    RungVerdict::Doubtful => doubtful += 1,
                    RungVerdict::NotApplicable => {}
                    RungVerdict::Failed => failures.push(failure(&result)),
                }
                app.repo.store_rung(target.cluster.id, &result).await?;
            }
        }
    }
    app.touch(target.cluster.id);
    if !failures.is_empty() {
        return Err(AppError::Conflict(failures.join("; ")));
    }
    Ok(match doubtful {
        0 => format!("{passed} rungs passed"),
        _ => format!("{passed} rungs passed, {doubtful} prove nothing"),
    })
}

fn failure(result: &RungResult) -> String {
    let what = match result.rung {
        Rung::Validate => "the agent does not take its arguments",
        Rung::Status => "the device gives no status",
        Rung::List => "the device gives no list, or one without the node's plug",
        Rung::WrongPlug => "the agent reports success for a plug that does not exist",
    };
    let code = result.code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit {code}"));
    let said = telling_line(&result.output);
    let (method, device) = (&result.method, &result.device);
    let failed = if said.is_empty() {
        format!("{method}, {device}: {what} ({code})")
    } else {
        format!("{method}, {device}: {what} ({code}) “{said}”")
    };
    if NO_HOST.iter().all(|word| said.contains(word)) { format!("{failed}; {NO_HOST_ADVICE}") } else { failed }
}

/// The line in which an agent says what is wrong: the first that is no warning. What follows is how it wants to be called.
fn telling_line(output: &str) -> &str {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.clone().find(|line| !line.contains("WARNING")).or_else(|| lines.next()).unwrap_or_default()
}

/// All rungs of one device from one node, lowest first. A rung above one that failed is still tried: it tells more.
async fn climb(app: &App, target: &Target, ricci: &Ricci, device: &FenceInstance) -> Result<Vec<RungResult>, AppError> {
    let schema = app.agent_schema(&target.cluster, AgentClass::Fence, &device.agent).await?;
    let offers = |action: &str| schema.as_ref().is_none_or(|schema| schema.has_action(action));
    let arguments: Vec<(String, String)> =
        device.arguments.iter().filter(|(name, _)| !matches!(name.as_str(), "action" | "option")).cloned().collect();
    let plug = arguments.iter().find(|(name, _)| PLUGS.contains(&name.as_str())).map(|(_, plug)| plug.clone());
    let mut results = Vec::new();
    for rung in [Rung::Validate, Rung::Status, Rung::List, Rung::WrongPlug] {
        let (action, given) = match rung {
            // Without metadata nobody says that the agent knows it.
            Rung::Validate => (FenceTestAction::ValidateAll, schema.is_some() && offers("validate-all")),
            Rung::Status => (FenceTestAction::Status, offers("status")),
            Rung::List => (FenceTestAction::List, offers("list") && plug.is_some()),
            Rung::WrongPlug => (FenceTestAction::Status, offers("status") && plug.is_some()),
        };
        let blank = RungResult {
            node: target.node.name.to_string(),
            tester: String::new(),
            method: String::new(),
            device: device.device.clone(),
            rung,
            verdict: RungVerdict::NotApplicable,
            code: None,
            output: String::new(),
            duration_ms: 0,
            at: clock::now_ms(),
            methods: fingerprint(&target.node),
        };
        if !given {
            results.push(blank);
            continue;
        }
        let mut arguments = arguments.clone();
        if rung == Rung::WrongPlug {
            for (name, value) in &mut arguments {
                if PLUGS.contains(&name.as_str()) {
                    WRONG_PLUG.clone_into(value);
                }
            }
        }
        let test = FenceTest { agent: device.agent.clone(), arguments, action };
        let tested = match ricci.test_fence(&test).await {
            Ok(tested) => tested,
            // A device that hangs, or a secret that is missing there, is a result; a node that does not answer is not.
            Err(error) if error.problem().is_some() => {
                FenceTested { succeeded: false, code: None, output: error.to_string(), duration_ms: 0 }
            }
            Err(error) => return Err(error.into()),
        };
        results.push(RungResult {
            verdict: judge(rung, &tested, plug.as_deref()),
            code: tested.code.map(i64::from),
            output: tested.output,
            duration_ms: i64::try_from(tested.duration_ms).unwrap_or(i64::MAX),
            ..blank
        });
    }
    Ok(results)
}

/// Exit codes of fence agents: 0 fine or on, 2 off, else failed.
fn judge(rung: Rung, tested: &FenceTested, plug: Option<&str>) -> RungVerdict {
    let passed = |fine: bool| if fine { RungVerdict::Passed } else { RungVerdict::Failed };
    match rung {
        Rung::Validate => passed(tested.code == Some(0)),
        Rung::Status => passed(matches!(tested.code, Some(0 | 2))),
        Rung::List => match (tested.code, plug) {
            (Some(0), Some(plug)) => {
                let words = |line: &str| line.split([',', ' ', '\t']).any(|word| word == plug);
                // Lists are spelt in many ways; one without the plug's name may still have it.
                if tested.output.lines().any(words) { RungVerdict::Passed } else { RungVerdict::Doubtful }
            }
            _ => RungVerdict::Failed,
        },
        Rung::WrongPlug => match tested.code {
            // "On": the agent says so of anything.
            Some(0) => RungVerdict::Failed,
            // Some agents call what they do not know "off" (fence_xvm): their status proves nothing of a plug.
            Some(2) => RungVerdict::Doubtful,
            _ => RungVerdict::Passed,
        },
    }
}

fn seen<'s>(snapshot: &'s Snapshot, name: &NodeName) -> Option<&'s NodeStatus> {
    snapshot.live().and_then(|status| status.node(name))
}

fn owned(snapshot: &Snapshot, name: &NodeName) -> Vec<String> {
    let services = snapshot.live().into_iter().flat_map(|status| &status.services);
    services.filter(|service| service.owner.as_ref() == Some(name)).map(|service| service.name.to_string()).collect()
}

/// The node gives its services away, and gets none until the proof is done.
pub(super) async fn drain(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let target = target(app, task).await?;
    let name = &node.name;
    let id = target.cluster.id;
    let snapshot = app.watchers.snapshot(id);
    let status = snapshot.as_ref().and_then(Snapshot::live);
    let status = status.ok_or_else(|| AppError::Unreachable("no member says how the cluster is; try again".into()))?;
    let own = status.node(name).filter(|own| own.member == Membership::Member);
    let own = own.ok_or_else(|| AppError::Conflict(format!("{name} is no member now; let it join first")))?;
    let others = status.nodes.iter().filter(|other| other.name != *name && other.member == Membership::Member).count();
    if others == 0 || !status.quorum.quorate {
        return Err(AppError::Conflict(format!("no other member could fence {name}, or there is no quorum")));
    }
    if app.repo.proof(&task.id).await?.is_none() {
        let boot = own.boot_id.as_ref().map(ToString::to_string);
        let boot = boot.ok_or_else(|| {
            AppError::Conflict(format!("the boot id of {name} is not known; nothing could be proven"))
        })?;
        let card = ProofCard {
            task_id: task.id.clone(),
            cluster_id: id,
            node: name.to_string(),
            user_name: task.user_name.clone(),
            methods: fingerprint(&target.node),
            standby: !own.standby,
            boot_before: boot,
            fenced_before: fenced_mark(own),
            asked_at: clock::now_ms(),
            lost_at: None,
            method: None,
            fencer: None,
            answer: String::new(),
            fenced_at: None,
            boot_after: None,
            back_at: None,
            verdict: ProofVerdict::UnderWay,
        };
        app.repo.store_proof(&card).await?;
    }
    if !own.standby {
        app.request_of_task(task, id, "standby", Command::Standby { node: name.clone() }).await?;
    }
    match wait_for(app, id, DRAIN_WAIT, |snapshot| snapshot.live().is_some() && owned(snapshot, name).is_empty()).await
    {
        Some(_) => Ok("in standby, runs nothing".into()),
        None => {
            let left = app.watchers.snapshot(id).map(|snapshot| owned(&snapshot, name)).unwrap_or_default();
            Err(AppError::Conflict(format!("{name} still runs {}; stop or move it, then try again", left.join(", "))))
        }
    }
}

/// The last fencing of the node that the members know of, as one word to compare.
fn fenced_mark(node: &NodeStatus) -> Option<String> {
    let outcome = node.last_fenced.as_ref()?;
    serde_json::to_string(&(outcome.at, &outcome.how)).ok()
}

async fn card(app: &App, task: &Task) -> Result<ProofCard, AppError> {
    app.repo.proof(&task.id).await?.ok_or_else(|| AppError::Internal("the power cycle has no card".into()))
}

/// The real thing: the cluster fences the node by its methods.
pub(super) async fn power_cycle(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let name = &node.name;
    let mut card = card(app, task).await?;
    if card.fenced_at.is_some() {
        return Ok(card.answer);
    }
    let id = card.cluster_id;
    if card.lost_at.is_none() {
        card.asked_at = clock::now_ms();
    }
    app.repo.store_proof(&card).await?;
    app.request_of_task(task, id, "fence", Command::Fence { node: name.clone() }).await?;
    let is_new = |own: &NodeStatus| own.last_fenced.is_some() && fenced_mark(own) != card.fenced_before;
    let failed = |own: &NodeStatus| {
        let last = own.fencing.as_ref()?.last.as_ref()?;
        (!last.succeeded)
            .then(|| last.devices.iter().map(|run| format!("{}: {}", run.device, run.output)).collect::<Vec<_>>())
    };
    let gone = |own: &NodeStatus| !own.online;
    let anything =
        |snapshot: &Snapshot| seen(snapshot, name).is_some_and(|own| is_new(own) || failed(own).is_some() || gone(own));
    let mut now = wait_for(app, id, FENCE_WAIT, anything).await;
    if now.as_ref().and_then(|now| seen(now, name)).is_some_and(gone) {
        card.lost_at.get_or_insert(clock::now_ms());
        app.repo.store_proof(&card).await?;
        let rest = |snapshot: &Snapshot| seen(snapshot, name).is_some_and(|own| is_new(own) || failed(own).is_some());
        now = wait_for(app, id, FENCE_WAIT, rest).await;
    }
    let own = now.as_ref().and_then(|now| seen(now, name)).cloned();
    let own = own.ok_or_else(|| {
        AppError::Unreachable(format!(
            "nothing was seen of the fencing of {name}; was the request refused? See the requests"
        ))
    })?;
    if let Some(outcome) = own.last_fenced.as_ref().filter(|_| is_new(&own)) {
        card.fenced_at = Some(clock::now_ms());
        if outcome.witnessed_gone {
            card.lost_at.get_or_insert(clock::now_ms());
        }
        if let FencedHow::Agent { by, method } = &outcome.how {
            card.fencer = Some(by.to_string());
            card.method = Some(method.clone());
            card.answer = format!("success, method {method}, run by {by}");
        } else {
            card.verdict = ProofVerdict::Failed;
            card.answer = "the node was called fenced without an agent".into();
        }
        app.repo.store_proof(&card).await?;
        app.touch(id);
        return Ok(card.answer);
    }
    let said = failed(&own).unwrap_or_default().join("; ");
    card.verdict = ProofVerdict::Failed;
    card.answer = format!("failed: {said}");
    app.repo.store_proof(&card).await?;
    Err(AppError::Conflict(format!(
        "the agent failed: {said}. The cluster keeps trying; correct the device, or acknowledge by hand"
    )))
}

/// What the node's own ricci or the members say of its boot, if it was said after the fencing.
fn boot_seen(snapshot: &Snapshot, name: &NodeName, after: i64) -> Option<String> {
    let report = snapshot
        .nodes
        .get(name)
        .filter(|seen| seen.silent_since.is_none() && seen.report_at.is_some_and(|at| at > after));
    let by_ricci = report.and_then(|seen| seen.report.as_ref()).map(|report| report.boot_id.to_string());
    by_ricci.or_else(|| {
        let own = seen(snapshot, name).filter(|own| own.online && own.member == Membership::Member);
        own.and_then(|own| own.boot_id.as_ref()).map(ToString::to_string)
    })
}

/// What a boot id that was seen after the fencing proves; nothing yet, if the power may still be about to go.
fn judge_boot(before: &str, seen: &str, since_fenced_ms: i64) -> Option<ProofVerdict> {
    match (seen == before, since_fenced_ms > STILL_UP_MS) {
        (false, _) => Some(ProofVerdict::Proven),
        (true, true) => Some(ProofVerdict::Disproved),
        (true, false) => None,
    }
}

/// Waits for the node to be seen again, and judges.
pub(super) async fn come_back(app: &App, task: &Task, node: &Node) -> Result<String, AppError> {
    let mut card = card(app, task).await?;
    let (id, name) = (card.cluster_id, &node.name);
    let fenced_at = card.fenced_at.unwrap_or(card.asked_at);
    let until = tokio::time::Instant::now() + RETURN_WAIT;
    let (boot, verdict) = loop {
        let fresh = |snapshot: &Snapshot| boot_seen(snapshot, name, fenced_at);
        // In pieces: that a node is still the same is told by nothing that changes.
        let changed = |snapshot: &Snapshot| fresh(snapshot).is_some_and(|boot| boot != card.boot_before);
        wait_for(app, id, LOOK_EVERY, changed).await;
        let boot = app.watchers.snapshot(id).as_ref().and_then(fresh);
        let judged = boot.and_then(|boot| {
            let verdict = judge_boot(&card.boot_before, &boot, clock::now_ms() - fenced_at)?;
            Some((boot, verdict))
        });
        match judged {
            Some(judged) => break judged,
            None if tokio::time::Instant::now() > until => {
                return Err(AppError::Unreachable(format!(
                    "{name} has not come back within {} minutes; power it on, then try again. Until it is seen, nothing is proven",
                    RETURN_WAIT.as_secs() / 60
                )));
            }
            None => {}
        }
    };
    card.back_at = Some(clock::now_ms());
    card.verdict = verdict;
    card.boot_after = Some(boot);
    app.repo.store_proof(&card).await?;
    end_standby(app, task, &card).await?;
    app.touch(id);
    match card.verdict {
        ProofVerdict::Proven => Ok(format!("proven: it came back with another boot id after {} s", seconds(&card))),
        _ => Err(AppError::Conflict(format!(
            "the agent claims success, but {name} never went down: its boot id is the same. Do not rely on this device"
        ))),
    }
}

/// From the order to the return, in seconds.
pub fn seconds(card: &ProofCard) -> i64 {
    card.back_at.map_or(0, |back| (back - card.asked_at) / 1000)
}

/// The node takes services again, if luci had put it in standby.
pub(super) async fn end_standby(app: &App, task: &Task, card: &ProofCard) -> Result<(), AppError> {
    if card.standby {
        let node = NodeName(card.node.clone());
        app.request_of_task(task, card.cluster_id, "unstandby", Command::Unstandby { node }).await?;
    }
    Ok(())
}

/// Whether the methods are those that a card is about.
pub fn is_current(card_methods: &str, node: &ConfNode) -> bool {
    card_methods == fingerprint(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(code: Option<i32>, output: &str) -> FenceTested {
        FenceTested { succeeded: code == Some(0), code, output: output.into(), duration_ms: 1 }
    }

    #[test]
    fn a_rung_is_judged_by_what_its_answer_proves() {
        use RungVerdict::{Doubtful, Failed, Passed};
        for (rung, code, output, verdict) in [
            (Rung::Validate, Some(0), "", Passed),
            (Rung::Validate, Some(1), "", Failed),
            (Rung::Status, Some(2), "Status: OFF", Passed),
            (Rung::Status, Some(1), "wrong password", Failed),
            (Rung::Status, None, "hangs", Failed),
            (Rung::List, Some(0), "n1,vm1\nn2,vm2", Passed),
            (Rung::List, Some(0), "n2,vm2\nn11,vm11", Doubtful),
            (Rung::List, Some(1), "n1", Failed),
            (Rung::WrongPlug, Some(1), "no such plug", Passed),
            (Rung::WrongPlug, Some(2), "Status: OFF", Doubtful),
            (Rung::WrongPlug, Some(0), "Status: ON", Failed),
        ] {
            assert_eq!(judge(rung, &tested(code, output), Some("n1")), verdict, "{rung:?} {code:?} {output}");
        }
    }

    #[test]
    fn only_another_boot_id_proves_and_only_a_node_that_stays_up_disproves() {
        assert_eq!(judge_boot("a", "b", 0), Some(ProofVerdict::Proven));
        assert_eq!(judge_boot("a", "a", STILL_UP_MS), None);
        assert_eq!(judge_boot("a", "a", STILL_UP_MS + 1), Some(ProofVerdict::Disproved));
    }
}
