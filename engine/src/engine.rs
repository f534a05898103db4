//! The engine itself: takes an event, updates what it knows, lets the rooms act, and hands out what is to be done.
//!
//! Order inside one `handle`: the event is taken in (state, view, quorum), then the holder follows the state, then the
//! coordinator (if it is this node) decides. Everything goes out as one list of actions, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::conf::finding::{Finding, Place, Severity};
use shared::conf::model::{Conf, FenceMethod, Service};
use shared::ids::{BootId, ConfDigest, ConfVersion, NodeId, NodeName, RequestId, ServiceName, Time};
use shared::socket::PutConf;
use shared::status::{Answer, Command, Fact, FactKind, FactSeverity, Outcome, Refusal, Request, Subject};
use shared::text::ResultCode;

use crate::coordinator::{self, Flight, LossSeen};
use crate::event::{Action, Event, ExitReason, FenceId, GroupMember, LeftReason, OfferId, RebootReason};
use crate::holder::{Holder, QuorumHere, Said, not_running};
use crate::law::{LawCheck, Proposal};
use crate::message::{
    ConfText, Decide, FenceReport, Hello, Incarnation, Intents, Message, PROTOCOL, Report, SNAPSHOT_PIECE_BYTES,
    StateTag, ViewTag,
};
use crate::placement::Load;
use crate::replicated::{Folded, Replicated, node_name};
use crate::view::Fnv;

/// A member without state says hello again after this long: its snapshot may have been lost with the member that owed it.
pub const HELLO_AGAIN_MS: u64 = 2_000;

/// The founding does not wait longer than this for a group member that says nothing.
pub const SILENT_FOUNDER_MS: u64 = 5_000;

/// A decision that came back unlawful is not proposed again before this: policy and law disagree, which must not flood the group.
pub const HELD_BACK_MS: u64 = 1_000;

/// At most this many messages are kept for replay while a snapshot is awaited; beyond it the hello is repeated.
const BUFFER_MAX: usize = 10_000;

/// At most this many pieces make a snapshot: far more than any state needs, and a bound for what a joiner keeps.
const PIECES_MAX: u32 = 10_000;

/// A longer cluster.conf is refused: with its quotes escaped it must fit into one message.
const CONF_MAX_BYTES: usize = 600_000;

/// How far this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing has happened yet.
    New,
    /// The agents are being asked what runs here.
    Probing,
    /// In the group or on the way into it.
    InGroup,
    /// corosync is gone: everything is being stopped.
    Cut,
    /// `Action::Exit` has been given out.
    Ended,
}

/// The last word of the quorum service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QuorumSaid {
    pub(crate) ring_seq: u64,
    pub(crate) quorate: bool,
    pub(crate) votes: Option<u32>,
    pub(crate) votes_expected: Option<u32>,
}

/// The totem ring under the group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ring {
    pub(crate) seq: u64,
    pub(crate) members: Vec<NodeId>,
    /// A membership change was announced whose ring is not known yet.
    pub(crate) stale: bool,
}

/// The shared state with the configuration compiled from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) state: Replicated,
    pub(crate) conf: Arc<Conf>,
}

/// The deterministic core of one node.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) law: LawCheck,
    pub(crate) stage: Stage,
    pub(crate) me: NodeId,
    incarnation: Incarnation,
    boot: BootId,
    /// The configuration on this node's disk; the one in force is in the state.
    disk: Option<ConfText>,
    disk_digest: Option<ConfDigest>,
    /// Newer than the configuration in force when this node joined.
    newer: Option<ConfText>,
    pub(crate) disk_conf: Option<Arc<Conf>>,
    intents: Option<Intents>,
    pub(crate) view: Vec<GroupMember>,
    view_tag: ViewTag,
    pub(crate) ring: Ring,
    pub(crate) quorum: Option<QuorumSaid>,
    was_quorate: bool,
    /// The last ring in which this node was quorate with its state, as of the last change of the group.
    quorate_ring: u64,
    /// The same, as of now.
    quorate_last: u64,
    /// Somebody has come into the group who may hold another history, and not all have said yet which one they hold.
    histories_open: bool,
    pub(crate) joined: Option<Joined>,
    /// Hellos delivered in the current view.
    hellos: BTreeMap<NodeId, Hello>,
    /// Others in the group of whom this node knows that they hold a state, by what they said or by the state it once shared.
    holders: BTreeSet<NodeId>,
    nonce: u64,
    hello_at: Option<Time>,
    view_at: Time,
    found_sent: bool,
    /// Delivered since this node's own hello, while it waits for the snapshot.
    buffer: Vec<(NodeId, Message)>,
    own_hello_seen: bool,
    pub(crate) holder: Holder,
    pub(crate) losses: BTreeMap<NodeId, LossSeen>,
    flights: BTreeSet<Flight>,
    held_back: BTreeMap<Flight, Time>,
    /// Attempts of this node by whether they are still running; kept until the state has moved on.
    fences: BTreeMap<FenceId, bool>,
    offers: BTreeMap<OfferId, ConfText>,
    storing: Option<ConfText>,
    ready_said: Option<bool>,
    /// The protocol that this member speaks; lower than `PROTOCOL` only where it is held back.
    protocol: u8,
    /// States longer than this travel in pieces.
    piece_bytes: usize,
    /// The pieces of the snapshots for this node's newest hello, so far, by who sends them: two histories may both answer it.
    pieces: BTreeMap<NodeId, Vec<String>>,
    pub(crate) leaving: bool,
    restarting: bool,
    restart_said: bool,
    leave_said: bool,
    goodbye_said: bool,
    unanswered: BTreeMap<RequestId, Request>,
    /// What the status looked like when `StatusChanged` was last given out.
    dirty: bool,
    coordinator_before: Option<NodeId>,
    quorate_before: Option<bool>,
    /// When quorum was last regained here.
    pub(crate) quorum_regained: Option<Time>,
    /// Since when this node knows that it has no quorum.
    inquorate_since: Option<Time>,
    reboot_said: bool,
}

/// What one `handle` gives out.
#[derive(Debug, Default)]
struct Out {
    actions: Vec<Action>,
}

impl Out {
    fn multicast(&mut self, message: Message) {
        self.actions.push(Action::Multicast(Box::new(message)));
    }
}

impl Engine {
    /// An engine that knows nothing yet. `law` is `law::check` in the product.
    pub fn new(law: LawCheck) -> Self {
        Self {
            law,
            stage: Stage::New,
            me: NodeId(0),
            incarnation: Incarnation(0),
            boot: BootId::default(),
            disk: None,
            disk_digest: None,
            newer: None,
            disk_conf: None,
            intents: None,
            view: Vec::new(),
            view_tag: ViewTag(0),
            ring: Ring::default(),
            quorum: None,
            was_quorate: false,
            quorate_ring: 0,
            quorate_last: 0,
            histories_open: false,
            joined: None,
            hellos: BTreeMap::new(),
            holders: BTreeSet::new(),
            nonce: 0,
            hello_at: None,
            view_at: Time(0),
            found_sent: false,
            buffer: Vec::new(),
            own_hello_seen: false,
            holder: Holder::default(),
            losses: BTreeMap::new(),
            flights: BTreeSet::new(),
            held_back: BTreeMap::new(),
            fences: BTreeMap::new(),
            offers: BTreeMap::new(),
            storing: None,
            ready_said: None,
            protocol: PROTOCOL,
            piece_bytes: SNAPSHOT_PIECE_BYTES,
            pieces: BTreeMap::new(),
            leaving: false,
            restarting: false,
            restart_said: false,
            leave_said: false,
            goodbye_said: false,
            unanswered: BTreeMap::new(),
            dirty: false,
            coordinator_before: None,
            quorate_before: None,
            quorum_regained: None,
            inquorate_since: None,
            reboot_said: false,
        }
    }

    /// The same, speaking no newer protocol than this: what an older release would be in a cluster.
    pub fn speaking(mut self, protocol: u8) -> Self {
        self.protocol = protocol.clamp(1, PROTOCOL);
        self
    }

    /// The same, cutting states for joiners into pieces of this length; for the simulator, whose states are small.
    pub fn cutting(mut self, piece_bytes: usize) -> Self {
        self.piece_bytes = piece_bytes.max(1);
        self
    }

    /// Takes in one event and says what is to be done, in this order.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut out = Out::default();
        if self.stage != Stage::Ended {
            self.take_in(now, event, &mut out);
            self.react(now, &mut out);
        }
        if std::mem::take(&mut self.dirty) {
            out.actions.push(Action::StatusChanged);
        }
        out.actions
    }

    /// When `Event::TimePassed` is wanted, if nothing else happens before.
    pub fn next_timeout(&self, now: Time) -> Option<Time> {
        let plan_wake = self.plan(now).and_then(|plan| plan.wake_at);
        let held_back = self.held_back.values().min().copied();
        let waits = self.histories_open || (self.joined.is_none() && !self.found_sent);
        let silent =
            (waits && !self.view.is_empty()).then(|| self.view_at.plus_ms(SILENT_FOUNDER_MS)).filter(|at| *at > now);
        let reboot = self.reboot_at();
        [plan_wake, held_back, self.holder.next_check(), self.hello_at, silent, reboot].into_iter().flatten().min()
    }

    /// The replicated state, for tests and the simulator.
    pub fn replicated(&self) -> Option<&Replicated> {
        self.joined.as_ref().map(|joined| &joined.state)
    }

    /// Whether this node's own corosync is quorate, for the very membership the engine works with.
    pub fn is_quorate(&self) -> bool {
        self.quorum_here() == QuorumHere::Yes
    }

    /// The outcome of a request, if it has ended and is remembered.
    pub fn outcome(&self, id: &RequestId) -> Option<&Outcome> {
        let state = self.replicated()?;
        state.requests.iter().find(|record| &record.id == id)?.outcome.as_ref()
    }

    pub(crate) fn quorum_here(&self) -> QuorumHere {
        match &self.quorum {
            Some(said) if !self.ring.stale && said.ring_seq == self.ring.seq => {
                if said.quorate {
                    QuorumHere::Yes
                } else {
                    QuorumHere::No
                }
            }
            // The ring it speaks of is still on its way here; that it is not quorate is certain already.
            Some(said) if !said.quorate && said.ring_seq > self.ring.seq => QuorumHere::No,
            _ => QuorumHere::Unknown,
        }
    }

    pub(crate) fn conf(&self) -> Option<&Arc<Conf>> {
        self.joined.as_ref().map(|joined| &joined.conf).or(self.disk_conf.as_ref())
    }

    pub(crate) fn name_of(&self, id: NodeId) -> NodeName {
        self.conf().map_or_else(|| NodeName(format!("node id {id}")), |conf| node_name(conf, id))
    }

    // Taking in.

    fn take_in(&mut self, now: Time, event: Event, out: &mut Out) {
        match event {
            Event::Booted { node, incarnation, boot, conf, intents, started } => {
                self.me = node;
                self.incarnation = incarnation;
                self.boot = boot;
                self.intents = intents;
                self.handle_booted(conf, started, out);
            }
            Event::MembershipChanged { members, left, joined } => {
                self.handle_membership(now, members, &left, &joined, out);
            }
            Event::RingChanged { ring_seq, members } => {
                self.ring = Ring { seq: ring_seq, members, stale: false };
                self.dirty = true;
            }
            Event::QuorumChanged { ring_seq, quorate, votes, votes_expected, members: _ } => {
                self.quorum = Some(QuorumSaid { ring_seq, quorate, votes, votes_expected });
                self.dirty = true;
            }
            Event::Delivered { from, message } => self.handle_delivered(now, from, *message, out),
            Event::RunFinished { id, code, output } => {
                let name = self.name_of(self.me);
                let mut said = Vec::new();
                self.holder.handle_run_finished(now, &name, id, code, &output, &mut said);
                self.say(now, said, out);
            }
            Event::FenceFinished { id, succeeded, devices } => {
                // Kept until the report has come back: the same attempt must not be made twice.
                if self.fences.insert(id, false) == Some(true) {
                    let witnessed_gone = !self.ring.stale && !self.ring.members.contains(&id.victim);
                    out.multicast(Message::FenceReport(Box::new(FenceReport {
                        at: now,
                        victim: id.victim,
                        attempt: id.attempt,
                        succeeded,
                        devices,
                        witnessed_gone,
                    })));
                }
            }
            Event::RequestReceived { request } => self.handle_request(now, request, out),
            Event::ConfOffered { offer, text, origin } => self.handle_offer(now, offer, text, origin, out),
            Event::ConfStored { version, digest, stored } => self.handle_stored(version, digest, stored, out),
            Event::Noticed { service, resource, evidence } => {
                let frozen =
                    self.replicated().and_then(|state| state.services.get(&service)).is_none_or(|it| it.frozen);
                let evidence =
                    evidence.filter(|_| !frozen).map(|words| not_running(self.name_of(self.me), &resource, now, words));
                let mut said = Vec::new();
                self.holder.handle_noticed(now, &service, &resource, evidence, &mut said);
                self.say(now, said, out);
            }
            Event::LeaveRequested => self.leaving = true,
            Event::RestartRequested => self.restarting = true,
            Event::TimePassed => {}
            Event::CorosyncLost => self.handle_corosync_lost(now, out),
        }
    }

    fn handle_booted(&mut self, conf: ConfText, started: BTreeMap<ServiceName, Vec<Service>>, out: &mut Out) {
        let loaded = shared::conf::load(&conf.text);
        let Some(compiled) = loaded.conf else {
            self.stage = Stage::Ended;
            out.actions.push(Action::Exit { reason: ExitReason::ConfUnusable { findings: loaded.findings } });
            return;
        };
        self.disk_digest = Some(conf.digest.clone());
        self.disk = Some(conf);
        self.stage = Stage::Probing;
        self.dirty = true;
        self.holder.probe(&compiled, started, &mut out.actions);
        self.disk_conf = Some(Arc::new(compiled));
    }

    fn handle_membership(
        &mut self,
        now: Time,
        members: Vec<GroupMember>,
        left: &[(GroupMember, LeftReason)],
        joined: &[GroupMember],
        out: &mut Out,
    ) {
        // One ring change may come as two of these events; the second finds the ring already stale.
        if !self.ring.stale {
            self.was_quorate = self.is_quorate();
            // Only here: what a hello has said of it must still be so when histories are compared, or both sides win.
            self.quorate_ring = self.quorate_last;
        }
        let ring_moves = left.iter().any(|(_, reason)| *reason == LeftReason::NodeDown);
        self.ring.stale |= ring_moves;
        self.view_tag = tag_view(&members);
        self.view = members;
        self.view_at = now;
        self.dirty = true;
        self.hellos.clear();
        self.flights.clear();
        self.held_back.clear();
        self.found_sent = false;
        self.buffer.clear();
        self.own_hello_seen = false;
        for (member, reason) in left {
            self.losses.insert(member.node, LossSeen { at: now, reason: *reason });
            self.holders.remove(&member.node);
        }
        // What is known of a loss stays known when the node comes back: until it has said what it runs it is still lost, and its
        // grace goes on.
        let gone: Vec<NodeId> = left
            .iter()
            .map(|(member, _)| member.node)
            .filter(|node| !self.view.iter().any(|member| member.node == *node))
            .collect();
        if self.view.iter().all(|member| member.node != self.me) {
            return;
        }
        let view_tag = self.view_tag;
        self.fold(out, |state, conf, folded| {
            state.fold_membership(now, conf, view_tag, &gone, folded);
        });
        self.histories_open |= !joined.is_empty();
        if self.histories_open || self.joined.is_none() {
            self.say_hello(now, out);
        }
    }

    /// Changes the shared state by one of its own functions and tells what that means outside.
    fn fold(&mut self, out: &mut Out, change: impl FnOnce(&mut Replicated, &Conf, &mut Folded)) {
        let Some(Joined { state, conf }) = &mut self.joined else { return };
        let mut folded = Folded::default();
        let intents_before = state.intents_changed;
        change(state, conf, &mut folded);
        state.note_steps(conf, &mut folded);
        self.dirty = true;
        let intents = (state.intents_changed != intents_before).then(|| state.intents());
        if let Some(compiled) = folded.switched.then(|| shared::conf::load(&state.conf.text).conf).flatten() {
            *conf = Arc::new(compiled);
            state.fold_conf_in_force(conf, &mut folded);
            let reload_corosync = state.coordinator() == Some(self.me);
            let (text, conf) = (state.conf.clone(), Arc::clone(conf));
            self.bring_conf_into_force(text, conf, reload_corosync, out);
        }
        self.give_out(folded, out);
        if let Some(intents) = intents {
            self.intents = Some(intents.clone());
            out.actions.push(Action::SaveIntents(intents));
        }
    }

    fn give_out(&mut self, folded: Folded, out: &mut Out) {
        out.actions.extend(folded.facts.into_iter().map(Action::Publish));
        for (id, answer) in folded.answers {
            if self.unanswered.remove(&id).is_some() {
                out.actions.push(Action::Answer { id, answer });
            }
        }
        out.actions.extend(folded.finished.into_iter().map(|(id, outcome)| Action::Finish { id, outcome }));
        if let Some((conf, why)) = folded.offer_dropped {
            self.answer_offer(&conf, Some(why), out);
        }
    }

    /// The configuration of the state has just changed: this node's disk follows, and who offered it is answered.
    fn bring_conf_into_force(&mut self, conf: ConfText, compiled: Arc<Conf>, reload_corosync: bool, out: &mut Out) {
        self.disk = Some(conf.clone());
        self.disk_digest = Some(conf.digest.clone());
        self.disk_conf = Some(compiled);
        self.storing = None;
        self.answer_offer(&conf, None, out);
        out.actions.push(Action::SwitchConf { conf, reload_corosync });
    }

    fn answer_offer(&mut self, conf: &ConfText, dropped: Option<String>, out: &mut Out) {
        let waiting: Vec<OfferId> =
            self.offers.iter().filter(|(_, offered)| offered.digest == conf.digest).map(|(id, _)| *id).collect();
        for offer in waiting {
            self.offers.remove(&offer);
            let result = match &dropped {
                None => PutConf::Accepted { version: conf.version, digest: conf.digest.clone(), findings: Vec::new() },
                Some(why) => refused_conf("not-stored", format!("version {} was not taken: {why}", conf.version)),
            };
            out.actions.push(Action::AnswerConf { offer, result });
        }
    }

    fn say_hello(&mut self, now: Time, out: &mut Out) {
        if self.stage != Stage::InGroup || self.goodbye_said {
            return;
        }
        self.nonce += 1;
        self.pieces.clear();
        self.hello_at = self.joined.is_none().then(|| now.plus_ms(HELLO_AGAIN_MS));
        let stateless = self.joined.is_none();
        let state = self.state_tag();
        out.multicast(Message::Hello(Box::new(Hello {
            nonce: self.nonce,
            at: now,
            view: self.view_tag,
            incarnation: self.incarnation,
            boot: self.boot.clone(),
            protocol: self.protocol,
            state,
            claims: self.holder.claims(),
            conf: if stateless { self.disk.clone() } else { None },
            intents: if stateless { self.intents.clone() } else { None },
        })));
    }

    /// The history that this node holds, as others compare it with theirs.
    fn state_tag(&self) -> Option<StateTag> {
        self.replicated().map(|state| StateTag {
            branch: state.branch,
            history: state.history,
            was_quorate: self.was_quorate,
            quorate_ring: self.quorate_ring,
            decided: state.decided,
            lowest: state.coordinator().unwrap_or(self.me),
        })
    }

    // Delivered messages.

    fn handle_delivered(&mut self, now: Time, from: NodeId, message: Message, out: &mut Out) {
        // A release of the lower protocol cannot even read it; nobody may count on it having been understood.
        if self.stage == Stage::Cut || message.protocol() > self.protocol {
            return;
        }
        if let Message::Hello(hello) = &message
            && from != self.me
        {
            if hello.state.is_some() {
                self.holders.insert(from);
            } else {
                self.holders.remove(&from);
            }
        }
        if self.joined.is_some() {
            self.handle_as_holder_of_state(now, from, message, out);
        } else {
            self.handle_without_state(now, from, message, out);
        }
    }

    fn handle_without_state(&mut self, now: Time, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Hello(hello) => {
                if hello.view != self.view_tag {
                    return;
                }
                if from == self.me && hello.nonce == self.nonce {
                    self.own_hello_seen = true;
                    self.buffer.clear();
                } else if self.own_hello_seen {
                    self.keep(from, Message::Hello(hello.clone()));
                }
                self.hellos.insert(from, *hello);
            }
            Message::Found { at, view, members } => {
                self.handle_found(at, view, &members, out);
                // Somebody has said hello again meanwhile: found anew from the newest hellos.
                self.found_sent &= from != self.me || self.joined.is_some();
            }
            Message::Snapshot { to, nonce, view: _, state } => {
                if to == self.me && nonce == self.nonce && self.own_hello_seen {
                    self.install(now, *state, out);
                }
            }
            Message::SnapshotPiece { to, nonce, number, count, text } => {
                if to == self.me && nonce == self.nonce && self.own_hello_seen {
                    self.take_piece(now, from, number, count, text, out);
                }
            }
            Message::Goodbye { incarnation } if from == self.me && incarnation == self.incarnation => {
                self.go(out);
            }
            other => {
                if self.own_hello_seen {
                    self.keep(from, other);
                }
            }
        }
    }

    /// One more piece of the snapshot; the last one makes it whole. Whatever is wrong with it, the next hello asks anew.
    fn take_piece(&mut self, now: Time, from: NodeId, number: u32, count: u32, text: String, out: &mut Out) {
        let pieces = self.pieces.entry(from).or_default();
        if number as usize != pieces.len() || count > PIECES_MAX {
            return;
        }
        pieces.push(text);
        if pieces.len() < count as usize {
            return;
        }
        if let Ok(state) = serde_json::from_str(&std::mem::take(pieces).concat()) {
            self.install(now, state, out);
        }
    }

    /// The state as of now for a joiner, in one message or, where that would be too long, in several.
    fn give_state(&self, state: &Replicated, to: NodeId, hello: &Hello, out: &mut Out) {
        let nonce = hello.nonce;
        let text = serde_json::to_string(state).unwrap_or_default();
        if hello.protocol < 2 || self.protocol < 2 || text.len() <= self.piece_bytes {
            let state = Box::new(state.clone());
            return out.multicast(Message::Snapshot { to, nonce, view: self.view_tag, state });
        }
        let pieces = cut(&text, self.piece_bytes);
        let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        for (number, text) in (0..).zip(pieces) {
            out.multicast(Message::SnapshotPiece { to, nonce, number, count, text });
        }
    }

    fn keep(&mut self, from: NodeId, message: Message) {
        if self.buffer.len() >= BUFFER_MAX {
            self.own_hello_seen = false;
            self.buffer.clear();
            return;
        }
        self.buffer.push((from, message));
    }

    /// The founding: every member named in it builds the same state from the same hellos.
    fn handle_found(&mut self, at: Time, view: ViewTag, members: &BTreeMap<NodeId, u64>, out: &mut Out) {
        let complete = members.iter().all(|(node, nonce)| self.hellos.get(node).is_some_and(|h| h.nonce == *nonce));
        let fresh = self.hellos.values().all(|hello| hello.state.is_none());
        if view != self.view_tag || !complete || !fresh {
            return;
        }
        if !members.contains_key(&self.me) {
            // The snapshot that comes is of this very point: nothing from before it may be replayed on top.
            self.buffer.clear();
            // Their hellos are of before: from here on they hold a state, and nobody founds another one beside it.
            self.holders.extend(members.keys());
            return;
        }
        let hellos: BTreeMap<NodeId, Hello> =
            self.hellos.iter().filter(|(id, _)| members.contains_key(id)).map(|(&id, h)| (id, h.clone())).collect();
        let newest = hellos.values().filter_map(|hello| hello.conf.as_ref()).max_by_key(|c| (c.version, &c.digest));
        let Some(conf_text) = newest.cloned() else { return };
        let Some(conf) = shared::conf::load(&conf_text.text).conf else { return };
        let mut folded = Folded::default();
        let state = Replicated::found(at, &conf, conf_text, view, &hellos, &mut folded);
        self.enter_state(state, conf, out);
        self.give_out(folded, out);
        // Whoever said hello too late to be named is a joiner now; waiting for its next hello would cost seconds.
        let late: Vec<(NodeId, Hello)> = self
            .hellos
            .iter()
            .filter(|(id, _)| !members.contains_key(id))
            .map(|(&id, hello)| (id, hello.clone()))
            .collect();
        for (id, hello) in late {
            self.handle_hello(at, id, hello, out);
        }
    }

    fn install(&mut self, now: Time, state: Replicated, out: &mut Out) {
        let Some(conf) = shared::conf::load(&state.conf.text).conf else { return };
        if !state.members.contains_key(&self.me) {
            return;
        }
        self.enter_state(state, conf, out);
        for (from, message) in std::mem::take(&mut self.buffer) {
            self.handle_delivered(now, from, message, out);
        }
    }

    fn enter_state(&mut self, state: Replicated, conf: Conf, out: &mut Out) {
        self.hello_at = None;
        self.ready_said = None;
        self.dirty = true;
        // A version never goes down: what is newer here was in force once, or an administrator put it here, and is offered to all.
        self.newer = self.disk.take().filter(|disk| disk.version > state.conf.version);
        if self.newer.is_none() && self.disk_digest.as_ref() != Some(&state.conf.digest) {
            out.actions.push(Action::StoreConf { conf: state.conf.clone() });
            out.actions.push(Action::SwitchConf { conf: state.conf.clone(), reload_corosync: false });
            self.disk_digest = Some(state.conf.digest.clone());
        }
        if let Some(offer) = &state.offer {
            // Every member must store it, those that came after it was offered too.
            self.storing = Some(offer.conf.clone());
            out.actions.push(Action::StoreConf { conf: offer.conf.clone() });
        }
        // Kept here too: a member that gives up its state later says these in its hello, not those it once read from its disk.
        self.intents = Some(state.intents());
        out.actions.push(Action::SaveIntents(state.intents()));
        self.disk = Some(self.newer.clone().unwrap_or_else(|| state.conf.clone()));
        let conf = Arc::new(conf);
        self.disk_conf = Some(Arc::clone(&conf));
        self.joined = Some(Joined { state, conf });
    }

    /// Offers the newer configuration that this node brought with it.
    fn offer_newer(&mut self, now: Time, out: &mut Out) {
        let Some(joined) = &self.joined else { return };
        let Some(newer) = &self.newer else { return };
        let newest = joined.state.offer.as_ref().map_or(joined.state.conf.version, |offer| offer.conf.version);
        if newer.version <= newest {
            self.newer = None;
        } else if joined.state.members.get(&self.me).is_some_and(|member| member.has_state) && self.is_quorate() {
            let origin = format!("{} brought it: its cluster.conf was newer", self.name_of(self.me));
            let why = joined.state.accept(&joined.conf, &newer.text).err();
            let (conf, name) = (newer.clone(), self.name_of(self.me));
            self.newer = None;
            match why {
                None => out.multicast(Message::ConfOffer { at: now, conf, origin }),
                Some(why) => {
                    let text = format!(
                        "cluster.conf on {name} has version {}, newer than the one in force, and is not taken: {why}",
                        conf.version
                    );
                    self.publish(now, out, Subject::Node(name), FactKind::ConfRefused, text);
                }
            }
        }
    }

    fn handle_as_holder_of_state(&mut self, now: Time, from: NodeId, message: Message, out: &mut Out) {
        match message {
            Message::Hello(hello) => self.handle_hello(now, from, *hello, out),
            Message::Decide(decide) => self.handle_decide(now, from, &decide, out),
            Message::Report(report) => {
                self.fold(out, |state, conf, folded| state.fold_report(conf, from, &report, folded));
            }
            Message::FenceReport(report) => {
                self.fold(out, |state, conf, folded| state.fold_fence_report(conf, from, &report, folded));
            }
            Message::Progress { service, epoch, resources } => self.fold(out, |state, _, _| {
                if let Some(record) = state.services.get_mut(&service)
                    && record.holder == Some(from)
                    && record.epoch == epoch
                {
                    record.resources = resources;
                }
            }),
            Message::Request { at, request } => self.fold(out, |state, conf, folded| {
                if state.members.contains_key(&from) {
                    state.fold_request(at, conf, from, &request, folded);
                }
            }),
            Message::ConfOffer { at, conf, origin } => self.handle_conf_offer(at, from, conf, origin, out),
            Message::ConfStored { version, digest: _, failed } => {
                self.fold(out, |state, _, folded| state.fold_stored(from, version, failed.as_ref(), folded));
            }
            Message::Ready { at, incarnation, clean } => {
                self.fold(out, |state, conf, folded| {
                    state.fold_ready(at, conf, from, incarnation, clean, folded);
                });
            }
            Message::Leaving { incarnation } => self.fold(out, |state, _, _| {
                if let Some(member) = state.members.get_mut(&from).filter(|member| member.incarnation == incarnation) {
                    member.leaving = true;
                }
            }),
            Message::Goodbye { incarnation } => self.handle_goodbye(from, incarnation, out),
            Message::Restarting { at, incarnation } => self.fold(out, |state, conf, folded| {
                state.fold_restarting(at, conf, from, incarnation, folded);
            }),
            // For joiners only.
            Message::Found { .. } | Message::Snapshot { .. } | Message::SnapshotPiece { .. } => {}
        }
    }

    fn handle_hello(&mut self, now: Time, from: NodeId, hello: Hello, out: &mut Out) {
        if hello.view != self.view_tag {
            return;
        }
        self.hellos.insert(from, hello.clone());
        if let Some(theirs) = hello.state {
            if from != self.me {
                self.compare_histories(now, theirs, out);
            }
            return;
        }
        let mut admitted = false;
        self.fold(out, |state, conf, folded| admitted = state.fold_hello(hello.at, conf, from, &hello, folded));
        if from == self.me {
            // Sent before the founding reached this node. The others now take it for a joiner, so it says again how far it is.
            self.ready_said = None;
            return;
        }
        let giver = self.replicated().filter(|state| admitted && state.coordinator() == Some(self.me));
        if let Some(state) = giver {
            self.give_state(state, from, &hello, out);
        }
    }

    /// Law 6: another history is in the same group. The one that was quorate goes on; if both were, the one with the lower node
    /// id; the other stops what it runs and joins afresh.
    fn compare_histories(&mut self, now: Time, theirs: StateTag, out: &mut Out) {
        if self.state_tag().is_some_and(|mine| mine.branch != theirs.branch && !goes_on(&mine, &theirs)) {
            let text = "was on the losing side of a partition; it stops its services and joins afresh";
            self.demote(now, text, out);
        }
    }

    /// Gives up the state: what runs here is stopped, and the node joins as one that knows nothing.
    fn demote(&mut self, now: Time, text: &str, out: &mut Out) {
        // They may have said hello before they had it, and say no other while the membership stays.
        let joined = self.joined.take();
        (self.quorate_ring, self.quorate_last) = (0, 0);
        let others = joined.iter().flat_map(|joined| joined.state.state_holders());
        self.holders.extend(others.filter(|id| *id != self.me));
        self.flights.clear();
        self.held_back.clear();
        self.buffer.clear();
        self.own_hello_seen = false;
        self.ready_said = None;
        self.leave_said = false;
        self.holder.stop_all(&mut out.actions);
        if let Some(joined) = &joined {
            self.holder.stop_guests(&joined.conf, &mut out.actions);
        }
        for (id, _) in std::mem::take(&mut self.unanswered) {
            out.actions.push(Action::Answer {
                id,
                answer: refused(ResultCode::TryAgain, "the cluster has just come together again; try again"),
            });
        }
        for (offer, conf) in std::mem::take(&mut self.offers) {
            let text = format!("version {} was not taken: the cluster has just come together again", conf.version);
            out.actions.push(Action::AnswerConf { offer, result: refused_conf("not-stored", text) });
        }
        self.publish(
            now,
            out,
            Subject::Node(self.name_of(self.me)),
            FactKind::StoppedForeign,
            format!("{} {text}", self.name_of(self.me)),
        );
        self.say_hello(now, out);
    }

    fn handle_decide(&mut self, now: Time, from: NodeId, decide: &Decide, out: &mut Out) {
        let flight = Flight::of(&decide.decision);
        let against = self.joined.as_ref().and_then(|Joined { state, conf }| {
            let unlawful = || (self.law)(state, Proposal::Decide(from, decide)).err().map(|why| why.to_string());
            outdated(state, conf, decide).or_else(unlawful)
        });
        if from == self.me {
            self.flights.remove(&flight);
        }
        if let Some(why) = against {
            if from == self.me {
                self.held_back.insert(flight, now.plus_ms(HELD_BACK_MS));
            }
            let text = format!("A decision by {} was ignored: {why}", self.name_of(from));
            self.publish(now, out, Subject::Cluster, FactKind::DecisionIgnored, text);
            if decide.view == self.view_tag && decide.branch != joined_branch(&self.joined) {
                // Another history speaks in this very membership: find out which one goes on.
                self.say_hello(now, out);
            }
            return;
        }
        self.fold(out, |state, conf, folded| state.fold_decide(conf, decide, folded));
    }

    fn handle_conf_offer(&mut self, at: Time, from: NodeId, conf: ConfText, origin: String, out: &mut Out) {
        let mut taken = false;
        let compiled = shared::conf::load(&conf.text).conf.filter(|_| shared::conf::digest(&conf.text) == conf.digest);
        self.fold(out, |state, now, folded| {
            let Some(compiled) = compiled.filter(|_| state.members.contains_key(&from)) else { return };
            // A node may have come, or have been lost, while the offer was on its way.
            match state.still_needed(&compiled, now) {
                Some((why, hint)) => folded.offer_dropped = Some((conf.clone(), format!("{why}; {hint}"))),
                None => taken = state.fold_offer(at, conf.clone(), origin, folded),
            }
        });
        if taken {
            self.storing = Some(conf.clone());
            out.actions.push(Action::StoreConf { conf });
        }
    }

    fn handle_goodbye(&mut self, from: NodeId, incarnation: Incarnation, out: &mut Out) {
        let law = self.law;
        let mut lawful = false;
        self.fold(out, |state, _, _| {
            lawful = law(state, Proposal::Goodbye(from)).is_ok();
            if let Some(member) = state.members.get_mut(&from).filter(|member| member.incarnation == incarnation) {
                member.goodbye = lawful;
            }
        });
        if from == self.me {
            if lawful {
                self.go(out);
            } else {
                self.goodbye_said = false;
            }
        }
    }

    fn go(&mut self, out: &mut Out) {
        out.actions.push(Action::LeaveGroup);
        out.actions.push(Action::Exit { reason: ExitReason::Left });
        self.stage = Stage::Ended;
    }

    // Requests and configurations of operators on this node.

    fn handle_request(&mut self, now: Time, request: Request, out: &mut Out) {
        let here = self.quorum_here();
        let id = request.id.clone();
        let no = |code, text: &str| Action::Answer { id: id.clone(), answer: refused(code, text) };
        if self.joined.is_none() {
            out.actions.push(no(
                ResultCode::TryAgain,
                "this node has not joined the cluster yet; ask another member or try again",
            ));
        } else if here == QuorumHere::No && !matches!(request.command, Command::AcknowledgeFence { .. }) {
            out.actions.push(no(ResultCode::NeedsQuorum, "the members in reach are not enough; see clustat"));
        } else if self.restarting {
            out.actions.push(no(ResultCode::TryAgain, "rgmanager of this node is being restarted; try again"));
        } else if self.leaving && !matches!(request.command, Command::Disable { .. } | Command::Stop { .. }) {
            // What keeps it from leaving can be stopped: all members may be leaving.
            out.actions.push(no(ResultCode::TryAgain, "this node is leaving the cluster; ask another member"));
        } else {
            self.unanswered.insert(request.id.clone(), request.clone());
            out.multicast(Message::Request { at: now, request });
        }
    }

    fn handle_offer(&mut self, now: Time, offer: OfferId, text: String, origin: String, out: &mut Out) {
        let answer = |result| Action::AnswerConf { offer, result };
        let Some(joined) = &self.joined else {
            out.actions.push(answer(refused_conf("not-joined", "this node has not joined the cluster yet".into())));
            return;
        };
        if self.quorum_here() != QuorumHere::Yes {
            out.actions
                .push(answer(refused_conf("no-quorum", "a configuration can only be changed with quorum".into())));
            return;
        }
        if text.len() > CONF_MAX_BYTES {
            let text = format!("a cluster.conf of {} bytes is longer than {CONF_MAX_BYTES}", text.len());
            out.actions.push(answer(refused_conf("conf-too-long", text)));
            return;
        }
        let loaded = shared::conf::load(&text);
        let mut findings = shared::conf::check::check_successor(&joined.conf, &loaded);
        findings.extend(loaded.findings);
        let present = shared::conf::load(&joined.state.conf.text);
        shared::conf::drop_known_errors(&present.findings, &mut findings);
        let needed = loaded.conf.as_ref().and_then(|conf| joined.state.still_needed(conf, &joined.conf));
        findings.extend(needed.map(|(text, hint)| node_needed(text, hint)));
        findings.retain(|finding| finding.severity == Severity::Error);
        let (Some(conf), true) = (loaded.conf, findings.is_empty()) else {
            out.actions.push(answer(PutConf::Refused { findings }));
            return;
        };
        let conf = ConfText { version: conf.version, digest: shared::conf::digest(&text), text };
        self.offers.insert(offer, conf.clone());
        out.multicast(Message::ConfOffer { at: now, conf, origin });
    }

    fn handle_stored(&mut self, version: ConfVersion, digest: ConfDigest, stored: Result<(), String>, out: &mut Out) {
        if self.storing.as_ref().is_none_or(|conf| conf.version != version || conf.digest != digest) {
            return;
        }
        out.multicast(Message::ConfStored { version, digest, failed: stored.err() });
    }

    fn handle_corosync_lost(&mut self, now: Time, out: &mut Out) {
        self.stage = Stage::Cut;
        self.joined = None;
        self.quorum = None;
        self.view.clear();
        self.hello_at = None;
        self.dirty = true;
        self.holder.stop_all(&mut out.actions);
        let text = "corosync is gone; everything here is being stopped".to_owned();
        self.publish(now, out, Subject::Cluster, FactKind::QuorumLost, text);
    }

    // Reacting.

    fn react(&mut self, now: Time, out: &mut Out) {
        self.tell_quorum(now, out);
        self.histories_open &= !self.view.iter().all(|member| self.hellos.contains_key(&member.node));
        if self.joined.as_ref().is_some_and(|joined| !joined.state.members.contains_key(&self.me)) {
            // Made a victim while it lives. If those who should fence it die first, nobody could join one that holds a state
            // without being a member of it.
            self.demote(now, "is to be fenced; it stops its services", out);
        }
        if self.stage == Stage::Probing && self.holder.is_probed() {
            self.holder.claim_probed();
            self.stage = Stage::InGroup;
            self.dirty = true;
            out.actions.push(Action::JoinGroup);
        }
        self.follow_state(now, out);
        self.say_ready(now, out);
        self.offer_newer(now, out);
        self.leave_by_steps(out);
        self.restart_by_steps(now, out);
        self.found(now, out);
        if self.hello_at.is_some_and(|at| at <= now) {
            self.say_hello(now, out);
        }
        self.decide(now, out);
        self.protect(now, out);
        if self.stage == Stage::Cut && self.holder.is_settled() {
            let failed_to_stop = self.holder.failed_to_stop();
            self.stage = Stage::Ended;
            out.actions.push(Action::Exit { reason: ExitReason::CorosyncLost { failed_to_stop } });
        }
    }

    fn follow_state(&mut self, now: Time, out: &mut Out) {
        let quorum = self.quorum_here();
        let mut said = Vec::new();
        let state = self.joined.as_ref().map(|joined| (&joined.state, &*joined.conf));
        self.holder.reconcile(now, state, self.me, quorum, &mut out.actions, &mut said);
        if let Some(joined) = &self.joined {
            let me = self.me;
            self.fences.retain(|id, running| {
                let lost = joined.state.lost.get(&id.victim);
                *running
                    || lost
                        .is_some_and(|lost| lost.attempt == id.attempt && lost.running.is_some_and(|(by, _)| by == me))
            });
            if quorum != QuorumHere::No {
                self.holder.start_checks(now, &joined.state, &mut out.actions);
            }
            for (&victim, lost) in &joined.state.lost {
                let id = FenceId { victim, attempt: lost.attempt };
                let mine = lost.running.filter(|(by, _)| *by == self.me);
                let due = mine.filter(|_| quorum == QuorumHere::Yes && !self.fences.contains_key(&id));
                let Some((_, method)) = due else { continue };
                if let Some((victim, method)) = method_of(&joined.conf, victim, method) {
                    self.fences.insert(id, true);
                    out.actions.push(Action::RunFence { id, victim: victim.clone(), method: method.clone() });
                } else {
                    // While quorum was being counted a configuration without the method has come into force.
                    self.fences.insert(id, false);
                    out.multicast(Message::FenceReport(Box::new(FenceReport {
                        at: now,
                        victim,
                        attempt: id.attempt,
                        succeeded: false,
                        devices: Vec::new(),
                        witnessed_gone: false,
                    })));
                }
            }
        }
        self.say(now, said, out);
    }

    fn say(&mut self, now: Time, said: Vec<Said>, out: &mut Out) {
        self.dirty |= !said.is_empty();
        for word in said {
            let in_group = self.stage == Stage::InGroup;
            out.multicast(match word {
                Said::SelfFence { service, resource } => {
                    let reason = RebootReason::StopFailed { resource };
                    out.actions.push(Action::Reboot { services: vec![service], reason });
                    continue;
                }
                _ if !in_group => continue,
                Said::Report { service, epoch, outcome } => Message::Report(Box::new(Report {
                    at: now,
                    incarnation: self.incarnation,
                    service,
                    epoch,
                    outcome,
                })),
                Said::Progress { service, epoch, resources } => Message::Progress { service, epoch, resources },
            });
        }
    }

    /// Tells the group once that the state is here, and once that nothing foreign runs here any more.
    fn say_ready(&mut self, now: Time, out: &mut Out) {
        let me = self.me;
        let known = self.replicated().and_then(|state| Some((state, state.members.get(&me)?)));
        let Some((state, member)) = known else { return };
        let granted = state.held_by(me).cloned().collect::<BTreeSet<_>>();
        let clean = self.holder.claims().keys().all(|service| granted.contains(service));
        if member.clean || self.ready_said == Some(clean) || (self.ready_said.is_some() && !clean) {
            return;
        }
        self.ready_said = Some(clean);
        out.multicast(Message::Ready { at: now, incarnation: self.incarnation, clean });
    }

    /// Leaving: services are given away first, then the goodbye is said, and its delivery ends it.
    fn leave_by_steps(&mut self, out: &mut Out) {
        if !self.leaving || self.stage != Stage::InGroup || self.goodbye_said {
            return;
        }
        let incarnation = self.incarnation;
        if self.view.is_empty() {
            return self.go(out);
        }
        match &self.joined {
            Some(joined) => {
                if !self.leave_said {
                    self.leave_said = true;
                    out.multicast(Message::Leaving { incarnation });
                }
                // Without quorum everything here stops anyway.
                if joined.state.owes(self.me).is_none() && self.holder.is_idle() {
                    self.goodbye_said = true;
                    out.multicast(Message::Goodbye { incarnation });
                }
            }
            None => {
                self.holder.stop_all(&mut out.actions);
                if self.holder.is_idle() {
                    self.goodbye_said = true;
                    out.multicast(Message::Goodbye { incarnation });
                }
            }
        }
    }

    /// Restarting: the group is told, then what the agents are doing ends, then this node goes and leaves everything running.
    fn restart_by_steps(&mut self, now: Time, out: &mut Out) {
        if !self.restarting || self.leaving || !matches!(self.stage, Stage::Probing | Stage::InGroup) {
            return;
        }
        if let Some(joined) = &self.joined
            && joined.state.protocol() >= 2
            && let Some(member) = joined.state.members.get(&self.me).filter(|member| !member.restarting)
        {
            let incarnation = member.incarnation;
            if !std::mem::replace(&mut self.restart_said, true) {
                out.multicast(Message::Restarting { at: now, incarnation });
            }
            return;
        }
        let fencing = self.fences.values().any(|running| *running);
        if !self.holder.is_steady() || fencing || !self.unanswered.is_empty() {
            return;
        }
        if self.stage == Stage::InGroup {
            out.actions.push(Action::LeaveGroup);
        }
        out.actions.push(Action::Exit { reason: ExitReason::Restart });
        self.stage = Stage::Ended;
    }

    /// The lowest node founds the cluster when nobody has a state, all have said hello (or were silent too long), and there is
    /// quorum.
    fn found(&mut self, now: Time, out: &mut Out) {
        if self.joined.is_some() || self.found_sent || self.stage != Stage::InGroup || !self.own_hello_seen {
            return;
        }
        let stateless = self.holders.is_empty() && self.hellos.values().all(|hello| hello.state.is_none());
        let lowest = self.hellos.keys().next() == Some(&self.me);
        // A node in the ring whose daemon is still starting may know of newer intents or a newer configuration.
        let expected = self.ring.members.iter().copied().chain(self.view.iter().map(|member| member.node));
        let all_there = expected.into_iter().all(|node| self.hellos.contains_key(&node));
        let waited = now >= self.view_at.plus_ms(SILENT_FOUNDER_MS);
        if stateless && lowest && (all_there || waited) && self.is_quorate() && !self.leaving {
            self.found_sent = true;
            let members = self.hellos.iter().map(|(&id, hello)| (id, hello.nonce)).collect();
            out.multicast(Message::Found { at: now, view: self.view_tag, members });
        }
    }

    fn plan(&self, now: Time) -> Option<coordinator::Plan> {
        let joined = self.joined.as_ref()?;
        if joined.state.coordinator() != Some(self.me) || !self.is_quorate() {
            return None;
        }
        // Two histories in one quorate group would both decide. Who says nothing for long holds none.
        if self.histories_open && now < self.view_at.plus_ms(SILENT_FOUNDER_MS) {
            return None;
        }
        let mut flights = self.flights.clone();
        flights.extend(self.held_back.keys().cloned());
        let local = coordinator::Local {
            now,
            losses: &self.losses,
            flights: &flights,
            ring: &self.ring.members,
            quorum_regained: self.quorum_regained,
        };
        Some(coordinator::plan(&joined.state, &joined.conf, &local))
    }

    fn decide(&mut self, now: Time, out: &mut Out) {
        self.held_back.retain(|_, until| *until > now);
        let Some(plan) = self.plan(now) else { return };
        let branch = joined_branch(&self.joined);
        let joins = self.joined.as_ref().map_or(0, |joined| joined.state.joins);
        for (decision, reason) in plan.decisions {
            self.flights.insert(Flight::of(&decision));
            let decide = Decide { view: self.view_tag, branch, at: now, joins, decision, reason };
            out.multicast(Message::Decide(Box::new(decide)));
        }
    }

    fn tell_quorum(&mut self, now: Time, out: &mut Out) {
        let quorate = match self.quorum_here() {
            QuorumHere::Yes => true,
            QuorumHere::No => false,
            QuorumHere::Unknown => return,
        };
        if quorate && self.joined.is_some() {
            // Kept while quorum is away: who was quorate later than others has decided what they have not heard.
            self.quorate_last = self.ring.seq;
        }
        let before = self.quorate_before.replace(quorate);
        match (before, quorate) {
            (Some(true), false) => {
                let text = "Quorum Dissolved: services here are stopped".to_owned();
                self.publish(now, out, Subject::Cluster, FactKind::QuorumLost, text);
            }
            (Some(false), true) => {
                self.quorum_regained = Some(now);
                self.publish(now, out, Subject::Cluster, FactKind::QuorumRegained, "Quorum Regained".to_owned());
            }
            // A daemon that begins without quorum: what the one before left running was to be stopped.
            (None, false) if !self.holder.is_idle() => {
                let text = "No quorum: what rgmanager found running here is stopped".to_owned();
                self.publish(now, out, Subject::Cluster, FactKind::QuorumLost, text);
            }
            _ => {}
        }
        let coordinator = self.joined.as_ref().and_then(|joined| joined.state.coordinator());
        if coordinator != self.coordinator_before {
            // The one before may have been lost between switching a configuration and telling corosync.
            if coordinator == Some(self.me) && self.coordinator_before.is_some() {
                out.actions.push(Action::ReloadCorosync);
            }
            self.coordinator_before = coordinator;
            self.dirty = true;
        }
    }

    /// When this node reboots itself; `None`: it has quorum, runs nothing, or cluster.conf does not ask for it.
    fn reboot_at(&self) -> Option<Time> {
        let since = self.inquorate_since.filter(|_| !self.reboot_said && !self.holder.is_idle())?;
        Some(since.plus_ms(self.conf()?.rm.quorum_loss_reboot_ms?))
    }

    /// Without quorum the others count on this node running nothing. One that cannot keep that promise in time reboots itself.
    fn protect(&mut self, now: Time, out: &mut Out) {
        let without = self.stage == Stage::Cut || self.quorum_here() == QuorumHere::No;
        match (without, self.quorum_here()) {
            (true, _) => {
                self.inquorate_since.get_or_insert(now);
            }
            (false, QuorumHere::Yes) => self.inquorate_since = None,
            // While votes are counted the time goes on.
            (false, _) => {}
        }
        if self.reboot_at().is_none_or(|at| at > now) {
            return;
        }
        self.reboot_said = true;
        let services = self.holder.not_stopped();
        let names = services.iter().map(|name| name.0.clone()).collect::<Vec<_>>().join(", ");
        let name = self.name_of(self.me);
        let text = format!("{name} has no quorum and cannot stop {names} in time; it reboots itself");
        self.publish(now, out, Subject::Node(name), FactKind::QuorumLost, text);
        out.actions.push(Action::Reboot { services, reason: RebootReason::QuorumLost });
    }

    fn publish(&mut self, at: Time, out: &mut Out, subject: Subject, kind: FactKind, text: String) {
        let severity = match kind {
            FactKind::QuorumRegained => FactSeverity::Info,
            _ => FactSeverity::Warning,
        };
        self.dirty = true;
        out.actions.push(Action::Publish(Fact { at, subject, severity, kind, text, reason: None }));
    }
}

fn joined_branch(joined: &Option<Joined>) -> crate::message::Branch {
    joined.as_ref().map(|joined| joined.state.branch).unwrap_or_default()
}

/// Whether `mine` wins over `theirs` (design law 6).
fn goes_on(mine: &StateTag, theirs: &StateTag) -> bool {
    let weight = |tag: &StateTag| {
        let decided = if mine.was_quorate && theirs.was_quorate { 0 } else { tag.decided };
        // The one with the older ring has missed that it was cut off, or stood still, while the others went on.
        (tag.history, tag.quorate_ring, tag.was_quorate, decided, std::cmp::Reverse(tag.lowest))
    };
    weight(mine) > weight(theirs)
}

/// A decision about a service names the epoch it was made for.
fn outdated(state: &Replicated, conf: &Conf, decide: &Decide) -> Option<String> {
    use crate::message::Decision;
    match &decide.decision {
        Decision::Start { service, epoch, .. }
        | Decision::Stop { service, epoch, .. }
        | Decision::Migrate { service, epoch, .. }
        | Decision::Decline { service, epoch, .. }
        | Decision::Settle { service, epoch, .. } => match state.services.get(service) {
            None => Some(format!("there is no {service}")),
            Some(record) if record.epoch != *epoch => Some(format!("{service} has changed meanwhile")),
            Some(_) => match &decide.decision {
                Decision::Migrate { .. } | Decision::Decline { .. } if state.protocol() < 2 => {
                    Some("a member of an older release cannot follow it".into())
                }
                Decision::Start { on, .. } | Decision::Migrate { to: on, .. } if state.standby.contains(on) => {
                    Some(format!("node id {on} has been put in standby"))
                }
                // Two coordinators in a row may each have had a service for the same node.
                Decision::Start { on, .. } | Decision::Migrate { to: on, .. }
                    if !may_share(state, conf, service, *on) =>
                {
                    Some(format!("node id {on} has been taken meanwhile, and an exclusive service shares it with none"))
                }
                _ => None,
            },
        },
        Decision::Fence { victim, by, method, attempt } => match state.lost.get(victim) {
            Some(lost) if lost.attempt + 1 == *attempt && lost.running.is_none() => {
                // Nobody would ever report the end of an attempt that nobody can make.
                let fencer = state.members.get(by).is_some_and(|member| member.has_state);
                let can = fencer && method_of(conf, *victim, *method).is_some();
                (!can).then(|| format!("node id {by} or the fence method is gone meanwhile"))
            }
            _ => Some(format!("node id {victim} need not be fenced any more")),
        },
        Decision::Unfenceable { victim: node } | Decision::Assume { node, .. } => {
            (!state.lost.contains_key(node)).then(|| format!("node id {node} is not lost any more"))
        }
        Decision::Switch { .. } => None,
    }
}

/// The fence method of a node by its place in cluster.conf, with the node's name.
fn method_of(conf: &Conf, node: NodeId, method: u32) -> Option<(&NodeName, &FenceMethod)> {
    let node = conf.node_by_id(node)?;
    Some((&node.name, node.methods.get(method as usize)?))
}

/// Whether the exclusive rule lets the service start there, as things are at delivery.
fn may_share(state: &Replicated, conf: &Conf, service: &ServiceName, on: NodeId) -> bool {
    conf.service(service).is_none_or(|service| Load::of(state, conf).admits(on, service))
}

/// Cuts a text into pieces of at most so many bytes, never inside a character.
fn cut(text: &str, bytes: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = bytes.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        // A character longer than a piece: it goes whole.
        if end == 0 {
            end = rest.chars().next().map_or(rest.len(), char::len_utf8);
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece.to_owned());
        rest = after;
    }
    pieces
}

fn tag_view(members: &[GroupMember]) -> ViewTag {
    let mut sorted = members.to_vec();
    sorted.sort();
    let mut hash = Fnv::new();
    for member in sorted {
        hash.write(u64::from(member.node.0));
        hash.write(u64::from(member.pid));
    }
    ViewTag(hash.finish())
}

fn refused(code: ResultCode, text: &str) -> Answer {
    Answer::Refused(Refusal { code, text: text.to_owned() })
}

fn node_needed(text: String, hint: String) -> Finding {
    let place = Place { line: 1, column: 1, path: "/cluster/clusternodes".into() };
    Finding { rule: "node-taken-out-too-early".into(), severity: Severity::Error, place, text, hint }
}

fn refused_conf(rule: &str, text: String) -> PutConf {
    let place = Place { line: 1, column: 1, path: "/cluster".into() };
    let hint = match rule {
        "not-joined" => "try again when clustat lists this node with rgmanager, or on another member",
        "no-quorum" => "bring more nodes back, then try again; clustat shows who is missing",
        _ => "look at the configuration in force and try again",
    };
    let hint = hint.to_owned();
    PutConf::Refused { findings: vec![Finding { rule: rule.into(), severity: Severity::Error, place, text, hint }] }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_is_cut_between_characters_and_no_piece_is_longer_than_asked() {
        assert_eq!(cut("ab\u{fc}cd", 3), ["ab", "\u{fc}c", "d"]);
        assert_eq!(cut("ab\u{fc}", 2), ["ab", "\u{fc}"]);
        // A character that is longer than a piece goes whole.
        assert_eq!(cut("a\u{65e5}b", 2), ["a", "\u{65e5}", "b"]);
        assert!(cut("", 2).is_empty());
    }
}
