//! Who is told nonsense: members out of the middle of lives, each in a situation in which there is something to spoil. Beside the
//! engine stands what one must know of it to tell it something that fits, as far as the member itself has told it.

use std::collections::BTreeMap;

use engine::{Action, Branch, Engine, Event, Incarnation, Message, Replicated, ViewTag, law};
use shared::ids::{NodeId, Time};
use shared::status::{Command, FencedHow};
use shared::text::ServiceState;

use crate::conf::Spec;
use crate::params::Params;
use crate::rng::Rng;
use crate::sim::{Daemon, EPOCH_MS, Sim, Task};

/// Lives that have brought all situations when they were chosen.
const LIVES: [u64; 4] = [90, 19, 88, 35];

/// So many more are looked through where these no longer do.
const LIVES_MORE: u64 = 200;

/// A life is left after this many steps: by then it has seen its troubles.
const STEPS_MAX: u64 = 6_000;

/// What a member is in the middle of lasts longer than so many steps.
const LOOK_EVERY: u64 = 4;

/// What a member is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    KnowsNothing,
    /// The agents are being asked what runs here.
    Probes,
    /// It has said hello and heard it, and waits for the state.
    Joins,
    /// The same, and who gives it the state is of a release that keeps no proofs of fence methods.
    JoinsOlder,
    /// Nobody has a state yet.
    Founds,
    /// All is well.
    Calm,
    NodeLost,
    /// It fences a node itself.
    Fences,
    /// Another member fences a node.
    OtherFences,
    /// A fence agent was successful, and the node has not come back yet.
    FencedUnseen,
    /// A configuration is being stored.
    Offer,
    Failed,
    /// A failed service is to be disabled.
    FailedDisabled,
    Recovers,
    Stops,
    Frozen,
    Partial,
    Convalesces,
    /// It gives a guest away.
    GuestLeaves,
    /// It is to find out whether a guest has come.
    GuestArrives,
    /// A guest runs, and a member speaks protocol 1.
    OlderMember,
    /// It speaks protocol 1 itself.
    Older,
    /// A member runs what it was not granted.
    Claims,
    NoQuorum,
    /// It has said goodbye and not heard it.
    SaidGoodbye,
    /// The same, without a state.
    JoinerSaidGoodbye,
    /// Its daemon is being replaced.
    Restarts,
    /// corosync is gone, and its agents still stop what runs.
    Cut,
}

use Situation as Is;

/// The situations that lives bring by themselves.
const LIVED: [Situation; 22] = [
    Is::Probes,
    Is::Joins,
    Is::Founds,
    Is::Calm,
    Is::NodeLost,
    Is::Fences,
    Is::OtherFences,
    Is::FencedUnseen,
    Is::Offer,
    Is::Failed,
    Is::FailedDisabled,
    Is::Recovers,
    Is::Stops,
    Is::Frozen,
    Is::Partial,
    Is::Convalesces,
    Is::GuestLeaves,
    Is::GuestArrives,
    Is::OlderMember,
    Is::Older,
    Is::Claims,
    Is::NoQuorum,
];

/// A situation, the one before it, and the event that leads from there to here.
type Led = (Situation, Situation, fn() -> Event);

/// The situations into which one event brings a member.
const LED: [Led; 4] = [
    (Is::SaidGoodbye, Is::NodeLost, || Event::LeaveRequested),
    (Is::JoinerSaidGoodbye, Is::Joins, || Event::LeaveRequested),
    (Is::Restarts, Is::Stops, || Event::RestartRequested),
    (Is::Cut, Is::Calm, || Event::CorosyncLost),
];

/// A member to tell nonsense to.
#[derive(Debug, Clone)]
pub struct Listener {
    pub situation: Situation,
    pub engine: Engine,
    /// Another member with the same state.
    pub twin: Option<Engine>,
    pub me: NodeId,
    pub now: Time,
    pub incarnation: Incarnation,
    /// Of its last hello.
    pub nonce: u64,
    pub view: ViewTag,
    /// The state of its group: its own, or the one that it would be given.
    pub group: Option<Replicated>,
}

/// A life and what was said in it.
struct Life {
    sim: Sim,
    /// Nonce and view of the last hello of each daemon.
    hellos: BTreeMap<Incarnation, (u64, ViewTag)>,
    /// The membership in which a branch of the state began.
    views: BTreeMap<Branch, ViewTag>,
}

/// One member in each situation, and always the same ones.
pub fn listeners() -> Vec<Listener> {
    let mut found: BTreeMap<Situation, Listener> = BTreeMap::new();
    for seed in LIVES.into_iter().chain(0..LIVES_MORE) {
        if found.len() == LIVED.len() {
            break;
        }
        Life::draw(seed).look_for(&mut found);
    }
    let nobody = Listener {
        situation: Is::KnowsNothing,
        engine: Engine::new(law::check),
        twin: None,
        me: NodeId(0),
        now: Time(EPOCH_MS),
        incarnation: Incarnation(0),
        nonce: 0,
        view: ViewTag(0),
        group: None,
    };
    found.insert(Is::KnowsNothing, nobody);
    for (situation, from, event) in LED {
        let Some(mut listener) = found.get(&from).cloned() else { continue };
        listener.situation = situation;
        listener.twin = None;
        let actions = listener.engine.handle(listener.now, event());
        let says_it = matches!(situation, Is::SaidGoodbye | Is::JoinerSaidGoodbye);
        assert_eq!(says_goodbye(&actions), says_it, "{situation:?} is not what it is called");
        assert!(!actions.iter().any(|it| matches!(it, Action::Exit { .. })), "{situation:?} has ended already");
        found.insert(situation, listener);
    }
    lend_states(&mut found);
    let missing: Vec<_> =
        LIVED.iter().chain(LED.iter().map(|(led, ..)| led)).filter(|it| !found.contains_key(it)).collect();
    assert!(missing.is_empty(), "no life brings {missing:?}: nonsense is not tried on a member like that");
    found.into_values().collect()
}

/// Where nobody has a state yet, and for a joiner to which an older release gives it, another life lends one.
fn lend_states(found: &mut BTreeMap<Situation, Listener>) {
    let state_of = |situation| found.get(&situation).and_then(|listener: &Listener| listener.group.clone());
    let (calm, fenced) = (state_of(Is::Calm), state_of(Is::FencedUnseen));
    if let Some(listener) = found.get_mut(&Is::Founds) {
        listener.group = calm;
        listener.admit_to_group();
    }
    if let (Some(mut listener), Some(mut state)) = (found.get(&Is::Joins).cloned(), fenced) {
        state.proofs.clear();
        (listener.situation, listener.group) = (Is::JoinsOlder, Some(state));
        listener.admit_to_group();
        found.insert(Is::JoinsOlder, listener);
    }
}

impl Life {
    fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let spec = Spec::draw(&mut rng);
        let params = Params::draw(spec.nodes == 2, &mut rng);
        let mut sim = Sim::new(params, rng, law::check, spec.nodes, &spec.render(false));
        sim.heard = Some(Vec::new());
        let ids: Vec<NodeId> = sim.nodes.keys().copied().collect();
        let older = sim.rng.chance(250);
        for id in ids {
            if let Some(node) = sim.nodes.get_mut(&id).filter(|_| older && id.0 % 2 == 0) {
                node.speaks = 1;
            }
            let delay = sim.rng.below(3_000);
            sim.later(delay, Task::Boot(id));
        }
        let mut life = Self { sim, hellos: BTreeMap::new(), views: BTreeMap::new() };
        life.sim.later(0, Task::Token(NodeId(1)));
        life.spec_changes(spec);
        life
    }

    /// An administrator will hand in a newer configuration on one of the nodes.
    fn spec_changes(&mut self, mut spec: Spec) {
        while self.sim.steps < 800 {
            self.step();
        }
        spec.change(&mut self.sim.rng);
        if let Some(node) = self.sim.some_daemon() {
            self.sim.offer(node, &spec.render(false));
        }
    }

    fn look_for(&mut self, found: &mut BTreeMap<Situation, Listener>) {
        while self.sim.steps < STEPS_MAX && self.sim.violation.is_none() {
            self.step();
            if self.sim.steps.is_multiple_of(150) {
                self.sim.draw_request();
            }
            if self.sim.steps.is_multiple_of(700) {
                self.sim.draw_fault();
            }
            if self.sim.steps.is_multiple_of(1_900) {
                self.sim.heal_network();
            }
            if !self.sim.steps.is_multiple_of(LOOK_EVERY) {
                continue;
            }
            let open = LIVED.iter().filter(|situation| !found.contains_key(situation));
            let new: Vec<Listener> = open.filter_map(|situation| self.listener_in(*situation)).collect();
            found.extend(new.into_iter().map(|listener| (listener.situation, listener)));
        }
    }

    fn step(&mut self) {
        self.sim.step();
        for bytes in self.sim.heard.as_mut().map(std::mem::take).unwrap_or_default() {
            if ![&b"\x01{\"hello\""[..], b"\x01{\"decide\""].iter().any(|kind| bytes.starts_with(kind)) {
                continue;
            }
            match Message::decode(&bytes) {
                Ok(Message::Hello(hello)) => {
                    self.hellos.insert(hello.incarnation, (hello.nonce, hello.view));
                    self.views.extend(hello.state.map(|state| (state.branch, hello.view)));
                }
                Ok(Message::Decide(decide)) => {
                    self.views.insert(decide.branch, decide.view);
                }
                _ => {}
            }
        }
    }

    fn listener_in(&self, situation: Situation) -> Option<Listener> {
        let daemons = self.sim.nodes.iter().filter_map(|(&id, node)| Some((id, node.daemon.as_ref()?, node.speaks)));
        daemons
            .filter(|(id, daemon, speaks)| self.is_in(situation, *id, daemon, *speaks))
            .filter_map(|(id, daemon, _)| self.listener(situation, id, daemon))
            .find(|listener| situation != Is::Joins || (listener.takes_its_state() && listener.can_leave()))
    }

    fn is_in(&self, situation: Situation, me: NodeId, daemon: &Daemon, speaks: u8) -> bool {
        let Some(state) = daemon.engine.replicated() else {
            let founded = self.sim.nodes.values().any(|node| holds_state(node.daemon.as_ref()));
            return match situation {
                Is::Probes => !daemon.joined,
                Is::Joins => daemon.joined && founded,
                Is::Founds => daemon.joined && !founded && daemon.quorate_told,
                _ => false,
            };
        };
        match situation {
            Is::OlderMember => speaks == 2 && is_in(situation, state, me),
            Is::Older => speaks == 1,
            Is::NoQuorum => !daemon.quorate_told,
            _ => is_in(situation, state, me),
        }
    }

    /// `None`: it is not known which membership the member is in.
    fn listener(&self, situation: Situation, me: NodeId, daemon: &Daemon) -> Option<Listener> {
        let engine = daemon.engine.clone();
        let incarnation = Incarnation(u64::from(daemon.pid));
        let (nonce, said_in) = self.hellos.get(&incarnation).copied().unwrap_or_default();
        let others = || {
            let others = self.sim.nodes.iter().filter(|(id, _)| **id != me);
            others.filter_map(|(_, node)| Some(&node.daemon.as_ref()?.engine))
        };
        let (view, twin, group) = match engine.replicated() {
            Some(state) => {
                let twin = others().find(|other| other.replicated() == Some(state));
                (*self.views.get(&state.branch)?, twin.cloned(), Some(state.clone()))
            }
            None => (said_in, None, others().find_map(|other| other.replicated().cloned())),
        };
        let now = self.sim.time_on(me);
        let mut listener = Listener { situation, engine, twin, me, now, incarnation, nonce, view, group };
        listener.admit_to_group();
        Some(listener)
    }
}

fn says_goodbye(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Multicast(it) if matches!(**it, Message::Goodbye { .. })))
}

fn holds_state(daemon: Option<&Daemon>) -> bool {
    daemon.is_some_and(|daemon| daemon.engine.replicated().is_some())
}

fn is_in(situation: Situation, state: &Replicated, me: NodeId) -> bool {
    let services = || state.services.iter();
    let any = |wanted: ServiceState| services().any(|(_, record)| record.state == wanted);
    let ordered = |wanted: fn(&Command) -> bool| {
        services().any(|(_, record)| record.order.as_ref().is_some_and(|order| wanted(&order.request.command)))
    };
    let here = |wanted: &dyn Fn(&engine::Record) -> bool| {
        services().any(|(_, record)| record.holder == Some(me) && wanted(record))
    };
    let runner = |wanted: &dyn Fn(NodeId) -> bool| {
        state.lost.values().any(|lost| lost.running.is_some_and(|(by, _)| wanted(by)))
    };
    match situation {
        Is::Calm => state.lost.is_empty() && here(&|record| record.state == ServiceState::Started),
        // One that holds nothing: told to leave it says goodbye at once.
        Is::NodeLost => !state.lost.is_empty() && state.owes(me).is_none(),
        Is::Fences => runner(&|by| by == me),
        Is::OtherFences => runner(&|by| by != me),
        Is::FencedUnseen => state.last_fenced.iter().any(|(node, fenced)| {
            let agent = matches!(fenced.how, FencedHow::Agent { .. });
            agent && fenced.witnessed_reboot.is_none() && !state.members.contains_key(node)
        }),
        Is::Offer => state.offer.is_some(),
        Is::Failed => any(ServiceState::Failed),
        Is::FailedDisabled => services().any(|(_, record)| {
            record.state == ServiceState::Failed && record.order.as_ref().is_some_and(engine::Order::wants_down)
        }),
        Is::Recovers => any(ServiceState::Recovering),
        Is::Stops => here(&|record| record.state == ServiceState::Stopping),
        Is::Frozen => here(&|record| record.frozen),
        Is::Partial => here(&|record| !record.stopped_parts.is_empty()),
        Is::Convalesces => ordered(|command| matches!(command, Command::Convalesce { .. })),
        Is::GuestLeaves => here(&|record| record.state == ServiceState::Migrating && record.arriving.is_some()),
        Is::GuestArrives => here(&|record| record.state == ServiceState::Migrating && record.arriving.is_none()),
        Is::OlderMember => {
            let guest = |(name, record): (&shared::ids::ServiceName, &engine::Record)| {
                name.0.starts_with("vm:") && record.state == ServiceState::Started
            };
            state.protocol() < 2 && services().any(guest)
        }
        Is::Claims => state.members.values().any(|member| member.has_state && !member.claims.is_empty()),
        _ => false,
    }
}

impl Listener {
    /// The state that it would be given names it as a member.
    fn admit_to_group(&mut self) {
        let Some(group) = self.group.as_mut().filter(|group| !group.members.contains_key(&self.me)) else { return };
        let Some(mut member) = group.members.values().next().cloned() else { return };
        member.incarnation = self.incarnation;
        (member.has_state, member.clean, member.goodbye, member.leaving) = (false, false, false, false);
        group.lost.remove(&self.me);
        group.members.insert(self.me, member);
    }

    /// Whether nothing runs on it that it would have to stop first.
    fn can_leave(&self) -> bool {
        says_goodbye(&self.engine.clone().handle(self.now, Event::LeaveRequested))
    }

    /// Whether it has heard its own hello: only then it takes the state that answers it.
    fn takes_its_state(&self) -> bool {
        let (Some(group), mut engine) = (&self.group, self.engine.clone()) else { return false };
        let state = Box::new(group.clone());
        let message = Box::new(Message::Snapshot { to: self.me, nonce: self.nonce, view: self.view, state });
        engine.handle(self.now, Event::Delivered { from: NodeId(1), message });
        engine.replicated().is_some()
    }
}
