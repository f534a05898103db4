//! A canary for secrets on true hosts: after a fencing and a start that need them, they are found in the nodes' own files of
//! secrets, in the device itself, in an agent's environment, and nowhere else.

#![expect(clippy::print_stdout, reason = "the counts are what is looked for in the output")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::canary::{ProcessWatch, Seen, files_with};
use lab::cluster::{Cluster, ClusterOptions};
use lab::{BMC_PASSWORD, Place, wait_for};
use shared::text::ServiceState;

const SOON: Duration = Duration::from_secs(120);
/// Given to a resource agent.
const RESOURCE_CANARY: &str = "canary-3kLw8R";

/// What a host can tell: commands, and what they print.
const COMMANDS: [&str; 9] = [
    "clustat -l",
    "clustat -x",
    "clustat -o json",
    "fence_node -vv -S node1",
    "fence_check -d -f",
    "fence_tool ls -n",
    "ccs --getconf",
    "ccs --lsfencedev",
    "rg_test test /etc/cluster/cluster.conf",
];

fn options() -> ClusterOptions {
    let mut options = ClusterOptions::web(3);
    options.fence_password = "secret:bmc.password.1".into();
    options.rm = options.rm.replace(
        "    </service>\n",
        "      <ocf provider=\"test\" type=\"echo\" name=\"e\" word=\"secret:echo.word.1\"/>\n    </service>\n",
    );
    let file = |name: &str, value: &str| (format!("/etc/cluster/secrets/{name}"), format!("{value}\n"), 0o600);
    options.files = vec![
        file("bmc.password.1", BMC_PASSWORD),
        file("echo.word.1", RESOURCE_CANARY),
        ("/usr/lib/ocf/resource.d/test/echo".into(), ECHO.into(), 0o755),
    ];
    options
}

/// Tells what it was given, as agents in trouble do, and keeps its parameter in its environment for a moment.
const ECHO: &str = r#"#!/bin/sh
case $1 in
meta-data) echo '<resource-agent name="echo"><parameters><parameter name="word"><content type="string"/></parameter></parameters><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/></actions></resource-agent>' ;;
start) echo "started with $OCF_RESKEY_word"; sleep 0.3; touch /run/echo ;;
stop) rm -f /run/echo ;;
monitor) echo "looked with $OCF_RESKEY_word"; [ -e /run/echo ] || exit 7 ;;
esac
"#;

/// Files of the lab's hosts and devices that hold a secret, without those that must.
fn leaks(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let must = |path: &Path| {
        let text = path.to_string_lossy();
        // The nodes' secrets, the device itself, and what the test handed to the lab.
        text.contains("/disk/etc/cluster/secrets/") || text.contains("/bmc/") || text.ends_with("/lab.json")
    };
    files_with(folder, needle).into_iter().filter(|path| !must(path)).collect()
}

#[test]
fn secrets_are_found_only_where_they_must_be() {
    let watches = [BMC_PASSWORD, RESOURCE_CANARY].map(ProcessWatch::start);
    let cluster = Cluster::boot(options()).unwrap();
    let owner = cluster.formed().unwrap();
    let survivor = cluster.others(owner)[0];
    cluster.lab.power_off(owner).unwrap();
    let moved = wait_for("web to run elsewhere", SOON, || {
        let service = cluster.service(survivor, "web")?;
        let elsewhere = cluster.owner(survivor, "web").is_some_and(|now| now != owner);
        (service.state == ServiceState::Started && elsewhere).then_some(())
    });
    moved.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log(survivor)));
    let back = wait_for("the fenced node to be back", SOON, || {
        (cluster.lab.init(owner).is_some() && cluster.wait_members(owner, &[1, 2, 3], SOON).is_ok()).then_some(())
    });
    back.unwrap_or_else(|error| panic!("the fencing did not bring the node back: {error:#}"));
    let works = cluster.lab.exec(Place::Host(survivor), &["fence_check", "-f"]).unwrap();
    assert_eq!(works.code, 0, "the devices do not take the secret: {works:?}");

    let mut told = 0;
    for host in 1..=3 {
        for command in COMMANDS {
            let said = cluster.lab.sh(Place::Host(host), command).unwrap();
            for canary in [BMC_PASSWORD, RESOURCE_CANARY] {
                assert!(
                    !said.stdout.contains(canary) && !said.stderr.contains(canary),
                    "{command} on node{host}: {said:?}"
                );
            }
            told += 1;
        }
        // What a host has in memory only; a command in the host would have the canaries among its own arguments.
        let init = cluster.lab.init(host).unwrap();
        for folder in ["run", "tmp"] {
            let folder = PathBuf::from(format!("/proc/{init}/root/{folder}"));
            for canary in [BMC_PASSWORD, RESOURCE_CANARY] {
                assert_eq!(files_with(&folder, canary), Vec::<PathBuf>::new(), "node{host}");
            }
        }
    }
    for canary in [BMC_PASSWORD, RESOURCE_CANARY] {
        assert_eq!(leaks(cluster.lab.folder(), canary), Vec::<PathBuf>::new(), "{canary}");
    }
    // The canary can be found at all: in the nodes' own files.
    assert!(!files_with(&cluster.lab.folder().join("hosts"), BMC_PASSWORD).is_empty());

    let [of_device, of_resource] = watches.map(ProcessWatch::finish);
    let ours = ["rgmanager", "ricci", "clustat", "fence_node", "fence_check", "ccs", "rg_test"];
    for seen in of_device.iter().chain(&of_resource) {
        let (Seen::Arguments(program) | Seen::Environment(program)) = seen;
        assert!(!ours.contains(&program.as_str()), "a program of ours: {seen:?}");
    }
    // A fence agent is not given its password so that a process list shows it; what it does with it is its own affair:
    // fence_ipmilan calls ipmitool with it as an argument.
    let foreign = |program: &str| program.starts_with("ipmitool") || program == "sh";
    let arguments = |seen: &Seen| matches!(seen, Seen::Arguments(program) if !foreign(program));
    assert!(!of_device.iter().any(arguments), "{of_device:?}");
    assert!(!of_resource.iter().any(|seen| matches!(seen, Seen::Arguments(_))), "{of_resource:?}");
    assert!(
        of_resource.iter().any(|seen| matches!(seen, Seen::Environment(_))),
        "the agent was never seen: {of_resource:?}"
    );
    println!("secrets: {told} outputs of commands, all files of 3 hosts, processes {of_device:?} {of_resource:?}");
}
