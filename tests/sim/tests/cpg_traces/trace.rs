//! The recorded traces (tests/fixtures/cpg, its README has the format) as what each host did and heard, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use engine::{GroupMember, LeftReason};
use serde_json::Value;
use shared::ids::NodeId;

/// A message as it is known from outside: who sent it (node and pid) and its number.
pub(crate) type Number = (GroupMember, u64);

/// What a process was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Membership { members: Vec<GroupMember>, left: Vec<(GroupMember, LeftReason)>, joined: Vec<GroupMember> },
    Ring(Ring),
    Message(Number),
}

/// A ring as a process is told of it: `node` is its lowest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ring {
    pub(crate) seq: u64,
    pub(crate) node: NodeId,
    pub(crate) members: Vec<NodeId>,
}

/// What happens on one host, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A process starts and asks to join.
    Join(GroupMember),
    Send(Number),
    Hear(Heard),
    /// The process asks to leave.
    Leave(GroupMember),
    /// The process is killed.
    Killed(GroupMember),
    /// corosync is told to stop under the process.
    ShutDown,
    /// corosync, or the whole host, is gone.
    Off,
}

/// What the quorum service told a process.
#[derive(Debug, Clone)]
pub(crate) struct QuorumWord {
    pub(crate) ring_seq: u64,
    pub(crate) quorate: bool,
    pub(crate) members: Vec<NodeId>,
}

/// One life of a process: what came over its two connections, each in its own order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) rings: Vec<Ring>,
    pub(crate) quorum: Vec<QuorumWord>,
    /// It ended because it was asked to, in peace.
    pub(crate) left: bool,
}

/// One recorded story.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) steps: BTreeMap<NodeId, Vec<Step>>,
    pub(crate) lives: BTreeMap<NodeId, Vec<Life>>,
}

impl Trace {
    /// All rings that anybody was told of.
    pub(crate) fn rings(&self) -> BTreeSet<Ring> {
        let heard = self.steps.values().flatten().filter_map(|step| match step {
            Step::Hear(Heard::Ring(ring)) => Some(ring.clone()),
            _ => None,
        });
        heard.collect()
    }
}

/// The folders of all stories.
pub(crate) fn folders() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cpg");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Reads one story by its name.
pub(crate) fn named(name: &str) -> Trace {
    read(folders().iter().find(|folder| folder.ends_with(name)).unwrap_or_else(|| panic!("no story {name}")))
}

/// Reads one story.
pub(crate) fn read(folder: &Path) -> Trace {
    let deeds = lines(&folder.join("story.jsonl"));
    let mut trace = Trace {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        steps: BTreeMap::new(),
        lives: BTreeMap::new(),
    };
    for host in 1..=3 {
        let mut reader = Reader::default();
        let events = lines(&folder.join(format!("h{host}.jsonl")));
        let mut deeds = deeds.iter().filter(|deed| befalls(deed, host)).peekable();
        for event in &events {
            if event["event"] == "started" {
                while let Some(deed) = deeds.next_if(|deed| deed["t_us"].as_i64() < event["t_us"].as_i64()) {
                    reader.befall(deed["done"].as_str().unwrap());
                }
            }
            reader.read(event);
        }
        for deed in deeds {
            reader.befall(deed["done"].as_str().unwrap());
        }
        trace.steps.insert(NodeId(host), reader.steps);
        trace.lives.insert(NodeId(host), reader.lives);
    }
    trace
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn befalls(deed: &Value, host: u32) -> bool {
    let deed = deed["done"].as_str().unwrap();
    ["off", "kill cpg_trace", "kill corosync", "term corosync"].iter().any(|verb| deed == format!("{verb} h{host}"))
}

#[derive(Default)]
struct Reader {
    steps: Vec<Step>,
    lives: Vec<Life>,
    local: Option<GroupMember>,
    /// Where what was sent since the last event (other than deliveries) belongs.
    interval: usize,
}

impl Reader {
    /// What was done to the host ends what its process wrote.
    fn befall(&mut self, deed: &str) {
        let local = self.local.take();
        match (deed.split(' ').next(), local) {
            (Some("kill"), Some(member)) if deed.starts_with("kill cpg_trace") => self.steps.push(Step::Killed(member)),
            (Some("term"), Some(_)) => self.steps.extend([Step::ShutDown, Step::Off]),
            _ => self.steps.push(Step::Off),
        }
    }

    fn read(&mut self, event: &Value) {
        match event["event"].as_str().unwrap() {
            "started" => {
                let local = member(&event["local"]);
                self.local = Some(local);
                self.lives.push(Life::default());
                self.steps.push(Step::Join(local));
            }
            "membership" => self.steps.push(Step::Hear(membership(event))),
            "ring" => {
                let (seq, node) = (event["ring"][1].as_u64().unwrap(), node(&event["ring"][0]));
                let ring = Ring { seq, node, members: nodes(&event["members"]) };
                self.lives.last_mut().unwrap().rings.push(ring.clone());
                self.steps.push(Step::Hear(Heard::Ring(ring)));
            }
            "quorum" => {
                let word = QuorumWord {
                    ring_seq: event["ring_seq"].as_u64().unwrap(),
                    quorate: event["quorate"].as_bool().unwrap(),
                    members: nodes(&event["members"]),
                };
                self.lives.last_mut().unwrap().quorum.push(word);
            }
            "delivered" => {
                let messages = event["messages"].as_str().unwrap().split(' ').map(message);
                self.steps.extend(messages.map(|number| Step::Hear(Heard::Message(number))));
                return;
            }
            "sent" => {
                // Its place among the deliveries around it means nothing: as early as may be.
                let local = self.local.expect("only a process sends");
                let numbers = event["first"].as_u64().unwrap()..=event["last"].as_u64().unwrap();
                let sends: Vec<Step> = numbers.map(|number| Step::Send((local, number))).collect();
                let at = self.interval;
                self.interval += sends.len();
                self.steps.splice(at..at, sends);
                return;
            }
            "leaving" => {
                self.lives.last_mut().unwrap().left = true;
                let local = self.local.take().expect("only a process leaves");
                self.steps.push(Step::Leave(local));
            }
            "lost" => {}
            other => panic!("unknown event {other}"),
        }
        self.interval = self.steps.len();
    }
}

fn node(value: &Value) -> NodeId {
    NodeId(u32::try_from(value.as_u64().unwrap()).unwrap())
}

fn nodes(value: &Value) -> Vec<NodeId> {
    value.as_array().unwrap().iter().map(node).collect()
}

fn member(value: &Value) -> GroupMember {
    GroupMember { node: node(&value[0]), pid: u32::try_from(value[1].as_u64().unwrap()).unwrap() }
}

/// The order within the lists of a membership means nothing: who left or came with one ring is told as one.
fn membership(event: &Value) -> Heard {
    let list = |key: &str| event[key].as_array().unwrap().clone();
    let mut members: Vec<GroupMember> = list("members").iter().map(member).collect();
    let mut joined: Vec<GroupMember> = list("joined").iter().map(member).collect();
    let mut left: Vec<(GroupMember, LeftReason)> =
        list("left").iter().map(|one| (member(one), reason(&one[2]))).collect();
    members.sort();
    joined.sort();
    left.sort_by_key(|(member, _)| *member);
    Heard::Membership { members, left, joined }
}

fn reason(value: &Value) -> LeftReason {
    match value.as_str().unwrap() {
        "leave" => LeftReason::Leave,
        "proc_down" => LeftReason::ProcessDown,
        "node_down" => LeftReason::NodeDown,
        other => panic!("unknown reason {other}"),
    }
}

fn message(text: &str) -> Number {
    let (process, number) = text.split_once(':').unwrap();
    let (node, pid) = process.split_once('/').unwrap();
    let from = GroupMember { node: NodeId(node.parse().unwrap()), pid: pid.parse().unwrap() };
    (from, number.parse().unwrap())
}
