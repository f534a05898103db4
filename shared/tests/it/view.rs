//! What a cluster.conf means: references resolved, inheritance and defaults filled in.

use std::fmt::Write as _;

use expect_test::expect;
use shared::agents::mapping;
use shared::conf::model::{Conf, Recovery, Resource};
use shared::conf::{self};
use shared::ids::{NodeName, ServiceName};

use crate::samples::sample;

fn conf(name: &str) -> Conf {
    conf::load(&sample(name)).accept().unwrap()
}

fn tree(resources: &[Resource], depth: usize, out: &mut String) {
    for resource in resources {
        let attributes: Vec<_> = resource.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        writeln!(out, "{}{} {}", "  ".repeat(depth), resource.name, attributes.join(" ")).unwrap();
        for action in &resource.actions {
            let depth_of = action.depth.map_or("*".to_owned(), |depth| depth.to_string());
            let times = (action.interval_ms, action.timeout_ms);
            writeln!(out, "{}  action {} {depth_of} {times:?}", "  ".repeat(depth), action.name).unwrap();
        }
        tree(&resource.children, depth + 1, out);
    }
}

fn service_tree(name: &str, service: &str) -> String {
    let conf = conf(name);
    let mut out = String::new();
    tree(&conf.service(&ServiceName::parse(service)).unwrap().tree, 0, &mut out);
    out
}

#[test]
fn references_are_resolved_and_attributes_inherited() {
    expect![[r#"
        lvm:vg_data name=vg_data vg_name=vg_data
          fs:pgdata device=/dev/vg_data/pg fstype=xfs mountpoint=/var/lib/pgsql name=pgdata options=noatime,nodiratime
            action status 10 (Some(300000), Some(30000))
            action status * (Some(60000), None)
            postgres-8:pg config_file=/var/lib/pgsql/data/postgresql.conf name=pg postmaster_options=-D /var/lib/pgsql/data -c listen_addresses=*
        ip:10.2.0.50/24 address=10.2.0.50/24
    "#]].assert_eq(&service_tree("three-node-nested.conf", "postgres"));
    expect![[r#"
        fs:export1 device=/dev/vg/export1 fsid=4711 fstype=ext4 mountpoint=/export/1 name=export1
          nfsexport:exports name=exports
            nfsclient:lan fsid=4711 name=lan options=rw,sync path=/export/1 target=10.0.0.0/24
            nfsclient:dmz fsid=4711 name=dmz options=ro path=/export/1 target=10.9.0.0/24
        ip:10.0.0.20/24 address=10.0.0.20/24
    "#]]
    .assert_eq(&service_tree("nfs.conf", "nfs"));
    expect![[r#"
        fs:export2 device=/dev/vg/export2 fstype=ext4 mountpoint=/export/2 name=export2
          nfsserver:server name=server path=/export/2
            ip:10.0.0.21/24 address=10.0.0.21/24
            nfsclient:all fsid=22 name=all path=/export/2 target=*
    "#]]
    .assert_eq(&service_tree("nfs.conf", "nfs4"));
    expect![[r#"
        script:daemon file=/etc/init.d/daemon name=daemon
          ip:10.6.0.1 address=10.6.0.1
        script:daemon#2 file=/etc/init.d/daemon name=daemon
    "#]]
    .assert_eq(&service_tree("service-in-resources.conf", "shared"));
    expect![[r#"
        vm:guest1 name=guest1 path=/etc/libvirt/qemu
    "#]]
    .assert_eq(&service_tree("virtual-machines.conf", "vm:guest1"));
}

#[test]
fn a_service_has_its_policies_and_defaults() {
    let nested = conf("three-node-nested.conf");
    let postgres = nested.service(&ServiceName::parse("postgres")).unwrap();
    assert_eq!((postgres.max_restarts, postgres.restart_expire_ms), (3, 5_400_000));
    assert_eq!((postgres.recovery, postgres.autostart, postgres.exclusive), (Recovery::Restart, true, 0));
    // The domain is called DB in the file, the service says db.
    assert!(nested.domain(postgres.domain.as_ref().unwrap()).unwrap().ordered);
    let report = nested.service(&ServiceName::parse("report")).unwrap();
    assert_eq!(report.depend, Some(ServiceName::parse("postgres")));
    assert_eq!((report.recovery, report.autostart, report.exclusive), (Recovery::Disable, false, 1));
    let mailer = &report.tree[1].isolation;
    assert_eq!((mailer.independent_subtree, mailer.timeouts_unenforced), (2, true));
    let ip = &postgres.tree[1].isolation;
    assert_eq!((ip.independent_subtree, ip.max_restarts, ip.restart_expire_ms), (1, 3, 300_000));
}

#[test]
fn the_agent_gets_the_instance_then_the_victim_then_the_device() {
    let nested = conf("three-node-nested.conf");
    let node = nested.node(&NodeName::from("db1")).unwrap();
    let mut out = String::new();
    for method in &node.methods {
        for instance in &method.devices {
            let arguments: Vec<_> = instance.arguments.iter().map(|(key, value)| format!("{key}={value}")).collect();
            writeln!(out, "{}: {} {}", method.name, instance.agent, arguments.join(" ")).unwrap();
        }
    }
    expect![[r#"
        ipmi: fence_ipmilan action=reboot nodename=db1 ipaddr=10.1.0.1 login=root passwd=a&b lanplus=1
        pdu: fence_apc_snmp port=1 action=off nodename=db1 ipaddr=10.1.1.1
        pdu: fence_apc_snmp port=1 action=off nodename=db1 ipaddr=10.1.1.2
        pdu: fence_apc_snmp port=1 action=on nodename=db1 ipaddr=10.1.1.1
        pdu: fence_apc_snmp port=1 action=on nodename=db1 ipaddr=10.1.1.2
    "#]]
    .assert_eq(&out);
    // What both give is taken from the instance.
    let text =
        sample("qdisk-and-logging.conf").replace("name=\"drac\" passwd", "name=\"drac\" ipaddr=\"9.9.9.9\" passwd");
    let conf = conf::load(&text).conf.unwrap();
    let addresses: Vec<_> =
        conf.nodes[1].methods[0].devices[0].arguments.iter().filter(|(key, _)| key == "ipaddr").collect();
    assert_eq!(addresses, [&("ipaddr".to_owned(), "10.0.0.2".to_owned())]);
    // Also when the device has another name for it: agents would take the one they read last, and fence the wrong machine.
    let text = text.replace("ipaddr=\"9.9.9.9\"", "ip=\"9.9.9.9\"");
    let conf = conf::load(&text).conf.unwrap();
    let arguments = &conf.nodes[1].methods[0].devices[0].arguments;
    assert!(arguments.iter().all(|(_, value)| value != "9.9.9.9"), "{arguments:?}");
    assert!(arguments.contains(&("ipaddr".to_owned(), "10.0.0.2".to_owned())), "{arguments:?}");
}

#[test]
fn what_the_file_leaves_out_has_the_defaults_of_rhel_6() {
    let conf = conf("minimal.conf");
    assert_eq!((conf.totem.token_ms, conf.cman.port, conf.cman.two_node), (10_000, 5405, false));
    assert_eq!((conf.fence_daemon.post_join_delay_s, conf.fence_daemon.post_fail_delay_s), (Some(6), 0));
    assert_eq!((conf.nodes[0].votes, conf.nodes[0].altname.as_deref()), (1, None));
    let forever =
        sample("minimal.conf").replace("<clusternodes>", "<fence_daemon post_join_delay='-1'/><clusternodes>");
    assert_eq!(conf::load(&forever).conf.unwrap().fence_daemon.post_join_delay_s, None);
}

#[test]
fn priorities_count_only_in_ordered_domains() {
    let text = sample("two-node-apache.conf");
    let priorities = |text: &str| -> Vec<u32> {
        conf::load(text).conf.unwrap().domains[0].nodes.iter().map(|(_, priority)| *priority).collect()
    };
    assert_eq!(priorities(&text), [1, 2]);
    assert_eq!(priorities(&text.replace("ordered=\"1\"", "ordered=\"0\"")), [0, 0]);
    assert_eq!(priorities(&text.replace("ordered=\"1\"", "ordered=\"yes\"")), [0, 0]);
}

#[test]
fn a_change_of_a_service_is_no_change_of_its_resources() {
    for (name, from, to) in [
        (
            "three-node-nested.conf",
            "name=\"postgres\" domain=\"db\"",
            "name=\"pg\" domain=\"anywhere\" nfs_client_cache=\"1\"",
        ),
        ("three-node-nested.conf", " nfslock=\"1\"", ""),
        (
            "virtual-machines.conf",
            "domain=\"pair\" exclusive=\"0\" max_restarts=\"2\"",
            "exclusive=\"1\" depend=\"vm:guest2\"",
        ),
    ] {
        let text = sample(name);
        assert!(text.contains(from), "{from}");
        let (old, new) = (conf::load(&text).conf.unwrap(), conf::load(&text.replace(from, to)).conf.unwrap());
        let trees = |conf: &Conf| conf.services.iter().map(|service| service.tree.clone()).collect::<Vec<_>>();
        assert_eq!(trees(&old), trees(&new), "{from}");
    }
}

#[test]
fn a_resource_used_twice_in_one_service_has_two_names() {
    let text = sample("service-in-resources.conf");
    let conf = conf::load(&text).conf.unwrap();
    let names: Vec<_> = conf.services[0].tree.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["script:daemon", "script:daemon#2"]);
    assert!(!conf.services[0].autostart);
}

#[test]
fn every_resource_of_every_sample_can_be_run() {
    let mut count = 0;
    for (name, text) in crate::samples::samples() {
        let conf = conf::load(&text).conf.unwrap();
        for service in &conf.services {
            for resource in shared::tree::start_order(service) {
                mapping::map(resource).unwrap_or_else(|error| panic!("{name}: {error}"));
                count += 1;
            }
        }
    }
    assert!(count > 35, "only {count} resources");
}

#[test]
fn what_is_used_more_than_once_is_not_non_critical() {
    let read = |second: &str| {
        let text = format!(
            "<cluster name='c' config_version='1'><clusternodes><clusternode name='n' nodeid='1'/></clusternodes><rm>\
             <resources><script name='x' file='/x'/></resources>\
             <service name='a'><script ref='x' __independent_subtree='2'/></service>{second}</rm></cluster>"
        );
        conf::load(&text).conf.unwrap().services[0].tree[0].isolation.independent_subtree
    };
    assert_eq!(read(""), 2);
    assert_eq!(read("<service name='b'><ip address='10.0.0.1/24'><script ref='x'/></ip></service>"), 0);
}
