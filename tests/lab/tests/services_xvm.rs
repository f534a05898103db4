//! fence_xvm end to end: the packaged agent on hosts of the lab, the packaged fence_virtd on another machine of their network,
//! and libvirt's built-in test driver for the virtual machines (heartbeat.md §7).

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::path::Path;
use std::time::Duration;

use lab::cluster::built_programs;
use lab::{Lab, LabOptions, Place, Running, wait_for};

const SOON: Duration = Duration::from_secs(120);
const KEY: &str = "a key of thirty-two bytes and more, for the test alone";

fn conf(plug: &str) -> String {
    let node = |host: usize, plug: &str| {
        format!(
            "<clusternode name=\"node{host}\" nodeid=\"{host}\"><fence><method name=\"xvm\">\
             <device name=\"xvm\" port=\"{plug}\"/></method></fence></clusternode>"
        )
    };
    format!(
        "<cluster name=\"x\" config_version=\"1\"><clusternodes>{}{}</clusternodes><fencedevices>\
         <fencedevice name=\"xvm\" agent=\"fence_xvm\" timeout=\"3\"/></fencedevices><rm/></cluster>\n",
        node(1, "vm1"),
        node(2, plug),
    )
}

/// libvirt's test driver with two running machines.
const MACHINES: &str = "<node><domain type='test'><name>vm1</name><uuid>00000000-0000-4000-8000-000000000001</uuid>\
<memory>8192</memory><os><type>hvm</type></os></domain><domain type='test'><name>vm2</name>\
<uuid>00000000-0000-4000-8000-000000000002</uuid><memory>8192</memory><os><type>hvm</type></os></domain></node>";

fn host_conf(folder: &Path) -> String {
    format!(
        "fence_virtd {{\n\tlistener = \"multicast\";\n\tbackend = \"libvirt\";\n}}\nlisteners {{\n\tmulticast {{\n\
         \t\tkey_file = \"{0}/key\";\n\t\taddress = \"225.0.0.12\";\n\t\tport = \"1229\";\n\t\tfamily = \"ipv4\";\n\
         \t\tinterface = \"eth0\";\n\t}}\n}}\nbackends {{\n\tlibvirt {{\n\t\turi = \"test://{0}/machines.xml\";\n\t}}\n}}\n",
        folder.display()
    )
}

/// The host of the virtual machines, with its daemon.
fn virtual_host(lab: &Lab, folder: &Path) -> Running {
    use std::os::unix::fs::PermissionsExt as _;
    let files = [("key", KEY.to_owned()), ("machines.xml", MACHINES.to_owned()), ("conf", host_conf(folder))];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    lab.sh_ok(Place::Luci, "ip route replace 224.0.0.0/4 dev eth0").unwrap();
    let words = ["fence_virtd", "-F", "-f", &folder.join("conf").to_string_lossy()].map(str::to_owned);
    lab.spawn(Place::Luci, &words, &folder.join("log")).unwrap()
}

#[test]
fn machines_are_fenced_over_multicast_by_the_packaged_programs() {
    let lab = Lab::create(
        LabOptions::hosts(2)
            .without_bmcs()
            .binaries(built_programs().unwrap())
            .file("/etc/cluster/fence_xvm.key", KEY, 0o600)
            .file("/etc/cluster/cluster.conf", conf("vm2"), 0o600),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for host in [1, 2] {
        lab.sh_ok(Place::Host(host), "ip route replace 224.0.0.0/4 dev eth0").unwrap();
    }
    let daemon = virtual_host(&lab, folder.path());
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let run = |command: &str| lab.sh(Place::Host(1), command).unwrap();
    // The daemon listens when it answers; the ladder's list rung.
    wait_for("fence_virtd to answer", SOON, || run("fence_xvm -o list -t 2").ok().then_some(()))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    let listed = run("fence_xvm -o list");
    assert!(listed.stdout.contains("vm1") && listed.stdout.contains("vm2"), "{listed:?}");

    let status = run("fence_node -S node2");
    assert_eq!((status.code, status.stderr.contains("status node2 success on")), (0, true), "{status:?}\n{}", log());
    let fenced = run("fence_node -vv node2");
    assert_eq!((fenced.code, fenced.stderr.contains("fence node2 success")), (0, true), "{fenced:?}\n{}", log());
    assert!(run("fence_xvm -o off -H vm2").ok());
    assert!(run("fence_node -S node2").stderr.contains("success off"), "the machine is off, and that is no failure");
    assert!(run("fence_xvm -o on -H vm2").ok());

    // A machine that the host does not have cannot be fenced; its status says "off", which therefore proves nothing.
    lab.put(1, "/etc/cluster/cluster.conf", conf("vm9"), 0o600).unwrap();
    assert!(run("fence_node -S node2").stderr.contains("success off"));
    let wrong = run("fence_node node2");
    assert_eq!((wrong.code, wrong.stderr.contains("fence node2 failed")), (1, true), "{wrong:?}");
    // Another key: the host does not answer, and the agent says so within its timeout.
    lab.put(1, "/etc/cluster/cluster.conf", conf("vm2"), 0o600).unwrap();
    lab.put(1, "/etc/cluster/fence_xvm.key", "another key of thirty-two bytes and more", 0o600).unwrap();
    let strange = run("fence_node -v node2");
    assert_eq!((strange.code, strange.stderr.contains("fence node2 failed")), (1, true), "{strange:?}");
    drop(daemon);
}
