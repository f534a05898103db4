//! A cluster larger than a machine can hold: a status of 32 nodes and 2,000 services behind a true control socket, made
//! into JSON once as the daemon does for each change, and the same cluster as a CIB in a file for `crm_mon`.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use shared::ids::{ConfDigest, ConfVersion, NodeId, NodeName, ResourceName, ServiceName, Time};
use shared::socket::{Ask, Reply};
use shared::status::{
    ClusterStatus, ConfInForce, FencingStatus, FencingStep, Membership, NodeStatus, Phase, Quorum, Reason,
    ResourceState, ResourceStatus, ServiceStatus,
};
use shared::text::ServiceState;

use crate::commands::tell;

pub(crate) const NODES: u32 = 32;
pub(crate) const SERVICES: u32 = 2000;

const AT: Time = Time(1_793_872_800_000);

pub(crate) fn measure(runs: usize, runs_of_others: Option<usize>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (socket, fencing) = (folder.path().join("rgmanager.sk"), folder.path().join("fencing.sk"));
    serve(&socket, status())?;
    serve(&fencing, with_hanging_fence(status()))?;
    let programs = lab::cluster::built_programs()?;
    let clustat = programs.join("clustat").display().to_string();
    let variable = ("RGMANAGER_SOCKET", socket.as_path());
    series("clustat", runs, variable, &[&clustat])?;
    series("clustat -x", runs, variable, &[&clustat, "-x"])?;
    series("clustat -s s0001", runs, variable, &[&clustat, "-s", "s0001"])?;
    let variable = ("RGMANAGER_SOCKET", fencing.as_path());
    series("clustat, a fence hangs", runs, variable, &[&clustat])?;
    let Some(runs) = runs_of_others else { return Ok(()) };
    let file = folder.path().join("cib.xml");
    std::fs::write(&file, cib())?;
    series("crm_mon -1 (CIB in a file)", runs, ("CIB_file", &file), &["crm_mon", "-1"])
}

fn series(name: &str, runs: usize, (variable, value): (&str, &Path), words: &[&str]) -> Result<()> {
    let me = std::env::current_exe()?;
    let done =
        Command::new(me).args(["time", "--runs", &runs.to_string(), "--"]).args(words).env(variable, value).output()?;
    if !done.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&done.stderr));
    }
    tell(name, &String::from_utf8(done.stdout)?)
}

/// A node's fence agent has run for an hour, and the services that the node had wait for it.
fn with_hanging_fence(mut status: ClusterStatus) -> ClusterStatus {
    let victim = NodeName(node_name(NODES));
    status.waits_for_fencing_of = vec![victim.clone()];
    for service in status.services.iter_mut().filter(|service| service.owner.as_ref() == Some(&victim)) {
        service.state = ServiceState::Recovering;
        service.last_owner = service.owner.take();
        service.waits_for = Some(Reason::FencingPending { nodes: vec![victim.clone()] });
    }
    for node in status.nodes.iter_mut().filter(|node| node.name == victim) {
        (node.online, node.member) = (false, Membership::Victim);
        node.fencing = Some(FencingStatus {
            since: AT,
            attempt: 1,
            step: FencingStep::Running,
            by: Some(NodeName(node_name(1))),
            method: Some("power".into()),
            last: None,
            advice: "The fence agent has not answered yet.".into(),
        });
    }
    status
}

fn serve(socket: &Path, status: ClusterStatus) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let mut reply = serde_json::to_vec(&Reply::Status { status: Box::new(status) })?;
    reply.push(b'\n');
    // Ends with the program.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up early is measured all the same.
            let _ = answer(&stream, &reply);
        }
    });
    Ok(())
}

fn answer(stream: &UnixStream, reply: &[u8]) -> Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if serde_json::from_str::<Ask>(&line)? != Ask::Status {
        bail!("only the status is served here");
    }
    let mut out = stream;
    out.write_all(reply)?;
    Ok(())
}

fn node_name(number: u32) -> String {
    format!("node{number:02}.example.com")
}

/// Every service with three resources, as such services have.
fn status() -> ClusterStatus {
    let node = |number: u32| NodeStatus {
        id: NodeId(number),
        name: NodeName(node_name(number)),
        configured: true,
        local: number == 1,
        online: true,
        member: Membership::Member,
        boot_id: None,
        conf_version: Some(ConfVersion(42)),
        fencing: None,
        last_fenced: None,
        fence_proofs: Vec::new(),
        standby: false,
        watches: Vec::new(),
    };
    let resource =
        |name: String, depth| ResourceStatus { name: ResourceName(name), depth, state: ResourceState::Started, at: AT };
    let service = |number: u32| ServiceStatus {
        name: ServiceName(format!("service:s{number:04}")),
        state: ServiceState::Started,
        frozen: false,
        partial: false,
        owner: Some(NodeName(node_name(number % NODES + 1))),
        last_owner: None,
        restarts: 0,
        last_transition: Some(AT),
        reason: Reason::Autostart,
        waits_for: None,
        request: None,
        failure: None,
        resources: vec![
            resource(format!("fs:data{number:04}"), 0),
            resource(format!("ip:10.0.{}.{}", number / 250, number % 250), 0),
            resource(format!("apache:www{number:04}"), 1),
        ],
    };
    ClusterStatus {
        cluster: "large".into(),
        at: AT,
        local: NodeId(1),
        phase: Phase::Member,
        conf: Some(ConfInForce { version: ConfVersion(42), digest: ConfDigest::from("00") }),
        quorum: Quorum { quorate: true, votes: Some(NODES), votes_expected: Some(NODES) },
        coordinator: Some(NodeId(1)),
        locked: false,
        nodes: (1..=NODES).map(node).collect(),
        services: (1..=SERVICES).map(service).collect(),
        waits_for_fencing_of: Vec::new(),
    }
}

/// The same number of nodes and resources, each started somewhere.
fn cib() -> String {
    let mut nodes = String::new();
    let mut resources = String::new();
    let mut states = String::new();
    for number in 1..=SERVICES {
        let _ =
            write!(resources, "<primitive id=\"s{number:04}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"/>");
    }
    for number in 1..=NODES {
        let name = node_name(number);
        let _ = write!(nodes, "<node id=\"{number}\" uname=\"{name}\"/>");
        let _ = write!(
            states,
            "<node_state id=\"{number}\" uname=\"{name}\" in_ccm=\"true\" crmd=\"online\" join=\"member\" \
             expected=\"member\"><lrm id=\"{number}\"><lrm_resources>"
        );
        for service in (1..=SERVICES).filter(|service| service % NODES + 1 == number) {
            let _ = write!(
                states,
                "<lrm_resource id=\"s{service:04}\" type=\"Dummy\" class=\"ocf\" provider=\"heartbeat\">\
                 <lrm_rsc_op id=\"s{service:04}_last_0\" operation=\"start\" operation_key=\"s{service:04}_start_0\" \
                 call-id=\"{service}\" rc-code=\"0\" op-status=\"0\" interval=\"0\" crm-debug-origin=\"bench\" \
                 transition-key=\"1:0:0:x\" transition-magic=\"0:0;1:0:0:x\"/></lrm_resource>"
            );
        }
        states.push_str("</lrm_resources></lrm></node_state>");
    }
    format!(
        "<cib crm_feature_set=\"3.16.2\" validate-with=\"pacemaker-3.7\" epoch=\"1\" num_updates=\"0\" \
         admin_epoch=\"0\" have-quorum=\"1\" dc-uuid=\"1\"><configuration><crm_config><cluster_property_set id=\"c\">\
         <nvpair id=\"c1\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>\
         <nodes>{nodes}</nodes><resources>{resources}</resources><constraints/></configuration>\
         <status>{states}</status></cib>"
    )
}
