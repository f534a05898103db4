//! The commands against one real corosync and the real rgmanager: what an administrator sees from a cluster that is
//! only half up, over a node that cannot be fenced, to a daemon that hangs.
//!
//! The test runs itself again inside namespaces of its own, so that its corosync and files are seen by nobody else and
//! everything it started ends with its pid namespace. Needs root, corosync and the packaged resource agents.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fake::{FakeRgmanager, Ran, cluster, node, run};
use crate::transcript::stage::Stage;
use crate::transcript::{folder, play, read};
use expect_test::expect_file;
use shared::ids::NodeId;
use shared::status::{NodeStatus, Phase, Quorum};

const INSIDE: &str = "RICCI_TEST_INSIDE_NAMESPACES";
const SOCKET: &str = "/run/cluster/rgmanager.sk";
const COROSYNC_CONF_PATH: &str = "/etc/corosync/corosync.conf";
const CONF: &str = "/etc/cluster/cluster.conf";
/// Far above what any step takes; a step that reaches it is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// The second node of the list never comes.
const COROSYNC_CONF: &str = "totem {
  version: 2
  cluster_name: story
  transport: knet
  token: 1000
}
nodelist {
  node {
    name: here
    nodeid: 7
    ring0_addr: 127.0.0.1
  }
  node {
    name: away
    nodeid: 9
    ring0_addr: 127.0.0.2
  }
}
quorum {
  provider: corosync_votequorum
  expected_votes: 1
}
logging {
  to_logfile: yes
  logfile: /run/corosync.log
  to_syslog: no
}
";

const CLUSTER_CONF: &str = "<?xml version=\"1.0\"?>
<cluster name=\"story\" config_version=\"1\">
  <fence_daemon post_join_delay=\"0\"/>
  <clusternodes>
    <clusternode name=\"here\" nodeid=\"7\"/>
    <clusternode name=\"away\" nodeid=\"9\"><fence><method name=\"power\"><device name=\"psu\"/></method></fence></clusternode>
  </clusternodes>
  <fencedevices><fencedevice name=\"psu\" agent=\"fence_of_the_story\" ipaddr=\"10.0.0.1\" passwd=\"secret\"/></fencedevices>
  <rm>
    <service name=\"web\"><ocf name=\"dummy\" type=\"Dummy\" state=\"/run/story/dummy\"/></service>
  </rm>
</cluster>
";

#[test]
fn the_commands_tell_the_truth_of_a_real_cluster() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "story::the_commands_tell_the_truth_of_a_real_cluster"])
        .env(INSIDE, "1")
        // Temporary files of this run may lie in /dev/shm, of which there is another one inside.
        .env("TMPDIR", "/run")
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1) is part of every Linux");
    assert!(
        output.status.success(),
        "inside its namespaces (root and corosync are needed) the test said:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The transcript `live` is played in between: what is typed at each stage of it is typed when the cluster is there.
fn inside() {
    prepare();
    let mut corosync = start_corosync();
    let mut daemon = None;
    let path = folder().join("live.txt");
    let reach = |name: &str| {
        match name {
            "corosync alone" => corosync_alone_tells_the_members(),
            "away is lost" => {
                daemon = Some(start_rgmanager());
                a_node_that_cannot_be_fenced_is_explained();
                the_fence_domain_and_cman_agree();
            }
            "away is vouched for" => {
                an_acknowledgement_by_hand_lets_the_service_start();
                requests_come_back_with_their_results();
            }
            "the end" => {
                a_change_by_ccs_comes_into_force();
                let mut daemon = daemon.take().unwrap();
                a_hung_daemon_is_named_and_the_members_still_shown(&daemon);
                daemon.kill().unwrap();
                daemon.wait().unwrap();
            }
            "again" => {
                corosync.wait().unwrap();
                // rgmanager has made one of cluster.conf, which names hosts that this machine cannot find.
                std::fs::write(COROSYNC_CONF_PATH, COROSYNC_CONF).unwrap();
                corosync = start_corosync();
                until("corosync is back", |ran| ran.out.contains("Member Status: Quorate"));
            }
            other => panic!("there is no stage '{other}'"),
        }
        Stage::of_this_host(SOCKET, CONF)
    };
    let played =
        play(&read(&path), reach, |stage, name, text| stage.write(name, text), |stage, command| stage.run(command));
    expect_file![path].assert_eq(&played);
    corosync.wait().unwrap();
}

fn command(program: &str, arguments: &[&str]) -> Ran {
    run(program, arguments, Path::new(SOCKET), "")
}

fn corosync_alone_tells_the_members() {
    let begun = Instant::now();
    let ran = loop {
        let ran = command("clustat", &[]);
        if ran.out.contains("Member Status: Quorate") {
            break ran;
        }
        assert!(begun.elapsed() < PATIENCE, "{ran:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ran.out.starts_with("Cluster Status for story @ "), "{}", ran.out);
    let table = "\n here                                        7 Online, Local\n \
                 away                                        9 Offline\n";
    assert!(ran.out.ends_with(table), "{}", ran.out);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "Service states unavailable: rgmanager is not running on this node (systemctl start rgmanager)\n")
    );
    command("clustat", &["-I"]).expect(0, "0x00000007\n");
    command("clustat", &["-Q"]).expect(0, "");
    assert_eq!(command("clustat", &["-s", "web"]).code, 255, "nobody knows");
    assert_eq!([command("clustat", &["-m", "here"]).code, command("clustat", &["-m", "away"]).code], [0, 1]);
    assert!(command("clustat", &["-x"]).out.contains("<quorum quorate=\"1\" groupmember=\"0\"/>"));
    a_daemon_that_knows_nothing_yet_is_not_asked_for_the_members();
    let ran = command("clusvcadm", &["-e", "web"]);
    assert!(ran.code == 1 && ran.err.starts_with("Could not connect to resource group manager\n"), "{ran:?}");
}

/// An rgmanager that looks at what runs here: before it has a configuration, no node has a name, and nothing is quorate.
fn a_daemon_that_knows_nothing_yet_is_not_asked_for_the_members() {
    let mut status = cluster(vec![NodeStatus { configured: false, ..node(7, "node id 7") }], Vec::new());
    (status.cluster, status.local, status.phase) = (String::new(), NodeId(7), Phase::Probing);
    status.quorum = Quorum { quorate: false, votes: None, votes_expected: None };
    let rgmanager = FakeRgmanager::with_status(status);
    let why = "Service states unavailable: rgmanager on this node is looking at what runs here before it joins\n";
    let ran = rgmanager.run("clustat", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, why));
    assert!(
        ran.out.starts_with("Cluster Status for story @ ") && ran.out.contains("Member Status: Quorate\n"),
        "{ran:?}"
    );
    let table = "\n here                                        7 Online, Local\n \
                 away                                        9 Offline\n";
    assert!(ran.out.ends_with(table), "{}", ran.out);
    rgmanager.run("clustat", &["-Q"]).expect(0, "");
    assert_eq!(rgmanager.run("clustat", &["-s", "web"]).code, 255, "nobody knows");
}

/// While away waits to be fenced.
fn the_fence_domain_and_cman_agree() {
    let status = command("cman_tool", &["status"]);
    assert_eq!((status.code, status.err.as_str(), status.out.lines().count()), (0, "", 19), "{status:?}");
    for line in ["Cluster Name: story", "Nodes: 1", "Node name: here", "Node ID: 7", "Ports Bound: 0 177  "] {
        assert!(status.out.lines().any(|told| told == line), "{line}: {}", status.out);
    }
    let nodes = command("cman_tool", &["nodes", "-F", "id,type,name"]);
    nodes.expect(0, "7 M here\n9 X away\n");
    command("cman_tool", &["wait", "-q", "-t", "5"]).expect(0, "");
    let domain = command("fence_tool", &["ls"]);
    assert_eq!(domain.code, 0, "{domain:?}");
    assert!(domain.out.contains("member count  1\nvictim count  1\n"), "{}", domain.out);
    assert!(domain.out.ends_with("\nmaster nodeid 7\nwait state    fencing\nmembers       7\n"), "{}", domain.out);
    command("cman_tool", &["services"]);
    assert!(command("cman_tool", &["leave"]).err.contains("Device or resource busy"));
}

fn a_change_by_ccs_comes_into_force() {
    let version = || command("ccs", &["--getversion"]).out.trim().parse::<u64>().unwrap();
    let before = version();
    command("ccs", &["--setfencedaemon", "post_join_delay=7"]).expect(0, "");
    assert_eq!(version(), before + 1);
    command("cman_tool", &["version"]).expect(0, &format!("6.2.0 config {}\n", before + 1));
    let by_hand = command("ccs", &["--getconf"])
        .out
        .replace(&format!("config_version=\"{}\"", before + 1), &format!("config_version=\"{}\"", before + 10));
    std::fs::write(Path::new(SOCKET).with_file_name("cluster.conf"), by_hand).unwrap();
    command("cman_tool", &["version", "-r"]).expect(0, "");
    assert_eq!(version(), before + 10);
    // Scripts call it after `ccs` too: what is in force already is no failure.
    command("cman_tool", &["version", "-r"]).expect(0, "");
    assert_eq!(version(), before + 10);
}

fn a_node_that_cannot_be_fenced_is_explained() {
    let ran = until("the fencing of away failed once", |ran| ran.out.contains("Last attempt : failed on here"));
    let block = ran.out.split("\n\n").last().unwrap();
    assert!(block.starts_with("Fencing of away: attempt "), "{block}");
    assert!(block.contains("fence agent fence_of_the_story is not installed on this node"), "{block}");
    assert!(block.contains("\n  Waiting      : service:web\n  What to do   : "), "{block}");
    let ran = command("clustat", &["-s", "web"]);
    assert_eq!(ran.code, 110, "{ran:?}");
    let ran = command("fence_node", &["-S", "away"]);
    assert!(ran.code == 1 && ran.err.ends_with("\nstatus away failed 1\n"), "{ran:?}");
    let ran = command("fence_node", &["here"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "fence here undefined\n"));
}

fn an_acknowledgement_by_hand_lets_the_service_start() {
    let ran = run("fence_ack_manual", &["away"], Path::new(SOCKET), "absolutely\n");
    assert!(ran.code == 0 && ran.out.ends_with("Done\n"), "{ran:?}");
    let row = " service:web                    here                           started       \n";
    let ran = until("web is started", |ran| ran.out.contains(row));
    assert!(!ran.out.contains("Fencing of"), "{}", ran.out);
    assert_eq!(command("clustat", &["-s", "web"]).code, 0);
    let xml = command("clustat", &["-fx"]).out;
    assert!(xml.contains("groupmember=\"1\"") && xml.contains("state_str=\"started\""), "{xml}");
}

fn requests_come_back_with_their_results() {
    let local = |letter: &str, service: &str| command("clusvcadm", &[letter, service]);
    local("-d", "web").expect(0, "Local machine disabling service:web...Success\n");
    assert_eq!(command("clustat", &["-s", "web"]).code, 119);
    local("-e", "web")
        .expect(0, "Local machine trying to enable service:web...Success\nservice:web is now running on here\n");
    let ran = local("-e", "web");
    assert_eq!((ran.code, ran.out.ends_with("...Service is already running\n")), (0, true), "{ran:?}");
    local("-R", "web").expect(0, "Local machine trying to restart service:web...Success\n");
    local("-Z", "web").expect(0, "Local machine freezing service:web...Success\n");
    let ran = local("-d", "web");
    assert_eq!((ran.code, ran.out.ends_with("...Failure: Service is frozen\n")), (245, true), "{ran:?}");
    local("-U", "web").expect(0, "Local machine unfreezing service:web...Success\n");
    let ran = local("-d", "wbe");
    assert_eq!((ran.code, ran.out.ends_with("...Service does not exist\n")), (252, true), "{ran:?}");
    assert!(ran.err.ends_with("Closest match: 'service:web'\n"), "{ran:?}");
    let ran = command("clusvcadm", &["-r", "web", "-m", "away"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    command("clusvcadm", &["-l"]).expect(0, "Resource groups locked\n");
    command("clusvcadm", &["-S"]).expect(0, "Resource groups locked\n");
    command("clusvcadm", &["-u"]).expect(0, "Resource groups unlocked\n");
    command("clusvcadm", &["-S"]).expect(0, "Resource groups unlocked\n");
}

fn a_hung_daemon_is_named_and_the_members_still_shown(daemon: &Child) {
    let pid = rustix::process::Pid::from_child(daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // A thread that is at work on another processor may still answer before it stops.
    let tasks = || std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
    let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    };
    while !tasks().all(is_stopped) {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    let ran = command("clustat", &[]);
    // Two seconds are the deadline; the rest is a busy machine's. Nobody would answer without it.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!((ran.code, ran.err.as_str()), (0, "Timed out waiting for a response from Resource Group Manager\n"));
    assert!(ran.out.contains("7 Online, Local\n") && !ran.out.contains("service:web"), "{}", ran.out);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
}

/// Asks `clustat` until it shows what is wanted.
fn until(what: &str, wanted: impl Fn(&Ran) -> bool) -> Ran {
    let begun = Instant::now();
    loop {
        let ran = command("clustat", &[]);
        if wanted(&ran) {
            return ran;
        }
        let log = || std::fs::read_to_string("/run/story/log").unwrap_or_default();
        assert!(begun.elapsed() < PATIENCE, "never: {what}\n{}{}\n{}", ran.out, ran.err, log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start_rgmanager() -> Child {
    let log = std::fs::File::create("/run/story/log").unwrap();
    Command::new(env!("CARGO_BIN_EXE_rgmanager"))
        .arg("--no-cgroup")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn prepare() {
    for place in ["/dev/shm", "/run", "/var/lib", "/mnt"] {
        tool("mount", &["-t", "tmpfs", "story", place]);
    }
    // /etc stays, cluster.conf must not: a directory of ours over it.
    std::fs::create_dir_all("/mnt/upper").unwrap();
    std::fs::create_dir_all("/mnt/work").unwrap();
    tool("mount", &["-t", "overlay", "story", "-o", "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work", "/etc"]);
    for place in ["/etc/cluster", "/etc/corosync", "/var/lib/corosync", "/run/story", "/run/resource-agents"] {
        std::fs::create_dir_all(place).unwrap();
    }
    std::fs::write(COROSYNC_CONF_PATH, COROSYNC_CONF).unwrap();
    std::fs::write(CONF, CLUSTER_CONF).unwrap();
    tool("ip", &["link", "set", "lo", "up"]);
}

/// Starts corosync in the foreground on the private loopback.
fn start_corosync() -> Child {
    let mut corosync = Command::new("corosync");
    corosync.arg("-f").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    corosync.spawn().expect("corosync is installed")
}
