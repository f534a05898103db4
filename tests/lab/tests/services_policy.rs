//! What the configuration and the operator want, on true hosts: corrected fencing, failover domains, recovery, failed stops,
//! intents over a loss of quorum.

use std::net::SocketAddrV4;
use std::time::{Duration, SystemTime};

use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS, web_service};
use lab::{BMC_PASSWORD, Cut, Nic, Place, wait_for};
use shared::text::ServiceState;

const SOON: Duration = Duration::from_secs(120);

#[test]
fn a_wrong_fence_password_that_is_corrected_lets_the_recovery_go_on_by_itself() {
    let mut options = ClusterOptions::web(3);
    options.fence_password = "wrong".into();
    let mut cluster = Cluster::boot(options).unwrap();
    let owner = cluster.formed().unwrap();
    let survivor = cluster.others(owner)[0];
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    cluster.lab.power_off(owner).unwrap();
    wait_for("a failed fencing attempt", SOON, || {
        let status = cluster.status(survivor)?;
        let victim = status.node(&format!("node{owner}").into())?;
        victim.fencing.as_ref()?.last.as_ref().filter(|last| !last.succeeded).map(|_| ())
    })
    .unwrap();
    assert_eq!(watch.holders(), Vec::<usize>::new(), "nothing starts before the node is known to be down");

    cluster.options.fence_password = BMC_PASSWORD.to_owned();
    cluster.put_conf(survivor, 2).unwrap();
    cluster
        .wait_state(survivor, "web", ServiceState::Started, SOON)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(survivor)));
    assert_ne!(cluster.owner(survivor, "web"), Some(owner));
    assert!(cluster.lab.get(survivor, "/etc/cluster/cluster.conf").unwrap().contains("config_version=\"2\""));
    watch.finish().unwrap();
}

/// An ordered domain that wants node1, then node2.
fn domain(name: &str, attributes: &str) -> String {
    format!(
        "<failoverdomain name=\"{name}\" ordered=\"1\"{attributes}>\
         <failoverdomainnode name=\"node1\" priority=\"1\"/><failoverdomainnode name=\"node2\" priority=\"2\"/>\
         </failoverdomain>\n"
    )
}

#[test]
fn a_service_goes_home_to_the_better_node_of_its_domain_unless_the_domain_says_nofailback() {
    let mut options = ClusterOptions::web(3);
    options.rm = format!(
        "<failoverdomains>{}{}</failoverdomains>\n\
         <service name=\"home\" domain=\"back\"><ip address=\"10.77.0.101/24\"/></service>\n\
         <service name=\"stay\" domain=\"away\"><ip address=\"10.77.0.102/24\"/></service>\n",
        domain("back", ""),
        domain("away", " nofailback=\"1\"")
    );
    let cluster = Cluster::boot(options).unwrap();
    let watches = ["10.77.0.101", "10.77.0.102"].map(|address| cluster.lab.watch_address(address.parse().unwrap()));
    for host in 1..=3 {
        cluster.wait_members(host, &[1, 2, 3], SOON).unwrap();
    }
    cluster.wait_owner(1, "home", 1, SOON).unwrap();
    // It may have been started before node1 had joined.
    cluster.wait_state(1, "stay", ServiceState::Started, SOON).unwrap();
    cluster.lab.sh_ok(Place::Host(1), "clusvcadm -r stay -m node1").unwrap();
    cluster.wait_owner(1, "stay", 1, SOON).unwrap();

    cluster.lab.power_off(1).unwrap();
    cluster.wait_owner(2, "home", 2, SOON).unwrap();
    cluster.wait_owner(2, "stay", 2, SOON).unwrap();
    cluster.lab.restore(1).unwrap();
    cluster.lab.power_on(1).ok();
    cluster.wait_members(2, &[1, 2, 3], SOON).unwrap();
    cluster.wait_owner(2, "home", 1, SOON).unwrap();
    cluster.wait_owner(2, "stay", 2, SOON).unwrap();
    for watch in watches {
        watch.finish().unwrap();
    }
}

#[test]
fn a_web_server_that_is_killed_answers_again_on_the_same_host() {
    let mut options = ClusterOptions::web(2);
    options.rm = web_service(" recovery=\"restart\"");
    let cluster = Cluster::boot(options).unwrap();
    let owner = cluster.formed().unwrap();
    let poller = cluster.lab.poll_http(SocketAddrV4::new(SERVICE_ADDRESS.parse().unwrap(), 80), "/").unwrap();
    let name = format!("node{owner}");
    poller.wait_page(SystemTime::UNIX_EPOCH, SOON, |page| page == name).unwrap();
    cluster.lab.sh_ok(Place::Host(owner), "kill -9 $(pidof apache2)").unwrap();
    let killed = SystemTime::now();
    let again = poller.wait_page(killed, SOON, |page| page == name);
    again.unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", cluster.clustat(owner), cluster.log(owner)));
    cluster.wait_owner(owner, "web", owner, SOON).unwrap();
    let service = cluster.service(owner, "web").unwrap();
    assert_eq!(service.restarts, 1, "{service:?}");
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new());
}

/// An init script that cannot be stopped while /var/stuck exists.
const STUBBORN: &str = "#!/bin/sh
case $1 in
start) touch /run/stubborn ;;
stop) [ ! -e /var/stuck ] || exit 1; rm -f /run/stubborn ;;
status) [ -e /run/stubborn ] || exit 3 ;;
esac
";

#[test]
fn a_stop_that_fails_keeps_the_service_failed_until_it_is_disabled_and_enabled_again() {
    let mut options = ClusterOptions::web(3);
    options.files.push(("/etc/init.d/stubborn".into(), STUBBORN.into(), 0o755));
    options.rm = "<service name=\"web\"><ip address=\"10.77.0.100/24\"/>\
                  <script name=\"stubborn\" file=\"/etc/init.d/stubborn\"/></service>\n"
        .to_owned();
    let cluster = Cluster::boot(options).unwrap();
    let owner = cluster.formed().unwrap();
    let target = cluster.others(owner)[0];
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    watch.wait_holder(owner, SOON).unwrap();
    cluster.lab.put(owner, "/var/stuck", "", 0o644).unwrap();

    let moved = cluster.lab.sh(Place::Host(owner), &format!("clusvcadm -r web -m node{target}")).unwrap();
    assert!(!moved.ok(), "{moved:?}");
    cluster.wait_state(target, "web", ServiceState::Failed, SOON).unwrap();
    let refused = cluster.lab.sh(Place::Host(target), "clusvcadm -e web").unwrap();
    assert!(!refused.ok(), "a failed service must be disabled first: {refused:?}");
    assert!(!watch.holders().contains(&target));

    cluster.lab.sh_ok(Place::Host(owner), "rm /var/stuck").unwrap();
    cluster.lab.sh_ok(Place::Host(target), "clusvcadm -d web").unwrap();
    cluster.wait_state(owner, "web", ServiceState::Disabled, SOON).unwrap();
    assert_eq!(watch.holders(), Vec::<usize>::new());
    cluster.lab.sh_ok(Place::Host(target), &format!("clusvcadm -e web -m node{target}")).unwrap();
    cluster.wait_owner(owner, "web", target, SOON).unwrap();
    watch.finish().unwrap();
}

#[test]
fn services_stop_without_quorum_and_what_was_disabled_stays_disabled_when_it_is_back() {
    let mut options = ClusterOptions::web(3);
    options.rm += "<service name=\"spare\"><ip address=\"10.77.0.101/24\"/></service>\n";
    let cluster = Cluster::boot(options).unwrap();
    let owner = cluster.formed().unwrap();
    cluster.wait_state(1, "spare", ServiceState::Started, SOON).unwrap();
    cluster.lab.sh_ok(Place::Host(1), "clusvcadm -d spare").unwrap();
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    watch.wait_holder(owner, SOON).unwrap();
    // Three times one host: nobody has quorum, and nobody may fence.
    cluster.lab.partition(&[&[1], &[2], &[3]], &[Nic::Ring0, Nic::Ring1]).unwrap();
    wait_for("nobody to hold the address", SOON, || watch.holders().is_empty().then_some(()))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(owner)));
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new());

    cluster.lab.heal().unwrap();
    for host in 1..=3 {
        let met = cluster.wait_members(host, &[1, 2, 3], SOON);
        met.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(host)));
    }
    cluster.wait_state(1, "web", ServiceState::Started, SOON).unwrap();
    for host in 1..=3 {
        assert_eq!(cluster.service(host, "spare").unwrap().state, ServiceState::Disabled);
    }
    assert!(cluster.lab.holders("10.77.0.101".parse().unwrap()).is_empty());
    watch.finish().unwrap();
}

#[test]
fn a_host_whose_cables_are_all_pulled_while_its_bmc_is_silent_is_not_replaced_before_the_bmc_answers() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = cluster.formed().unwrap();
    let survivor = cluster.others(owner)[0];
    let watch = cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap());
    watch.wait_holder(owner, SOON).unwrap();
    cluster.lab.set_bmc(owner, lab::BmcMode::Silent).unwrap();
    cluster.lab.cut(owner, &Nic::ALL, Cut::Carrier).unwrap();
    wait_for("fencing to be under way", SOON, || {
        let status = cluster.status(survivor)?;
        status.node(&format!("node{owner}").into())?.fencing.as_ref().map(|_| ())
    })
    .unwrap();
    // Without quorum the owner stops what it runs; still nobody else may start it.
    wait_for("the owner to have stopped", SOON, || watch.holders().is_empty().then_some(())).unwrap();
    assert_ne!(cluster.service(survivor, "web").unwrap().state, ServiceState::Started);
    cluster.lab.set_bmc(owner, lab::BmcMode::Works).unwrap();
    cluster.wait_state(survivor, "web", ServiceState::Started, Duration::from_secs(60)).unwrap();
    assert_ne!(cluster.owner(survivor, "web"), Some(owner));
    watch.finish().unwrap();
}
