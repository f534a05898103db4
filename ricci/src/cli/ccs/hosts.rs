//! What `ccs` does on hosts rather than in a configuration: hand it to all nodes, compare it, start and stop the
//! cluster, ask for fence agents. One host that fails does not keep the others from being done.

use std::time::{Duration, Instant};

use reqwest::Method;
use shared::api::{
    AgentMetadata, AgentSummary, CorosyncKey, HostOperationKind, NodeReport, Secret, SecretNames, StartCluster,
    StopCluster, path,
};
use shared::conf::{Document, Edit, apply, digest, judge, sealed};
use shared::ids::ConfVersion;

use super::fault::Fault;
use super::home::Home;
use super::remote::{Credentials, QUICK, Remote, SLOW};
use super::target::{complain_of, host_conf, put_to_host};
use crate::agent::catalogue::here;

/// Services are moved away before a node stops; a start waits for corosync.
const OPERATION_LIMIT: Duration = Duration::from_secs(600);
const OPERATION_POLL: Duration = Duration::from_millis(250);

/// Hosts and how to be let in.
pub(super) struct Hosts<'a> {
    pub(super) home: &'a Home,
    pub(super) credentials: &'a Credentials,
    /// Reach them by their second address, where they have one.
    pub(super) use_alt: bool,
    pub(super) despite_agents: bool,
}

impl Hosts<'_> {
    /// The nodes of a cluster.conf, each with the port that the host named on the command line has, if it named one.
    fn nodes(&self, text: &str, near: Option<&str>) -> Vec<String> {
        let (document, _) = Document::parse(text);
        let nodes = document.select("/cluster/clusternodes/clusternode");
        let alternative = |node| document.attribute(document.child(node, "altname").filter(|_| self.use_alt)?, "name");
        let names = nodes.into_iter().filter_map(|node| alternative(node).or(document.attribute(node, "name")));
        let port = near.and_then(|near| near.rsplit_once(':')).map(|(_, port)| port);
        names
            .map(|name| match port {
                Some(port) if name.contains(':') => format!("[{name}]:{port}"),
                Some(port) => format!("{name}:{port}"),
                None => name.to_owned(),
            })
            .collect()
    }

    fn open(&self, host: &str) -> Result<Remote, Fault> {
        Remote::open(self.home, host, self.credentials)
    }

    /// `--sync`: the key and the configuration of one host to all its nodes. In a running cluster the members have it
    /// already, and nothing is left to do for them.
    pub(super) fn sync(&self, from: &Remote) -> Result<(), Fault> {
        let conf = host_conf(from)?
            .ok_or_else(|| Fault::new(format!("{} has no cluster.conf; make one with --createcluster", from.host)))?;
        let key: CorosyncKey = from.fetch(Method::POST, path::COROSYNC_KEY, None::<&()>, QUICK)?;
        each(&self.nodes(&conf.text, Some(&from.address)), |host| {
            if host == &from.address {
                return Ok(());
            }
            let remote = self.open(host)?;
            let _: Option<()> = remote.fetch(Method::PUT, path::COROSYNC_KEY, Some(&key), QUICK)?;
            if !sealed::references(&Document::parse(&conf.text).0).is_empty() {
                Self::hand_on_secrets(from, &remote, &conf.text)?;
            }
            match host_conf(&remote)? {
                Some(present) if present.digest == conf.digest => Ok(()),
                _ => self.hand_over(&remote, &conf.text),
            }
        })
    }

    /// The version itself was judged when it was made; what counts here is what this node's agents say.
    fn hand_over(&self, to: &Remote, text: &str) -> Result<(), Fault> {
        let mut told = put_to_host(to, text, self.despite_agents)?;
        told.retain(judge::is_of_agent);
        complain_of(&format!("{}: cluster.conf", to.host), &told);
        Ok(())
    }

    /// `--movesecrets`: how many there were. All nodes have the secrets before the configuration refers to them; if one
    /// does not take them, the configuration stays as it is.
    pub(super) fn move_secrets(&self, from: &Remote) -> Result<usize, Fault> {
        let conf = host_conf(from)?.ok_or_else(|| Fault::new(format!("{} has no cluster.conf", from.host)))?;
        let mut document = Document::parse(&conf.text).0;
        let plain = sealed::plain(&document, |_, _, _| false);
        if plain.is_empty() {
            return Ok(0);
        }
        let name = |found| format!("{}.{:08x}", sealed::stem(&document, found), uuid::Uuid::new_v4().as_fields().0);
        let names: Vec<String> = plain.iter().map(name).collect();
        each(&self.nodes(&conf.text, Some(&from.address)), |host| {
            let opened;
            let remote = if host == &from.address {
                from
            } else {
                opened = self.open(host)?;
                &opened
            };
            for (found, name) in plain.iter().zip(&names) {
                let secret = Secret { value: found.value.clone() };
                let path = path::SECRET.replace("{name}", name);
                let _: Option<()> = remote.fetch(Method::PUT, &path, Some(&secret), QUICK)?;
            }
            Ok(())
        })?;
        for (found, name) in plain.iter().zip(&names) {
            sealed::replace(&mut document, found, name);
        }
        let next = Edit::SetVersion { version: ConfVersion(conf.version.0 + 1) };
        apply(&mut document, &next).map_err(|error| Fault::new(error.to_string()))?;
        put_to_host(from, &document.print(), self.despite_agents)?;
        Ok(plain.len())
    }

    /// What the other nodes have and a host lacks, from the host that is synchronized from.
    fn hand_on_secrets(from: &Remote, to: &Remote, text: &str) -> Result<(), Fault> {
        let there: SecretNames = to.fetch(Method::GET, path::SECRETS, None::<&()>, QUICK)?;
        for found in sealed::references(&Document::parse(text).0) {
            let name = sealed::referred(&found.value).unwrap_or_default().to_owned();
            if !there.present.contains(&name) {
                let path = path::SECRET.replace("{name}", &name);
                let secret: Secret = from.fetch(Method::GET, &path, None::<&()>, QUICK)?;
                let _: Option<()> = to.fetch(Method::PUT, &path, Some(&secret), QUICK)?;
            }
        }
        Ok(())
    }

    /// `--sync -f FILE`: a file to all nodes that it names.
    pub(super) fn sync_text(&self, text: &str) -> Result<(), Fault> {
        each(&self.nodes(text, None), |host| {
            let remote = self.open(host)?;
            match host_conf(&remote)? {
                Some(present) if present.digest == digest(text) => Ok(()),
                _ => self.hand_over(&remote, text),
            }
        })
    }

    /// `--checkconf`: whether all nodes have this text.
    pub(super) fn compare(&self, text: &str, near: Option<&str>) -> Result<String, Fault> {
        let wanted = digest(text);
        each(&self.nodes(text, near), |host| match host_conf(&self.open(host)?)? {
            Some(present) if present.digest == wanted => Ok(()),
            Some(present) => {
                Err(Fault::new(format!("Node: {host} does not match (it has version {})", present.version)))
            }
            None => Err(Fault::new(format!("Node: {host} does not match (it has no cluster.conf)"))),
        })?;
        Ok("All nodes in sync.\n".to_owned())
    }

    /// `--start`, `--stop`.
    pub(super) fn operate(&self, remote: &Remote, kind: HostOperationKind, keep_boot: bool) -> Result<(), Fault> {
        begin(remote, kind, keep_boot)?;
        wait_for_end(remote, kind)
    }

    /// `--startall`, `--stopall`: on all nodes at once, for a cluster of which one node starts has no quorum.
    pub(super) fn operate_all(
        &self,
        text: &str,
        near: &str,
        kind: HostOperationKind,
        keep_boot: bool,
    ) -> Result<String, Fault> {
        let mut under_way = Vec::new();
        let mut faults = Vec::new();
        for host in self.nodes(text, Some(near)) {
            let begun = self.open(&host).and_then(|remote| begin(&remote, kind, keep_boot).map(|()| remote));
            match begun {
                Ok(remote) => under_way.push(remote),
                Err(fault) => faults.push(fault.text),
            }
        }
        let done = if kind == HostOperationKind::Start { "Started" } else { "Stopped" };
        let mut said = String::new();
        for remote in under_way {
            match wait_for_end(&remote, kind) {
                Ok(()) => said.push_str(&format!("{done} {}\n", remote.host)),
                Err(fault) => faults.push(fault.text),
            }
        }
        if faults.is_empty() {
            return Ok(said);
        }
        crate::cli::console::print(&said);
        Err(Fault::new(faults.join("\n")))
    }
}

/// The fence agents of a host, or the metadata of one.
pub(super) fn fence_agents(remote: &Remote) -> Result<String, Fault> {
    let agents: Vec<AgentSummary> = remote.fetch(Method::GET, path::FENCE_AGENTS, None::<&()>, SLOW)?;
    Ok(list_agents(&agents))
}

pub(super) fn fence_agent(remote: &Remote, name: &str) -> Result<String, Fault> {
    check_agent_name(name)?;
    let place = path::FENCE_AGENT_METADATA.replace("{name}", name);
    let metadata: AgentMetadata = remote.fetch(Method::GET, &place, None::<&()>, SLOW)?;
    Ok(metadata.xml)
}

/// The same of this node, whether ricci runs on it or not.
pub(super) fn fence_agents_here(home: &Home) -> Result<String, Fault> {
    Ok(list_agents(&runtime()?.block_on(here::fence_agents(home.fence_agents_path()))))
}

pub(super) fn fence_agent_here(home: &Home, name: &str) -> Result<String, Fault> {
    check_agent_name(name)?;
    runtime()?.block_on(here::fence_agent(home.fence_agents_path(), name)).map_err(Fault::new)
}

fn list_agents(agents: &[AgentSummary]) -> String {
    agents.iter().map(|agent| format!("{} - {}\n", agent.name, agent.short)).collect()
}

fn check_agent_name(name: &str) -> Result<(), Fault> {
    if super::options::is_name(name) {
        return Ok(());
    }
    Err(Fault::new(format!("'{name}' is not the name of a fence agent")))
}

fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Fault::new(format!("cannot run programs: {error}")))
}

/// Does it for every host; what failed is told together.
fn each(hosts: &[String], act: impl Fn(&String) -> Result<(), Fault>) -> Result<(), Fault> {
    let faults: Vec<String> = hosts.iter().filter_map(|host| act(host).err()).map(|fault| fault.text).collect();
    if faults.is_empty() { Ok(()) } else { Err(Fault::new(faults.join("\n"))) }
}

fn begin(remote: &Remote, kind: HostOperationKind, keep_boot: bool) -> Result<(), Fault> {
    let change_boot = !keep_boot;
    let _: Option<()> = match kind {
        HostOperationKind::Start => {
            remote.fetch(Method::POST, path::CLUSTER_START, Some(&StartCluster { enable: change_boot }), SLOW)?
        }
        HostOperationKind::Stop | HostOperationKind::Reboot => {
            remote.fetch(Method::POST, path::CLUSTER_STOP, Some(&StopCluster { disable: change_boot }), SLOW)?
        }
    };
    Ok(())
}

fn wait_for_end(remote: &Remote, kind: HostOperationKind) -> Result<(), Fault> {
    let begun = Instant::now();
    let (verb, hint) = match kind {
        HostOperationKind::Start => ("start", ", possibly due to lack of quorum, try --startall"),
        HostOperationKind::Stop | HostOperationKind::Reboot => ("stop", ""),
    };
    while begun.elapsed() < OPERATION_LIMIT {
        let report: NodeReport = remote.fetch(Method::GET, path::NODE, None::<&()>, QUICK)?;
        if let Some(operation) =
            report.operation.filter(|operation| operation.kind == kind && operation.ended_ms.is_some())
        {
            return match operation.failure {
                None => Ok(()),
                Some(failure) => Err(Fault::new(format!("Unable to {verb} {}{hint}\nError: {failure}", remote.host))),
            };
        }
        std::thread::sleep(OPERATION_POLL);
    }
    Err(Fault::new(format!("{} did not {verb} within {} seconds", remote.host, OPERATION_LIMIT.as_secs())))
}
