//! Stories: a text of verbs, run in a calm world, and the transcript that they give. `tests/scenarios/*.txt` are such stories;
//! `cargo test -p sim --test scenarios` runs them, `UPDATE_EXPECT=1` writes what came out.
//!
//! ```text
//! # one sentence of story
//! cluster three-nodes.conf
//! set service web recovery=relocate
//! boot n1 n2 n3
//! cut n1
//! settle
//! ----
//!    0.0 transcript
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use engine::{ConfText, Operation, law};
use shared::ids::{NodeId, NodeName, ResourceName, ServiceName};
use shared::status::Command;
use shared::why::Assumption;

use crate::faults::{Ambush, Blow, Moment, Struck};
use crate::params::Params;
use crate::random::seconds;
use crate::rng::Rng;
use crate::sim::{Behaviour, Sim, Task, Trace};

/// `settle` ends when this long nothing worth a line has happened.
const QUIET_MS: u64 = 30_000;

/// `settle` ends at the latest after this.
const SETTLE_MAX_MS: u64 = 600_000;

/// A story as it was read.
#[derive(Debug, Clone)]
pub struct Story {
    /// The verbs with their head line, up to the dashes.
    pub head: String,
    /// The transcript that is expected.
    pub expected: String,
}

impl Story {
    /// Splits a file at its line of dashes.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.starts_with("# "), "the first line must be the story in one sentence: # ...");
        let (head, expected) = text.split_once("----\n").unwrap_or((text, ""));
        Ok(Self { head: head.to_owned(), expected: expected.to_owned() })
    }

    /// Runs the verbs and returns the transcript. `confs`: where configurations are; `detailed`: with every message and agent.
    pub fn run(&self, confs: &Path, detailed: bool) -> Result<String> {
        let mut stage = Stage { confs, text: String::new(), sim: None, detailed };
        for (number, line) in self.head.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            stage.perform(line).with_context(|| format!("line {}: {line}", number + 1))?;
        }
        stage.transcript()
    }
}

struct Stage<'a> {
    confs: &'a Path,
    /// The newest cluster.conf.
    text: String,
    sim: Option<Sim>,
    detailed: bool,
}

impl Stage<'_> {
    fn perform(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["cluster", file] => {
                self.text =
                    std::fs::read_to_string(self.confs.join(file)).with_context(|| format!("cannot read {file}"))?;
                Ok(())
            }
            ["set", tag, name, attribute] if self.sim.is_none() => self.set(tag, name, attribute),
            _ => {
                if self.sim.is_none() {
                    self.sim = Some(self.begin()?);
                }
                self.act(&words)
            }
        }
    }

    /// Gives an element of the configuration an attribute; the name `-` stands for elements without one.
    fn set(&mut self, tag: &str, name: &str, attribute: &str) -> Result<()> {
        let (key, value) = attribute.split_once('=').context("attribute=value is missing")?;
        let start = if name == "-" { format!("<{tag}") } else { format!("<{tag} name=\"{name}\"") };
        ensure!(self.text.contains(&start), "the configuration has no {start}");
        let at = self.text.find(&start).context("it has just been there")? + start.len();
        if key == "name" && name != "-" {
            self.text.replace_range(at - name.len() - 1..at - 1, value);
            return Ok(());
        }
        let end = at + self.text[at..].find('>').context("the element does not end")?;
        let known = self.text[at..end].find(&format!(" {key}=\"")).map(|offset| at + offset);
        match known {
            Some(from) => {
                let value_at = from + key.len() + 3;
                let to = value_at + self.text[value_at..].find('"').context("the attribute does not end")?;
                self.text.replace_range(value_at..to, value);
            }
            None => self.text.insert_str(at, &format!(" {key}=\"{value}\"")),
        }
        Ok(())
    }

    /// Takes an element out of the configuration, with what is in it.
    fn remove(&mut self, tag: &str, name: &str) -> Result<()> {
        let start = self.text.find(&format!("<{tag} name=\"{name}\"")).context("there is no such element")?;
        let head = start + self.text[start..].find('>').context("the element does not end")? + 1;
        let closing = format!("</{tag}>");
        let end = if self.text[..head].ends_with("/>") {
            head
        } else {
            head + self.text[head..].find(&closing).context("the element does not end")? + closing.len()
        };
        self.text.replace_range(start..end, "");
        Ok(())
    }

    fn next_version(&mut self) -> Result<()> {
        let version = crate::conf::from_text(&self.text).version.0;
        let old = format!("config_version=\"{version}\"");
        ensure!(self.text.contains(&old), "the configuration has no {old}");
        self.text = self.text.replacen(&old, &format!("config_version=\"{}\"", version + 1), 1);
        Ok(())
    }

    fn conf(&self) -> Result<ConfText> {
        // A node starts with whatever can be read.
        let loaded = shared::conf::load(&self.text);
        ensure!(loaded.conf.is_some(), "the configuration cannot be read: {:?}", loaded.findings);
        Ok(crate::conf::from_text(&self.text))
    }

    fn begin(&self) -> Result<Sim> {
        let conf = self.conf()?;
        let nodes = shared::conf::load(&conf.text).conf.map_or(0, |conf| conf.nodes.len());
        let params = Params::calm(nodes == 2);
        let mut sim = Sim::new(params, Rng::calm(), law::check, u32::try_from(nodes)?, &conf);
        sim.trace = Some(if self.detailed { Trace::detailed() } else { Trace::default() });
        Ok(sim)
    }

    fn act(&mut self, words: &[&str]) -> Result<()> {
        if let ["conf", node, rest @ ..] = words {
            self.next_version()?;
            for change in rest.chunks(4) {
                let ["set", tag, name, attribute] = change else { bail!("conf NODE set TAG NAME attribute=value ...") };
                self.set(tag, name, attribute)?;
            }
            let (node, conf) = (parse_node(node)?, self.conf()?);
            self.sim()?.offer(node, &conf);
            return Ok(());
        }
        if let ["edit", node, "set", tag, name, attribute] = words {
            self.next_version()?;
            self.set(tag, name, attribute)?;
            let (id, conf) = (parse_node(node)?, self.conf()?);
            let sim = self.sim()?;
            sim.tell(|| format!("operator on {node}: edits its cluster.conf, version {}", conf.version));
            let node = sim.nodes.get_mut(&id).with_context(|| format!("there is no {node}"))?;
            ensure!(node.daemon.is_none(), "rgmanager reads it only when it starts, and it runs");
            node.disk.conf = conf;
            return Ok(());
        }
        if let ["add", node, name] = words {
            self.next_version()?;
            let service = format!(
                "    <service name=\"{name}\">\n      <script name=\"{name}\" file=\"/etc/init.d/{name}\"/>\n    </service>\n"
            );
            let end = self.text.find("  </rm>").context("the configuration has no </rm>")?;
            self.text.insert_str(end, &service);
            let (node, conf) = (parse_node(node)?, self.conf()?);
            self.sim()?.offer(node, &conf);
            return Ok(());
        }
        if let ["remove", node, ref element @ ..] = *words {
            let (tag, name) = match *element {
                [name] => ("service", name),
                [tag, name] => (tag, name),
                _ => bail!("remove NODE SERVICE, or remove NODE TAG NAME"),
            };
            self.next_version()?;
            self.remove(tag, name)?;
            let (node, conf) = (parse_node(node)?, self.conf()?);
            self.sim()?.offer(node, &conf);
            return Ok(());
        }
        if let ["foresee", node, "conf", ref change @ ..] = *words {
            let now = self.text.clone();
            self.next_version()?;
            match *change {
                ["set", tag, name, attribute] => self.set(tag, name, attribute)?,
                ["without", tag, name] => self.remove(tag, name)?,
                _ => bail!("foresee NODE conf set TAG NAME attribute=value, or foresee NODE conf without TAG NAME"),
            }
            let assumption = Assumption::Conf { text: std::mem::replace(&mut self.text, now) };
            let foreseen = self.sim()?.tell_prediction(parse_node(node)?, &assumption);
            return foreseen.with_context(|| format!("no rgmanager runs on {node}"));
        }
        let sim = self.sim()?;
        match *words {
            ["boot", ref nodes @ ..] => {
                for node in nodes {
                    sim.later(0, Task::Boot(parse_node(node)?));
                }
            }
            ["power", node, "off"] => sim.power_off(parse_node(node)?),
            ["power", node, "on"] => sim.later(0, Task::Boot(parse_node(node)?)),
            ["cut", ref nodes @ ..] => {
                let side = 1 + sim.sides.values().max().copied().unwrap_or(0);
                sim.tell(|| format!("world: {} cut from the network", nodes.join(" and ")));
                let nodes = nodes.iter().map(|node| parse_node(node)).collect::<Result<Vec<_>>>()?;
                sim.split(nodes.into_iter().map(|node| (node, side)).collect());
            }
            ["show", "agents"] => {
                if let Some(trace) = &mut sim.trace {
                    trace.agents = true;
                }
            }
            ["ask", node] => {
                sim.tell_status(parse_node(node)?).with_context(|| format!("no rgmanager runs on {node}"))?
            }
            ["ask", node, "resources", service] => {
                let name = ServiceName::parse(service);
                sim.tell_resources(parse_node(node)?, &name).with_context(|| format!("{node} does not know {name}"))?;
            }
            ["ask", node, "proofs", other] => {
                sim.tell_proofs(parse_node(node)?, &NodeName::from(other))
                    .with_context(|| format!("{node} does not know {other}"))?;
            }
            ["ask", node, "why", service] => {
                let name = ServiceName::parse(service);
                sim.tell_why(parse_node(node)?, &name).with_context(|| format!("{node} does not know {name}"))?;
            }
            ["foresee", node, ref rest @ ..] => {
                let assumption = match *rest {
                    ["loss", "of", lost] => Assumption::NodeLost { node: lost.into() },
                    _ => Assumption::Request { command: parse_command(rest)? },
                };
                sim.tell_prediction(parse_node(node)?, &assumption)
                    .with_context(|| format!("no rgmanager runs on {node}"))?;
            }
            ["heal"] => sim.heal_network(),
            ["kill", node] => sim.kill_daemon(parse_node(node)?),
            ["kill", "corosync", node] => sim.stop_corosync(parse_node(node)?),
            ["stop", "corosync", node] => sim.shut_down_corosync(parse_node(node)?),
            ["start", node] => sim.later(0, Task::StartCorosync(parse_node(node)?)),
            ["hang", node, time] => sim.freeze(parse_node(node)?, time.parse::<u64>()? * 1000),
            ["upgrade", node] => sim.upgrade(parse_node(node)?),
            ["release", node, protocol] => {
                let (id, speaks) = (parse_node(node)?, protocol.parse()?);
                sim.nodes.get_mut(&id).context("there is no such node")?.speaks = speaks;
            }
            ["pieces", bytes] => sim.params.piece_bytes = bytes.parse()?,
            ["leave", node] => sim.leave(parse_node(node)?),
            ["dies", resource, "on", node] => die(sim, resource, parse_node(node)?)?,
            ["agent", operation, resource, how] => behave(sim, operation, resource, how, None)?,
            ["agent", operation, resource, how, "on", node] => {
                behave(sim, operation, resource, how, Some(parse_node(node)?))?;
            }
            ["fences", "fail"] => {
                sim.broken_fences.insert(None);
            }
            ["fences", "fail", node] => {
                sim.broken_fences.insert(Some(parse_node(node)?));
            }
            ["fences", "lie"] => {
                sim.lying_fences.insert(None);
            }
            ["fences", "lie", node] => {
                sim.lying_fences.insert(Some(parse_node(node)?));
            }
            ["fences", "work"] => {
                sim.broken_fences.clear();
                sim.lying_fences.clear();
            }
            ["fences", "leave", "off"] => sim.fences_leave_off = true,
            ["device", name, "fails"] => {
                sim.broken_devices.insert((None, name.to_owned()));
            }
            ["device", name, "fails", "from", node] => {
                sim.broken_devices.insert((Some(parse_node(node)?), name.to_owned()));
            }
            ["device", name, "works"] => sim.broken_devices.retain(|(_, device)| device != name),
            ["disk", node, "full"] => {
                sim.full_disks.insert(parse_node(node)?);
            }
            ["disk", node, "free"] => {
                sim.full_disks.remove(&parse_node(node)?);
            }
            ["disk", node, "slow"] => {
                sim.slow_disks.insert(parse_node(node)?);
            }
            ["kernel", "silent"] => sim.params.notices = false,
            ["kernel", "certain"] => sim.params.notices_certain = true,
            ["at", moment, blow] => sim.ambush = Some(parse_ambush(moment, blow, None)?),
            ["at", moment, blow, node] => sim.ambush = Some(parse_ambush(moment, blow, Some(parse_node(node)?))?),
            ["command", node, ref rest @ ..] => {
                let command = parse_command(rest)?;
                let asked = sim.request(parse_node(node)?, command);
                ensure!(asked.is_some(), "no rgmanager runs on {node}");
            }
            ["wait", time] => {
                let until = sim.now + Duration::try_from_secs_f64(time.parse()?)?.as_millis() as u64;
                run_until(sim, until);
            }
            ["settle"] => settle(sim),
            _ => bail!("unknown verb"),
        }
        Ok(())
    }

    fn sim(&mut self) -> Result<&mut Sim> {
        self.sim.as_mut().context("there is no cluster yet")
    }

    fn transcript(mut self) -> Result<String> {
        let sim = self.sim.as_mut().context("nothing was done")?;
        let mut text = String::new();
        let trace = sim.trace.take().unwrap_or_default();
        for (at, line) in trace.lines {
            writeln!(text, "{:>7.1} {line}", seconds(at))?;
        }
        text.push_str("in the end:\n");
        let states: Vec<_> = sim.nodes.iter().filter_map(|(&id, node)| Some((id, node.daemon.as_ref()?))).collect();
        if let Some(state) = states.iter().find_map(|(_, daemon)| daemon.engine.replicated()) {
            for (name, record) in &state.services {
                let frozen = if record.frozen { " (frozen)" } else { "" };
                let partial = if record.stopped_parts.is_empty() { "" } else { " (partial)" };
                let owner = record.holder.map(|id| format!(" on n{id}")).unwrap_or_default();
                writeln!(text, "  {name} {}{frozen}{partial}{owner}", record.state.name())?;
            }
        }
        for (id, node) in &sim.nodes {
            let running: Vec<String> = node.running.iter().map(|(_, resource)| resource.0.clone()).collect();
            let running = if running.is_empty() { "nothing".to_owned() } else { running.join(" ") };
            let power = if node.power { "" } else { " (off)" };
            writeln!(text, "  n{id}{power} runs {running}")?;
        }
        if let Some(violation) = &sim.violation {
            bail!("{violation}\n{text}");
        }
        Ok(text)
    }
}

fn run_until(sim: &mut Sim, until: u64) {
    while sim.now < until && sim.violation.is_none() {
        if sim.tasks.keys().next().is_none_or(|(at, _)| *at > until) {
            sim.now = until;
            return;
        }
        sim.step();
    }
}

fn settle(sim: &mut Sim) {
    let begun = sim.now;
    let mut quiet_since = sim.now;
    let mut lines = 0;
    while sim.now < quiet_since + QUIET_MS && sim.now < begun + SETTLE_MAX_MS && sim.violation.is_none() {
        sim.step();
        let now_lines = sim.trace.as_ref().map_or(0, |trace| trace.lines.len());
        if now_lines != lines {
            lines = now_lines;
            quiet_since = sim.now;
        }
    }
}

/// `at start power`: when the next start has its place in the order, and nobody has done it yet, the node it is about loses its
/// power; with a node, that one.
fn parse_ambush(moment: &str, blow: &str, node: Option<NodeId>) -> Result<Ambush> {
    let moment = match moment {
        "hello" => Moment::Hello,
        "found" => Moment::Found,
        "snapshot" => Moment::Snapshot,
        "ready" => Moment::Ready,
        "start" => Moment::Start,
        "stop" => Moment::Stop,
        "fence" => Moment::Fence,
        "switch" => Moment::Switch,
        "report" => Moment::Report,
        "migrate" => Moment::Migrate,
        "fence-report" => Moment::FenceReport,
        "request" => Moment::Request,
        "offer" => Moment::Offer,
        "stored" => Moment::Stored,
        "goodbye" => Moment::Goodbye,
        _ => bail!("unknown moment"),
    };
    let blow = match blow {
        "power" => Blow::Power,
        "cut" => Blow::Isolate,
        "kill" => Blow::Kill,
        "corosync" => Blow::Corosync,
        "hang" => Blow::Freeze,
        _ => bail!("a blow is power, cut, kill, corosync or hang"),
    };
    Ok(Ambush { moment, skip: 0, blow, at: node.map_or(Struck::Subject, Struck::Node) })
}

fn parse_node(word: &str) -> Result<NodeId> {
    let number = word.strip_prefix('n').and_then(|number| number.parse().ok());
    Ok(NodeId(number.with_context(|| format!("{word} is not a node; nodes are n1, n2, ..."))?))
}

fn parse_command(words: &[&str]) -> Result<Command> {
    let service = |name: &str| ServiceName::parse(name);
    Ok(match *words {
        ["enable", name] => Command::Enable { service: service(name), on: None, by_domain: false },
        ["enable", name, "by-domain"] => Command::Enable { service: service(name), on: None, by_domain: true },
        ["enable", name, node] => Command::Enable { service: service(name), on: Some(node.into()), by_domain: false },
        ["disable", name] => Command::Disable { service: service(name) },
        ["stop", name] => Command::Stop { service: service(name) },
        ["restart", name] => Command::Restart { service: service(name) },
        ["relocate", name] => Command::Relocate { service: service(name), to: None },
        ["relocate", name, node] => Command::Relocate { service: service(name), to: Some(node.into()) },
        ["migrate", name, node] => Command::Migrate { service: service(name), to: node.into() },
        ["convalesce", name] => Command::Convalesce { service: service(name) },
        ["freeze", name] => Command::Freeze { service: service(name) },
        ["unfreeze", name] => Command::Unfreeze { service: service(name) },
        ["standby", node] => Command::Standby { node: NodeName::from(node) },
        ["unstandby", node] => Command::Unstandby { node: NodeName::from(node) },
        ["lock"] => Command::Lock,
        ["unlock"] => Command::Unlock,
        ["fence", node] => Command::Fence { node: NodeName::from(node) },
        ["acknowledge", node] => Command::AcknowledgeFence { node: NodeName::from(node) },
        _ => bail!("unknown command"),
    })
}

fn behave(sim: &mut Sim, operation: &str, resource: &str, how: &str, on: Option<NodeId>) -> Result<()> {
    let operation = match operation {
        "start" => Operation::Start,
        "stop" => Operation::Stop,
        "monitor" => Operation::Monitor,
        "migrate_to" => Operation::MigrateTo,
        "migrate_from" => Operation::MigrateFrom,
        _ => bail!("agents start, stop and monitor"),
    };
    let key = (on, ResourceName::from(resource), operation);
    let behaviour = match how {
        "works" => Behaviour::Works,
        "fails" => Behaviour::Fails,
        "slow" => Behaviour::Slow,
        "hangs" => Behaviour::Hangs,
        code => Behaviour::Says(code.parse().context("an agent works, fails, is slow, hangs or returns a number")?),
    };
    sim.behaviours.insert(key, behaviour);
    Ok(())
}

fn die(sim: &mut Sim, resource: &str, node: NodeId) -> Result<()> {
    let running = &sim.nodes.get(&node).context("there is no such node")?.running;
    let found = running.iter().find(|(_, name)| name.as_str() == resource).cloned();
    let (service, resource) = found.with_context(|| format!("{resource} does not run on n{node}"))?;
    sim.resource_dies(node, &service, &resource);
    Ok(())
}
