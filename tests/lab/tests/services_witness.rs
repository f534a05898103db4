//! A fence agent that lies on true hosts: the BMC takes the command, reports the power as off, and switches nothing. With
//! `require_witness` nothing is recovered on its word, and the node that shows itself again disproves it.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]
#![expect(clippy::print_stdout, reason = "the counts are what is looked for in the output")]

use std::time::Duration;

use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS};
use lab::{AddressWatch, BmcMode, Cut, Nic, Place, wait_for};
use shared::status::{FenceVerdict, FencingStep, NodeStatus};
use shared::text::ServiceState;

const SOON: Duration = Duration::from_secs(120);

fn node(cluster: &Cluster, host: usize, of: usize) -> Option<NodeStatus> {
    cluster.status(host)?.node(&format!("node{of}").into()).cloned()
}

fn verdict(cluster: &Cluster, host: usize, of: usize) -> Option<FenceVerdict> {
    node(cluster, host, of)?.fence_proofs.first().map(|proof| proof.verdict)
}

/// How often the lie is told.
const ROUNDS: usize = 3;

#[test]
fn a_lying_fence_agent_recovers_nothing_and_is_found_out_when_the_node_shows_itself() {
    let mut options = ClusterOptions::web(3);
    options.fence_daemon = "post_join_delay=\"10\" require_witness=\"1\"".into();
    // With off and on the agent asks the BMC for the power afterwards; a cycle is believed.
    options.fence_extra = vec![" method=\"cycle\"".to_owned(); 3];
    let cluster = Cluster::boot(options).unwrap();
    cluster.formed().unwrap();
    assert!((1..=3).all(|host| verdict(&cluster, 1, host) == Some(FenceVerdict::Untried)));
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    for round in 1..=ROUNDS {
        tell_a_lie_and_then_the_truth(&cluster, &watch);
        println!("lying agent told apart from a true one: {round} of {ROUNDS}");
    }
    assert!(watch.overlaps().is_empty(), "{:?}", watch.overlaps());
}

/// Whoever runs the service is cut off, its BMC lies, and is found out; then the BMC is true.
fn tell_a_lie_and_then_the_truth(cluster: &Cluster, watch: &AddressWatch) {
    let owner = cluster.formed().unwrap();
    let survivor = cluster.others(owner)[0];
    watch.wait_holder(owner, SOON).unwrap();
    let before = watch.history().len();
    let boot = cluster.lab.boot_id(owner).unwrap();
    cluster.lab.set_bmc(owner, BmcMode::Lies).unwrap();
    // The management network stays: the agent can be told, and lies.
    cluster.lab.cut(owner, &[Nic::Ring0, Nic::Ring1], Cut::Silent).unwrap();
    let unwitnessed = wait_for("an agent that says it is done", SOON, || {
        let fencing = node(cluster, survivor, owner)?.fencing?;
        (fencing.step == FencingStep::Unwitnessed).then_some(fencing)
    });
    let unwitnessed = unwitnessed
        .unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", cluster.clustat(survivor), cluster.log(survivor)));
    assert!(unwitnessed.last.is_some_and(|last| last.succeeded), "the agent was believed to have failed");
    assert_eq!(verdict(cluster, survivor, owner), Some(FenceVerdict::Claimed));
    assert_ne!(cluster.service(survivor, "web").unwrap().state, ServiceState::Started);
    assert_eq!(cluster.lab.boot_id(owner).unwrap(), boot, "the lab's BMC does not lie");
    assert!(cluster.clustat(survivor).contains("fence_ack_manual"), "{}", cluster.clustat(survivor));

    cluster.lab.heal().unwrap();
    wait_for("the lie to be found out", SOON, || {
        (verdict(cluster, survivor, owner)? == FenceVerdict::Disproved).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(survivor)));
    assert_ne!(cluster.service(survivor, "web").unwrap().state, ServiceState::Started);
    let elsewhere = watch.history().into_iter().skip(before).any(|span| span.host != owner);
    assert!(!elsewhere, "the address was taken over on the word of the agent: {:?}", watch.history());

    // The agent speaks the truth from here on: the next attempt resets the node, which proves it by its boot id.
    cluster.lab.set_bmc(owner, BmcMode::Works).unwrap();
    cluster
        .wait_state(survivor, "web", ServiceState::Started, SOON)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(survivor)));
    assert_eq!(verdict(cluster, survivor, owner), Some(FenceVerdict::Proven));
    assert_ne!(cluster.lab.boot_id(owner).unwrap(), boot);
    let said = node(cluster, survivor, owner).unwrap().last_fenced.unwrap();
    assert_eq!(said.witnessed_reboot, Some(true));
    let log = cluster.lab.sh_ok(Place::Host(survivor), "cat /var/log/cluster/rgmanager.log").unwrap();
    assert!(log.contains("is back without having rebooted"), "{log}");
}
