//! Configurations for simulated clusters: drawn from the seed, changed by simulated administrators, written as cluster.conf.

use std::fmt::Write as _;

use engine::ConfText;
use shared::ids::{ConfVersion, ServiceName};

use crate::rng::Rng;

/// A cluster.conf before it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    pub version: u64,
    pub nodes: u32,
    /// Methods per node; 0: the node cannot be fenced.
    pub methods: Vec<u32>,
    pub post_join_delay: i64,
    pub post_fail_delay: u64,
    /// Value of `delay` on the devices of the first node.
    pub delay: u64,
    /// Nothing is recovered on the word of a fence agent.
    pub require_witness: bool,
    /// Exclusive services evict each other by their numbers.
    pub central_processing: bool,
    /// Seconds after which a node without quorum that still runs something reboots itself; 0: never.
    pub quorum_loss_reboot: u64,
    pub domains: Vec<DomainSpec>,
    pub services: Vec<ServiceSpec>,
}

/// A failover domain: priority per node, 0 = not in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DomainSpec {
    pub ordered: bool,
    pub restricted: bool,
    pub nofailback: bool,
    pub priorities: Vec<u32>,
}

/// A service with a small tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceSpec {
    pub name: String,
    pub domain: Option<usize>,
    pub autostart: bool,
    pub recovery: &'static str,
    pub max_restarts: u32,
    /// 0: not exclusive.
    pub exclusive: u32,
    pub depend: Option<String>,
    pub depend_hard: bool,
    /// How many resources: 1 script; 2 ip with a script beside it; 3 an fs around the script as well.
    pub resources: u32,
    /// A virtual machine, which has no other resources.
    pub machine: bool,
    /// Marks of the script.
    pub isolation: Option<Isolation>,
    /// Changes with every edit of the service.
    pub edition: u32,
    /// Its node reboots when a stop fails.
    pub hard_recovery: bool,
    /// Counts with central processing only.
    pub priority: u32,
}

/// Marks of one resource (rhcs.md §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isolation {
    /// 1 independent, 2 non-critical; 0: only failures are tolerated.
    pub subtree: u32,
    /// `__max_restarts` within five minutes; 0: not given.
    pub max_restarts: u32,
    /// `__max_failures` within a minute; 0: not given.
    pub max_failures: u32,
}

impl Isolation {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            subtree: u32::try_from(rng.below(3)).unwrap_or(0),
            max_restarts: if rng.chance(400) { 2 } else { 0 },
            max_failures: if rng.chance(200) { 1 } else { 0 },
        }
    }

    fn render(self) -> String {
        let mut text = format!(" __independent_subtree=\"{}\"", self.subtree);
        if self.max_restarts > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, " __max_restarts=\"{}\" __restart_expire_time=\"5m\"", self.max_restarts);
        }
        if self.max_failures > 0 {
            let _ = write!(text, " __max_failures=\"{}\" __failure_expire_time=\"1m\"", self.max_failures);
        }
        text
    }
}

impl ServiceSpec {
    /// The name as `clustat` prints it.
    pub fn full_name(&self) -> ServiceName {
        if self.machine { ServiceName(format!("vm:{}", self.name)) } else { ServiceName::parse(&self.name) }
    }

    fn draw(name: &str, domains: usize, others: &[ServiceSpec], rng: &mut Rng) -> Self {
        Self {
            name: name.to_owned(),
            domain: rng.chance(600).then(|| rng.index(domains)).filter(|_| domains > 0),
            autostart: !rng.chance(100),
            recovery: ["restart", "restart", "relocate", "disable", "restart-disable"][rng.index(5)],
            max_restarts: if rng.chance(300) { 2 } else { 0 },
            exclusive: if rng.chance(80) { 1 + u32::try_from(rng.below(2)).unwrap_or(0) } else { 0 },
            depend: if rng.chance(80) { others.first().map(ServiceSpec::full_name).map(|name| name.0) } else { None },
            depend_hard: rng.chance(700),
            resources: 1 + u32::try_from(rng.below(3)).unwrap_or(0),
            edition: 0,
            machine: rng.chance(200),
            isolation: rng.chance(350).then(|| Isolation::draw(rng)),
            hard_recovery: rng.chance(60),
            priority: u32::try_from(rng.below(3)).unwrap_or(0),
        }
    }
}

impl Spec {
    /// A cluster of 2 to 9 nodes with 1 to 7 services. Most are small: a step of theirs costs less, and shows more.
    pub fn draw(rng: &mut Rng) -> Self {
        let nodes: u32 = [2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9][rng.index(16)];
        let methods = (0..nodes)
            .map(|_| match rng.below(20) {
                0 => 0,
                1..=5 => 2,
                _ => 1,
            })
            .collect();
        let domains = (0..rng.below(3))
            .map(|_| {
                let ordered = rng.chance(600);
                let mut priorities: Vec<u32> = (0..nodes)
                    .map(|_| if rng.chance(650) { 1 + u32::try_from(rng.below(3)).unwrap_or(0) } else { 0 })
                    .collect();
                if priorities.iter().all(|priority| *priority == 0) {
                    priorities[0] = 1;
                }
                DomainSpec { ordered, restricted: rng.chance(350), nofailback: rng.chance(350), priorities }
            })
            .collect::<Vec<_>>();
        let mut services: Vec<ServiceSpec> = Vec::new();
        for index in 0..=rng.below(4 + u64::from(nodes / 3)) {
            let service = ServiceSpec::draw(&format!("s{index}"), domains.len(), &services, rng);
            services.push(service);
        }
        Self {
            version: 1,
            nodes,
            methods,
            post_join_delay: if rng.chance(50) { -1 } else { i64::try_from(rng.below(7)).unwrap_or(0) },
            post_fail_delay: if rng.chance(200) { 3 } else { 0 },
            delay: if rng.chance(200) { 2 } else { 0 },
            require_witness: false,
            central_processing: rng.chance(300),
            quorum_loss_reboot: if rng.chance(250) { 15 } else { 0 },
            domains,
            services,
        }
    }

    /// The next version, changed as an administrator would.
    pub fn change(&mut self, rng: &mut Rng) {
        self.version += 1;
        match rng.below(7) {
            6 => {
                let count = self.services.len();
                self.services[rng.index(count)].isolation = rng.chance(500).then(|| Isolation::draw(rng));
            }
            0 if self.services.len() > 1 => {
                let gone = self.services.remove(rng.index(self.services.len())).full_name().0;
                for service in &mut self.services {
                    service.depend = service.depend.take().filter(|needs| *needs != gone);
                }
            }
            1 if self.services.len() < 8 => {
                let name = format!("s{}", self.version + 10);
                let service = ServiceSpec::draw(&name, self.domains.len(), &self.services, rng);
                self.services.push(service);
            }
            2 if !self.domains.is_empty() => {
                let domain = rng.index(self.domains.len());
                self.domains[domain].nofailback = !self.domains[domain].nofailback;
            }
            3 => {
                let count = self.services.len();
                let service = &mut self.services[rng.index(count)];
                service.resources = 1 + service.resources % 3;
            }
            _ => {
                let count = self.services.len();
                self.services[rng.index(count)].edition += 1;
            }
        }
    }

    /// As cluster.conf. `wrong_password`: none of the fence devices can be used.
    pub fn render(&self, wrong_password: bool) -> ConfText {
        let mut text = format!("<cluster name=\"sim\" config_version=\"{}\">\n", self.version);
        let mut devices = String::new();
        if self.nodes == 2 {
            text.push_str("<cman two_node=\"1\" expected_votes=\"1\"/>\n");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<fence_daemon post_join_delay=\"{}\" post_fail_delay=\"{}\"{}/>",
            self.post_join_delay,
            self.post_fail_delay,
            if self.require_witness { " require_witness=\"1\" witness_timeout=\"60\"" } else { "" }
        );
        text.push_str("<clusternodes>\n");
        for node in 1..=self.nodes {
            let _ = write!(text, "<clusternode name=\"n{node}\" nodeid=\"{node}\"><fence>");
            let methods = self.methods.get(node as usize - 1).copied().unwrap_or(1);
            for method in 1..=methods {
                let delay =
                    if node == 1 && self.delay > 0 { format!(" delay=\"{}\"", self.delay) } else { String::new() };
                let _ = write!(text, "<method name=\"m{method}\"><device name=\"d{node}-{method}\"{delay}/></method>");
                let password = if wrong_password { "wrong" } else { "right" };
                let _ = writeln!(
                    devices,
                    "<fencedevice name=\"d{node}-{method}\" agent=\"fence_ipmilan\" ip=\"10.9.{method}.{node}\" username=\"a\" password=\"{password}\"/>"
                );
            }
            text.push_str("</fence></clusternode>\n");
        }
        let _ = write!(text, "</clusternodes>\n<fencedevices>\n{devices}</fencedevices>\n");
        let central = u8::from(self.central_processing);
        let reboot = match self.quorum_loss_reboot {
            0 => String::new(),
            limit => format!(" quorum_loss_reboot=\"{limit}\""),
        };
        let _ = write!(text, "<rm central_processing=\"{central}\"{reboot}>\n<failoverdomains>\n");
        for (index, domain) in self.domains.iter().enumerate() {
            let flag = u8::from;
            let _ = write!(
                text,
                "<failoverdomain name=\"{}\" ordered=\"{}\" restricted=\"{}\" nofailback=\"{}\">",
                domain_name(index),
                flag(domain.ordered),
                flag(domain.restricted),
                flag(domain.nofailback)
            );
            for (node, priority) in domain.priorities.iter().enumerate().filter(|(_, priority)| **priority > 0) {
                let _ = write!(text, "<failoverdomainnode name=\"n{}\" priority=\"{priority}\"/>", node + 1);
            }
            text.push_str("</failoverdomain>\n");
        }
        text.push_str("</failoverdomains>\n");
        for (index, service) in self.services.iter().enumerate() {
            render_service(&mut text, index, service);
        }
        text.push_str("</rm>\n</cluster>\n");
        ConfText { version: ConfVersion(self.version), digest: shared::conf::digest(&text), text }
    }
}

/// What the failover domain with this place in the list is called.
pub fn domain_name(index: usize) -> String {
    format!("d{index}")
}

fn render_service(text: &mut String, index: usize, service: &ServiceSpec) {
    let name = &service.name;
    let domain = service.domain.map(|domain| format!(" domain=\"{}\"", domain_name(domain))).unwrap_or_default();
    let mode = if service.depend_hard { "hard" } else { "soft" };
    let depend = service.depend.as_ref().map(|needs| format!(" depend=\"{needs}\" depend_mode=\"{mode}\""));
    let depend = depend.unwrap_or_default();
    let hard = if service.hard_recovery && !service.machine { " hardrecovery=\"1\"" } else { "" };
    let (tag, start) = if service.machine { ("vm", " path=\"/srv/vm\"") } else { ("service", "") };
    let _ = write!(
        text,
        "<{tag} name=\"{name}\"{domain}{depend} priority=\"{}\" autostart=\"{}\" recovery=\"{}\" max_restarts=\"{}\" restart_expire_time=\"300\" exclusive=\"{}\"{start}{hard}>",
        service.priority,
        u8::from(service.autostart),
        service.recovery,
        service.max_restarts,
        service.exclusive
    );
    if service.machine {
        text.push_str("</vm>\n");
        return;
    }
    let marks = service.isolation.map(Isolation::render).unwrap_or_default();
    let script = format!("<script name=\"{name}\" file=\"/etc/init.d/{name}-{}\"{marks}/>", service.edition);
    if service.resources >= 2 {
        let _ = write!(text, "<ip address=\"10.1.{index}.{}\"/>", name.len());
    }
    if service.resources >= 3 {
        let _ = write!(
            text,
            "<fs name=\"{name}\" device=\"/dev/{name}\" mountpoint=\"/mnt/{name}\" fstype=\"ext4\">{script}</fs>"
        );
    } else {
        text.push_str(&script);
    }
    text.push_str("</service>\n");
}

/// A cluster.conf written by hand.
pub fn from_text(text: &str) -> ConfText {
    let version = shared::conf::load(text).conf.map_or(ConfVersion(0), |conf| conf.version);
    ConfText { version, digest: shared::conf::digest(text), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_configuration_can_be_used_and_so_can_its_successors() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut spec = Spec::draw(&mut rng);
            for _ in 0..4 {
                let text = spec.render(false).text;
                let loaded = shared::conf::load(&text);
                assert!(!loaded.has_errors(), "{text}\n{:?}", loaded.findings);
                spec.change(&mut rng);
            }
        }
    }
}
