//! Who in the group is the rgmanager of its node, and what of that which is said there can be taken for a message.
//!
//! Asked by the driver for everything that corosync tells of the group. Any process of root may join the group and say anything:
//! of each node the engine sees one process, and of that one only what can be read. The rest is dropped and told once per burst.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine::{GroupMember, LeftReason, Message};
use shared::ids::NodeId;

use crate::corosync;

/// Nonsense that comes sooner than this after the last is the same burst.
const BURST_PAUSE: Duration = Duration::from_secs(10);

/// Members as the engine is to see them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) members: Vec<GroupMember>,
    pub(super) left: Vec<(GroupMember, LeftReason)>,
    pub(super) joined: Vec<GroupMember>,
}

/// The group, as it is.
#[derive(Debug)]
pub(super) struct Group {
    /// This process.
    own: corosync::Member,
    /// The process of each node that is its rgmanager.
    speakers: BTreeMap<NodeId, u32>,
    bursts: BTreeMap<corosync::Member, Burst>,
}

#[derive(Debug)]
struct Burst {
    last: Instant,
    /// Dropped without a word since the burst was told.
    silent: u64,
}

impl Group {
    /// A group that this process is not in yet.
    pub(super) fn of(own: corosync::Member) -> Self {
        Self { own, speakers: BTreeMap::new(), bursts: BTreeMap::new() }
    }

    /// The processes in the group changed. Whoever comes to a node that has a speaker is a stranger and stays
    /// one: a node whose rgmanager ends is lost, whoever else of it is still in the group.
    pub(super) fn change(
        &mut self,
        members: &[corosync::Member],
        left: &[(corosync::Member, corosync::LeftReason)],
        joined: &[corosync::Member],
    ) -> Change {
        let is_speaker = |speakers: &BTreeMap<NodeId, u32>, member: &corosync::Member| {
            speakers.get(&member.node) == Some(&member.pid)
        };
        let gone: Vec<_> = left.iter().filter(|(member, _)| is_speaker(&self.speakers, member)).copied().collect();
        for (member, _) in left {
            self.bursts.remove(member);
            if is_speaker(&self.speakers, member) {
                self.speakers.remove(&member.node);
            }
        }
        if joined.contains(&self.own) {
            // Those who were there before this process: which of two of them is the rgmanager cannot be told, but for its own node.
            for member in std::iter::once(&self.own).chain(members) {
                self.speakers.entry(member.node).or_insert(member.pid);
            }
        } else {
            for member in joined {
                self.speakers.entry(member.node).or_insert(member.pid);
            }
        }
        let speaks = |member: &&corosync::Member| is_speaker(&self.speakers, member);
        Change {
            members: members.iter().filter(speaks).map(group_member).collect(),
            left: gone.iter().map(|(member, reason)| (group_member(member), left_reason(*reason))).collect(),
            joined: joined.iter().filter(speaks).map(group_member).collect(),
        }
    }

    /// What was said, or else what is to be logged about it; `None`: that has been told of this burst.
    pub(super) fn read(
        &mut self,
        now: Instant,
        from: corosync::Member,
        payload: &[u8],
    ) -> Result<Message, Option<String>> {
        let who = format!("process {} of node id {}", from.pid, from.node);
        let what = match Message::decode(payload) {
            Ok(_) if self.speakers.get(&from.node) != Some(&from.pid) => {
                format!("{who} is not the rgmanager there: what it says in the group is dropped")
            }
            Ok(message) => return Ok(message),
            Err(error) => format!("{who} said what cannot be read ({}): it is dropped", shared::chain(&error)),
        };
        Err(self.tell(now, from, what))
    }

    fn tell(&mut self, now: Instant, from: corosync::Member, what: String) -> Option<String> {
        let before = match self.bursts.get_mut(&from) {
            Some(burst) if now.duration_since(burst.last) < BURST_PAUSE => {
                burst.last = now;
                burst.silent += 1;
                return None;
            }
            Some(burst) => burst.silent,
            None => 0,
        };
        self.bursts.insert(from, Burst { last: now, silent: 0 });
        let seconds = BURST_PAUSE.as_secs();
        let before = if before > 0 { format!("; {before} more of the last burst were dropped") } else { String::new() };
        Some(format!("{what}, and so is what follows within {seconds} s of it{before}; look at that process"))
    }
}

fn group_member(member: &corosync::Member) -> GroupMember {
    GroupMember { node: member.node, pid: member.pid }
}

/// A reason of a later release counts as the worst: the node is lost.
fn left_reason(reason: corosync::LeftReason) -> LeftReason {
    match reason {
        corosync::LeftReason::Leave => LeftReason::Leave,
        corosync::LeftReason::ProcDown => LeftReason::ProcessDown,
        corosync::LeftReason::NodeDown | corosync::LeftReason::Other(_) => LeftReason::NodeDown,
    }
}

#[cfg(test)]
mod tests {
    use engine::Incarnation;

    use super::*;

    const OWN: u32 = 10;

    fn process(node: u32, pid: u32) -> corosync::Member {
        corosync::Member { node: NodeId(node), pid }
    }

    fn seen(node: u32, pid: u32) -> GroupMember {
        GroupMember { node: NodeId(node), pid }
    }

    /// This process has joined, and n2's rgmanager is there.
    fn group() -> Group {
        let mut group = Group::of(process(1, OWN));
        let change = group.change(&[process(2, 20), process(1, OWN)], &[], &[process(1, OWN)]);
        assert_eq!(change.members, [seen(2, 20), seen(1, OWN)]);
        group
    }

    #[test]
    fn a_second_process_of_a_node_is_not_seen_and_hides_no_loss() {
        let mut group = group();
        let with = [process(2, 20), process(1, OWN), process(2, 99), process(1, 98)];
        let change = group.change(&with, &[], &[process(2, 99), process(1, 98)]);
        assert_eq!((change.members.len(), change.joined.len()), (2, 0));
        let lost = (process(2, 20), corosync::LeftReason::ProcDown);
        let change = group.change(&[process(1, OWN), process(2, 99), process(1, 98)], &[lost], &[]);
        assert_eq!(change.left, [(seen(2, 20), LeftReason::ProcessDown)]);
        assert_eq!(change.members, [seen(1, OWN)]);
        let change = group.change(&[process(1, OWN), process(2, 99), process(2, 21)], &[], &[process(2, 21)]);
        assert_eq!((change.members, change.joined), (vec![seen(1, OWN), seen(2, 21)], vec![seen(2, 21)]));
    }

    #[test]
    fn a_successor_that_comes_with_the_end_of_the_one_before_it_is_seen() {
        let mut group = group();
        let lost = (process(2, 20), corosync::LeftReason::Leave);
        let change = group.change(&[process(1, OWN), process(2, 21)], &[lost], &[process(2, 21)]);
        assert_eq!((change.left.len(), change.joined), (1, vec![seen(2, 21)]));
    }

    #[test]
    fn of_its_own_node_a_process_takes_itself_for_the_rgmanager() {
        let mut group = Group::of(process(1, OWN));
        let change = group.change(&[process(1, 5), process(1, OWN)], &[], &[process(1, OWN)]);
        assert_eq!(change.members, [seen(1, OWN)]);
    }

    #[test]
    fn what_cannot_be_read_and_what_a_stranger_says_is_told_once_per_burst() {
        let (mut group, now) = (group(), Instant::now());
        let message = Message::Goodbye { incarnation: Incarnation(1) };
        assert_eq!(group.read(now, process(2, 20), &message.encode()), Ok(message.clone()));
        let told = group.read(now, process(2, 20), b"\x01{").unwrap_err().unwrap();
        assert!(
            told.starts_with("process 20 of node id 2 said what cannot be read (message cannot be read: "),
            "{told}"
        );
        assert_eq!(group.read(now, process(2, 20), b"x"), Err(None));
        assert_eq!(group.read(now + BURST_PAUSE / 2, process(2, 20), b""), Err(None));
        let told = group.read(now, process(1, 98), &message.encode()).unwrap_err().unwrap();
        assert!(told.starts_with("process 98 of node id 1 is not the rgmanager there"), "{told}");
        let told = group.read(now + BURST_PAUSE * 2, process(2, 20), b"x").unwrap_err().unwrap();
        assert!(told.contains("; 2 more of the last burst were dropped"), "{told}");
    }
}
