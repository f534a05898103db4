//! The commands as an administrator uses them over a day, on true hosts: what they print to the byte, and the exit codes that
//! scripts check.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot look")]

use std::time::Duration;

use lab::cluster::{Cluster, ClusterOptions};
use lab::{Place, host_name, wait_for};
use shared::text::ServiceState;

const SOON: Duration = Duration::from_secs(120);

/// An address that a single host holds, and a service that runs nothing.
const SERVICES: &str = "<service name=\"web\"><ip address=\"10.77.0.100/24\"/></service>\n\
                        <service name=\"db\"><ocf name=\"d\" provider=\"heartbeat\" type=\"Dummy\"/></service>\n";

struct Day {
    cluster: Cluster,
}

impl Day {
    /// Exit code, standard output, standard error.
    fn run(&self, host: usize, line: &str) -> (i32, String, String) {
        let line = format!("{line}; echo \"=$?\"");
        let done = self.cluster.lab.sh(Place::Host(host), &line).unwrap();
        let (out, code) = done.stdout.trim_end().rsplit_once('=').unwrap();
        (code.parse().unwrap(), out.to_owned(), done.stderr)
    }

    /// Exactly this on standard output, nothing on standard error.
    fn says(&self, host: usize, line: &str, code: i32, out: &str) {
        let told = self.run(host, line);
        assert_eq!(told, (code, out.to_owned(), String::new()), "{line} on host {host}\n{}", self.cluster.log(host));
    }

    fn tells(&self, host: usize, line: &str, code: i32, err: &str) {
        let told = self.run(host, line);
        assert_eq!(told, (code, String::new(), err.to_owned()), "{line} on host {host}\n{}", self.cluster.log(host));
    }
}

const HEAD: &str = " Service Name                   Owner (Last)                   State         \n \
                    ------- ----                   ----- ------                   -----         \n";

fn row(owner: &str, state: &str) -> String {
    format!("{HEAD} {:<30} {owner:<30} {state:<14}\n", "service:web")
}

#[test]
fn services_are_moved_stopped_frozen_and_told_of() {
    let mut options = ClusterOptions::web(3);
    options.rm = SERVICES.to_owned();
    let day = Day { cluster: Cluster::boot(options).unwrap() };
    let owner = day.cluster.formed().unwrap();
    let others = day.cluster.others(owner);
    let (here, there) = (host_name(owner), host_name(others[0]));
    day.cluster.wait_state(1, "db", ServiceState::Started, SOON).unwrap();

    day.says(owner, "clusvcadm -R web", 0, "Local machine trying to restart service:web...Success\n");
    day.says(owner, "clusvcadm -Z web", 0, "Local machine freezing service:web...Success\n");
    day.says(owner, "clustat -s web", 0, &row(&here, "started    [Z]"));
    let (code, out, _) = day.run(owner, "clusvcadm -d web");
    assert_eq!((code, out.as_str()), (245, "Local machine disabling service:web...Failure: Service is frozen\n"));
    day.says(owner, "clusvcadm -U web", 0, "Local machine unfreezing service:web...Success\n");
    day.says(owner, "clusvcadm -s web", 0, "Local machine stopping service:web...Success\n");
    day.says(others[1], "clustat -s web", 110, &row(&format!("({here})"), "stopped"));
    let (code, plan, _) = day.run(owner, &format!("clusvcadm --plan -e web -m {there}"));
    assert!(
        code == 0 && plan.ends_with(&format!("In the end:\n  service:web: stopped -> started on {there}\n")),
        "{plan}"
    );
    let running = format!("service:web is now running on {there}\n");
    let line = format!("clusvcadm -e web -m {there}");
    day.says(owner, &line, 0, &format!("Member {there} trying to enable service:web...Success\n{running}"));
    day.says(owner, "clusvcadm -d web", 0, "Local machine disabling service:web...Success\n");
    day.says(owner, "clustat -s web", 119, &row(&format!("({there})"), "disabled"));
    let (code, out, _) = day.run(owner, "clusvcadm -r web");
    let sentence = "Trying to relocate service:web...Invalid operation for resource\n";
    assert_eq!((code, out.as_str()), (248, sentence));
    day.says(
        others[0],
        "clusvcadm -e web",
        0,
        &format!("Local machine trying to enable service:web...Success\n{running}"),
    );

    day.says(1, "clusvcadm -l", 0, "Resource groups locked\n");
    day.says(2, "clusvcadm -S", 0, "Resource groups locked\n");
    day.says(3, "clusvcadm -u", 0, "Resource groups unlocked\n");
    let (code, out, _) = day.run(1, &format!("clustat --what-if-lost {there}"));
    let (before, after) = (format!("service:web: started on {there} -> started on "), "Nothing is done.");
    assert!(code == 0 && out.starts_with(after) && out.contains(&before), "{out}");
    let (code, out, _) = day.run(1, "clustat --why web");
    assert!(code == 0 && out.starts_with(&format!("service:web is started on {there}: ")), "{out}");

    day.says(1, &format!("clusvcadm --standby {there}"), 0, &format!("{there} is in standby\n"));
    wait_for("the node in standby to be empty", SOON, || {
        day.cluster.owner(1, "web").filter(|now| *now != others[0]).map(|_| ())
    })
    .unwrap();
    let (code, out, _) = day.run(others[0], &format!("clustat -m {there}"));
    assert!(code == 0 && out.ends_with(&format!("{:>4} Online, Local, rgmanager, Standby\n", others[0])), "{out}");
    day.says(1, &format!("clusvcadm --unstandby {there}"), 0, &format!("{there} is online\n"));
}

#[test]
fn fencing_and_membership_are_told_and_a_node_is_fenced_by_hand() {
    let mut options = ClusterOptions::web(3);
    options.rm = SERVICES.to_owned();
    let day = Day { cluster: Cluster::boot(options).unwrap() };
    day.cluster.formed().unwrap();
    for host in 1..=3 {
        day.cluster.wait_members(host, &[1, 2, 3], SOON).unwrap();
    }
    let domain = "fence domain\nmember count  3\nvictim count  0\nvictim now    0\nmaster nodeid 1\nwait state    none\n\
                  members       1 2 3\n";
    day.says(2, "fence_tool ls", 0, domain);
    day.says(2, "cman_tool services", 0, domain);
    day.says(2, "cman_tool nodes -F id,type,name", 0, "1 M node1\n2 M node2\n3 M node3\n");
    let (code, nodes, _) = day.run(2, "cman_tool nodes");
    assert_eq!((code, nodes.lines().next()), (0, Some("Node  Sts   Inc   Joined               Name")));
    for (number, line) in (1..).zip(nodes.lines().skip(1)) {
        assert_eq!((&line[..10], &line[39..]), (format!("{number:>4}   M  ").as_str(), host_name(number).as_str()));
        // A member remembers only who joined after it.
        let joined = line[18..37].trim_end();
        assert!(joined == "unknown" || joined.starts_with("20"), "when it joined: {line}");
    }
    day.says(3, "cman_tool wait -q -t 10", 0, "");
    day.says(3, "cman_tool expected -e 3", 0, "");
    day.says(3, "cman_tool votes -v 1 -n node2", 0, "");
    day.says(1, "ccs_config_validate 2>/dev/null", 0, "Configuration validates\n");
    let (code, options, _) = day.run(1, "HOME=/root ccs --lsfenceopts fence_ipmilan");
    assert!(code == 0 && options.starts_with("fence_ipmilan - "), "{options}");

    for number in 1..=3 {
        let name = host_name(number);
        day.tells(1, &format!("fence_node -S {name}"), 0, &format!("status {name} success on\n"));
    }
    let tested: String = (1..=3).map(|number| format!("Testing {} method 1: success\n", host_name(number))).collect();
    day.says(1, "fence_check", 0, &tested);

    day.says(1, "HOME=/root ccs --setfencedaemon post_join_delay=11", 0, "");
    day.says(1, "cman_tool version", 0, "6.2.0 config 2\n");
    wait_for("the others to have it in force", SOON, || {
        (day.run(3, "cman_tool version").1 == "6.2.0 config 2\n").then_some(())
    })
    .unwrap();

    let boot = day.cluster.lab.boot_id(3).unwrap();
    day.tells(1, "fence_node node3", 0, "fence node3 success\n");
    wait_for("node3 to have booted again", SOON, || {
        day.cluster.lab.boot_id(3).ok().filter(|now| *now != boot).map(|_| ())
    })
    .unwrap();
    wait_for("the fence domain to tell of it", SOON, || {
        let (_, domain, _) = day.run(2, "fence_tool ls -n");
        let row = domain.lines().find(|line| line.starts_with("nodeid 3 member 1 victim 0 last fence master "))?;
        // A node that is back within the second was seen to come back before the agent had ended.
        (row.ends_with(" how agent") || row.ends_with(" how member")).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", day.run(2, "fence_tool ls -n").1));
}
