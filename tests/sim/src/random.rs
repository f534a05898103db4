//! One seed, one life of a cluster: it is drawn, started, troubled, healed, and then must come to rest.

use engine::law::{self, LawCheck};
use shared::ids::NodeId;

use crate::conf::Spec;
use crate::params::Params;
use crate::rng::Rng;
use crate::rogue::Rogue;
use crate::sim::{EPOCH_MS, Sim, Task, Trace};

/// Simulated time that healing may take: some reboots, fencing rounds and check intervals one after another.
const HEAL_BOUND_MS: u64 = 400_000;

/// More steps than this in one seed: something goes in circles.
const STEPS_MAX: u64 = 120_000;

/// What became of a seed.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub seed: u64,
    pub steps: u64,
    pub simulated_ms: u64,
    /// Over the whole course: two runs of one seed have the same.
    pub fingerprint: u64,
    pub violation: Option<String>,
    pub trace: Vec<String>,
}

/// How to run a seed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub law: LawCheck,
    /// Wrong messages that a member sends.
    pub rogue: Option<Rogue>,
    pub trace: bool,
    /// Fence agents lie half of the time.
    pub lying_fences: bool,
    /// cluster.conf asks for a witness of each fencing.
    pub require_witness: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { law: law::check, rogue: None, trace: false, lying_fences: false, require_witness: false }
    }
}

/// Runs a seed to its end or to the first violation.
pub fn run_seed(seed: u64, options: Options) -> Verdict {
    live(seed, options, |_| {}, |_| {})
}

/// `prepare` sees the cluster before anything has happened, `look` when everything has.
fn live(seed: u64, options: Options, prepare: impl FnOnce(&mut Sim), look: impl FnOnce(&mut Sim)) -> Verdict {
    let mut rng = Rng::new(seed);
    let mut spec = Spec::draw(&mut rng);
    spec.require_witness = options.require_witness;
    let mut params = Params::draw(spec.nodes == 2, &mut rng);
    if options.lying_fences {
        params.fence_lies_permille = 500;
    }
    let mut sim = Sim::new(params, rng, options.law, spec.nodes, &spec.render(false));
    if sim.rng.chance(250) {
        // A rolling upgrade is under way.
        let ids: Vec<NodeId> = sim.nodes.keys().copied().collect();
        for id in ids {
            let speaks = if sim.rng.chance(500) { 1 } else { engine::PROTOCOL };
            if let Some(node) = sim.nodes.get_mut(&id) {
                node.speaks = speaks;
            }
        }
    }
    if options.trace {
        sim.trace = Some(Trace::detailed());
        sim.tell(|| spec.render(false).text);
    }
    prepare(&mut sim);
    trouble(&mut sim, &mut spec, options.rogue);
    if sim.violation.is_none() {
        settle(&mut sim);
    }
    look(&mut sim);
    let trace = sim.trace.take().map(|trace| trace.lines).unwrap_or_default();
    Verdict {
        seed,
        steps: sim.steps,
        simulated_ms: sim.now - EPOCH_MS,
        fingerprint: sim.rng.draw() ^ sim.steps.rotate_left(32) ^ sim.states.values().fold(0, |all, hash| all ^ hash),
        violation: sim.violation,
        trace: trace.into_iter().map(|(at, line)| format!("{:>9.3} {line}", seconds(at))).collect(),
    }
}

/// Every message that is sent in the life of a seed, as it travels.
pub fn messages_of(seed: u64) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    live(
        seed,
        Options::default(),
        |sim| sim.heard = Some(Vec::new()),
        |sim| heard = sim.heard.take().unwrap_or_default(),
    );
    heard
}

/// Simulated seconds since the beginning.
pub fn seconds(at: u64) -> f64 {
    let ms = at.saturating_sub(EPOCH_MS);
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1000.0
}

fn trouble(sim: &mut Sim, spec: &mut Spec, rogue: Option<Rogue>) {
    let ids: Vec<NodeId> = sim.nodes.keys().copied().collect();
    let together = sim.rng.chance(700);
    for id in ids {
        // Now and then a node is missing at first.
        if sim.rng.chance(930) {
            let delay = if together { sim.rng.below(300) } else { sim.rng.below(12_000) };
            sim.later(delay, Task::Boot(id));
        }
    }
    // The larger the cluster, the more befalls it and the more is asked of it.
    let mut faults = [1, 2, 2, 3, 3, 4][sim.rng.index(6)] + u64::from(spec.nodes / 4);
    let mut works = sim.rng.below(10 + u64::from(spec.nodes));
    let pace = [30, 100, 250][sim.rng.index(3)];
    let mut next = sim.rng.below(pace * 6);
    let mut rogue_next = 300;
    let mut rogue_left = if rogue.is_some() { 25 } else { 0 };
    let until = EPOCH_MS + 20_000 + sim.rng.below(60_000);
    while sim.violation.is_none() && (sim.now < until || faults + works > 0) {
        if sim.now > until + 60_000 {
            break;
        }
        sim.step();
        if let Some(rogue) = rogue.filter(|_| rogue_left > 0 && sim.steps >= rogue_next) {
            rogue_next = sim.steps + if rogue.inject(sim) { 1 + sim.rng.below(60) } else { 5 };
            rogue_left -= 1;
        }
        if sim.steps < next || faults + works == 0 {
            continue;
        }
        next = sim.steps + sim.rng.below(pace * 2);
        if sim.rng.below(faults + works) < faults {
            faults -= 1;
            sim.draw_fault();
        } else {
            works -= 1;
            work(sim, spec);
        }
        if sim.rng.chance(250) && sim.sides.values().any(|side| *side != 0) {
            sim.heal_network();
        }
    }
}

fn work(sim: &mut Sim, spec: &mut Spec) {
    match sim.rng.below(10) {
        0..=6 => sim.draw_request(),
        7 => sim.lose_a_resource(),
        _ => {
            let Some(node) = sim.some_daemon() else { return };
            let before = spec.domains.clone();
            let rng = &mut sim.rng;
            spec.change(rng);
            let changed = before.iter().zip(&spec.domains).enumerate().filter(|(_, (old, new))| old != new);
            sim.changed_domains.extend(changed.map(|(index, _)| crate::conf::domain_name(index)));
            sim.offer(node, &spec.render(false));
        }
    }
}

fn settle(sim: &mut Sim) {
    sim.heal();
    sim.maintain();
    let healed = sim.now;
    let mut next_check = healed + 5000;
    let mut well = 0;
    while sim.violation.is_none() {
        sim.step();
        if sim.steps > STEPS_MAX {
            sim.violate(|| format!("more than {STEPS_MAX} steps"));
        }
        if sim.now < next_check {
            continue;
        }
        next_check = sim.now + 5000;
        let unmet = sim.unmet();
        if unmet.is_empty() {
            well += 1;
            if well == 3 {
                return;
            }
            continue;
        }
        well = 0;
        if sim.now > healed + HEAL_BOUND_MS {
            sim.violate(|| format!("after {} s of health: {}", HEAL_BOUND_MS / 1000, unmet.join("; ")));
        }
        if (sim.now - healed) > 20_000 {
            sim.maintain();
        }
    }
}
