//! What befalls the simulated world, and when: faults, the work of operators, and the return to health.

use std::collections::BTreeMap;

use engine::{Decision, Message};
use shared::ids::{NodeId, ServiceName};
use shared::status::Command;

use crate::cpg::Item;
use crate::sim::{Sim, Task};

/// What strikes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blow {
    Power,
    Isolate,
    Kill,
    Corosync,
    Freeze,
}

/// A blow that waits for a message of a certain kind to get its place in the order: the moments at which it matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ambush {
    pub moment: Moment,
    /// How many such messages pass before.
    pub skip: u64,
    pub blow: Blow,
    pub at: Struck,
}

/// Whom an ambush strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Struck {
    /// The node the message is about, else its sender.
    Subject,
    Sender,
    Node(NodeId),
}

/// Kinds of messages to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    Hello,
    Found,
    Snapshot,
    Ready,
    Start,
    Stop,
    Migrate,
    Fence,
    Switch,
    Report,
    FenceReport,
    Request,
    Offer,
    Stored,
    Goodbye,
}

const MOMENTS: [Moment; 20] = [
    Moment::Hello,
    Moment::Found,
    Moment::Snapshot,
    Moment::Ready,
    Moment::Start,
    Moment::Start,
    Moment::Start,
    Moment::Stop,
    Moment::Migrate,
    Moment::Migrate,
    Moment::Fence,
    Moment::Fence,
    Moment::Switch,
    Moment::Report,
    Moment::Report,
    Moment::FenceReport,
    Moment::Request,
    Moment::Offer,
    Moment::Stored,
    Moment::Goodbye,
];

const BLOWS: [Blow; 7] =
    [Blow::Power, Blow::Power, Blow::Isolate, Blow::Isolate, Blow::Kill, Blow::Corosync, Blow::Freeze];

impl Ambush {
    fn draw(sim: &mut Sim) -> Self {
        Self {
            moment: MOMENTS[sim.rng.index(MOMENTS.len())],
            skip: sim.rng.below(4),
            blow: BLOWS[sim.rng.index(BLOWS.len())],
            at: if sim.rng.chance(500) { Struck::Subject } else { Struck::Sender },
        }
    }
}

/// The kind of a message and the node it is about.
fn moment_of(message: &Message) -> Option<(Moment, Option<NodeId>)> {
    Some(match message {
        Message::Hello(_) => (Moment::Hello, None),
        Message::Found { .. } => (Moment::Found, None),
        Message::Snapshot { to, .. } | Message::SnapshotPiece { to, .. } => (Moment::Snapshot, Some(*to)),
        Message::Ready { .. } => (Moment::Ready, None),
        Message::Decide(decide) => match &decide.decision {
            Decision::Start { on, .. } => (Moment::Start, Some(*on)),
            Decision::Stop { .. } => (Moment::Stop, None),
            Decision::Migrate { to, .. } => (Moment::Migrate, Some(*to)),
            Decision::Fence { by, .. } => (Moment::Fence, Some(*by)),
            Decision::Switch { .. } => (Moment::Switch, None),
            _ => return None,
        },
        Message::Report(_) => (Moment::Report, None),
        Message::FenceReport(_) => (Moment::FenceReport, None),
        Message::Request { .. } => (Moment::Request, None),
        Message::ConfOffer { .. } => (Moment::Offer, None),
        Message::ConfStored { .. } => (Moment::Stored, None),
        Message::Goodbye { .. } => (Moment::Goodbye, None),
        _ => return None,
    })
}

impl Sim {
    /// Something has just got its place in the order; nobody but (perhaps) its sender has it yet.
    pub(crate) fn spring_ambush(&mut self, sender: NodeId, ordered: &[Item]) {
        for item in ordered {
            let Item::Message { message, .. } = item else { continue };
            let Some((moment, subject)) = moment_of(message) else { continue };
            let Some(ambush) = self.ambush.as_mut().filter(|ambush| ambush.moment == moment) else { continue };
            if ambush.skip > 0 {
                ambush.skip -= 1;
                continue;
            }
            let Some(ambush) = self.ambush.take() else { continue };
            let node = match ambush.at {
                Struck::Subject => subject.unwrap_or(sender),
                Struck::Sender => sender,
                Struck::Node(node) => node,
            };
            self.tell(|| format!("world: at this moment ({moment:?}):"));
            self.strike(node, ambush.blow);
        }
    }

    /// A blow, with what follows from it by itself.
    pub fn strike(&mut self, node: NodeId, blow: Blow) {
        match blow {
            Blow::Power => {
                self.power_off(node);
                if self.rng.chance(600) {
                    let delay = self.rng.between((500, 40_000));
                    self.later(delay, Task::Boot(node));
                }
            }
            Blow::Isolate => {
                // Alone, or with some others.
                let mut sides: BTreeMap<NodeId, u32> = self.nodes.keys().map(|&id| (id, 0)).collect();
                let company = self.rng.chance(300);
                for (&id, side) in &mut sides {
                    if id == node || (company && self.rng.chance(400)) {
                        *side = 1;
                    } else if self.rng.chance(60) {
                        *side = 2;
                    }
                }
                self.tell(|| format!("world: network splits: {}", sides_text(&sides)));
                self.split(sides);
            }
            Blow::Kill => {
                self.kill_daemon(node);
                let delay = self.rng.between((100, 15_000));
                self.later(delay, Task::StartDaemon(node));
            }
            Blow::Corosync => {
                if self.rng.chance(400) {
                    self.shut_down_corosync(node);
                } else {
                    self.stop_corosync(node);
                }
                if self.daemon(node).is_none() {
                    let delay = self.rng.between((100, 10_000));
                    self.later(delay, Task::StartCorosync(node));
                }
            }
            Blow::Freeze => {
                let for_ms = self.rng.between((500, 30_000));
                self.freeze(node, for_ms);
            }
        }
    }

    /// The network is one again.
    pub fn heal_network(&mut self) {
        if self.sides.values().any(|side| *side != 0) {
            self.tell(|| "world: network heals".to_owned());
        }
        let sides = self.nodes.keys().map(|&id| (id, 0)).collect();
        self.split(sides);
    }

    /// A fault drawn from the seed.
    pub fn draw_fault(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        let Some(&node) = self.rng.pick(&nodes) else { return };
        match self.rng.below(17) {
            0..=5 => {
                let blow = BLOWS[self.rng.index(BLOWS.len())];
                self.strike(node, blow);
            }
            6..=10 => self.ambush = Some(Ambush::draw(self)),
            11 => {
                if self.rng.chance(500) {
                    self.broken_fences.insert(None);
                    self.tell(|| "world: fence devices stop working".to_owned());
                } else {
                    self.strike(node, Blow::Power);
                }
            }
            12 => {
                // Twice the same within a short time.
                self.strike(node, Blow::Kill);
                if let Some(&other) = self.rng.pick(&nodes) {
                    let blow = BLOWS[self.rng.index(BLOWS.len())];
                    self.strike(other, blow);
                }
            }
            13 => {
                for id in nodes {
                    self.power_off(id);
                    let delay = self.rng.between((100, 10_000));
                    self.later(delay, Task::Boot(id));
                }
            }
            14 => self.leave(node),
            15 => self.upgrade(node),
            _ => self.lose_a_resource(),
        }
    }

    /// A node is told to leave cleanly; it comes back later.
    pub fn leave(&mut self, node: NodeId) {
        if self.daemon(node).is_some() && self.nodes.get(&node).is_some_and(|node| !node.frozen) {
            self.tell(|| format!("operator on n{node}: leave"));
            self.happen(node, engine::Event::LeaveRequested);
            if self.rng.chance(700) {
                let delay = self.rng.between((5000, 30_000));
                self.later(delay, Task::StartDaemon(node));
            }
        }
    }

    /// A newer release is installed on a node and its daemon replaced.
    pub fn upgrade(&mut self, node: NodeId) {
        if self.daemon(node).is_some() && self.nodes.get(&node).is_some_and(|node| !node.frozen) {
            self.tell(|| format!("operator on n{node}: upgrade"));
            if let Some(node) = self.nodes.get_mut(&node) {
                node.speaks = engine::PROTOCOL;
            }
            self.happen(node, engine::Event::RestartRequested);
        }
    }

    /// Something that runs ends by itself.
    pub fn lose_a_resource(&mut self) {
        let running: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|(&id, node)| node.running.iter().map(move |(service, resource)| (id, service, resource)))
            .map(|(id, service, resource)| (id, service.clone(), resource.clone()))
            .collect();
        if let Some((id, service, resource)) = self.rng.pick(&running).cloned() {
            self.resource_dies(id, &service, &resource);
        }
    }

    /// A request drawn from the seed.
    pub fn draw_request(&mut self) {
        let Some(on) = self.some_daemon() else { return };
        let services = self.known_services();
        let Some(service) = self.rng.pick(&services).cloned() else { return };
        let names: Vec<_> = self.nodes.keys().map(|id| shared::ids::NodeName(format!("n{id}"))).collect();
        let Some(node) = self.rng.pick(&names).cloned() else { return };
        let command = match self.rng.below(30) {
            0..=3 => Command::Enable { service, on: None, by_domain: true },
            4..=5 => Command::Enable { service, on: None, by_domain: false },
            6..=7 => Command::Enable { service, on: Some(node), by_domain: false },
            8..=10 => Command::Disable { service },
            11 => Command::Stop { service },
            12..=13 => Command::Restart { service },
            14..=15 => Command::Relocate { service, to: None },
            16..=17 => Command::Relocate { service, to: Some(node) },
            18 => Command::Freeze { service },
            19 => Command::Unfreeze { service },
            20 => Command::Lock,
            21 => Command::Unlock,
            22 => Command::Fence { node },
            23 => Command::Convalesce { service },
            24 => Command::Standby { node },
            25 => Command::Unstandby { node },
            26..=28 if service.0.starts_with("vm:") => Command::Migrate { service, to: node },
            _ => return self.draw_acknowledgement(on),
        };
        self.request(on, command);
    }

    /// Operators vouch only for nodes that are truly off.
    fn draw_acknowledgement(&mut self, on: NodeId) {
        let off: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| !node.power).map(|(&id, _)| id).collect();
        if let Some(&id) = self.rng.pick(&off) {
            self.request(on, Command::AcknowledgeFence { node: shared::ids::NodeName(format!("n{id}")) });
        }
    }

    /// Nothing fails any more, everything is switched on.
    pub fn heal(&mut self) {
        self.tell(|| "world: everything is made to work again".to_owned());
        self.params.heal();
        self.broken_fences.clear();
        self.behaviours.clear();
        self.ambush = None;
        let frozen: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| node.frozen).map(|(&id, _)| id).collect();
        for id in frozen {
            self.thaw(id);
        }
        self.heal_network();
    }

    /// What an administrator does now and then until all is well: switches on what is off, frees what is held back.
    pub fn maintain(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get(&id) else { continue };
            let pending = |wanted: &dyn Fn(&Task) -> bool| self.tasks.values().any(wanted);
            if !node.power {
                if !pending(&|task| *task == Task::Boot(id)) {
                    self.later(0, Task::Boot(id));
                }
            } else if node.daemon.is_none()
                && !pending(&|task| matches!(task, Task::StartCorosync(node) | Task::StartDaemon(node) if *node == id))
            {
                self.later(0, Task::StartCorosync(id));
            }
        }
        let Some((on, commands)) = self.wanted_commands() else { return };
        for command in commands {
            self.request(on, command);
        }
    }

    fn wanted_commands(&mut self) -> Option<(NodeId, Vec<Command>)> {
        let working = self.nodes.iter().filter_map(|(&id, node)| {
            let engine = &node.daemon.as_ref()?.engine;
            let state = engine.replicated().filter(|_| engine.is_quorate())?;
            Some((state.members.get(&id).is_some_and(|member| member.leaving), id, state))
        });
        // One that leaves takes little more than orders to stop something.
        let (_, on, state) = working.min_by_key(|(leaving, id, _)| (*leaving, *id))?;
        let state = state.clone();
        let unfenceable: Vec<NodeId> =
            state.lost.iter().filter(|(_, lost)| lost.unfenceable).map(|(&id, _)| id).collect();
        for id in unfenceable {
            self.power_off(id);
            self.later(1000, Task::Boot(id));
        }
        let mut commands = Vec::new();
        if state.locked {
            commands.push(Command::Unlock);
        }
        let name = |id: &NodeId| shared::ids::NodeName(format!("n{id}"));
        commands.extend(state.standby.iter().map(|id| Command::Unstandby { node: name(id) }));
        for (service, record) in &state.services {
            let service: ServiceName = service.clone();
            if record.order.is_some() {
                continue;
            }
            if record.frozen {
                commands.push(Command::Unfreeze { service });
                continue;
            }
            match record.state {
                shared::text::ServiceState::Failed => commands.push(Command::Disable { service }),
                shared::text::ServiceState::Stopped if record.parked => {
                    commands.push(Command::Enable { service, on: None, by_domain: true });
                }
                shared::text::ServiceState::Started if !record.stopped_parts.is_empty() => {
                    commands.push(Command::Convalesce { service });
                }
                _ => {}
            }
        }
        Some((on, commands))
    }
}

fn sides_text(sides: &BTreeMap<NodeId, u32>) -> String {
    let mut text = String::new();
    for side in 0..3 {
        let here: Vec<String> = sides.iter().filter(|(_, at)| **at == side).map(|(id, _)| format!("n{id}")).collect();
        if !here.is_empty() {
            text.push_str(if text.is_empty() { "" } else { " | " });
            text.push_str(&here.join(" "));
        }
    }
    text
}
