//! What `ccs` does on hosts rather than in a configuration: hand it to all nodes, compare it, start and stop the
//! cluster, ask for fence agents. One host that fails does not keep the others from being done.

use std::time::{Duration, Instant};

use reqwest::Method;
use shared::api::{
    AgentMetadata, AgentSummary, CorosyncKey, HostOperationKind, NodeReport, StartCluster, StopCluster, path,
};
use shared::conf::{Document, digest};

use super::fault::Fault;
use super::home::Home;
use super::remote::{Credentials, QUICK, Remote, SLOW};
use super::target::{host_conf, put_to_host};

/// Services are moved away before a node stops; a start waits for corosync.
const OPERATION_LIMIT: Duration = Duration::from_secs(600);
const OPERATION_POLL: Duration = Duration::from_millis(250);

/// Hosts and how to be let in.
pub(super) struct Hosts<'a> {
    pub(super) home: &'a Home,
    pub(super) credentials: &'a Credentials,
}

impl Hosts<'_> {
    fn open(&self, host: &str) -> Result<Remote, Fault> {
        Remote::open(self.home, host, self.credentials)
    }

    /// `--sync`: the key and the configuration of one host to all its nodes. In a running cluster the members have it
    /// already, and nothing is left to do for them.
    pub(super) fn sync(&self, from: &Remote) -> Result<(), Fault> {
        let conf = host_conf(from)?
            .ok_or_else(|| Fault::new(format!("{} has no cluster.conf; make one with --createcluster", from.host)))?;
        let key: CorosyncKey = from.fetch(Method::POST, path::COROSYNC_KEY, None::<&()>, QUICK)?;
        each(&node_hosts(&conf.text, Some(&from.address)), |host| {
            if host == &from.address {
                return Ok(());
            }
            let remote = self.open(host)?;
            let _: Option<()> = remote.fetch(Method::PUT, path::COROSYNC_KEY, Some(&key), QUICK)?;
            match host_conf(&remote)? {
                Some(present) if present.digest == conf.digest => Ok(()),
                _ => put_to_host(&remote, &conf.text),
            }
        })
    }

    /// `--sync -f FILE`: a file to all nodes that it names.
    pub(super) fn sync_text(&self, text: &str) -> Result<(), Fault> {
        each(&node_hosts(text, None), |host| {
            let remote = self.open(host)?;
            match host_conf(&remote)? {
                Some(present) if present.digest == digest(text) => Ok(()),
                _ => put_to_host(&remote, text),
            }
        })
    }

    /// `--checkconf`: whether all nodes have this text.
    pub(super) fn compare(&self, text: &str, near: Option<&str>) -> Result<String, Fault> {
        let wanted = digest(text);
        each(&node_hosts(text, near), |host| match host_conf(&self.open(host)?)? {
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
        for host in node_hosts(text, Some(near)) {
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
    Ok(agents.iter().map(|agent| format!("{} - {}\n", agent.name, agent.short)).collect())
}

pub(super) fn fence_agent(remote: &Remote, name: &str) -> Result<String, Fault> {
    if !super::options::is_name(name) {
        return Err(Fault::new(format!("'{name}' is not the name of a fence agent")));
    }
    let place = path::FENCE_AGENT_METADATA.replace("{name}", name);
    let metadata: AgentMetadata = remote.fetch(Method::GET, &place, None::<&()>, SLOW)?;
    Ok(metadata.xml)
}

/// Does it for every host; what failed is told together.
fn each(hosts: &[String], act: impl Fn(&String) -> Result<(), Fault>) -> Result<(), Fault> {
    let faults: Vec<String> = hosts.iter().filter_map(|host| act(host).err()).map(|fault| fault.text).collect();
    if faults.is_empty() { Ok(()) } else { Err(Fault::new(faults.join("\n"))) }
}

/// The nodes of a cluster.conf, each with the port that the host named on the command line has, if it named one.
fn node_hosts(text: &str, near: Option<&str>) -> Vec<String> {
    let (document, _) = Document::parse(text);
    let nodes = document.select("/cluster/clusternodes/clusternode");
    let names = nodes.into_iter().filter_map(|node| document.attribute(node, "name"));
    let port = near.and_then(|near| near.rsplit_once(':')).map(|(_, port)| port);
    names
        .map(|name| match port {
            Some(port) if name.contains(':') => format!("[{name}]:{port}"),
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        })
        .collect()
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
