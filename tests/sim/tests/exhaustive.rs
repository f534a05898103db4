//! Every order of events that a small cluster allows, up to a bound of time: three nodes, one service, one request, two faults.
//! The states are those of the same simulation that the random runs step.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use engine::law;
use shared::ids::{NodeId, NodeName, ServiceName};
use shared::status::Command;
use sim::params::Params;
use sim::rng::Rng;
use sim::sim::{Sim, Task};
use stateright::{Checker, Model, Property};

/// How long the search may take. Whatever has not been looked at by then is left to the random runs.
const BOUND: Duration = Duration::from_secs(25);

#[derive(Clone)]
struct State {
    sim: Sim,
    faults: u32,
    requests: u32,
    fingerprint: u64,
}

impl State {
    fn new(sim: Sim, faults: u32, requests: u32) -> Self {
        let mut hasher = HashWriter(DefaultHasher::new());
        let tasks: Vec<_> = sim.tasks.iter().map(|((at, _), task)| (at.saturating_sub(sim.now), task)).collect();
        for (id, node) in &sim.nodes {
            write!(hasher, "{id} {} {:?} {:?} {:?}", node.power, node.running, node.runs, node.disk.conf.version)
                .expect("a hasher takes everything");
            if let Some(daemon) = &node.daemon {
                write!(hasher, "{:?} {} {:?}", daemon.engine, daemon.pid, daemon.quorate_told)
                    .expect("a hasher takes everything");
            }
        }
        write!(hasher, "{:?} {tasks:?} {faults} {requests} {:?}", sim.cpg, sim.violation)
            .expect("a hasher takes everything");
        Self { fingerprint: hasher.0.finish(), sim, faults, requests }
    }
}

struct HashWriter(DefaultHasher);

impl std::fmt::Write for HashWriter {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "state {:x} at {}", self.fingerprint, self.sim.now)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Do(Task),
    PowerOff(NodeId),
    Cut(NodeId),
    Kill(NodeId),
    Relocate,
}

struct SmallCluster;

const CONF: &str = include_str!("../../scenarios/conf/three-nodes.conf");

/// A world in which everything takes no time, so that the order is free.
fn params() -> Params {
    Params {
        wire: false,
        token_ms: (0, 0),
        receive_ms: (0, 0),
        take_ms: (0, 0),
        quorum_ms: (0, 0),
        token_loss_ms: (0, 0),
        merge_ms: (0, 0),
        run_ms: (0, 0),
        fence_ms: (0, 0),
        store_ms: (0, 0),
        ..Params::calm(false)
    }
}

fn formed() -> Sim {
    let conf = sim::conf::from_text(CONF);
    let mut sim = Sim::new(params(), Rng::calm(), law::check, 3, &conf);
    for id in 1..=3 {
        sim.later(0, Task::Boot(NodeId(id)));
    }
    let end = sim.now + 8000;
    while sim.now < end {
        sim.step();
    }
    sim
}

impl Model for SmallCluster {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(formed(), 2, 1)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        let sim = &state.sim;
        if sim.violation.is_some() {
            return;
        }
        let mut due: Vec<Task> =
            sim.tasks.iter().filter(|((at, _), _)| *at <= sim.now).map(|(_, task)| task.clone()).collect();
        due.sort();
        due.dedup();
        if due.is_empty() {
            // Time goes on only when nothing is left to do now.
            due.extend(sim.tasks.values().next().cloned());
        }
        actions.extend(due.into_iter().map(Step::Do));
        if state.requests > 0 {
            actions.push(Step::Relocate);
        }
        if state.faults > 0 {
            for (&id, node) in sim.nodes.iter().filter(|(_, node)| node.power) {
                actions.push(Step::PowerOff(id));
                actions.push(Step::Cut(id));
                if node.daemon.is_some() {
                    actions.push(Step::Kill(id));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut sim = last.sim.clone();
        let (mut faults, mut requests) = (last.faults, last.requests);
        let is_fault = matches!(step, Step::PowerOff(_) | Step::Cut(_) | Step::Kill(_));
        match step {
            Step::Do(task) => {
                let key = *sim.tasks.iter().find(|(_, other)| **other == task)?.0;
                sim.tasks.remove(&key);
                sim.now = sim.now.max(key.0);
                sim.perform_task(task);
            }
            Step::PowerOff(node) => sim.power_off(node),
            Step::Cut(node) => sim.split([(node, node.0)].into_iter().collect()),
            Step::Kill(node) => sim.kill_daemon(node),
            Step::Relocate => {
                requests -= 1;
                let (service, to) = (ServiceName::parse("web"), Some(NodeName::from("n2")));
                sim.request(NodeId(1), Command::Relocate { service, to })?;
            }
        }
        faults -= u32::from(is_fault);
        Some(State::new(sim, faults, requests))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("nothing that must never be", |_, state: &State| state.sim.violation.is_none())]
    }
}

#[test]
fn no_order_of_events_in_a_small_cluster_breaks_anything() {
    let checker = SmallCluster.checker().threads(2).timeout(BOUND).spawn_bfs().join();
    if let Some(path) = checker.discovery("nothing that must never be") {
        let violation = path.last_state().sim.violation.clone().unwrap_or_default();
        let steps: Vec<String> = path.into_actions().iter().map(|step| format!("{step:?}")).collect();
        panic!("{violation} after:\n{}", steps.join("\n"));
    }
    assert!(checker.unique_state_count() > 1000, "only {} states were seen", checker.unique_state_count());
}
