//! The daemon itself is killed or ends, on true hosts: nothing that was accepted is lost, and what runs goes on running.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::net::SocketAddrV4;
use std::time::{Duration, SystemTime};

use lab::cluster::{Cluster, ClusterOptions, SERVICE_ADDRESS};
use lab::{AddressWatch, HttpPoller, Place, wait_for};
use shared::text::ServiceState;

const SOON: Duration = Duration::from_secs(120);

fn watch(cluster: &Cluster) -> AddressWatch {
    cluster.lab.watch_address(SERVICE_ADDRESS.parse().unwrap())
}

fn poll(cluster: &Cluster) -> HttpPoller {
    cluster.lab.poll_http(SocketAddrV4::new(SERVICE_ADDRESS.parse().unwrap(), 80), "/").unwrap()
}

/// The oldest of its name: what it forks bears the name, too, until it has become an agent.
fn daemon(cluster: &Cluster, host: usize) -> Option<String> {
    let found = cluster.lab.sh(Place::Host(host), "pgrep -o -x rgmanager").ok()?;
    found.ok().then(|| found.stdout.trim().to_owned())
}

/// `kill -9`, and waits until the daemon that was started after it answers as a member.
fn kill(cluster: &Cluster, host: usize) -> SystemTime {
    let before = daemon(cluster, host).expect("a daemon runs");
    let at = SystemTime::now();
    cluster.lab.sh_ok(Place::Host(host), &format!("kill -9 {before}")).unwrap();
    wait_for("another daemon", SOON, || daemon(cluster, host).filter(|pid| *pid != before)).unwrap();
    at
}

fn all_members(cluster: &Cluster) {
    for host in 1..=cluster.options.hosts {
        cluster.wait_members(host, &[1, 2, 3], SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(host)));
    }
}

#[test]
fn a_daemon_killed_on_the_owner_takes_its_running_service_over_and_no_request_fails() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = cluster.formed().unwrap();
    let (watch, poller) = (watch(&cluster), poll(&cluster));
    let name = format!("node{owner}");
    poller.wait_page(SystemTime::UNIX_EPOCH, SOON, |page| page == name).unwrap();
    let boot = cluster.lab.boot_id(owner).unwrap();

    let at = kill(&cluster, owner);
    all_members(&cluster);
    cluster.wait_owner(owner, "web", owner, SOON).unwrap();

    // A check by the new daemon, and pages after it.
    poller.wait_page(SystemTime::now(), SOON, |page| page == name).unwrap();
    assert_eq!(poller.outage(at), Duration::ZERO, "requests failed\n{}", cluster.log(owner));
    assert_eq!(cluster.lab.boot_id(owner).unwrap(), boot);
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new(), "{}", cluster.log(cluster.others(owner)[0]));
    assert_eq!(watch.finish().unwrap().len(), 1, "the address stayed where it was");
}

/// Every node begins with a daemon that speaks the protocol of the release before; then each is replaced in turn, the coordinator
/// and the owner among them.
#[test]
fn rgmanager_is_replaced_by_a_newer_one_on_every_node_in_turn_and_no_request_fails() {
    let old = "rgmanager --protocol 1";
    let cluster = Cluster::boot(ClusterOptions { first_daemon: old.to_owned(), ..ClusterOptions::web(3) }).unwrap();
    let owner = cluster.formed().unwrap();
    let (watch, poller) = (watch(&cluster), poll(&cluster));
    let name = format!("node{owner}");
    poller.wait_page(SystemTime::UNIX_EPOCH, SOON, |page| page == name).unwrap();
    let at = SystemTime::now();
    // Once from old to new, then once more with all of them new: only then it is announced.
    for round in 0..2 {
        for host in 1..=cluster.options.hosts {
            let before = daemon(&cluster, host).expect("a daemon runs");
            cluster.lab.sh_ok(Place::Host(host), &format!("kill -USR2 {before}")).unwrap();
            let now = wait_for("another daemon", SOON, || daemon(&cluster, host).filter(|pid| *pid != before)).unwrap();
            let read = format!("tr '\\0' ' ' </proc/{now}/cmdline");
            let arguments = cluster.lab.sh_ok(Place::Host(host), &read).unwrap();
            assert_eq!(arguments.trim(), "rgmanager", "the successor is the new one");
            all_members(&cluster);
            cluster.wait_owner(host, "web", owner, SOON).unwrap();
        }
        let announced = cluster.log(owner).contains("is about to be replaced");
        assert_eq!(announced, round == 1, "{}", cluster.log(owner));
    }
    poller.wait_page(SystemTime::now(), SOON, |page| page == name).unwrap();
    assert_eq!(poller.outage(at), Duration::ZERO, "requests failed\n{}", cluster.log(owner));
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new(), "{}", cluster.log(owner));
    assert_eq!(watch.finish().unwrap().len(), 1, "the address stayed where it was");
}

#[test]
fn a_relocation_is_carried_to_its_end_although_the_coordinator_is_killed_in_the_middle() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = cluster.formed().unwrap();
    // The lowest node id coordinates; neither source nor target of the move is to be it.
    if owner != 2 {
        cluster.lab.sh_ok(Place::Host(2), "clusvcadm -r web -m node2").unwrap();
    }
    cluster.wait_owner(2, "web", 2, SOON).unwrap();
    let watch = watch(&cluster);
    let log = cluster.lab.folder().join("clusvcadm.out");
    let mut asked = cluster.lab.spawn(Place::Host(3), &["clusvcadm", "-r", "web", "-m", "node3"], &log).unwrap();
    wait_for("the relocation to be under way", SOON, || {
        let state = cluster.service(3, "web")?.state;
        (state != ServiceState::Started).then_some(())
    })
    .unwrap();
    kill(&cluster, 1);
    let ended = asked.wait(SOON).unwrap();
    assert!(ended.success(), "{}\n{}", std::fs::read_to_string(&log).unwrap(), cluster.log(3));
    cluster.wait_owner(3, "web", 3, SOON).unwrap();
    all_members(&cluster);
    cluster.wait_owner(1, "web", 3, SOON).unwrap();
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new(), "{}", cluster.log(2));
    watch.finish().unwrap();
}

#[test]
fn a_daemon_that_is_told_to_end_gives_its_service_away_and_nobody_is_fenced() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = cluster.formed().unwrap();
    let watch = watch(&cluster);
    let daemon = daemon(&cluster, owner).expect("a daemon runs");
    cluster.lab.sh_ok(Place::Host(owner), &format!("kill {daemon}")).unwrap();
    let others = cluster.others(owner);
    for &host in &others {
        cluster.wait_members(host, &others, SOON).unwrap();
    }
    cluster.wait_state(others[0], "web", ServiceState::Started, SOON).unwrap();
    let now = cluster.owner(others[0], "web").unwrap();
    assert_ne!(now, owner);
    assert!(cluster.lab.get(owner, "/var/log/cluster/rgmanager.log").unwrap().contains("has left the cluster"));
    let status = cluster.status(now).unwrap();
    assert!(status.waits_for_fencing_of.is_empty(), "{status:?}");
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new());
    watch.finish().unwrap();
}

/// Whose daemon is killed, in which state of the service, and how long after that state was seen. The web server takes about two
/// seconds to stop and half a second to start.
const KILLS: [(Role, ServiceState, u64); 4] = [
    (Role::Source, ServiceState::Stopping, 200),
    (Role::Target, ServiceState::Stopping, 0),
    (Role::Target, ServiceState::Starting, 0),
    (Role::Target, ServiceState::Starting, 250),
];

#[derive(Debug, Clone, Copy)]
enum Role {
    Source,
    Target,
}

#[test]
fn a_relocation_comes_to_an_end_whichever_daemon_dies_that_carries_it_out() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let mut source = cluster.formed().unwrap();
    let watch = watch(&cluster);
    let logs = || (1..=3).map(|host| format!("node{host}:\n{}", cluster.log(host))).collect::<String>();
    for (role, state, after_ms) in KILLS {
        let others = cluster.others(source);
        let (target, asker) = (others[0], others[1]);
        let log = cluster.lab.folder().join("clusvcadm.out");
        let words = ["clusvcadm", "-r", "web", "-m", &format!("node{target}")];
        let mut asked = cluster.lab.spawn(Place::Host(asker), &words, &log).unwrap();
        cluster.wait_state(asker, "web", state, SOON).unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        let killed = match role {
            Role::Source => source,
            Role::Target => target,
        };
        let story = format!("node{source} -> node{target}, {role:?} killed {after_ms} ms after {}", state.name());
        kill(&cluster, killed);
        all_members(&cluster);
        let ended = asked.wait(SOON);
        ended.unwrap_or_else(|error| panic!("{story}: clusvcadm waits on: {error:#}\n{}", logs()));
        cluster
            .wait_state(asker, "web", ServiceState::Started, SOON)
            .unwrap_or_else(|error| panic!("{story}: {error:#}"));
        let owner = cluster.owner(asker, "web").unwrap();
        watch.wait_holder(owner, SOON).unwrap_or_else(|error| panic!("{story}: {error:#}\n{}", logs()));
        assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new(), "{story}\n{}", logs());
        assert!(watch.overlaps().is_empty(), "{story}: {:?}\n{}", watch.overlaps(), logs());
        source = owner;
    }
    watch.finish().unwrap();
}

#[test]
fn all_daemons_killed_at_once_come_back_to_what_runs_and_to_what_was_disabled() {
    let mut options = ClusterOptions::web(3);
    options.rm += "<service name=\"spare\"><ip address=\"10.77.0.101/24\"/></service>\n";
    let cluster = Cluster::boot(options).unwrap();
    let owner = cluster.formed().unwrap();
    cluster.wait_state(1, "spare", ServiceState::Started, SOON).unwrap();
    cluster.lab.sh_ok(Place::Host(1), "clusvcadm -d spare").unwrap();
    let (watch, poller) = (watch(&cluster), poll(&cluster));
    let name = format!("node{owner}");
    let first = poller.wait_page(SystemTime::UNIX_EPOCH, SOON, |page| page == name).unwrap();

    std::thread::scope(|scope| {
        for host in 1..=3 {
            let cluster = &cluster;
            scope.spawn(move || kill(cluster, host));
        }
    });
    let logs = || (1..=3).map(|host| format!("node{host}:\n{}", cluster.log(host))).collect::<String>();
    all_members(&cluster);
    for host in 1..=3 {
        cluster.wait_owner(host, "web", owner, SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", logs()));
        assert_eq!(cluster.service(host, "spare").unwrap().state, ServiceState::Disabled, "{}", logs());
    }
    assert_eq!(poller.outage(first.sent), Duration::ZERO, "requests failed\n{}", logs());
    assert_eq!(cluster.fencings().unwrap(), Vec::<String>::new(), "{}", logs());
    assert_eq!(watch.finish().unwrap().len(), 1, "the address stayed where it was");
}

#[test]
fn a_node_whose_corosync_is_killed_stops_its_service_and_is_fenced_before_another_starts_it() {
    let cluster = Cluster::boot(ClusterOptions::web(3)).unwrap();
    let owner = cluster.formed().unwrap();
    let survivor = cluster.others(owner)[0];
    let watch = watch(&cluster);
    watch.wait_holder(owner, SOON).unwrap();
    let boot = cluster.lab.boot_id(owner).unwrap();
    cluster.lab.sh_ok(Place::Host(owner), "kill -9 $(pidof corosync)").unwrap();
    let logs = || (1..=3).map(|host| format!("node{host}:\n{}", cluster.log(host))).collect::<String>();
    wait_for("the service elsewhere", SOON, || cluster.owner(survivor, "web").filter(|now| *now != owner))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", logs()));
    cluster.wait_state(survivor, "web", ServiceState::Started, SOON).unwrap();
    assert!(!cluster.fencings().unwrap().is_empty(), "{}", logs());
    // Fenced means switched off and on: it comes back as a member by itself.
    all_members(&cluster);
    assert_ne!(cluster.lab.boot_id(owner).unwrap(), boot);
    watch.finish().unwrap();
}
