//! A model of corosync: totem rings, the total order of each ring, the group `rgmanager` on top, and what each node's
//! process is told. What it does and does not do is written down in docs/decisions/0001-cpg-event-order.md, from traces of
//! three real nodes.
//!
//! Called by the simulator, and by the test that holds it against the traces (tests/cpg_traces). Knows nothing of the engine:
//! messages are opaque. Where corosync leaves a choice (what is ordered next, who receives when, how much of a broken ring
//! each side still gets, numbers of rings that came to nothing) the caller chooses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use engine::{GroupMember, LeftReason, Message};
use shared::ids::NodeId;

/// Names one ring. Two sides of a split may have rings with the same number, formed by different nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId {
    pub seq: u64,
    pub node: NodeId,
}

/// Where an event stands in the one order. `side`: delivered while that ring was formed, to its members only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub ring: RingId,
    pub index: u64,
    pub side: Option<RingId>,
}

/// Something with a place in the total order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<M = Message> {
    Message { from: GroupMember, message: Arc<M> },
    Join(GroupMember),
    Leave(GroupMember, LeftReason),
}

impl<M> Item<M> {
    fn sender(&self) -> NodeId {
        match self {
            Self::Message { from, .. } => from.node,
            Self::Join(member) | Self::Leave(member, _) => member.node,
        }
    }
}

/// What a process in the group is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<M = Message> {
    Membership { members: Vec<GroupMember>, left: Vec<(GroupMember, LeftReason)>, joined: Vec<GroupMember> },
    Ring { seq: u64, members: Vec<NodeId> },
    Message { from: NodeId, message: Arc<M> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ring<M> {
    members: Vec<NodeId>,
    log: Vec<Item<M>>,
}

/// One node's corosync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corosync<M = Message> {
    pub ring: Option<RingId>,
    /// How much of the ring's order this node has received.
    received: usize,
    /// Accepted for sending, without a place in the order yet.
    outgoing: VecDeque<Item<M>>,
    /// The group as of `received`.
    group: Vec<GroupMember>,
    /// The process here, once it asked to join.
    process: Option<GroupMember>,
    /// The process asked to leave; it is told everything up to its own leaving.
    leaving: bool,
    /// What the process has not taken yet.
    inbox: VecDeque<(Position, Told<M>)>,
    /// The number of the last ring, kept on disk.
    seq: u64,
}

/// All corosyncs and the network between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpg<M = Message> {
    up: BTreeMap<NodeId, Corosync<M>>,
    /// Last ring number of nodes that are down.
    seqs: BTreeMap<NodeId, u64>,
    rings: BTreeMap<RingId, Ring<M>>,
    /// Nodes with the same number reach each other.
    side: BTreeMap<NodeId, u32>,
}

impl<M> Default for Cpg<M> {
    fn default() -> Self {
        Self { up: BTreeMap::new(), seqs: BTreeMap::new(), rings: BTreeMap::new(), side: BTreeMap::new() }
    }
}

impl<M: Clone> Cpg<M> {
    /// corosync starts on a node, without a ring.
    pub fn start(&mut self, node: NodeId) {
        let seq = self.seqs.get(&node).copied().unwrap_or(0);
        self.side.entry(node).or_insert(0);
        let corosync = Corosync {
            ring: None,
            received: 0,
            outgoing: VecDeque::new(),
            group: Vec::new(),
            process: None,
            leaving: false,
            inbox: VecDeque::new(),
            seq,
        };
        self.up.insert(node, corosync);
    }

    /// corosync is gone, with everything that it held.
    pub fn stop(&mut self, node: NodeId) {
        if let Some(corosync) = self.up.remove(&node) {
            self.seqs.insert(node, corosync.seq);
        }
    }

    /// Whether corosync runs on the node.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.up.contains_key(&node)
    }

    /// Puts a node on a side of the network.
    pub fn put_on_side(&mut self, node: NodeId, side: u32) {
        self.side.insert(node, side);
    }

    /// The side of a node.
    pub fn side(&self, node: NodeId) -> u32 {
        self.side.get(&node).copied().unwrap_or(0)
    }

    /// Nodes that run corosync and reach this one, itself included.
    pub fn reach(&self, node: NodeId) -> Vec<NodeId> {
        let side = self.side(node);
        self.up.keys().copied().filter(|other| self.side(*other) == side).collect()
    }

    /// The ring of a node and its members.
    pub fn ring(&self, node: NodeId) -> Option<(RingId, &[NodeId])> {
        let id = self.up.get(&node)?.ring?;
        self.rings.get(&id).map(|ring| (id, ring.members.as_slice()))
    }

    /// Whether all members of the node's ring are there: only then the token goes round.
    pub fn is_whole(&self, node: NodeId) -> bool {
        let Some((id, members)) = self.ring(node) else { return false };
        let side = self.side(node);
        members.iter().all(|member| {
            self.side(*member) == side && self.up.get(member).is_some_and(|corosync| corosync.ring == Some(id))
        })
    }

    /// Whether the node's ring is not what the network now allows.
    pub fn needs_ring(&self, node: NodeId) -> bool {
        if !self.is_up(node) {
            return false;
        }
        match self.ring(node) {
            None => true,
            Some((_, members)) => !self.is_whole(node) || members != self.reach(node).as_slice(),
        }
    }

    fn send(&mut self, node: NodeId, item: Item<M>) {
        if let Some(corosync) = self.up.get_mut(&node) {
            corosync.outgoing.push_back(item);
        }
    }

    /// A process asks to join the group.
    pub fn join(&mut self, member: GroupMember) {
        if let Some(corosync) = self.up.get_mut(&member.node) {
            corosync.process = Some(member);
            corosync.leaving = false;
            corosync.inbox.clear();
        }
        self.send(member.node, Item::Join(member));
    }

    /// A process leaves, or died. One that leaves politely is told what comes before its leaving, and that; one that died, or
    /// ended while it was leaving, nothing more.
    pub fn leave(&mut self, member: GroupMember, reason: LeftReason) {
        let Some(corosync) = self.up.get_mut(&member.node).filter(|corosync| corosync.process == Some(member)) else {
            return;
        };
        let was_leaving = std::mem::replace(&mut corosync.leaving, true);
        if reason != LeftReason::Leave {
            corosync.process = None;
            corosync.inbox.clear();
        }
        if !was_leaving {
            self.send(member.node, Item::Leave(member, reason));
        }
    }

    /// corosync is told to stop under a living process: the others are told that the process is gone, like one that died, and
    /// of what it has handed over only the first `keep` still go out. `stop` follows.
    pub fn shut_down(&mut self, node: NodeId, keep: usize) {
        let Some(corosync) = self.up.get_mut(&node) else { return };
        corosync.outgoing.truncate(keep);
        if let Some(member) = corosync.process {
            corosync.leaving = false;
            self.leave(member, LeftReason::ProcessDown);
        }
    }

    /// The process on a node multicasts.
    pub fn multicast(&mut self, node: NodeId, message: Arc<M>) {
        let corosync = self.up.get(&node).filter(|corosync| !corosync.leaving);
        if let Some(from) = corosync.and_then(|corosync| corosync.process) {
            self.send(node, Item::Message { from, message });
        }
    }

    /// Whether the node has something without a place in the order.
    pub fn has_outgoing(&self, node: NodeId) -> bool {
        self.up.get(&node).is_some_and(|corosync| !corosync.outgoing.is_empty())
    }

    /// How many items of the node have no place in the order yet.
    pub fn outgoing(&self, node: NodeId) -> usize {
        self.up.get(&node).map_or(0, |corosync| corosync.outgoing.len())
    }

    /// What of the node would get the next place in the order.
    pub fn next_outgoing(&self, node: NodeId) -> Option<&Item<M>> {
        self.up.get(&node)?.outgoing.front()
    }

    /// What the process on the node would be told if the node received this now, and of its ring's order nothing before it.
    pub fn would_tell(&self, node: NodeId, item: &Item<M>) -> Vec<Told<M>> {
        let Some(corosync) = self.up.get(&node) else { return Vec::new() };
        let ring = self.ring(node).map(|(id, members)| (id.seq, members));
        corosync.take_in(ring, item).map(|(_, told)| told).unwrap_or_default()
    }

    /// The number of the node's last ring.
    pub fn seq(&self, node: NodeId) -> Option<u64> {
        let kept = self.seqs.get(&node).copied();
        self.up.get(&node).map(|corosync| corosync.seq).or(kept)
    }

    /// What has a place in the order of the node's ring.
    pub fn ordered(&self, node: NodeId) -> &[Item<M>] {
        let ring = self.up.get(&node).and_then(|corosync| self.rings.get(&corosync.ring?));
        ring.map(|ring| ring.log.as_slice()).unwrap_or_default()
    }

    /// What the node will receive next of its ring.
    pub fn next_item(&self, node: NodeId) -> Option<&Item<M>> {
        let corosync = self.up.get(&node)?;
        self.rings.get(&corosync.ring?)?.log.get(corosync.received)
    }

    /// The token is at the node: up to `limit` of its items get their place. Returns what was ordered.
    pub fn order(&mut self, node: NodeId, limit: usize) -> Vec<Item<M>> {
        if !self.is_whole(node) {
            return Vec::new();
        }
        let Some(corosync) = self.up.get_mut(&node) else { return Vec::new() };
        let Some(ring) = corosync.ring.and_then(|id| self.rings.get_mut(&id)) else { return Vec::new() };
        let count = corosync.outgoing.len().min(limit);
        let items: Vec<Item<M>> = corosync.outgoing.drain(..count).collect();
        ring.log.extend(items.iter().cloned());
        items
    }

    /// How many ordered items the node has not received yet.
    pub fn behind(&self, node: NodeId) -> usize {
        let Some(corosync) = self.up.get(&node) else { return 0 };
        let length = corosync.ring.and_then(|id| self.rings.get(&id)).map_or(0, |ring| ring.log.len());
        length.saturating_sub(corosync.received)
    }

    /// The node receives the next `count` items of its ring.
    pub fn receive(&mut self, node: NodeId, count: usize) {
        for _ in 0..count {
            let Some(corosync) = self.up.get(&node) else { return };
            let Some(id) = corosync.ring else { return };
            let index = corosync.received;
            let Some(item) = self.rings.get(&id).and_then(|ring| ring.log.get(index)).cloned() else { return };
            self.take_in(node, Position { ring: id, index: index as u64 + 3, side: None }, &item);
            if let Some(corosync) = self.up.get_mut(&node) {
                corosync.received += 1;
            }
        }
    }

    fn take_in(&mut self, node: NodeId, at: Position, item: &Item<M>) {
        let ring = self.ring(node).map(|(id, members)| (id.seq, members));
        let taken = self.up.get(&node).and_then(|corosync| corosync.take_in(ring, item));
        let (Some((group, told)), Some(corosync)) = (taken, self.up.get_mut(&node)) else { return };
        if let Some(group) = group {
            corosync.group = group;
        }
        corosync.inbox.extend(told.into_iter().map(|told| (at, told)));
        if let (Item::Leave(member, _), Some(process)) = (item, corosync.process)
            && *member == process
        {
            corosync.process = None;
        }
    }

    /// These nodes form a ring. Those that come from the same old ring first deliver the same rest of it: what any of them
    /// has, perhaps more, and what any of them has sent. `skipped`: numbers used up by rings that came to nothing. `choose`:
    /// for each old ring that broke, a number below the one it is given: how much more of it is received than any had.
    pub fn form_ring(&mut self, nodes: &[NodeId], skipped: u64, mut choose: impl FnMut(usize) -> usize) {
        let Some(&lowest) = nodes.iter().min() else { return };
        let seq = nodes.iter().filter_map(|node| self.up.get(node)).map(|corosync| corosync.seq).max().unwrap_or(0);
        let seq = seq + 4 + skipped;
        let id = RingId { seq, node: lowest };
        let mut members = nodes.to_vec();
        members.sort();
        let mut by_old: BTreeMap<Option<RingId>, Vec<NodeId>> = BTreeMap::new();
        for &node in &members {
            let old = self.up.get(&node).and_then(|corosync| corosync.ring);
            by_old.entry(old).or_default().push(node);
        }
        for (old, together) in &by_old {
            if let Some(old) = old {
                self.flush(*old, together, id, &mut choose);
            }
        }
        let here: BTreeMap<NodeId, Vec<GroupMember>> = members
            .iter()
            .map(|node| {
                let group = self.up.get(node).map(|corosync| corosync.group.as_slice()).unwrap_or_default();
                (*node, group.iter().copied().filter(|member| member.node == *node).collect())
            })
            .collect();
        self.rings.insert(id, Ring { members: members.clone(), log: Vec::new() });
        for (old, together) in by_old {
            for node in together.iter().copied() {
                let stayed = |other: NodeId| if old.is_some() { together.contains(&other) } else { other == node };
                let came: Vec<GroupMember> =
                    members.iter().filter(|other| !stayed(**other)).flat_map(|other| here[other].clone()).collect();
                self.change_ring(node, id, &members, stayed, came);
            }
        }
        self.forget_rings();
    }

    fn flush(&mut self, old: RingId, together: &[NodeId], side: RingId, choose: &mut impl FnMut(usize) -> usize) {
        let Some(ring) = self.rings.get(&old) else { return };
        let length = ring.log.len();
        let most = together.iter().filter_map(|node| self.up.get(node)).map(|corosync| corosync.received).max();
        let most = most.unwrap_or(0).min(length);
        let whole = ring.members.iter().all(|member| together.contains(member));
        let cut = if whole { length } else { most + choose(length - most + 1) };
        let own: Vec<(usize, Item<M>)> = ring
            .log
            .iter()
            .enumerate()
            .skip(cut)
            .filter(|(_, item)| together.contains(&item.sender()))
            .map(|(index, item)| (index, item.clone()))
            .collect();
        for &node in together {
            let received = self.up.get(&node).map_or(0, |corosync| corosync.received);
            self.receive(node, cut.saturating_sub(received));
            for (index, item) in &own {
                let at = Position { ring: old, index: *index as u64 + 3, side: Some(side) };
                self.take_in(node, at, item);
            }
        }
    }

    fn change_ring(
        &mut self,
        node: NodeId,
        id: RingId,
        members: &[NodeId],
        stayed: impl Fn(NodeId) -> bool,
        came: Vec<GroupMember>,
    ) {
        let Some(corosync) = self.up.get_mut(&node) else { return };
        let (kept, gone): (Vec<GroupMember>, Vec<GroupMember>) =
            corosync.group.iter().copied().partition(|member| stayed(member.node));
        corosync.group = kept;
        let at = |index| Position { ring: id, index, side: None };
        if !gone.is_empty() {
            let members = corosync.group.clone();
            let left = gone.into_iter().map(|member| (member, LeftReason::NodeDown)).collect();
            corosync.tell(at(0), Told::Membership { members, left, joined: Vec::new() });
        }
        if !came.is_empty() {
            corosync.group.extend(came.iter().copied());
            corosync.group.sort();
            let members = corosync.group.clone();
            corosync.tell(at(1), Told::Membership { members, left: Vec::new(), joined: came });
        }
        corosync.tell(at(2), Told::Ring { seq: id.seq, members: members.to_vec() });
        corosync.ring = Some(id);
        corosync.received = 0;
        corosync.seq = id.seq;
    }

    fn forget_rings(&mut self) {
        let used: Vec<RingId> = self.up.values().filter_map(|corosync| corosync.ring).collect();
        self.rings.retain(|id, _| used.contains(id));
    }

    /// Whether the process on the node has something to take.
    pub fn has_told(&self, node: NodeId) -> bool {
        self.up.get(&node).is_some_and(|corosync| !corosync.inbox.is_empty())
    }

    /// The process takes the next event.
    pub fn take_told(&mut self, node: NodeId) -> Option<(Position, Told<M>)> {
        self.up.get_mut(&node)?.inbox.pop_front()
    }

    /// The process that a node's corosync serves.
    pub fn process(&self, node: NodeId) -> Option<GroupMember> {
        self.up.get(&node)?.process
    }
}

/// The group after an item, if it changes, and what the process is told of it.
type Taken<M> = (Option<Vec<GroupMember>>, Vec<Told<M>>);

impl<M: Clone> Corosync<M> {
    /// What comes of this item here; `None` if nothing does. `ring`: number and
    /// members of the node's ring.
    fn take_in(&self, ring: Option<(u64, &[NodeId])>, item: &Item<M>) -> Option<Taken<M>> {
        // Only a process that is in the group is told anything, its own coming and going included.
        let in_group = self.process.is_some_and(|process| self.group.contains(&process));
        match item {
            Item::Message { from, message } => {
                let told = Told::Message { from: from.node, message: Arc::clone(message) };
                (in_group && self.group.contains(from)).then(|| (None, vec![told]))
            }
            Item::Join(member) => {
                if self.group.contains(member) {
                    return None;
                }
                let mut group = self.group.clone();
                group.push(*member);
                group.sort();
                let mut told = Vec::new();
                let own = self.process == Some(*member);
                if in_group || own {
                    told.push(Told::Membership { members: group.clone(), left: Vec::new(), joined: vec![*member] });
                }
                if let Some((seq, members)) = ring.filter(|_| own) {
                    told.push(Told::Ring { seq, members: members.to_vec() });
                }
                Some((Some(group), told))
            }
            Item::Leave(member, reason) => {
                if !self.group.contains(member) {
                    return None;
                }
                let group: Vec<GroupMember> = self.group.iter().copied().filter(|other| other != member).collect();
                let left = vec![(*member, *reason)];
                let told = Told::Membership { members: group.clone(), left, joined: Vec::new() };
                Some((Some(group), if in_group { vec![told] } else { Vec::new() }))
            }
        }
    }

    fn tell(&mut self, at: Position, told: Told<M>) {
        if self.process.is_some_and(|process| self.group.contains(&process)) {
            self.inbox.push_back((at, told));
        }
    }
}
