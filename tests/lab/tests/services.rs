//! Services on true hosts: corosync, the packaged OCF agents, fencing over IPMI, our rgmanager and commands. Who holds the
//! address is asked of the hosts themselves, not of the engine.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::time::Duration;

use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS};
use lab::{Cut, Nic, Place};
use shared::text::ServiceState;

const FORMING: Duration = Duration::from_secs(120);
const FAILOVER: Duration = Duration::from_secs(120);

fn started(cluster: &Cluster) -> usize {
    cluster.wait_members(1, &[1, 2, 3], FORMING).unwrap();
    cluster.wait_state(1, "web", ServiceState::Started, FORMING).unwrap();
    cluster.owner(1, "web").expect("a started service has an owner")
}

fn others(of: usize) -> [usize; 2] {
    match of {
        1 => [2, 3],
        2 => [1, 3],
        _ => [1, 2],
    }
}

#[test]
fn a_service_answers_from_another_host_after_a_power_cut_and_exactly_one_host_ever_holds_its_address() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = started(&cluster);
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    let target = std::net::SocketAddrV4::new(SERVICE_ADDRESS.parse().unwrap(), 80);
    let poller = cluster.lab.poll_http(target, "/").unwrap();
    let name = format!("node{owner}");
    poller.wait_page(std::time::UNIX_EPOCH, FAILOVER, |page| page == name).unwrap();

    let cut = cluster.lab.power_off(owner).unwrap();
    let answer = poller.wait_page(cut, FAILOVER, |page| page != name);
    let [survivor, _] = others(owner);
    let answer =
        answer.unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", cluster.clustat(survivor), cluster.log(survivor)));
    assert!(answer.ok());
    cluster.wait_state(survivor, "web", ServiceState::Started, FAILOVER).unwrap();
    assert_ne!(cluster.owner(survivor, "web"), Some(owner));
    assert!(watch.overlaps().is_empty(), "{:?}", watch.overlaps());
    let status = cluster.status(survivor).unwrap();
    assert!(status.waits_for_fencing_of.is_empty());

    // The host comes back, joins cleanly, and the service stays: without a domain no node is better.
    cluster.lab.restore(owner).unwrap();
    cluster.lab.power_on(owner).ok();
    cluster.wait_members(survivor, &[1, 2, 3], FORMING).unwrap();
    assert_ne!(cluster.owner(survivor, "web"), Some(owner));
    assert!(watch.overlaps().is_empty(), "{:?}", watch.overlaps());
}

#[test]
fn a_host_cut_from_the_network_is_fenced_before_its_service_moves() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = started(&cluster);
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    watch.wait_holder(owner, FAILOVER).unwrap();
    cluster.lab.cut(owner, &[Nic::Ring0, Nic::Ring1, Nic::Management], Cut::Silent).unwrap();
    let [survivor, other] = others(owner);
    let moved = lab::wait_for("the address on another host", FAILOVER, || {
        watch.holders().iter().any(|host| *host == survivor || *host == other).then_some(())
    });
    moved.unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", cluster.clustat(survivor), cluster.log(survivor)));
    assert!(watch.overlaps().is_empty(), "{:?}", watch.overlaps());
    let status = cluster.status(survivor).unwrap();
    let victim = status.node(&format!("node{owner}").into()).unwrap();
    assert!(victim.last_fenced.is_some(), "{victim:?}");
}

#[test]
fn nothing_starts_while_fencing_fails_and_an_acknowledgement_lets_it_go_on() {
    let mut options = ClusterOptions::web(3);
    options.fence_password = "wrong".into();
    let cluster = Cluster::boot(options).unwrap();
    let owner = started(&cluster);
    let [survivor, _] = others(owner);
    cluster.lab.power_off(owner).unwrap();
    lab::wait_for("a failed fencing attempt", FAILOVER, || {
        let status = cluster.status(survivor)?;
        let victim = status.node(&format!("node{owner}").into())?;
        victim.fencing.as_ref()?.last.as_ref().filter(|last| !last.succeeded).map(|_| ())
    })
    .unwrap();
    assert_ne!(cluster.service(survivor, "web").unwrap().state, ServiceState::Started);
    let text = cluster.clustat(survivor);
    assert!(text.contains("fence_ack_manual"), "clustat says what to do:\n{text}");
    let ack = format!("echo absolutely | fence_ack_manual node{owner}");
    cluster.lab.sh_ok(Place::Host(survivor), &ack).unwrap();
    cluster.wait_state(survivor, "web", ServiceState::Started, FAILOVER).unwrap();
}
