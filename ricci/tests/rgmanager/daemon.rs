//! The whole daemon against one real corosync: a service with an address, an init script and an OCF agent, from the
//! first start to the goodbye.
//!
//! The test runs itself again inside namespaces of its own, so that addresses, processes, files and corosync are
//! seen by nobody else, and everything it started ends with its pid namespace. Needs root, corosync and the packaged
//! resource agents.

#![expect(clippy::print_stdout, reason = "a test stops where it cannot go on, and says what it skips")]

mod mounts;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ricci::corosync::{Corosync, Event};
use ricci::rgmanager::cgroup::Cgroups;
use shared::conf::corosync::{RenderOptions, render_corosync_conf};
use shared::ids::{NodeName, RequestId, ServiceName};
use shared::socket::{Ask, PutConf, Reply};
use shared::status::{Answer, ClusterStatus, Command as Verb, Outcome, Phase, Request, ServiceStatus};
use shared::text::{ResultCode, ServiceState};
use shared::watch::Source;

const INSIDE: &str = "RICCI_TEST_INSIDE_NAMESPACES";
const SOCKET: &str = "/run/cluster/rgmanager.sk";
/// There is no true device here (no softdog in this kernel): a file takes what the device would get.
const WATCHDOG: &str = "/run/story/watchdog";
/// Takes what would reset the machine.
const SYSRQ: &str = "/run/story/sysrq";
/// Ends as if its daemon had failed, so that its unit starts it again.
const EXIT_RESTART: i32 = 7;
/// Far above what any step takes; a step that reaches it is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

fn cluster_conf(version: u32, extra: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>
<cluster name=\"story\" config_version=\"{version}\">
  <clusternodes><clusternode name=\"alone\" nodeid=\"7\"/></clusternodes>
  <rm watchdog=\"{WATCHDOG}\" quorum_loss_reboot=\"8s\">
    <service name=\"web\" recovery=\"restart\">
      <ip address=\"10.99.0.100/24\"/>
      <script name=\"init\" file=\"/run/story/init\"/>
      <fs name=\"data\" device=\"story\" mountpoint=\"/mnt/data\" fstype=\"tmpfs\"/>
      <ocf name=\"dummy\" type=\"Dummy\" state=\"/run/story/dummy\"><action name=\"monitor\" interval=\"1\"/></ocf>
    </service>{extra}
  </rm>
</cluster>
"
    )
}

#[test]
fn one_node_starts_keeps_hands_over_and_stops_its_service() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let cgroup = cgroup().map_or_else(|| "1".into(), |path| path.display().to_string());
    let (status, said) = in_namespaces("one_node_starts_keeps_hands_over_and_stops_its_service", &cgroup);
    remove_cgroups();
    print!("{said}");
    assert!(status.success(), "inside its namespaces (root and corosync are needed) the test said:\n{said}");
}

/// Runs a test of this program again in namespaces of its own. Returns how it ended and what it said.
fn in_namespaces(test: &str, cgroup: &str) -> (ExitStatus, String) {
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("daemon::{test}")])
        .env(INSIDE, cgroup)
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1) is part of every Linux");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status, said)
}

#[test]
fn a_node_whose_disk_does_not_let_go_reboots_if_it_was_asked_to() {
    if std::env::var_os(INSIDE).is_some() {
        return self_fence_inside();
    }
    let (status, said) = in_namespaces("a_node_whose_disk_does_not_let_go_reboots_if_it_was_asked_to", "1");
    // What a reboot inside of a pid namespace is to the one who made it (reboot(2)); unshare dies as its child did.
    assert_eq!(status.signal(), Some(rustix::process::Signal::HUP.as_raw()), "{status:?}\n{said}");
}

fn self_fence_inside() {
    prepare();
    // A kernel without sysrq.
    std::fs::remove_file(SYSRQ).unwrap();
    let conf = "<?xml version=\"1.0\"?><cluster name=\"story\" config_version=\"1\"><clusternodes><clusternode name=\"alone\" \
                nodeid=\"7\"/></clusternodes><rm><service name=\"web\"><fs name=\"data\" device=\"story\" mountpoint=\"/mnt/data\" \
                fstype=\"tmpfs\" self_fence=\"1\"><action name=\"stop\" timeout=\"1\"/></fs></service></rm></cluster>";
    std::fs::write("/etc/cluster/cluster.conf", conf).unwrap();
    let mut corosync = start_corosync();
    let _daemon = Daemon::start();
    settled("web is started", |status| state(status) == Some(ServiceState::Started));
    // Somebody works in it, and force_unmount was not asked for.
    std::fs::write("/mnt/data/busy", "").unwrap();
    let _busy = std::fs::File::open("/mnt/data/busy").unwrap();
    let id = RequestId::from("stop");
    let command = Verb::Stop { service: ServiceName::parse("web") };
    ask(&Ask::Request { request: Request { id, command, origin: "test".into() } });
    // Ends with the namespace and this process, or fails.
    settled("the node reboots", |_| false);
    let _ = corosync.wait();
}

#[test]
fn agents_that_misbehave_cost_their_own_service_only() {
    if std::env::var_os(INSIDE).is_some() {
        return misbehaving_inside();
    }
    let (status, said) = in_namespaces("agents_that_misbehave_cost_their_own_service_only", "1");
    assert!(status.success(), "{said}");
}

#[test]
fn what_nobody_means_in_the_group_is_dropped_and_told_once() {
    if std::env::var_os(INSIDE).is_some() {
        return nonsense_inside();
    }
    let (status, said) = in_namespaces("what_nobody_means_in_the_group_is_dropped_and_told_once", "1");
    assert!(status.success(), "{said}");
}

/// Another process of this node joins the group over the true corosync, hears what rgmanager says, and says that, pieces of it, it
/// with a byte changed, and things that are no message at all.
fn nonsense_inside() {
    prepare();
    let mut corosync = start_corosync();
    let mut daemon = Daemon::start();
    settled("web is started", |status| state(status) == Some(ServiceState::Started));
    let (stranger, mut events) = Corosync::spawn("rgmanager").unwrap();
    let web = || ServiceName::parse("web");
    assert_eq!(request("a", Verb::Freeze { service: web() }).code, ResultCode::Success);
    assert_eq!(request("b", Verb::Unfreeze { service: web() }).code, ResultCode::Success);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        if let Event::Delivered { payload, .. } = events.blocking_recv().unwrap() {
            heard.push(payload);
        }
    }
    let mut nonsense = vec![Vec::new(), vec![0; 100], b"\x01{}".to_vec(), b"\x02{}".to_vec(), vec![b'x'; 500_000]];
    for message in &heard {
        nonsense.push(message.clone());
        for at in (0..message.len()).step_by(7) {
            nonsense.push(message[..at].to_vec());
            let mut changed = message.clone();
            changed[at] ^= 1 << (at % 8);
            nonsense.push(changed);
        }
    }
    assert!(nonsense.len() > 20, "{}", nonsense.len());
    for message in &nonsense {
        stranger.multicast(message.clone()).unwrap();
        // One order for all: what has come back here has been put before the daemon too.
        while !matches!(events.blocking_recv().unwrap(), Event::Delivered { payload, .. } if payload == *message) {}
    }
    let outcome = request("c", Verb::Restart { service: web() });
    assert_eq!(outcome.code, ResultCode::Success, "{outcome:?}\n{}", log_text());
    assert!(daemon.child.try_wait().unwrap().is_none(), "{}", log_text());
    let own = std::process::id();
    let told: Vec<String> = log_text()
        .lines()
        .filter(|line| line.contains(&format!("process {own} of node id 7")))
        .map(str::to_owned)
        .collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("said what cannot be read (message is empty)"), "{told:?}");
    // That it goes is no loss of the node.
    drop((stranger, events));
    assert_eq!(request("d", Verb::Restart { service: web() }).code, ResultCode::Success, "{}", log_text());
    corosync.kill().unwrap();
    corosync.wait().unwrap();
}

/// Name of the agent and what it does when it is started; the rest is as it should be.
const MISBEHAVING: [(&str, &str); 7] = [
    ("Good", ""),
    // It reads a pipe that nobody ever writes.
    ("Hangs", "cat /run/story/never"),
    ("Forks", "(cat /run/story/never) &"),
    ("Floods", "head -c 104857600 /dev/zero | tr '\\0' x"),
    ("Odd", "exit 255"),
    ("Vanishes", "rm \"$0\""),
    ("NoXml", ""),
];

fn misbehaving_inside() {
    prepare();
    own_agents();
    std::fs::create_dir_all("/usr/lib/ocf/resource.d/test").unwrap();
    run("mkfifo", &["/run/story/never"]);
    let mut services = String::new();
    for (name, start) in MISBEHAVING {
        let metadata =
            if name == "NoXml" { "usage: me" } else { "<resource-agent name=\"x\"><actions/></resource-agent>" };
        let body = format!(
            "#!/bin/sh\nstate=/run/story/{name}\ncase $1 in\nmeta-data) echo '{metadata}';;\nstart) {start}\ntouch $state;;\n\
             stop) rm -f $state;;\nmonitor) [ -e $state ] || exit 7;;\nesac\nexit 0\n"
        );
        write_script(&format!("/usr/lib/ocf/resource.d/test/{name}"), &body);
        services += &format!(
            "<service name=\"{name}\"><ocf name=\"{name}\" provider=\"test\" type=\"{name}\"><action name=\"start\" timeout=\"10m\"/>\
             <action name=\"status\" interval=\"1\"/></ocf></service>"
        );
    }
    let conf = format!(
        "<?xml version=\"1.0\"?><cluster name=\"story\" config_version=\"1\"><clusternodes><clusternode name=\"alone\" \
         nodeid=\"7\"/></clusternodes><rm>{services}</rm></cluster>"
    );
    std::fs::write("/etc/cluster/cluster.conf", conf).unwrap();
    let mut corosync = start_corosync();
    let daemon = Daemon::start();
    let told = |status: &ClusterStatus, name: &str| {
        let service = status.service(&ServiceName::parse(name));
        let code = service.and_then(|service| service.failure.as_ref()?.code);
        (service.map(|service| service.state), code)
    };
    let before = memory_kib(daemon.child.id());
    settled("everything but what hangs has come to its end", |status| {
        let stands = |name| told(status, name).0 == Some(ServiceState::Started);
        told(status, "Hangs").0 == Some(ServiceState::Starting)
            && ["Good", "Forks", "Floods", "NoXml"].into_iter().all(stands)
            && told(status, "Odd") == (Some(ServiceState::Stopped), Some(255))
            && told(status, "Vanishes") == (Some(ServiceState::Stopped), Some(5))
    });
    let grown = memory_kib(daemon.child.id()).saturating_sub(before);
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB");
    // Whoever wrote at last lets it go on.
    std::fs::write("/run/story/never", "").unwrap();
    settled("what hung is started", |status| told(status, "Hangs").0 == Some(ServiceState::Started));
    corosync.kill().unwrap();
    corosync.wait().unwrap();
}

/// What is written to the folders of agents is seen by this test alone.
fn own_agents() {
    std::fs::create_dir_all("/mnt/ocf").unwrap();
    std::fs::create_dir_all("/mnt/ocf-work").unwrap();
    let layers = "lowerdir=/usr/lib/ocf,upperdir=/mnt/ocf,workdir=/mnt/ocf-work";
    run("mount", &["-t", "overlay", "story", "-o", layers, "/usr/lib/ocf"]);
}

#[test]
fn types_whose_kernel_parts_are_missing_here_ask_the_agents_of_today_in_the_order_of_the_original() {
    if std::env::var_os(INSIDE).is_some() {
        return stand_ins_inside();
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("daemon::types_whose_kernel_parts_are_missing_here_ask_the_agents_of_today_in_the_order_of_the_original")
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1) is part of every Linux");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    println!(
        "not run for real, for want of gfs2, nfs, nfsd, device mapper and guests: clusterfs, netfs, lvm, nfsserver, nfsexport, nfsclient, vm"
    );
}

/// Agents that need what this kernel lacks. Each is replaced by one that has its metadata and keeps what it was asked.
const STOOD_IN_FOR: [&str; 5] = ["LVM-activate", "Filesystem", "exportfs", "nfsserver", "VirtualDomain"];

/// rhcs.md §5.2: attributes that are inherited; §5.3: order; §5.9: types.
const NFS_TREE: &str = "<service name=\"nfs\" autostart=\"0\" nfslock=\"1\">
<netfs name=\"mail\" mountpoint=\"/mnt/mail\" host=\"filer\" export=\"/vol/mail\" options=\"ro\" force_unmount=\"1\"/>
<lvm name=\"volume\" vg_name=\"vg0\" lv_name=\"home\">
 <clusterfs name=\"home\" device=\"/dev/vg0/home\" mountpoint=\"/mnt/home\" fstype=\"gfs2\" fsid=\"77\" options=\"noatime\">
  <nfsexport name=\"exports\">
   <nfsclient name=\"all\" target=\"10.0.0.0/8\" options=\"rw,sync\"/>
   <nfsclient name=\"backup\" target=\"10.0.0.9\" options=\"ro\"/>
  </nfsexport>
 </clusterfs>
</lvm></service>
<service name=\"nfs4\" autostart=\"0\"><clusterfs name=\"pub\" device=\"/dev/vg1/pub\" mountpoint=\"/mnt/pub\" fstype=\"gfs2\">
 <nfsserver name=\"server\"><nfsclient name=\"world\" target=\"*\" fsid=\"5\" options=\"ro\"/></nfsserver>
</clusterfs></service>
<vm name=\"guest\" autostart=\"0\" path=\"/etc/guests\"/>";

const VOLUME: &str = "LVM-activate {} activation_mode=exclusive lvname=home vg_access_mode=tagging vgname=vg0";
const HOME: &str =
    "Filesystem {} device=/dev/vg0/home directory=/mnt/home force_unmount=false fstype=gfs2 options=noatime";
const ALL: &str = "exportfs {} clientspec=10.0.0.0/8 directory=/mnt/home fsid=77 options=rw,sync";
const BACKUP: &str = "exportfs {} clientspec=10.0.0.9 directory=/mnt/home fsid=77 options=ro";
const MAIL: &str = "Filesystem {} device=filer:/vol/mail directory=/mnt/mail force_unmount=true fstype=nfs options=ro";
const PUB: &str = "Filesystem {} device=/dev/vg1/pub directory=/mnt/pub force_unmount=false fstype=gfs2";
const SERVER: &str = "nfsserver {} nfs_shared_infodir=/mnt/pub/.clumanager/nfs";
const WORLD: &str = "exportfs {} clientspec=* directory=/mnt/pub fsid=5 options=ro";
const GUEST: &str = "VirtualDomain {} config=/etc/guests/guest.xml";

fn stand_ins_inside() {
    prepare();
    own_agents();
    std::fs::create_dir_all("/run/story/real").unwrap();
    for agent in STOOD_IN_FOR {
        let path = format!("/usr/lib/ocf/resource.d/heartbeat/{agent}");
        std::fs::copy(&path, format!("/run/story/real/{agent}")).unwrap();
        let body = format!(
            "#!/bin/sh\nstate=/run/story/$OCF_RESOURCE_INSTANCE\n\
             ask() {{ echo \"{agent} $1\" $(env | grep ^OCF_RESKEY_ | grep -v _meta_ | sed s/OCF_RESKEY_// | LC_ALL=C sort) >> /run/story/asked; }}\n\
             set -f\ncase $1 in\nmeta-data) exec /run/story/real/{agent} meta-data;;\nstart) ask start; touch \"$state\";;\n\
             stop) ask stop; rm -f \"$state\";;\nmonitor) [ -e \"$state\" ] || exit 7;;\nesac\nexit 0\n"
        );
        write_script(&path, &body);
    }
    let conf = format!(
        "<?xml version=\"1.0\"?><cluster name=\"story\" config_version=\"1\"><clusternodes><clusternode name=\"alone\" \
         nodeid=\"7\"/></clusternodes><rm>{NFS_TREE}</rm></cluster>"
    );
    std::fs::write("/etc/cluster/cluster.conf", conf).unwrap();
    let mut corosync = start_corosync();
    let daemon = Daemon::start();
    settled("the node is a member", |status| status.phase == Phase::Member);
    for (service, start, stop) in [
        ("nfs", vec![VOLUME, HOME, ALL, BACKUP, MAIL], vec![MAIL, BACKUP, ALL, HOME, VOLUME]),
        ("nfs4", vec![PUB, SERVER, WORLD], vec![WORLD, SERVER, PUB]),
        ("vm:guest", vec![GUEST], vec![GUEST]),
    ] {
        let name = ServiceName::parse(service);
        let enable = Verb::Enable { service: name.clone(), on: None, by_domain: false };
        let asked = asked_by(&format!("start {service}"), enable);
        assert_eq!(asked, lines(&start, "start"));
        let asked = asked_by(&format!("stop {service}"), Verb::Disable { service: name });
        assert_eq!(asked, lines(&stop, "stop"));
    }
    drop(daemon);
    corosync.kill().unwrap();
    corosync.wait().unwrap();
}

fn lines(asked: &[&str], operation: &str) -> String {
    asked.iter().map(|line| format!("{}\n", line.replace("{}", operation))).collect()
}

/// What the stand-ins were asked while a request was carried out.
fn asked_by(id: &str, command: Verb) -> String {
    let _ = std::fs::remove_file("/run/story/asked");
    let outcome = request(id, command);
    assert_eq!(outcome.code, ResultCode::Success, "{outcome:?}\n{}", log_text());
    std::fs::read_to_string("/run/story/asked").unwrap_or_default()
}

/// The most that a process ever held.
fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The cgroup of this run of the test, below the one of the test itself.
fn cgroup() -> Option<PathBuf> {
    let root = Cgroups::default_root()?;
    Some(root.with_file_name(format!("story-{}", std::process::id())))
}

/// Everything in them has died with the pid namespace.
fn remove_cgroups() {
    fn remove(path: &Path) {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            remove(&entry.path());
        }
        let _ = std::fs::remove_dir(path);
    }
    cgroup().iter().for_each(|path| remove(path));
}

fn inside() {
    prepare();
    let mut corosync = start_corosync();
    let daemon = Daemon::start();
    the_service_is_started_as_a_whole();
    the_node_says_what_it_can_watch(&status());
    a_lost_resource_is_noticed_and_the_service_restarted();
    what_the_kernel_tells_is_noticed_at_once();
    operators_are_obeyed();
    a_link_that_is_down_fails_the_check_of_its_address();
    a_new_configuration_comes_into_force();
    the_watchdog_is_fed_by_the_loop_alone(&daemon);
    let daemon = a_daemon_replaced_for_an_upgrade_touches_nothing(daemon);
    let daemon = a_killed_daemon_takes_its_service_over_again(daemon);
    a_second_daemon_refuses_to_start();
    let daemon = an_intent_survives_a_clean_restart(daemon);
    corosync_gone_means_everything_stopped(&mut corosync, daemon);
    let mut corosync = start_corosync();
    std::mem::forget(Daemon::start());
    corosync_gone_and_nothing_stops_means_a_reset(&mut corosync);
}

fn the_service_is_started_as_a_whole() {
    let status = settled("web is started", |status| state(status) == Some(ServiceState::Started));
    assert_eq!(status.phase, Phase::Member);
    assert_eq!(service(&status).unwrap().owner, Some(NodeName::from("alone")));
    assert!(has_address());
    assert_eq!(script_log(), ["status", "start"]);
    assert!(std::fs::exists("/run/story/dummy").unwrap());
    assert_eq!((status.quorum.quorate, status.quorum.votes, status.quorum.votes_expected), (true, Some(1), Some(1)));
}

fn the_node_says_what_it_can_watch(status: &ClusterStatus) {
    let local = status.nodes.iter().find(|node| node.local).unwrap();
    let missing: Vec<(Source, bool)> =
        local.watches.iter().map(|watch| (watch.source, watch.missing.is_some())).collect();
    let no_cgroups = std::env::var(INSIDE).unwrap() == "1";
    let expected = [
        (Source::Cgroups, no_cgroups),
        (Source::Processes, false),
        (Source::Addresses, false),
        (Source::Mounts, false),
        (Source::Units, true),
    ];
    assert_eq!(missing, expected, "{:?}", local.watches);
}

/// `monitor_link`: the agent finds its address where it belongs, and yet it serves nobody.
fn a_link_that_is_down_fails_the_check_of_its_address() {
    settled("web is started", |status| state(status) == Some(ServiceState::Started));
    run("ip", &["link", "set", "right", "down"]);
    let failed = settled("web has failed", |status| service(status).unwrap().failure.is_some());
    let failure = service(&failed).unwrap().failure.clone().unwrap();
    assert_eq!((failure.resource.as_str(), failure.code), ("ip:10.99.0.100/24", Some(1)));
    assert_eq!(failure.output, "the link left, which has the address 10.99.0.100, is down (monitor_link)");
    run("ip", &["link", "set", "right", "up"]);
    let enable = Verb::Enable { service: ServiceName::parse("web"), on: None, by_domain: false };
    settled("web is at rest", |status| {
        matches!(state(status), Some(ServiceState::Stopped | ServiceState::Started | ServiceState::Recovering))
    });
    if state(&status()) != Some(ServiceState::Started) {
        request("link", enable);
    }
    settled("web is started again", |status| state(status) == Some(ServiceState::Started) && has_address());
}

fn a_lost_resource_is_noticed_and_the_service_restarted() {
    std::fs::remove_file("/run/story/dummy").unwrap();
    settled("web is started again", |status| {
        state(status) == Some(ServiceState::Started) && std::fs::exists("/run/story/dummy").unwrap()
    });
    assert!(script_log().iter().any(|verb| verb == "stop"));
}

/// The checks come every ten seconds; what the kernel tells is acted upon long before.
fn what_the_kernel_tells_is_noticed_at_once() {
    let pid = || -> Option<i32> { std::fs::read_to_string("/run/story/pid").ok()?.trim().parse().ok() };
    let mounted = || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(" /mnt/data tmpfs ");
    let whole =
        || has_address() && mounted() && pid().is_some_and(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap());
    let quick = Duration::from_secs(9);
    for (what, fault) in [
        ("the address", &(|| run("ip", &["address", "del", "10.99.0.100/24", "dev", "left"])) as &dyn Fn()),
        ("the mount", &|| run("umount", &["/mnt/data"])),
        ("the process", &|| run("kill", &["-9", &pid().unwrap().to_string()])),
    ] {
        settled("whole", |status| state(status) == Some(ServiceState::Started) && whole());
        let restarts = service(&status()).unwrap().restarts;
        let begun = Instant::now();
        fault();
        settled(what, |status| {
            service(status).is_some_and(|web| web.restarts > restarts && web.state == ServiceState::Started) && whole()
        });
        println!("{what} was lost and the service whole again after {} ms", begun.elapsed().as_millis());
        assert!(begun.elapsed() < quick, "{what} was found by the interval only\n{}", log_text());
    }
}

fn operators_are_obeyed() {
    let service = || ServiceName::parse("web");
    let outcome = request("1", Verb::Disable { service: service() });
    assert_eq!(outcome.code, ResultCode::Success, "{outcome:?}");
    assert!(!has_address());
    assert_eq!(state(&status()), Some(ServiceState::Disabled));
    let outcome = request("2", Verb::Enable { service: service(), on: None, by_domain: false });
    assert_eq!((outcome.code, outcome.owner), (ResultCode::Success, Some(NodeName::from("alone"))));
    assert!(has_address());
    // The same id again is answered the same and does nothing.
    let starts = script_log().len();
    assert_eq!(request("1", Verb::Disable { service: service() }).code, ResultCode::Success);
    assert!(has_address() && !script_log()[starts..].contains(&"stop".to_owned()));
    let nobody = Verb::Disable { service: ServiceName::parse("nobody") };
    let request = Request { id: RequestId::from("3"), command: nobody, origin: "test".into() };
    let reply = ask(&Ask::Request { request });
    assert!(
        matches!(&reply, Reply::Answer { answer: Answer::Refused(why) } if why.code == ResultCode::NoService),
        "{reply:?}"
    );
}

fn a_new_configuration_comes_into_force() {
    let put = |text: String| ask(&Ask::PutConf { text, origin: "test".into(), despite_agents: false });
    assert!(
        matches!(put("<cluster".into()), Reply::PutConf { result: PutConf::Refused { findings } } if !findings.is_empty())
    );
    // Its own agent does not take it, and says why.
    let wrong = "\n    <service name=\"wrong\"><ocf name=\"a\" type=\"IPaddr2\" ip=\"10.99.0.7\" cidr_netmask=\"x\"/></service>";
    let Reply::PutConf { result: PutConf::Refused { findings } } = put(cluster_conf(2, wrong)) else {
        panic!("an address that its agent refuses was accepted");
    };
    assert_eq!((findings.len(), findings[0].rule.as_str()), (1, "agent-refuses"), "{findings:?}");
    assert!(findings[0].text.contains("ocf:heartbeat:IPaddr2 refuses ocf:a of service:wrong"), "{findings:?}");
    assert!(findings[0].text.contains("cidr_netmask=x"), "{findings:?}");
    let second = "\n    <service name=\"second\"><ocf name=\"d2\" type=\"Dummy\" state=\"/run/story/d2\"/></service>";
    let text = cluster_conf(2, second);
    let reply = put(text.clone());
    assert!(
        matches!(&reply, Reply::PutConf { result: PutConf::Accepted { version, .. } } if version.0 == 2),
        "{reply:?}"
    );
    settled("the new service runs", |status| {
        let second = status.service(&ServiceName::parse("second"));
        second.is_some_and(|service| service.state == ServiceState::Started)
    });
    let begun = Instant::now();
    while std::fs::read_to_string("/etc/cluster/cluster.conf").unwrap() != text {
        assert!(begun.elapsed() < PATIENCE, "cluster.conf is not the new one");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The version before can be brought back.
    let kept = std::fs::read_dir("/var/lib/cluster/conf").unwrap().flatten();
    let mut kept: Vec<String> = kept.map(|entry| entry.file_name().to_string_lossy()[..2].to_owned()).collect();
    kept.sort();
    assert_eq!(kept, ["1-", "2-"]);
    let Reply::Conf { version, text: told, .. } = ask(&Ask::Conf) else { panic!() };
    assert_eq!((version.0, told), (2, text));
}

/// A device resets the machine when this stops; so it must stop with the loop.
fn the_watchdog_is_fed_by_the_loop_alone(daemon: &Daemon) {
    let fed = || std::fs::read(WATCHDOG).unwrap().len();
    let grows = |from: usize| {
        let begun = Instant::now();
        while fed() <= from {
            assert!(begun.elapsed() < PATIENCE, "the watchdog is not fed\n{}", log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    grows(1);
    grows(fed());
    // Nobody else could feed it: no other process has it open.
    assert_eq!(holders_of(Path::new(WATCHDOG)), [daemon.child.id()]);
}

/// The processes that have the file open.
fn holders_of(path: &Path) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.map(|entry| std::fs::read_link(entry.path())).any(|target| target.is_ok_and(|target| target == path))
    };
    pids.filter(has_it).collect()
}

fn a_daemon_replaced_for_an_upgrade_touches_nothing(mut daemon: Daemon) -> Daemon {
    settled("web runs", |status| state(status) == Some(ServiceState::Started));
    let before = script_log();
    daemon.signal(rustix::process::Signal::USR2);
    let ended = daemon.child.wait().unwrap();
    assert_eq!(ended.code(), Some(EXIT_RESTART), "{ended}\n{}", log_text());
    assert!(has_address());
    assert_ne!(
        std::fs::read(WATCHDOG).unwrap().last(),
        Some(&b'V'),
        "nobody would reset the node if no successor came"
    );
    take_over(&before)
}

/// A new daemon goes on where the one before it ended, and nothing is stopped or started for it.
fn take_over(before: &[String]) -> Daemon {
    let daemon = Daemon::start();
    let status = settled("web is taken over", |status| {
        status.phase == Phase::Member && state(status) == Some(ServiceState::Started)
    });
    assert!(has_address());
    let since = &script_log()[before.len()..];
    assert!(!since.contains(&"stop".to_owned()) && !since.contains(&"start".to_owned()), "{since:?}\n{status:#?}");
    daemon
}

fn a_killed_daemon_takes_its_service_over_again(mut daemon: Daemon) -> Daemon {
    let before = script_log();
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(has_address());
    assert_ne!(std::fs::read(WATCHDOG).unwrap().last(), Some(&b'V'));
    take_over(&before)
}

fn a_second_daemon_refuses_to_start() {
    let output = daemon_command().stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another rgmanager already answers on"), "{said}");
}

fn an_intent_survives_a_clean_restart(mut daemon: Daemon) -> Daemon {
    request("4", Verb::Disable { service: ServiceName::parse("second") });
    daemon.signal(rustix::process::Signal::TERM);
    let status = daemon.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(std::fs::read(WATCHDOG).unwrap().last(), Some(&b'V'), "a clean end must disarm the watchdog");
    assert!(!has_address());
    assert!(!std::fs::exists("/run/story/dummy").unwrap() && !std::fs::exists("/run/story/d2").unwrap());
    assert!(!std::fs::exists(SOCKET).unwrap());
    let daemon = Daemon::start();
    let status = settled("web runs again", |status| state(status) == Some(ServiceState::Started));
    let second = status.service(&ServiceName::parse("second")).unwrap();
    assert_eq!(second.state, ServiceState::Disabled, "{second:?}");
    daemon
}

/// What runs before the script hangs goes down, the script does not: then the node resets itself, as cluster.conf asks.
fn corosync_gone_and_nothing_stops_means_a_reset(corosync: &mut Child) {
    settled("web runs", |status| state(status) == Some(ServiceState::Started));
    std::fs::write("/run/story/hang", "").unwrap();
    assert_eq!(std::fs::read(SYSRQ).unwrap(), b"");
    corosync.kill().unwrap();
    corosync.wait().unwrap();
    let begun = Instant::now();
    while std::fs::read(SYSRQ).unwrap() != b"b" {
        assert!(begun.elapsed() < PATIENCE, "the node does not reset itself\n{}", log_text());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_ne!(std::fs::read(WATCHDOG).unwrap().last(), Some(&b'V'));
    std::fs::remove_file("/run/story/hang").unwrap();
}

fn corosync_gone_means_everything_stopped(corosync: &mut Child, mut daemon: Daemon) {
    assert!(has_address());
    corosync.kill().unwrap();
    corosync.wait().unwrap();
    let begun = Instant::now();
    while has_address() || std::fs::exists("/run/story/dummy").unwrap() {
        assert!(begun.elapsed() < PATIENCE, "the service runs on without corosync");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!daemon.child.wait().unwrap().success(), "its unit starts it again");
}

struct Daemon {
    child: Child,
}

impl Daemon {
    fn start() -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open("/run/story/log").unwrap();
        let child = daemon_command().stderr(log).spawn().unwrap();
        let begun = Instant::now();
        while UnixStream::connect(SOCKET).is_err() {
            assert!(begun.elapsed() < PATIENCE, "no socket\n{}", log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

fn daemon_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rgmanager"));
    match std::env::var(INSIDE).unwrap() {
        none if none == "1" => command.arg("--no-cgroup"),
        path => command.args(["--cgroup", &path]),
    };
    command.args(["--sysrq", SYSRQ]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn log_text() -> String {
    std::fs::read_to_string("/run/story/log").unwrap_or_default()
}

fn ask(question: &Ask) -> Reply {
    let mut stream = UnixStream::connect(SOCKET).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{}\n", serde_json::to_string(question).unwrap()).as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", log_text()))
}

fn status() -> ClusterStatus {
    match ask(&Ask::Status) {
        Reply::Status { status } => *status,
        other => panic!("{other:?}"),
    }
}

fn service(status: &ClusterStatus) -> Option<&ServiceStatus> {
    status.service(&ServiceName::parse("web"))
}

fn state(status: &ClusterStatus) -> Option<ServiceState> {
    service(status).map(|service| service.state)
}

/// Follows the status stream until it is as wanted.
fn settled(what: &str, wanted: impl Fn(&ClusterStatus) -> bool) -> ClusterStatus {
    let begun = Instant::now();
    loop {
        let status = status();
        if wanted(&status) {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}\n{status:#?}\n{}", log_text());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn request(id: &str, command: Verb) -> Outcome {
    let id = RequestId::from(id);
    let reply = ask(&Ask::Request { request: Request { id: id.clone(), command, origin: "test".into() } });
    assert_eq!(reply, Reply::Answer { answer: Answer::Accepted });
    match ask(&Ask::Await { id }) {
        Reply::Outcome { outcome } => outcome,
        other => panic!("{other:?}"),
    }
}

fn has_address() -> bool {
    let output = Command::new("ip").args(["-o", "address", "show", "dev", "left"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(" 10.99.0.100/24 ")
}

fn script_log() -> Vec<String> {
    let log = std::fs::read_to_string("/run/story/init.log").unwrap_or_default();
    // Checks come as they please.
    let mut lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let first = lines.first().cloned();
    lines.retain(|line| line != "status");
    first.filter(|line| line == "status").into_iter().chain(lines).collect()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn prepare() {
    for place in
        ["/dev/shm", "/run", "/var/lib/corosync", "/etc/corosync", "/var/lib", "/var/log", "/usr/local/sbin", "/mnt"]
    {
        run("mount", &["-t", "tmpfs", "story", place]);
    }
    // /etc stays, cluster.conf must not: a directory of ours over it.
    std::fs::create_dir_all("/mnt/upper").unwrap();
    std::fs::create_dir_all("/mnt/work").unwrap();
    run("mount", &["-t", "overlay", "story", "-o", "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work", "/etc"]);
    for place in ["/etc/cluster", "/etc/corosync", "/var/lib/corosync", "/var/log/cluster", "/run/story"] {
        std::fs::create_dir_all(place).unwrap();
    }
    let conf = shared::conf::load(&cluster_conf(1, "")).conf.unwrap();
    let corosync_conf = render_corosync_conf(&conf, &RenderOptions::default());
    std::fs::write("/etc/corosync/corosync.conf", corosync_conf).unwrap();
    std::fs::write("/etc/corosync/authkey", [7; 128]).unwrap();
    std::fs::write("/etc/hosts", "127.0.0.1 localhost alone\n").unwrap();
    std::fs::write("/etc/cluster/cluster.conf", cluster_conf(1, "")).unwrap();
    let script = "#!/bin/sh\necho $1 >> /run/story/init.log\ncase $1 in\nstart) sleep 100000 & echo $! > /run/story/pid;;\n\
                  stop) [ -e /run/story/hang ] && sleep 100000; kill -9 $(cat /run/story/pid 2>/dev/null) 2>/dev/null; rm -f /run/story/pid;;\n\
                  status) grep -qs sleep /proc/$(cat /run/story/pid 2>/dev/null)/cmdline || exit 3;;\nesac\nexit 0\n";
    write_script("/run/story/init", script);
    std::fs::write(WATCHDOG, "").unwrap();
    std::fs::write(SYSRQ, "").unwrap();
    // The Filesystem agent wants to load a module for SCSI, whatever is mounted.
    write_script("/usr/local/sbin/modprobe", "#!/bin/sh\n");
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    run("ip", &["link", "set", "left", "up"]);
    run("ip", &["link", "set", "right", "up"]);
    run("ip", &["address", "add", "10.99.0.1/24", "dev", "left"]);
}

fn write_script(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Starts corosync in the foreground on the private loopback. The daemon itself waits until it answers.
fn start_corosync() -> Child {
    let mut command = Command::new("corosync");
    command.arg("-f").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    command.spawn().expect("corosync is installed")
}
