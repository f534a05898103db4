//! The pure equivalent of the daemon's loop: hands events to a node's engine and carries out what it wants, in the simulated
//! world.

use std::sync::Arc;

use engine::{Action, Event, ExitReason, FenceId, GroupMember, LeftReason, Message, Operation, Run, RunId};
use shared::conf::model::{FenceInstance, FenceMethod};
use shared::ids::{NodeId, NodeName};
use shared::status::{Answer, Command, Fact, FactKind, FenceDeviceRun};

use crate::sim::{Node, Sim, Task, summary};

/// How long a slow agent takes: longer than a ring takes to form.
const SLOW_MS: u64 = 5000;

impl Sim {
    /// Something happened to the daemon of a node.
    pub fn happen(&mut self, id: NodeId, event: Event) {
        let now = self.time_on(id);
        let (before, inherited) = (self.history_of(id), self.inherited(&event));
        let Some(daemon) = self.daemon_mut(id) else { return };
        let actions = daemon.engine.handle(now, event);
        if self.history_of(id) != before {
            self.enter_history(id, inherited);
        }
        for action in actions {
            self.perform(id, action);
        }
        self.arm_timer(id);
    }

    fn arm_timer(&mut self, id: NodeId) {
        let now = self.time_on(id);
        let Some(daemon) = self.daemon_mut(id) else { return };
        let Some(at) = daemon.engine.next_timeout(now) else { return };
        // A timer in the past comes at once, but time goes on.
        let delay = at.since_ms(now).max(1);
        let due = now.0 + delay;
        let pid = daemon.pid;
        if daemon.timer.is_none_or(|timer| timer > due) {
            daemon.timer = Some(due);
            self.later(delay, Task::Timer(id, pid, due));
        }
    }

    fn perform(&mut self, id: NodeId, action: Action) {
        let Some(pid) = self.daemon(id).map(|daemon| daemon.pid) else { return };
        match action {
            Action::JoinGroup => self.join_group(id, pid),
            Action::LeaveGroup => {
                self.cpg.leave(GroupMember { node: id, pid }, LeftReason::Leave);
                self.wake_token(id);
            }
            Action::Multicast(message) => {
                self.check_reasons(id, &message);
                self.multicast(id, *message);
            }
            Action::RunAgent { id: run, run: what } => self.run_agent(id, run, *what),
            Action::AbortRun { id: run } => self.abort_run(id, run),
            Action::RunFence { id: fence, victim, method } => self.run_fence(id, fence, &victim, &method),
            Action::StoreConf { conf } => {
                let stored = !self.full_disks.contains(&id) && !self.rng.chance(self.params.store_fails_permille);
                let task =
                    Task::ConfStored { node: id, pid, version: conf.version, digest: conf.digest.clone(), stored };
                if let Some(node) = self.nodes.get_mut(&id).filter(|_| stored) {
                    node.disk.stored = Some(conf);
                }
                let slow = if self.slow_disks.contains(&id) { SLOW_MS } else { 0 };
                let delay = slow + self.rng.between(self.params.store_ms);
                self.later(delay, task);
            }
            Action::SwitchConf { conf, reload_corosync: _ } => self.switch_conf(id, conf),
            Action::KeepStarted { service, trees } => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.started.insert(service.clone(), trees.iter().map(|tree| (**tree).clone()).collect());
                    node.started.retain(|_, trees| !trees.is_empty());
                }
            }
            Action::SaveIntents(intents) => {
                let history = self.history_of(id);
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.disk.intents = Some(intents);
                    node.disk.history = history;
                }
            }
            Action::Answer { id: request, answer } => {
                self.tell(|| match &answer {
                    Answer::Accepted => format!("n{id}: {request} accepted"),
                    Answer::Refused(refusal) => {
                        format!("n{id}: {request} refused: {}. {}", refusal.code.text(), refusal.text)
                    }
                });
                if let Some(asked) = self.asked.get_mut(&request) {
                    asked.accepted = Some(answer == Answer::Accepted);
                    if let (Command::Enable { service, .. }, Answer::Accepted) = (&asked.command, &answer) {
                        self.disabled.remove(service);
                    }
                }
            }
            Action::Finish { id: request, outcome } => {
                let owner = outcome.owner.as_ref().map(|owner| format!(", on {owner}")).unwrap_or_default();
                let text = if outcome.text.is_empty() { String::new() } else { format!(" ({})", outcome.text) };
                let code = outcome.code;
                self.tell_once(format!("finish {request} {code:?}"), || {
                    format!("{request} ended: {}{owner}{text}", code.text())
                });
                self.mark_finished(id, &request, code);
            }
            Action::AnswerConf { offer, result } => {
                self.tell(|| match &result {
                    shared::socket::PutConf::Accepted { version, .. } => {
                        format!("n{id}: configuration {version} taken")
                    }
                    shared::socket::PutConf::Refused { findings } => format!(
                        "n{id}: configuration refused: {}",
                        findings.first().map(|finding| finding.text.clone()).unwrap_or_default()
                    ),
                });
                self.offers.insert(offer.0, true);
            }
            Action::Publish(fact) => self.publish(id, fact),
            Action::Reboot { .. } => {
                self.power_off(id);
                let delay = self.rng.between(self.params.reboot_ms);
                self.later(delay, Task::Boot(id));
            }
            Action::StatusChanged | Action::ReloadCorosync => {}
            Action::Exit { reason } => self.exit(id, pid, reason),
        }
    }

    fn join_group(&mut self, id: NodeId, pid: u32) {
        if let Some(daemon) = self.daemon_mut(id) {
            daemon.joined = true;
        }
        self.cpg.join(GroupMember { node: id, pid });
        self.wake_token(id);
        let votes = self.cpg.ring(id).map_or(1, |(_, members)| members.len());
        self.plan_quorum(id, u32::try_from(votes).unwrap_or(0));
    }

    /// A multicast by the daemon of a node, or by somebody who pretends to be it.
    pub fn multicast(&mut self, id: NodeId, message: Message) {
        self.note(|| format!("  n{id} sends {}", summary(&message)));
        let second = self.now / 1000;
        let (known, count) = self.messages_second;
        self.messages_second = if known == second { (second, count + 1) } else { (second, 1) };
        if count > 2000 {
            self.violate(|| format!("more than {count} messages within one second"));
        }
        if let Message::Found { members, .. } = &message {
            self.founded_by_few |= members.len() <= self.nodes.len() / 2 && !self.params.two_node;
        }
        if let Some(heard) = &mut self.heard {
            heard.push(message.encode());
        }
        self.cpg.multicast(id, Arc::new(message));
        self.wake_token(id);
    }

    fn wake_token(&mut self, id: NodeId) {
        let delay = self.rng.between(self.params.token_ms);
        self.later(delay, Task::Token(id));
    }

    fn publish(&mut self, id: NodeId, fact: Fact) {
        if fact.kind == FactKind::StoppedForeign {
            self.histories_lost = true;
        }
        let local = matches!(
            fact.kind,
            FactKind::QuorumLost | FactKind::QuorumRegained | FactKind::DecisionIgnored | FactKind::StoppedForeign
        );
        let Fact { at, text, reason, .. } = fact;
        let because = reason.map(|reason| reason.text()).filter(|reason| !text.contains(reason.as_str()));
        let because = because.map(|reason| format!(" [{reason}]")).unwrap_or_default();
        if local {
            self.tell(|| format!("n{id}: {text}{because}"));
        } else {
            self.tell_once(format!("{at:?} {text}"), || format!("{text}{because}"));
        }
    }

    fn exit(&mut self, id: NodeId, pid: u32, reason: ExitReason) {
        self.tell(|| match &reason {
            ExitReason::Left => format!("n{id}: rgmanager ends, left"),
            ExitReason::Restart => format!("n{id}: rgmanager ends for its successor"),
            ExitReason::CorosyncLost { failed_to_stop } => {
                let failed = failed_to_stop.iter().map(|name| name.0.clone()).collect::<Vec<_>>().join(", ");
                let failed = if failed.is_empty() { failed } else { format!("; not stopped: {failed}") };
                format!("n{id}: rgmanager ends, corosync is gone{failed}")
            }
            ExitReason::ConfUnusable { .. } => format!("n{id}: rgmanager ends, its cluster.conf cannot be used"),
        });
        match reason {
            ExitReason::Left => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.starts = false;
                }
            }
            ExitReason::Restart => {
                let delay = self.rng.between(self.params.start_ms);
                self.later(delay, Task::StartDaemon(id));
            }
            ExitReason::CorosyncLost { .. } => {
                let delay = self.rng.between(self.params.start_ms);
                self.later(delay, Task::StartCorosync(id));
            }
            ExitReason::ConfUnusable { findings } => {
                self.violate(|| format!("n{id} cannot use its configuration: {findings:?}"));
            }
        }
        self.cpg.leave(GroupMember { node: id, pid }, LeftReason::ProcessDown);
        self.drop_daemon(id);
        self.wake_token(id);
    }

    /// The daemon is killed; what it runs goes on.
    pub fn kill_daemon(&mut self, id: NodeId) {
        let Some(pid) = self.daemon(id).map(|daemon| daemon.pid) else { return };
        self.tell(|| format!("world: rgmanager of n{id} is killed"));
        self.cpg.leave(GroupMember { node: id, pid }, LeftReason::ProcessDown);
        self.drop_daemon(id);
        self.wake_token(id);
    }

    // Agents.

    fn run_agent(&mut self, id: NodeId, run_id: RunId, run: Run) {
        self.check_run(id, &run);
        let behaviour = self.behaviour(id, &run);
        let key = self.new_key();
        let agent = self.begin_run(id, run_id, &run, behaviour);
        self.note(|| {
            format!("  n{id} runs {} {} of {}: {behaviour:?}", run.operation.name(), run.resource.name, run.service)
        });
        if run.operation != Operation::Monitor && self.trace.as_ref().is_some_and(|trace| trace.agents) {
            self.tell(|| format!("n{id}: {} {}", run.operation.name(), run.resource.name));
        }
        let duration = match behaviour {
            crate::sim::Behaviour::Hangs => self.params.timeout_ms,
            crate::sim::Behaviour::Slow => SLOW_MS,
            _ => self.rng.between(self.params.run_ms),
        };
        let effect_at = self.rng.between((0, duration));
        if let Some(daemon) = self.daemon_mut(id) {
            daemon.runs.insert(run_id, key);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.runs.insert(key, agent);
        }
        self.later(effect_at, Task::RunEffect(id, key));
        self.later(duration, Task::RunEnd(id, key));
    }

    fn abort_run(&mut self, id: NodeId, run: RunId) {
        let Some(key) = self.daemon(id).and_then(|daemon| daemon.runs.get(&run).copied()) else { return };
        if let Some(agent) = self.nodes.get_mut(&id).and_then(|node| node.runs.get_mut(&key)) {
            agent.takes_effect = false;
            agent.code = None;
        }
        self.later(0, Task::RunEnd(id, key));
    }

    // Fencing.

    fn run_fence(&mut self, by: NodeId, id: FenceId, victim: &NodeName, method: &FenceMethod) {
        let Some(pid) = self.daemon(by).map(|daemon| daemon.pid) else { return };
        let broken = self.broken_fences.contains(&None) || self.broken_fences.contains(&Some(id.victim));
        let wrong = method.devices.iter().position(|device| self.is_broken(by, device));
        let lies = self.lying_fences.contains(&None) || self.lying_fences.contains(&Some(id.victim));
        let fails = broken || wrong.is_some() || self.rng.chance(self.params.fence_fails_permille);
        // An agent that fails may all the same have done its work.
        // Drawn only where agents lie at all, so that the other seeds stay what they are.
        let lies = lies || (self.params.fence_lies_permille > 0 && self.rng.chance(self.params.fence_lies_permille));
        let effect = !lies && !fails || (!broken && wrong.is_none() && self.rng.chance(300));
        // The agent itself waits for the delay that its device has.
        let delays = method.devices.iter().flat_map(|device| &device.arguments).filter(|(key, _)| key == "delay");
        let delay: u64 = delays.filter_map(|(_, value)| value.parse::<u64>().ok()).sum();
        let duration = delay * 1000 + self.rng.between(self.params.fence_ms);
        self.note(|| {
            format!(
                "  n{by} fences {victim} with {}: {}",
                method.name,
                if fails {
                    "fails"
                } else if lies {
                    "lies"
                } else {
                    "works"
                }
            )
        });
        if effect {
            let boots = !self.fences_leave_off && !self.rng.chance(self.params.fence_leaves_off_permille);
            let at = self.rng.between(((duration + delay * 1000) / 2, duration));
            let waited_on = self.nodes.get(&by).filter(|_| delay > 0).map(|node| (by, node.boots));
            self.later(at, Task::FenceEffect { victim: id.victim, boots, waited_on });
        }
        // It says so only after the power is off.
        let failed_at = if fails { Some(wrong.unwrap_or(0)) } else { None };
        let devices =
            method.devices.iter().enumerate().map(|(at, device)| (device.device.clone(), Some(at) != failed_at));
        let devices = devices.take(failed_at.map_or(usize::MAX, |at| at + 1)).collect();
        self.later(duration, Task::FenceEnd { by, pid, id, succeeded: !fails, devices });
    }

    /// Whether this device does nothing for the node: a password that is not its own, or what a story says.
    fn is_broken(&self, by: NodeId, device: &FenceInstance) -> bool {
        let said = |node: Option<NodeId>| self.broken_devices.contains(&(node, device.device.clone()));
        device.arguments.iter().any(|(_, value)| value == "wrong") || said(None) || said(Some(by))
    }

    pub(crate) fn fence_effect(&mut self, victim: NodeId, boots: bool, waited_on: Option<(NodeId, u32)>) {
        let lives = |(by, life)| self.nodes.get(&by).is_some_and(|node: &Node| node.power && node.boots == life);
        if !waited_on.is_none_or(lives) {
            return;
        }
        self.power_off(victim);
        if boots {
            let delay = self.rng.between(self.params.reboot_ms);
            self.later(delay, Task::Boot(victim));
        }
    }

    pub(crate) fn fence_end(
        &mut self,
        by: NodeId,
        pid: u32,
        id: FenceId,
        succeeded: bool,
        devices: Vec<(String, bool)>,
    ) {
        if !self.lives(by, pid) {
            return;
        }
        let devices = devices.into_iter().map(|(device, worked)| FenceDeviceRun {
            device,
            agent: "fence_ipmilan".to_owned(),
            code: Some(i32::from(!worked)),
            output: if worked { "Success: Rebooted".to_owned() } else { "ERROR: Unable to login".to_owned() },
            duration_ms: 0,
        });
        let devices = devices.collect();
        self.happen(by, Event::FenceFinished { id, succeeded, devices });
    }
}
